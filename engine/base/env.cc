#include "engine/base/env.h"

#include <random>

#include "absl/time/clock.h"

namespace viommu {
namespace {

class SystemEnv : public Env {
 public:
  absl::Time Now() override { return absl::Now(); }
  uint64_t Random() override {
    std::random_device device;
    return (uint64_t{device()} << 32) | device();
  }
};

}  // namespace

void Env::Wait(absl::CondVar* wake, absl::Mutex* mutex, absl::Time deadline) {
  wake->WaitWithDeadline(mutex, deadline);
}

Env* RealEnv() {
  static SystemEnv* const env = new SystemEnv;
  return env;
}

}  // namespace viommu
