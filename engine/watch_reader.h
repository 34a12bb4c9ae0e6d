// engine/watch_reader.h -- The inside of a Watch: how far it has read, and what it reads next.
// Private.
#ifndef VIOMMU_ENGINE_WATCH_READER_H_
#define VIOMMU_ENGINE_WATCH_READER_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/model/model.h"
#include "engine/types.h"
#include "engine/watch.h"

namespace viommu {

// Reads piece by piece under the pipeline's lock, and hands out under none.
class Watch::Reader {
 public:
  // `mutex` guards `model`. `at_end` is called last, under no lock.
  Reader(absl::Mutex* mutex, Model* model, CallContext context, const WatchOptions& options,
         std::string boot_id, std::function<void()> at_end);
  ~Reader() { at_end_(); }

  // To be called first, under the lock.
  // kOutOfRange: as Engine::OpenWatch
  absl::Status Start(const WatchOptions& options);
  absl::StatusOr<bool> Next(absl::Duration patience, WatchEvent* event);
  void Cancel();

 private:
  // Looks until there is something, or `deadline`.
  absl::Status Fill(absl::Time deadline);
  // Lets changes gather when it has looked just now. False: `deadline` comes first.
  bool Rest(absl::Time deadline);
  // Waits for a change. False: none came before `deadline`.
  bool AwaitChange(absl::Time deadline);

  void ReadSnapshot();
  void ReadObjects(ObjectKind kind);
  void ReadDevices();
  absl::Status ReadChanges();
  // All before `revision` is shown: says so, if that is due.
  void Pass(uint64_t revision);
  // Everything is.
  void CatchUp();
  void Show(const Change& change);
  void ShowDeleted(const Change& change);
  void ShowMappings(Uid ioas);
  void ShowObject(WatchEvent::Type type, uint64_t revision, const Object& object);
  void ShowDevice(WatchEvent::Type type, uint64_t revision, const Device& device);
  void ShowSync(uint64_t revision);
  void Put(WatchEvent event);

  bool Wants(WatchKind kind) const { return (kinds_ >> static_cast<unsigned>(kind) & 1) != 0; }
  bool MaySee(const std::string& owner) const {
    return context_.is_operator || owner == context_.principal;
  }

  absl::Mutex& mutex_;
  Model& model_;  // Guarded by mutex_.
  const CallContext context_;
  const std::string boot_id_;
  const std::function<void()> at_end_;
  unsigned kinds_ = 0;  // A bit for each that is wanted.
  std::atomic<bool> cancelled_{false};
  absl::CondVar turn_;  // Signalled under mutex_.

  // Of the thread that calls Next.
  std::deque<WatchEvent> ready_;
  absl::Time next_look_ = absl::InfinitePast();
  uint64_t passed_ = 0;           // Everything up to this revision is in ready_ or was.
  uint64_t told_ = 0;             // The revision of the last event.
  std::optional<uint64_t> sync_;  // Of the sync mark that is due.
  bool live_ = false;             // It has read everything once.
  size_t section_ = 0;            // Of the snapshot: a kind.
  std::pair<std::string, std::string> after_;  // Owner and id of the last object shown there.
  size_t next_device_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_WATCH_READER_H_
