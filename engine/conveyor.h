// engine/conveyor.h -- The inside of a MappingStream: batches under way, in order. Private.
#ifndef VIOMMU_ENGINE_CONVEYOR_H_
#define VIOMMU_ENGINE_CONVEYOR_H_

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "engine/engine.h"
#include "engine/operations/mapping_operations.h"
#include "engine/operations/unmap_operation.h"
#include "engine/pipeline/flight.h"
#include "engine/pipeline/pipeline.h"

namespace viommu {

// Thread-safe. Whoever needs a batch's answer drives it; one thread at a time, in order. What can
// not be finished when it is submitted is left to a thread of the stream's own, so that it is
// finished even when the client takes no replies and everybody else waits for it.
class MappingStream::Conveyor {
 public:
  // `ioas` is the uid that the stream's name meant when it was opened; it stays bound to that one.
  // `at_end` is called last, under no lock. Start comes before all else.
  Conveyor(Pipeline* pipeline, CallContext context, StreamOptions options, Uid ioas,
           std::function<void()> at_end);
  ~Conveyor();

  // kResourceExhausted: as StartThread.
  absl::Status Start();
  void Submit(StreamBatch batch) ABSL_LOCKS_EXCLUDED(mutex_);
  void Acknowledge() ABSL_LOCKS_EXCLUDED(mutex_);
  void CloseSubmissions() ABSL_LOCKS_EXCLUDED(mutex_);
  bool NextReply(StreamReply* reply) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // A batch between Submit and NextReply.
  struct Item {
    StreamReply reply;
    MapBatch map_batch;  // Of `map`.
    std::unique_ptr<MapOperation> map;
    std::unique_ptr<UnmapOperation> unmap;
    std::unique_ptr<Pipeline::Flight> flight;
    bool driven = false;  // A thread is finishing it.
    bool done = false;    // `reply` is final.
  };

  Operation* MakeOperation(StreamBatch batch, Item& item);
  absl::Status CheckBatch(const StreamBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Start(Item& item, Operation& operation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes the item's reply final. The caller holds the item: its reply may be taken meanwhile.
  void Drive(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Drives, in order, what is before `end` (null: everything) and, when `only_ready`, what needs no
  // waiting.
  void DriveBefore(const Item* end, bool only_ready) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Ready(const Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DriveWhatIsLeft() ABSL_LOCKS_EXCLUDED(mutex_);
  void Settle(Item& item, absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Pipeline* const pipeline_;
  const CallContext context_;
  const StreamOptions options_;
  const Uid ioas_;
  const std::function<void()> at_end_;
  Pipeline::Cohort cohort_;  // Of all batches, under OnError::kStop.
  absl::Mutex mutex_;
  absl::CondVar changed_;
  absl::CondVar left_;  // A batch was left to the stream's own thread, or the stream ends.
  std::deque<std::shared_ptr<Item>> items_ ABSL_GUARDED_BY(mutex_);  // In order of Submit.
  std::optional<uint64_t> last_sequence_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread driver_;  // None when Start has failed.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_CONVEYOR_H_
