#include "server/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr absl::string_view kLockName = "lock";
constexpr mode_t kDirectoryMode = 0700;
constexpr mode_t kFileMode = 0600;

absl::Status Unusable(const std::string& path, absl::string_view what, int error) {
  return Error(absl::StatusCode::kFailedPrecondition, "STATE_DIR_UNUSABLE",
               absl::StrCat("state folder ", path, ": ", what, ": ", std::strerror(error)));
}

absl::Status MakeDirectories(const std::string& path) {
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string head = path.substr(0, slash);
    if (mkdir(head.c_str(), kDirectoryMode) != 0 && errno != EEXIST) {
      return Unusable(path, "can not be made", errno);
    }
    if (slash == std::string::npos) break;
  }
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return Unusable(path, "can not be looked at", errno);
  if (!S_ISDIR(info.st_mode)) return Unusable(path, "can not be used", ENOTDIR);
  return absl::OkStatus();
}

// 0, or the errno of the write that failed.
int WriteAll(int fd, absl::string_view content) {
  while (!content.empty()) {
    const ssize_t written = write(fd, content.data(), content.size());
    if (written < 0 && errno != EINTR) return errno;
    if (written > 0) content.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

}  // namespace

absl::StatusOr<std::unique_ptr<StateDir>> StateDir::Open(const std::string& path) {
  RETURN_IF_ERROR(MakeDirectories(path));
  const std::string lock = absl::StrCat(path, "/", kLockName);
  const int fd = open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kFileMode);
  if (fd < 0) return Unusable(path, "can not be written to", errno);
  // The kernel gives the lock back when the process ends, so there is no stale one.
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    close(fd);
    if (error != EWOULDBLOCK) return Unusable(path, "can not be locked", error);
    return Error(absl::StatusCode::kFailedPrecondition, "STATE_DIR_IN_USE",
                 absl::StrCat("state folder ", path, " is in use by a running viommud"))
        .ToStatus();
  }
  return std::unique_ptr<StateDir>(new StateDir(path, fd));
}

StateDir::~StateDir() { close(lock_fd_); }

absl::Status StateDir::ReplaceFile(absl::string_view name, absl::string_view content) const {
  const std::string path = absl::StrCat(path_, "/", name);
  const std::string draft = path + ".new";
  const int fd = open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kFileMode);
  if (fd < 0) return Unusable(path_, absl::StrCat(name, " can not be written"), errno);
  const int error = WriteAll(fd, content);
  close(fd);
  if (error != 0) return Unusable(path_, absl::StrCat(name, " can not be written"), error);
  if (rename(draft.c_str(), path.c_str()) != 0) {
    return Unusable(path_, absl::StrCat(name, " can not be replaced"), errno);
  }
  return absl::OkStatus();
}

void StateDir::RemoveFile(absl::string_view name) const {
  unlink(absl::StrCat(path_, "/", name).c_str());
}

}  // namespace viommu
