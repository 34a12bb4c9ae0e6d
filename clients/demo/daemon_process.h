// clients/demo/daemon_process.h -- A viommud of our own: started, found ready, stopped.
#ifndef VIOMMU_CLIENTS_DEMO_DAEMON_PROCESS_H_
#define VIOMMU_CLIENTS_DEMO_DAEMON_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace viommu {

// Where a daemon can be reached; what its endpoints.json says.
struct DaemonEndpoints {
  std::string unix_socket;
  std::string metrics_address;  // "host:port".
};

// kInvalidArgument: `json` is not what viommud writes, or lacks one of the two.
absl::StatusOr<DaemonEndpoints> ParseEndpoints(const std::string& json);

// Runs with a state folder of its own, which goes with it, on ports that the kernel chooses. It
// dies with the thread that started it, so start it in main. Thread-compatible.
class DaemonProcess {
 public:
  // Executes `program` and waits until it is ready.
  // kNotFound: it can not be executed.
  // kUnavailable: it ended, or was not ready in time; with the last lines of what it wrote.
  static absl::StatusOr<std::unique_ptr<DaemonProcess>> Start(const std::string& program);

  // Kills it if it still runs.
  ~DaemonProcess();
  DaemonProcess(const DaemonProcess&) = delete;
  DaemonProcess& operator=(const DaemonProcess&) = delete;

  pid_t pid() const { return pid_; }
  const DaemonEndpoints& endpoints() const { return endpoints_; }

  // Asks it to stop (SIGTERM) and waits; a second call changes nothing.
  // kInternal: its exit code was not 0. kDeadlineExceeded: it did not stop; it was killed.
  absl::Status Stop();

 private:
  DaemonProcess(std::string state_dir, pid_t pid) : state_dir_(std::move(state_dir)), pid_(pid) {}

  absl::Status WaitUntilReady();
  // Whether it ended by `deadline`; then `wait_status` is what waitpid says.
  bool Ended(absl::Time deadline, int* wait_status);
  void Kill();
  std::string LastWords() const;

  const std::string state_dir_;
  pid_t pid_;  // 0 once it has ended.
  DaemonEndpoints endpoints_;
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_DAEMON_PROCESS_H_
