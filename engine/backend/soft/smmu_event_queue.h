// engine/backend/soft/smmu_event_queue.h -- The event queue of an SMMUv3, as its driver sees it:
// what the unit reports of requests that it did not let pass.
//
// What happened to requests that are over is kept as far as the ring goes: where nobody takes it,
// later events are lost. What tells of requests that wait (stalls) is kept besides, until it is
// taken: there are no more than the hardware can hold.
//
// Thread-safe. Lock order: the queue's lock, then the hardware's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_EVENT_QUEUE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_EVENT_QUEUE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/base/address.h"
#include "engine/entries/smmu_events.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

class SmmuEventQueue {
 public:
  static constexpr uint32_t kEntriesLog2 = 7;
  static constexpr uint32_t kEntries = 1 << kEntriesLog2;

  struct Taken {
    std::vector<smmu::Event> events;  // In the order in which they happened.
    bool lost = false;                // Others did not fit since the last time.
  };

  // Takes the ring from `arena` and switches the queue of `hardware` on; both outlive it.
  // kResourceExhausted: no table memory.
  static absl::StatusOr<std::unique_ptr<SmmuEventQueue>> Create(hardware::SmmuModel* hardware,
                                                                TableArena* arena);
  ~SmmuEventQueue();

  // What there is of requests that are over.
  Taken Take() ABSL_LOCKS_EXCLUDED(mutex_);
  // Drops what there is of a stream's requests that are over: nobody is to be told of them.
  void Forget(uint32_t stream_id) ABSL_LOCKS_EXCLUDED(mutex_);
  // Those of the requests that wait which `wanted` picks. Waits for no hardware.
  std::vector<smmu::Event> TakeStalls(absl::FunctionRef<bool(const smmu::Event&)> wanted)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  SmmuEventQueue(hardware::SmmuModel* hardware, TableArena* arena, PhysAddr ring)
      : hardware_(*hardware), arena_(*arena), ring_(ring) {}

  // Empties the ring.
  void Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  smmu::Event EventAt(uint32_t index) const;

  hardware::SmmuModel& hardware_;
  TableArena& arena_;
  const PhysAddr ring_;

  absl::Mutex mutex_;
  uint32_t consumer_ ABSL_GUARDED_BY(mutex_) = 0;  // Modulo 2 * kEntries.
  uint32_t overflow_ ABSL_GUARDED_BY(mutex_) = 0;  // The flag as it was acknowledged.
  Taken untaken_ ABSL_GUARDED_BY(mutex_);          // No more than kEntries.
  std::vector<smmu::Event> stalls_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_EVENT_QUEUE_H_
