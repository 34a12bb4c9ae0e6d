#include "server/pulse.h"

#include <chrono>
#include <utility>

namespace viommu {
namespace {

constexpr char kNoEnd[] = "a check of the daemon by itself does not end";

// Does not jump when somebody sets the clock.
absl::Duration SteadyNow() {
  return absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace

Pulse::Pulse(Options options)
    : options_(std::move(options)),
      last_success_(SteadyNow()),
      why_(kNoEnd),
      prover_([this] { Prove(); }),
      observer_([this] { Look(); }) {}

Pulse::~Pulse() {
  {
    absl::MutexLock lock(&mutex_);
    ending_ = true;
    changed_.SignalAll();
  }
  prover_.join();
  observer_.join();
}

void Pulse::Prove() {
  absl::MutexLock lock(&mutex_);
  while (!ending_) {
    mutex_.Unlock();
    const absl::Status proof = options_.prove();
    if (proof.ok() && options_.on_success != nullptr) options_.on_success();
    mutex_.Lock();
    if (proof.ok()) last_success_ = SteadyNow();
    why_ = proof.ok() ? kNoEnd : std::string(proof.message());
    changed_.SignalAll();
    const absl::Duration next = SteadyNow() + options_.period;
    while (!ending_ && SteadyNow() < next) changed_.WaitWithTimeout(&mutex_, next - SteadyNow());
  }
}

void Pulse::Look() {
  bool worked = true;
  absl::MutexLock lock(&mutex_);
  while (!ending_) {
    const absl::Duration left = last_success_ + options_.patience - SteadyNow();
    const bool works = left > absl::ZeroDuration();
    if (works != worked) {
      worked = works;
      const std::string why = works ? "" : why_;
      mutex_.Unlock();
      options_.on_change(works, why);
      mutex_.Lock();
      continue;  // Much can have changed meanwhile.
    }
    if (works) {
      changed_.WaitWithTimeout(&mutex_, left);
    } else {
      changed_.Wait(&mutex_);
    }
  }
}

}  // namespace viommu
