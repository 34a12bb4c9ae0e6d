#include "clients/demo/http_get.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace viommu {
namespace {

constexpr timeval kTimeout = {10, 0};  // Of each send and receive.
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

absl::Status Unavailable(const std::string& address, const char* what) {
  return absl::UnavailableError(absl::StrCat(address, ": ", what));
}

// Sends `request` and takes everything up to the end of the connection; false with errno set.
bool Exchange(int fd, const std::string& request, std::string* response) {
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    return false;
  }
  char bytes[kReceiveBytes];
  for (ssize_t got = 0; (got = recv(fd, bytes, sizeof(bytes), 0)) != 0;) {
    if (got < 0) return false;
    response->append(bytes, static_cast<size_t>(got));
  }
  return true;
}

}  // namespace

absl::StatusOr<std::string> HttpGet(const std::string& address, const std::string& path) {
  const absl::StatusOr<sockaddr_in> to = ParseAddress(address);
  if (!to.ok()) return to.status();
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Unavailable(address, std::strerror(errno));
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kTimeout, sizeof(kTimeout));
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kTimeout, sizeof(kTimeout));
  std::string response;
  // HTTP/1.0: the answer comes in one piece and ends with the connection.
  if (connect(fd, reinterpret_cast<const sockaddr*>(&*to), sizeof(*to)) != 0 ||
      !Exchange(fd, absl::StrCat("GET ", path, " HTTP/1.0\r\n\r\n"), &response)) {
    return Unavailable(address, std::strerror(errno));
  }
  const size_t body = response.find("\r\n\r\n");
  const std::string head = response.substr(0, response.find("\r\n"));
  if (body == std::string::npos || !absl::StrContains(head, " 200 ")) {
    return Unavailable(address, head.c_str());
  }
  return response.substr(body + 4);
}

}  // namespace viommu
