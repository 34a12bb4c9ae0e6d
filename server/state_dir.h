// server/state_dir.h -- The directory of the daemon's own files, held by one daemon at a time.
#ifndef VIOMMU_SERVER_STATE_DIR_H_
#define VIOMMU_SERVER_STATE_DIR_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace viommu {

// Holds the directory until it is destroyed, or the process ends in whatever way.
// Thread-compatible.
class StateDir {
 public:
  // Makes the directory, and those above it, with mode 0700 when it is missing; proves that files
  // can be written; takes its lock.
  // kFailedPrecondition STATE_DIR_IN_USE: another daemon holds it.
  // kFailedPrecondition STATE_DIR_UNUSABLE: it can not be made or written to, or is no directory.
  static absl::StatusOr<std::unique_ptr<StateDir>> Open(const std::string& path);
  ~StateDir();
  StateDir(const StateDir&) = delete;
  StateDir& operator=(const StateDir&) = delete;

  const std::string& path() const { return path_; }

  // Readers of the file `name` see all of the old content or all of the new one.
  // kFailedPrecondition STATE_DIR_UNUSABLE: it can not be written.
  absl::Status ReplaceFile(absl::string_view name, absl::string_view content) const;

  // Removes the file `name` if it is there.
  void RemoveFile(absl::string_view name) const;

 private:
  StateDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}

  const std::string path_;
  const int lock_fd_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_STATE_DIR_H_
