// server/pulse.h -- Proves again and again that the daemon works, and notices when the proof stops.
//
// A proof may fail, or it may never end, as behind a lock that is never given back. So one thread
// proves, and another looks at when it last succeeded.
#ifndef VIOMMU_SERVER_PULSE_H_
#define VIOMMU_SERVER_PULSE_H_

#include <functional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace viommu {

// Thread-safe.
class Pulse {
 public:
  struct Options {
    // Pause between the end of a proof and the next one.
    absl::Duration period = absl::Seconds(2);
    // So long after the last success the daemon is no longer taken to work.
    absl::Duration patience = absl::Seconds(10);
    std::function<absl::Status()> prove;
    // After each success, on the thread that proves. May be null.
    std::function<void()> on_success;
    // Whenever it is found to work no longer, or again; `why` is what the last proof said, or that
    // there is none. Not from within the two above.
    std::function<void(bool works, const std::string& why)> on_change;
  };

  // Takes the daemon to work from now on.
  explicit Pulse(Options options);

  // Waits for a proof that is under way.
  ~Pulse();
  Pulse(const Pulse&) = delete;
  Pulse& operator=(const Pulse&) = delete;

 private:
  void Prove();
  void Look();

  const Options options_;
  absl::Mutex mutex_;
  absl::CondVar changed_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration last_success_ ABSL_GUARDED_BY(mutex_);  // By the steady clock.
  std::string why_ ABSL_GUARDED_BY(mutex_);

  std::thread prover_;  // Last: these use all the others.
  std::thread observer_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_PULSE_H_
