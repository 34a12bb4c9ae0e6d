#include "clients/device_plugin/directory_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

namespace viommu {
namespace {

constexpr uint32_t kEvents =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MOVE_SELF | IN_ONLYDIR;
// While there is no directory there are no events that tell of one.
constexpr absl::Duration kSearch = absl::Milliseconds(200);

}  // namespace

DirectoryWatch::DirectoryWatch(std::string path)
    : path_(std::move(path)),
      inotify_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)),
      wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  Arm();
}

DirectoryWatch::~DirectoryWatch() {
  if (inotify_ >= 0) close(inotify_);
  if (wake_ >= 0) close(wake_);
}

void DirectoryWatch::Arm() {
  if (watched_ < 0) watched_ = inotify_add_watch(inotify_, path_.c_str(), kEvents);
}

// The directory may be gone, and the watch with it, or it has another name now. Either way another
// may come in its place.
void DirectoryWatch::Lose(uint32_t event) {
  if ((event & IN_MOVE_SELF) != 0) inotify_rm_watch(inotify_, watched_);
  if ((event & (IN_MOVE_SELF | IN_IGNORED)) != 0) watched_ = -1;
}

void DirectoryWatch::Wait(absl::Duration longest) {
  if (watched_ < 0) longest = std::min(longest, kSearch);
  std::array<pollfd, 2> files = {pollfd{inotify_, POLLIN, 0}, pollfd{wake_, POLLIN, 0}};
  poll(files.data(), files.size(), static_cast<int>(absl::ToInt64Milliseconds(longest)));
  uint64_t wakes = 0;
  while (read(wake_, &wakes, sizeof(wakes)) > 0) {
  }
  alignas(inotify_event) std::array<char, 4096> events;
  ssize_t size = 0;
  while ((size = read(inotify_, events.data(), events.size())) > 0) {
    for (ssize_t at = 0; at < size;) {
      inotify_event event = {};
      std::memcpy(&event, events.data() + at, sizeof(event));
      if (event.wd == watched_) Lose(event.mask);
      at += static_cast<ssize_t>(sizeof(event)) + event.len;
    }
  }
  Arm();
}

void DirectoryWatch::Wake() const {
  const uint64_t once = 1;
  // It can only fail when a wake is under way already.
  if (write(wake_, &once, sizeof(once)) < 0) return;
}

}  // namespace viommu
