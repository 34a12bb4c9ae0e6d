#include "server/signals.h"

#include <unistd.h>

#include <thread>

namespace viommu {

TerminationSignals::TerminationSignals() {
  sigemptyset(&set_);
  sigaddset(&set_, SIGTERM);
  sigaddset(&set_, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int TerminationSignals::Wait() const {
  int number = 0;
  while (sigwait(&set_, &number) != 0) {
  }
  return number;
}

void TerminationSignals::ExitOnNext(int exit_code) const {
  // Detached, because nothing but the end of the process can end its wait; it works on a copy.
  std::thread([signals = *this, exit_code] {
    signals.Wait();
    _exit(exit_code);
  }).detach();
}

}  // namespace viommu
