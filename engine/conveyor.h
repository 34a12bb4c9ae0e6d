// engine/conveyor.h -- The inside of a MappingStream: batches under way, in order. Private.
#ifndef VIOMMU_ENGINE_CONVEYOR_H_
#define VIOMMU_ENGINE_CONVEYOR_H_

#include <deque>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "engine/engine.h"
#include "engine/operations/mapping_operations.h"
#include "engine/pipeline/flight.h"
#include "engine/pipeline/pipeline.h"

namespace viommu {

// Thread-safe. Whoever needs a batch's answer drives it; one thread at a time, in order.
class MappingStream::Conveyor {
 public:
  Conveyor(Pipeline* pipeline, CallContext context, StreamOptions options)
      : pipeline_(pipeline), context_(std::move(context)), options_(std::move(options)) {}
  ~Conveyor();

  void Submit(StreamBatch batch) ABSL_LOCKS_EXCLUDED(mutex_);
  void Acknowledge() ABSL_LOCKS_EXCLUDED(mutex_);
  void CloseSubmissions() ABSL_LOCKS_EXCLUDED(mutex_);
  bool NextReply(StreamReply* reply) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // A batch between Submit and NextReply.
  struct Item {
    StreamReply reply;
    std::unique_ptr<MapOperation> map;
    std::unique_ptr<UnmapOperation> unmap;
    std::unique_ptr<Pipeline::Flight> flight;
    bool driven = false;  // A thread is finishing it.
    bool done = false;    // `reply` is final.
  };

  Operation* MakeOperation(StreamBatch batch, Item& item);
  absl::Status CheckBatch(const StreamBatch& batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Start(Item& item, Operation& operation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Drive(Item& item) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Settle(Item& item, absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Pipeline* const pipeline_;
  const CallContext context_;
  const StreamOptions options_;
  absl::Mutex mutex_;
  absl::CondVar changed_;
  std::deque<std::unique_ptr<Item>> items_ ABSL_GUARDED_BY(mutex_);  // In order of Submit.
  std::optional<uint64_t> last_sequence_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_CONVEYOR_H_
