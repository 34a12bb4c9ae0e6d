// server/unique_fd.h -- A file descriptor with one owner, who closes it.
#ifndef VIOMMU_SERVER_UNIQUE_FD_H_
#define VIOMMU_SERVER_UNIQUE_FD_H_

#include <unistd.h>

#include <utility>

namespace viommu {

// Holds a descriptor or none (-1). Thread-compatible.
class UniqueFd {
 public:
  explicit UniqueFd(int fd = -1) : fd_(fd) {}
  ~UniqueFd() { Close(); }
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.Release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = other.Release();
    }
    return *this;
  }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

  // Hands the descriptor to a new owner.
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }

  void Close() {
    if (valid()) close(Release());
  }

 private:
  int fd_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_UNIQUE_FD_H_
