#include "clients/demo/http_get.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"

namespace viommu {
namespace {

constexpr size_t kReceiveBytes = 64 << 10;

absl::StatusOr<sockaddr_in> ParseAddress(const std::string& address) {
  sockaddr_in parsed = {};
  parsed.sin_family = AF_INET;
  const size_t colon = address.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || !absl::SimpleAtoi(address.substr(colon + 1), &port) ||
      port > UINT16_MAX ||
      inet_pton(AF_INET, address.substr(0, colon).c_str(), &parsed.sin_addr) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(address, " is not IPV4:PORT"));
  }
  parsed.sin_port = htons(static_cast<uint16_t>(port));
  return parsed;
}

// One connection with a time for everything together. Each step is false with errno set, which is
// ETIMEDOUT when the time is over.
class Connection {
 public:
  // `fd` does not block.
  Connection(int fd, absl::Time deadline) : fd_(fd), deadline_(deadline) {}

  bool Connect(const sockaddr_in& to) {
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) == 0) return true;
    if (errno != EINPROGRESS || !Await(POLLOUT)) return false;
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return false;
    errno = error;
    return error == 0;
  }

  bool Send(absl::string_view text) {
    while (!text.empty()) {
      if (!Await(POLLOUT)) return false;
      const ssize_t sent = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
      if (sent > 0) text.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  // Everything up to the end of the connection.
  bool ReceiveAll(std::string* all) {
    char bytes[kReceiveBytes];
    while (Await(POLLIN)) {
      const ssize_t got = recv(fd_, bytes, sizeof(bytes), 0);
      if (got == 0) return true;
      if (got < 0 && errno != EAGAIN && errno != EINTR) return false;
      if (got > 0) all->append(bytes, static_cast<size_t>(got));
    }
    return false;
  }

 private:
  bool Await(short events) {
    pollfd one = {fd_, events, 0};
    for (;;) {
      // Rounded up, so that a poll which finds nothing is behind the deadline.
      const int64_t left = absl::ToInt64Milliseconds(deadline_ - absl::Now()) + 1;
      const int ready = poll(&one, 1, static_cast<int>(std::clamp<int64_t>(left, 0, INT_MAX)));
      if (absl::Now() >= deadline_) {
        errno = ETIMEDOUT;
        return false;
      }
      if (ready > 0) return true;
      if (ready < 0 && errno != EINTR) return false;
    }
  }

  const int fd_;
  const absl::Time deadline_;
};

absl::Status Unavailable(const std::string& address, const char* what) {
  return absl::UnavailableError(absl::StrCat(address, ": ", what));
}

}  // namespace

absl::StatusOr<std::string> HttpGet(const std::string& address, const std::string& path,
                                    absl::Duration timeout) {
  const absl::StatusOr<sockaddr_in> to = ParseAddress(address);
  if (!to.ok()) return to.status();
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return Unavailable(address, std::strerror(errno));
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  Connection connection(fd, absl::Now() + timeout);
  std::string response;
  // HTTP/1.0: the answer comes in one piece and ends with the connection.
  if (!connection.Connect(*to) ||
      !connection.Send(absl::StrCat("GET ", path, " HTTP/1.0\r\n\r\n")) ||
      !connection.ReceiveAll(&response)) {
    if (errno != ETIMEDOUT) return Unavailable(address, std::strerror(errno));
    return absl::DeadlineExceededError(
        absl::StrCat(address, ": no answer within ", absl::FormatDuration(timeout)));
  }
  const size_t body = response.find("\r\n\r\n");
  const std::string head = response.substr(0, response.find("\r\n"));
  if (body == std::string::npos || !absl::StrContains(head, " 200 ")) {
    return Unavailable(address, head.c_str());
  }
  return response.substr(body + 4);
}

}  // namespace viommu
