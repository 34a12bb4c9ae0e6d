// server/notify_socket.h -- Tells the service manager (systemd, Type=notify) how the daemon is.
//
// The protocol of sd_notify(3): each message is one datagram to the socket that $NOTIFY_SOCKET
// names. Without a service manager nothing is told and nothing fails.
#ifndef VIOMMU_SERVER_NOTIFY_SOCKET_H_
#define VIOMMU_SERVER_NOTIFY_SOCKET_H_

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace viommu {

// Thread-safe.
class NotifySocket {
 public:
  // Value of an environment variable, if it is set.
  using Environment = std::function<std::optional<std::string>(const char* name)>;

  // Takes $NOTIFY_SOCKET, and $WATCHDOG_USEC unless $WATCHDOG_PID is another process than
  // `process_id`.
  // kInvalidArgument MALFORMED_NOTIFY_SOCKET: neither an absolute path nor '@' and a name, or
  //                  longer than a socket's address may be.
  // kInvalidArgument MALFORMED_WATCHDOG: the time is no positive number of microseconds.
  static absl::StatusOr<NotifySocket> FromEnvironment(const Environment& environment,
                                                      pid_t process_id);

  // Without a service manager.
  NotifySocket() = default;

  // Sends "READY=1" or the like; several assignments are separated by newlines.
  // kUnavailable NOTIFY_FAILED: nobody takes it.
  absl::Status Tell(absl::string_view assignments) const;

  // "WATCHDOG=1" is wanted more often than this; infinite: never.
  absl::Duration watchdog_timeout() const { return watchdog_timeout_; }

 private:
  std::string address_;  // An abstract one begins with a zero byte; empty: nobody to tell.
  absl::Duration watchdog_timeout_ = absl::InfiniteDuration();
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_NOTIFY_SOCKET_H_
