#include "server/listener_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr char kSocketName[] = "viommu.sock";
constexpr absl::string_view kDraftPrefix = ".new-";
constexpr absl::string_view kRetiredPrefix = ".old-";
constexpr mode_t kParentMode = 0711;   // Tenants find their own directory, and see no others.
constexpr mode_t kPrivateMode = 0700;  // Of what is not ready yet.
// The kernel cuts it to what its own settings allow.
constexpr int kBacklog = 4096;
// Directories of one owner that were deleted and could not be removed.
constexpr int kMaxRetired = 1000;

absl::Status Unusable(const std::string& path, absl::string_view why) {
  return Error(absl::StatusCode::kFailedPrecondition, "LISTENER_DIR_UNUSABLE",
               absl::StrCat("listener_dir ", path, ": ", why));
}

absl::Status Failed(absl::string_view what, int error) {
  return Error(absl::StatusCode::kInternal, "DIRECTORY_FAILED",
               absl::StrCat(what, ": ", std::strerror(error)))
      .Errno(strerrorname_np(error));
}

absl::Status CanNotListenIn(const std::string& name, absl::string_view why) {
  return Error(absl::StatusCode::kFailedPrecondition, "LISTENER_UNUSABLE",
               absl::StrCat(name, ": ", why));
}

absl::Status Exists(const std::string& path) {
  return Error(absl::StatusCode::kFailedPrecondition, "DIRECTORY_EXISTS",
               absl::StrCat(path, " is there already, and is no listener's"))
      .Errno("EEXIST")
      .Violation(absl::StrCat("remove ", path));
}

// In no order; as much as can be read.
std::vector<std::string> NamesIn(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator it(path, error);
  while (!error && it != std::filesystem::directory_iterator()) {
    names.push_back(it->path().filename().string());
    it.increment(error);
  }
  return names;
}

std::string DraftOf(absl::string_view owner) { return absl::StrCat(kDraftPrefix, owner); }

UniqueFd OpenDirectory(int parent, const std::string& name) {
  return UniqueFd(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

// Removes a directory in `parent` and the socket in it; nothing else that is in it.
bool RemoveDirectory(int parent, const std::string& name) {
  const UniqueFd directory = OpenDirectory(parent, name);
  if (directory.valid()) unlinkat(directory.get(), kSocketName, 0);
  return unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0;
}

// Those who may connect to a socket of this mode may enter its directory, and see it.
mode_t DirectoryMode(mode_t socket_mode) {
  return 0700 | ((socket_mode & 0060) != 0 ? 0050 : 0) | ((socket_mode & 0006) != 0 ? 0005 : 0);
}

mode_t SocketMode(mode_t directory_mode) {
  return 0600 | ((directory_mode & 0010) != 0 ? 0060 : 0) |
         ((directory_mode & 0001) != 0 ? 0006 : 0);
}

ListenerDirectory::Place PlaceOf(const struct stat& directory) {
  ListenerDirectory::Place place;
  place.access.mode = SocketMode(directory.st_mode);
  place.access.uid = directory.st_uid;
  place.access.gid = directory.st_gid;
  place.create_time = absl::TimeFromTimespec(directory.st_mtim);
  return place;
}

bool ChangeOwner(int directory, const char* name, const SocketAccess& access, int flags) {
  constexpr auto kUnchangedUid = static_cast<uid_t>(-1);
  constexpr auto kUnchangedGid = static_cast<gid_t>(-1);
  return fchownat(directory, name, access.uid.value_or(kUnchangedUid),
                  access.gid.value_or(kUnchangedGid), flags) == 0;
}

// A socket that listens in a directory which nobody else may enter yet. A descriptor leads to the
// directory: its own path may be too long, or change.
absl::StatusOr<UniqueFd> ListenIn(const UniqueFd& directory, const SocketAccess& access) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  absl::SNPrintF(name.sun_path, sizeof(name.sun_path), "/proc/self/fd/%d/%s", directory.get(),
                 kSocketName);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid() || bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) != 0 ||
      fchmodat(directory.get(), kSocketName, access.mode, 0) != 0 ||
      !ChangeOwner(directory.get(), kSocketName, access, AT_SYMLINK_NOFOLLOW) ||
      listen(fd.get(), kBacklog) != 0) {
    return Failed("a socket can not be made", errno);
  }
  return fd;
}

ListenSocket AsListenSocket(UniqueFd fd) {
  // The file stays when the daemon ends: its directory is still a listener's.
  return ListenSocket(std::move(fd), Transport::kListener, 1, {});
}

}  // namespace

absl::Status CheckAccess(const SocketAccess& access) {
  const mode_t mode = access.mode;
  if (mode == SocketMode(DirectoryMode(mode))) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_MODE",
               absl::StrFormat("mode 0%o is none of 0600, 0660, 0606, 0666", mode))
      .Errno("EINVAL")
      .Field("listener.mode");
}

absl::StatusOr<std::unique_ptr<ListenerDirectory>> ListenerDirectory::Open(
    const std::string& path) {
  const bool made = mkdir(path.c_str(), kPrivateMode) == 0;
  if (!made && errno != EEXIST) return Unusable(path, std::strerror(errno));
  UniqueFd fd = OpenDirectory(AT_FDCWD, path);
  struct stat info = {};
  if (!fd.valid() || fstat(fd.get(), &info) != 0) return Unusable(path, std::strerror(errno));
  if (made && fchmod(fd.get(), kParentMode) != 0) return Unusable(path, std::strerror(errno));
  if (info.st_uid != geteuid() && info.st_uid != 0) {
    return Unusable(path, "it belongs to another user");
  }
  if ((info.st_mode & 0022) != 0) return Unusable(path, "others can write in it");
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return Unusable(path, std::strerror(errno));
    return Error(absl::StatusCode::kFailedPrecondition, "LISTENER_DIR_IN_USE",
                 absl::StrCat("listener_dir ", path, " is in use by a running viommud"))
        .ToStatus();
  }
  std::unique_ptr<ListenerDirectory> directory(new ListenerDirectory(
      std::filesystem::absolute(path).lexically_normal().string(), std::move(fd)));
  directory->Sweep();
  return directory;
}

void ListenerDirectory::Sweep() {
  for (const std::string& name : NamesIn(path_)) {
    if (absl::StartsWith(name, kDraftPrefix) || absl::StartsWith(name, kRetiredPrefix)) {
      RemoveDirectory(fd_.get(), name);
    }
  }
}

std::vector<std::string> ListenerDirectory::Names() const {
  std::vector<std::string> names;
  for (std::string& name : NamesIn(path_)) {
    if (!absl::StartsWith(name, ".")) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string ListenerDirectory::SocketPath(absl::string_view owner) const {
  return absl::StrCat(path_, "/", owner, "/", kSocketName);
}

absl::Status ListenerDirectory::CheckPath(const std::string& owner) const {
  const std::string path = SocketPath(owner);
  constexpr size_t kMost = sizeof(sockaddr_un::sun_path) - 1;
  if (path.size() <= kMost) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "PATH_TOO_LONG",
               absl::StrCat(path, " has ", path.size(), " bytes; a socket's path has at most ",
                            kMost))
      .Errno("ENAMETOOLONG")
      .Field("listener_id");
}

absl::Status ListenerDirectory::CheckFree(const std::string& owner) const {
  RETURN_IF_ERROR(CheckPath(owner));
  struct stat info = {};
  if (fstatat(fd_.get(), owner.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    return Exists(absl::StrCat(path_, "/", owner));
  }
  return errno == ENOENT ? absl::OkStatus() : Failed(owner, errno);
}

absl::StatusOr<UniqueFd> ListenerDirectory::NewDirectory(const std::string& name) {
  RemoveDirectory(fd_.get(), name);
  if (mkdirat(fd_.get(), name.c_str(), kPrivateMode) != 0) return Failed(name, errno);
  UniqueFd directory = OpenDirectory(fd_.get(), name);
  if (!directory.valid()) return Failed(name, errno);
  return directory;
}

absl::StatusOr<ListenerDirectory::Draft> ListenerDirectory::Make(const std::string& owner,
                                                                 const SocketAccess& access) {
  const std::string draft = DraftOf(owner);
  ASSIGN_OR_RETURN(const UniqueFd directory, NewDirectory(draft));
  absl::StatusOr<UniqueFd> fd = ListenIn(directory, access);
  if (!fd.ok()) {
    Discard(owner);
    return fd.status();
  }
  struct stat info = {};
  // Whoever is let in by now meets the socket as it is to be.
  if (fchmod(directory.get(), DirectoryMode(access.mode)) != 0 ||
      !ChangeOwner(directory.get(), "", access, AT_EMPTY_PATH) ||
      fstat(directory.get(), &info) != 0) {
    const int error = errno;
    Discard(owner);
    return Failed(draft, error);
  }
  return Draft{AsListenSocket(*std::move(fd)), PlaceOf(info)};
}

absl::Status ListenerDirectory::Show(const std::string& owner) {
  const std::string draft = DraftOf(owner);
  if (renameat2(fd_.get(), draft.c_str(), fd_.get(), owner.c_str(), RENAME_NOREPLACE) == 0) {
    return absl::OkStatus();
  }
  const int error = errno;
  Discard(owner);
  return error == EEXIST ? Exists(absl::StrCat(path_, "/", owner)) : Failed(owner, error);
}

void ListenerDirectory::Discard(const std::string& owner) {
  RemoveDirectory(fd_.get(), DraftOf(owner));
}

absl::StatusOr<ListenerDirectory::Draft> ListenerDirectory::Reopen(const std::string& owner) {
  RETURN_IF_ERROR(CheckPath(owner));
  const UniqueFd directory = OpenDirectory(fd_.get(), owner);
  struct stat info = {};
  if (!directory.valid() || fstat(directory.get(), &info) != 0) {
    return CanNotListenIn(owner, std::strerror(errno));
  }
  struct stat old = {};
  if (fstatat(directory.get(), kSocketName, &old, AT_SYMLINK_NOFOLLOW) == 0 &&
      !S_ISSOCK(old.st_mode)) {
    return CanNotListenIn(owner, absl::StrCat(kSocketName, " is no socket"));
  }
  const Place place = PlaceOf(info);
  const std::string draft = DraftOf(owner);
  ASSIGN_OR_RETURN(const UniqueFd workshop, NewDirectory(draft));
  absl::StatusOr<UniqueFd> fd = ListenIn(workshop, place.access);
  absl::Status moved = fd.status();
  if (moved.ok() && renameat(workshop.get(), kSocketName, directory.get(), kSocketName) != 0) {
    moved = Failed(owner, errno);
  }
  RemoveDirectory(fd_.get(), draft);
  RETURN_IF_ERROR(moved);
  // When it was made is all that is kept there.
  const timespec times[] = {{0, UTIME_OMIT}, info.st_mtim};
  futimens(directory.get(), times);
  return Draft{AsListenSocket(*std::move(fd)), place};
}

absl::StatusOr<std::string> ListenerDirectory::Retire(const std::string& owner) {
  for (int i = 0; i < kMaxRetired; ++i) {
    std::string retired = absl::StrCat(kRetiredPrefix, owner, "-", i);
    if (renameat2(fd_.get(), owner.c_str(), fd_.get(), retired.c_str(), RENAME_NOREPLACE) == 0) {
      return retired;
    }
    // Whoever removed it has saved us the work.
    if (errno == ENOENT) return retired;
    if (errno != EEXIST) return Failed(owner, errno);
  }
  return Failed(owner, EEXIST);
}

bool ListenerDirectory::Remove(const std::string& retired) {
  return RemoveDirectory(fd_.get(), retired) || errno == ENOENT;
}

}  // namespace viommu
