// tests/conformance/daemon.h -- A viommud of the suite's own, in a folder that goes with it.
#ifndef VIOMMU_TESTS_CONFORMANCE_DAEMON_H_
#define VIOMMU_TESTS_CONFORMANCE_DAEMON_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace viommu::conformance {

class Daemon {
 public:
  // Starts `binary` over the host that the file `topology` describes. It may not listen yet.
  // kInternal: a folder, or the process, can not be made.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(const std::string& binary,
                                                       const std::string& topology);
  // Ends it and removes the folder.
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Where it listens, or will.
  std::string target() const { return "unix:" + folder_ + "/viommud.sock"; }

  // What it wrote to its standard error so far.
  std::string Log() const;

  // Asks it to end: its exit code, 128 and above for a signal. Once.
  int Stop();

 private:
  Daemon(std::string folder, pid_t process) : folder_(std::move(folder)), process_(process) {}

  const std::string folder_;
  pid_t process_;  // 0: it has ended.
};

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_DAEMON_H_
