#include "server/listen_socket.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/socket_address.h"
#include "server/unix_socket.h"

namespace viommu {
namespace {

constexpr absl::string_view kUnixPrefix = "unix:";
constexpr mode_t kOwnerOnly = 0600;
// The kernel cuts it to what its own settings allow.
constexpr int kBacklog = 4096;

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::Status ListenFailed(absl::string_view address, int error) {
  return Error(absl::StatusCode::kUnavailable, "LISTEN_FAILED",
               absl::StrCat("can not listen on ", address, ": ", std::strerror(error)))
      .Errno(strerrorname_np(error));
}

UniqueFd NewSocket(int family) {
  return UniqueFd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

absl::StatusOr<ListenSocket> ListenOnPath(const std::string& address, const std::string& path) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(name.sun_path)) {
    return ListenFailed(address, path.empty() ? EINVAL : ENAMETOOLONG);
  }
  std::memcpy(name.sun_path, path.data(), path.size());
  RETURN_IF_ERROR(RemoveStaleSocket(path));
  UniqueFd fd = NewSocket(AF_UNIX);
  // The file inherits the mode of the unbound socket: nobody else can ever open it.
  if (!fd.valid() || fchmod(fd.get(), kOwnerOnly) != 0 ||
      bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) != 0) {
    return ListenFailed(address, errno);
  }
  struct stat info = {};
  if (lstat(path.c_str(), &info) != 0) return ListenFailed(address, errno);
  ListenSocket socket(std::move(fd), Transport::kUnix, 1, {path, info.st_dev, info.st_ino});
  if (listen(socket.fd(), kBacklog) != 0) return ListenFailed(address, errno);
  return socket;
}

absl::StatusOr<AddressList> Resolve(const std::string& address, const SocketAddress& parsed) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failed =
      getaddrinfo(parsed.host.c_str(), absl::StrCat(parsed.port).c_str(), &hints, &found);
  if (failed != 0) {
    return Error(absl::StatusCode::kUnavailable, "LISTEN_FAILED",
                 absl::StrCat("can not listen on ", address, ": ", gai_strerror(failed)))
        .ToStatus();
  }
  return AddressList(found, &freeaddrinfo);
}

in_port_t* PortOf(sockaddr* name) {
  return name->sa_family == AF_INET6 ? &reinterpret_cast<sockaddr_in6*>(name)->sin6_port
                                     : &reinterpret_cast<sockaddr_in*>(name)->sin_port;
}

bool Set(int fd, int level, int option, int value) {
  return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

// What accepted connections inherit from the socket, and no SO_REUSEPORT: with it a second daemon
// would silently share the port with the first.
bool SetOptions(int fd, int family, absl::Duration tcp_user_timeout) {
  return Set(fd, SOL_SOCKET, SO_REUSEADDR, 1) && Set(fd, IPPROTO_TCP, TCP_NODELAY, 1) &&
         Set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
             static_cast<int>(absl::ToInt64Milliseconds(tcp_user_timeout))) &&
         // "[::]" means every address of the host, of either family.
         (family != AF_INET6 || Set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0));
}

// `port`: 0 leaves the port of `wanted` as it is.
absl::StatusOr<ListenSocket> ListenOnName(const std::string& address, const addrinfo& wanted,
                                          int port, absl::Duration tcp_user_timeout) {
  sockaddr_storage name = {};
  std::memcpy(&name, wanted.ai_addr, wanted.ai_addrlen);
  sockaddr* const any = reinterpret_cast<sockaddr*>(&name);
  if (port != 0) *PortOf(any) = htons(static_cast<uint16_t>(port));
  UniqueFd fd = NewSocket(wanted.ai_family);
  socklen_t size = sizeof(name);
  if (!fd.valid() || !SetOptions(fd.get(), wanted.ai_family, tcp_user_timeout) ||
      bind(fd.get(), any, wanted.ai_addrlen) != 0 || listen(fd.get(), kBacklog) != 0 ||
      getsockname(fd.get(), any, &size) != 0) {
    return ListenFailed(address, errno);
  }
  return ListenSocket(std::move(fd), Transport::kTcp, ntohs(*PortOf(any)), {});
}

// A name can stand for addresses that this host has not, as "localhost" does for ::1.
bool IsNotOurs(const absl::Status& status) {
  const std::string name = DetailOf(status)->errno_name;
  return name == "EADDRNOTAVAIL" || name == "EAFNOSUPPORT";
}

}  // namespace

ListenSocket::~ListenSocket() {
  struct stat info = {};
  if (!fd_.valid() || file_.path.empty() || lstat(file_.path.c_str(), &info) != 0) return;
  if (info.st_dev == file_.device && info.st_ino == file_.inode) unlink(file_.path.c_str());
}

absl::StatusOr<std::vector<ListenSocket>> ListenOn(const std::string& address,
                                                   absl::Duration tcp_user_timeout) {
  std::vector<ListenSocket> sockets;
  if (absl::StartsWith(address, kUnixPrefix)) {
    ASSIGN_OR_RETURN(ListenSocket socket,
                     ListenOnPath(address, address.substr(kUnixPrefix.size())));
    sockets.push_back(std::move(socket));
    return sockets;
  }
  ASSIGN_OR_RETURN(const SocketAddress parsed, ParseSocketAddress(address));
  ASSIGN_OR_RETURN(const AddressList found, Resolve(address, parsed));
  absl::Status not_ours;
  for (const addrinfo* wanted = found.get(); wanted != nullptr; wanted = wanted->ai_next) {
    absl::StatusOr<ListenSocket> socket = ListenOnName(
        address, *wanted, sockets.empty() ? 0 : sockets.front().port(), tcp_user_timeout);
    if (socket.ok()) {
      sockets.push_back(*std::move(socket));
    } else if (IsNotOurs(socket.status())) {
      not_ours = socket.status();
    } else {
      return socket.status();
    }
  }
  if (sockets.empty()) return not_ours;
  return sockets;
}

}  // namespace viommu
