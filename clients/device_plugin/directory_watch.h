// clients/device_plugin/directory_watch.h -- Wakes when something comes into a directory or goes.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_DIRECTORY_WATCH_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_DIRECTORY_WATCH_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace viommu {

// Says that something has happened, not what: whoever is woken looks for himself, so that nothing
// hangs on an event that was missed. The directory may come and go. One thread waits; Wake may come
// from any.
class DirectoryWatch {
 public:
  explicit DirectoryWatch(std::string path);
  ~DirectoryWatch();
  DirectoryWatch(const DirectoryWatch&) = delete;
  DirectoryWatch& operator=(const DirectoryWatch&) = delete;

  // Waits until something has happened since the last wait, or for `longest`.
  void Wait(absl::Duration longest);
  // Ends a wait, now or soon.
  void Wake() const;

 private:
  // Watches the directory, if there is one and it is not watched yet.
  void Arm();
  void Lose(uint32_t event);

  const std::string path_;
  const int inotify_;
  const int wake_;  // An eventfd.
  int watched_ = -1;
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_DIRECTORY_WATCH_H_
