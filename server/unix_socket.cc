#include "server/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

absl::Status Unusable(const std::string& path, absl::string_view why) {
  return Error(absl::StatusCode::kFailedPrecondition, "SOCKET_UNUSABLE",
               absl::StrCat("socket ", path, ": ", why));
}

// 0, or the errno of a connection attempt. Does not block.
int TryConnect(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const auto close_fd = absl::MakeCleanup([fd] { close(fd); });
  const int failed = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  return failed == 0 ? 0 : errno;
}

}  // namespace

absl::Status RemoveStaleSocket(const std::string& path) {
  struct stat info = {};
  if (lstat(path.c_str(), &info) != 0) {
    return errno == ENOENT ? absl::OkStatus() : Unusable(path, std::strerror(errno));
  }
  if (!S_ISSOCK(info.st_mode)) return Unusable(path, "there is a file that is no socket");
  const int error = TryConnect(path);
  // A full backlog (EAGAIN) is a live daemon too.
  if (error == 0 || error == EAGAIN) {
    return Error(absl::StatusCode::kUnavailable, "SOCKET_IN_USE",
                 absl::StrCat("socket ", path, " is in use by a running viommud"));
  }
  if (error != ECONNREFUSED) return Unusable(path, std::strerror(error));
  if (unlink(path.c_str()) != 0) return Unusable(path, std::strerror(errno));
  return absl::OkStatus();
}

}  // namespace viommu
