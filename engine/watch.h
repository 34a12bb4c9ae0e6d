// engine/watch.h -- Changes of the host's objects as somebody who watches gets them.
//
// First a snapshot of what there is, object by object, then a sync mark, then changes in the order
// of their revisions; who resumes gets the sync mark first. A sync mark says that everything up to
// its revision has been shown; further ones come when long nothing did. Objects are shown as the
// caller would get them, at the time of reading:
//   - A creation is shown once (unless the object is gone by then), a deletion always. Of several
//     changes that wait to be read only the last is shown. So an object that came and went is only
//     deleted, and one that was changed right after its creation may be shown twice in its last
//     state; never in an older one than before.
//   - A snapshot of more than some hundred objects is taken piece by piece; what changes meanwhile
//     follows before the sync mark, so that there it is that of one revision.
//   - Of the mappings of an Ioas one summary waits at most. What memory regions count of them is as
//     of the region's last own change. The static domains are not watched.
//
// Nothing is queued for a reader: the engine does the same whether one, none or many watch.
#ifndef VIOMMU_ENGINE_WATCH_H_
#define VIOMMU_ENGINE_WATCH_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/types.h"

namespace viommu {

// Made by Engine::OpenWatch. One thread at a time calls Next; Cancel may come from any.
class Watch {
 public:
  ~Watch();

  // Waits for the next event, at most `patience`. False: there was none.
  // kResourceExhausted SLOW_WATCHER: more than kMaxWatchBacklog changes were not read after all
  //   before them had been. Whoever resumes soon misses nothing.
  // kCancelled WATCH_CANCELLED
  absl::StatusOr<bool> Next(absl::Duration patience, WatchEvent* event);

  // Next answers kCancelled from now on, also one that waits.
  void Cancel();

 private:
  friend class Engine;
  class Reader;
  explicit Watch(std::unique_ptr<Reader> reader);
  const std::unique_ptr<Reader> reader_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_WATCH_H_
