// engine/base/env.h -- What the engine needs of the world: time and randomness. Tests bring a fake.
#ifndef VIOMMU_ENGINE_BASE_ENV_H_
#define VIOMMU_ENGINE_BASE_ENV_H_

#include <cstdint>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace viommu {

// Thread-safe.
class Env {
 public:
  virtual ~Env() = default;
  virtual absl::Time Now() = 0;
  virtual uint64_t Random() = 0;  // Not predictable; for boot ids and generated object ids.

  // Waits until `wake` is signalled or Now() has reached `deadline`; may return before. `mutex` is
  // held, but for while it waits.
  virtual void Wait(absl::CondVar* wake, absl::Mutex* mutex, absl::Time deadline);
};

// The real one; lives as long as the process.
Env* RealEnv();

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BASE_ENV_H_
