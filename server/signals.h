// server/signals.h -- SIGTERM and SIGINT as something to wait for, not to be interrupted by.
#ifndef VIOMMU_SERVER_SIGNALS_H_
#define VIOMMU_SERVER_SIGNALS_H_

#include <csignal>

namespace viommu {

// Make it before any thread: threads inherit that the signals are blocked. Thread-safe.
class TerminationSignals {
 public:
  // Blocks SIGTERM and SIGINT in the calling thread, and ignores SIGPIPE for the process.
  TerminationSignals();

  // Waits for either one; answers its number.
  int Wait() const;

  // From now on the next one ends the process at once with `exit_code`: whoever asks twice does not
  // want to wait for calls that still run.
  void ExitOnNext(int exit_code) const;

 private:
  sigset_t set_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_SIGNALS_H_
