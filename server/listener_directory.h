// server/listener_directory.h -- The directories of listeners on disk, each with a socket in it.
//
//   <listener_dir>/<owner>/viommu.sock
//
// What is on disk is the truth: the daemon keeps nothing else about a listener. The mode of a
// directory says who may connect: whoever may enter it. Its time of change is when it was made. A
// directory is made under a name with a dot and shown when all is in place; one that goes is
// renamed first. No symbolic link is followed.
#ifndef VIOMMU_SERVER_LISTENER_DIRECTORY_H_
#define VIOMMU_SERVER_LISTENER_DIRECTORY_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "server/listen_socket.h"
#include "server/unique_fd.h"

namespace viommu {

// Who may connect.
struct SocketAccess {
  static constexpr mode_t kDefaultMode = 0660;

  mode_t mode = kDefaultMode;  // Of the socket: 0600, 0660, 0606 or 0666.
  std::optional<uid_t> uid;    // None: the daemon's.
  std::optional<gid_t> gid;
};

// kInvalidArgument INVALID_MODE
absl::Status CheckAccess(const SocketAccess& access);

// Holds the directory until it is destroyed, or the process ends in whatever way.
// Thread-compatible.
class ListenerDirectory {
 public:
  // A listener on disk.
  struct Place {
    SocketAccess access;  // All of it is known.
    absl::Time create_time;
  };
  // A directory that is not shown yet, and its socket, which listens.
  struct Draft {
    ListenSocket socket;
    Place place;
  };

  // Makes the directory, but none above it, with mode 0711 when it is missing, and takes its lock.
  // What an earlier daemon left half made is removed.
  // kFailedPrecondition LISTENER_DIR_UNUSABLE: it can not be made or opened, is another user's, or
  //   others can write in it; LISTENER_DIR_IN_USE: another daemon holds it.
  static absl::StatusOr<std::unique_ptr<ListenerDirectory>> Open(const std::string& path);
  ListenerDirectory(const ListenerDirectory&) = delete;
  ListenerDirectory& operator=(const ListenerDirectory&) = delete;

  // What is there, ascending, but what begins with a dot.
  std::vector<std::string> Names() const;

  // Path of the socket of `owner`; absolute.
  std::string SocketPath(absl::string_view owner) const;

  // Whether a listener could be made there.
  // kInvalidArgument PATH_TOO_LONG: a socket can not have such a path.
  // kFailedPrecondition DIRECTORY_EXISTS: there is something.
  absl::Status CheckFree(const std::string& owner) const;

  // Makes a directory with a socket. kInternal DIRECTORY_FAILED
  absl::StatusOr<Draft> Make(const std::string& owner, const SocketAccess& access);
  // Shows it. kFailedPrecondition DIRECTORY_EXISTS, kInternal DIRECTORY_FAILED: then it is removed.
  absl::Status Show(const std::string& owner);
  // Removes it.
  void Discard(const std::string& owner);

  // Listens in a directory that is there, with a new socket in place of the old one.
  // kFailedPrecondition LISTENER_UNUSABLE: it is no directory, or something that is no socket is
  //   in the socket's place. kInvalidArgument PATH_TOO_LONG. kInternal DIRECTORY_FAILED
  absl::StatusOr<Draft> Reopen(const std::string& owner);

  // Takes the directory of `owner` away under another name, which is answered.
  // kInternal DIRECTORY_FAILED: it is still there.
  absl::StatusOr<std::string> Retire(const std::string& owner);
  // Removes what was retired; false: somebody has put more into it, and it stays.
  bool Remove(const std::string& retired);

 private:
  ListenerDirectory(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  void Sweep();
  absl::Status CheckPath(const std::string& owner) const;
  absl::StatusOr<UniqueFd> NewDirectory(const std::string& name);

  const std::string path_;  // Absolute.
  const UniqueFd fd_;       // Locked.
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_LISTENER_DIRECTORY_H_
