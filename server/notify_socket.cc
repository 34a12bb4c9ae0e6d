#include "server/notify_socket.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/unique_fd.h"

namespace viommu {
namespace {

constexpr char kAddressVariable[] = "NOTIFY_SOCKET";
constexpr char kTimeoutVariable[] = "WATCHDOG_USEC";
constexpr char kProcessVariable[] = "WATCHDOG_PID";

absl::StatusOr<std::string> AddressFrom(std::string text) {
  const bool is_path = !text.empty() && text[0] == '/';
  const bool is_abstract = text.size() > 1 && text[0] == '@';
  // A path is followed by a zero byte; an abstract name is as long as it is said to be.
  const size_t longest = sizeof(sockaddr_un::sun_path) - (is_path ? 1 : 0);
  if ((!is_path && !is_abstract) || text.size() > longest) {
    return Error(absl::StatusCode::kInvalidArgument, "MALFORMED_NOTIFY_SOCKET",
                 absl::StrCat(kAddressVariable, ": \"", text, "\" is no address of a unix socket"));
  }
  if (is_abstract) text[0] = '\0';
  return text;
}

absl::StatusOr<absl::Duration> TimeoutFrom(const std::string& text) {
  int64_t microseconds = 0;
  if (!absl::SimpleAtoi(text, &microseconds) || microseconds <= 0) {
    return Error(absl::StatusCode::kInvalidArgument, "MALFORMED_WATCHDOG",
                 absl::StrCat(kTimeoutVariable, ": \"", text, "\" is no time in microseconds"));
  }
  return absl::Microseconds(microseconds);
}

absl::Status NotifyFailed(int error) {
  return Error(absl::StatusCode::kUnavailable, "NOTIFY_FAILED",
               absl::StrCat("the service manager takes no message: ", std::strerror(error)));
}

}  // namespace

absl::StatusOr<NotifySocket> NotifySocket::FromEnvironment(const Environment& environment,
                                                           pid_t process_id) {
  NotifySocket socket;
  const std::string address = environment(kAddressVariable).value_or("");
  if (address.empty()) return socket;
  ASSIGN_OR_RETURN(socket.address_, AddressFrom(address));
  const std::optional<std::string> timeout = environment(kTimeoutVariable);
  const std::string own_id = absl::StrCat(process_id);
  // Meant for whoever started us, who left it in the environment.
  if (environment(kProcessVariable).value_or(own_id) != own_id) return socket;
  if (timeout.has_value()) {
    ASSIGN_OR_RETURN(socket.watchdog_timeout_, TimeoutFrom(*timeout));
  }
  return socket;
}

absl::Status NotifySocket::Tell(absl::string_view assignments) const {
  if (address_.empty()) return absl::OkStatus();
  const UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return NotifyFailed(errno);
  sockaddr_un to = {};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  const bool is_path = address_[0] != '\0';
  const auto size =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size() + (is_path ? 1 : 0));
  ssize_t sent = 0;
  do {
    sent = sendto(fd.get(), assignments.data(), assignments.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&to), size);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? NotifyFailed(errno) : absl::OkStatus();
}

}  // namespace viommu
