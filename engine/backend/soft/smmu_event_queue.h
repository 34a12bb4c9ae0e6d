// engine/backend/soft/smmu_event_queue.h -- The event queue of an SMMUv3, as its driver sees it:
// what the unit reports of requests that it did not let pass.
//
// The ring is all that is kept: where nobody takes events, later ones are lost, and no request
// waits for room.
//
// Thread-safe. Lock order: the queue's lock, then the hardware's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_EVENT_QUEUE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_EVENT_QUEUE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
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

  // Empties the queue.
  Taken Take() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  SmmuEventQueue(hardware::SmmuModel* hardware, TableArena* arena, PhysAddr ring)
      : hardware_(*hardware), arena_(*arena), ring_(ring) {}

  smmu::Event EventAt(uint32_t index) const;

  hardware::SmmuModel& hardware_;
  TableArena& arena_;
  const PhysAddr ring_;

  absl::Mutex mutex_;
  uint32_t consumer_ ABSL_GUARDED_BY(mutex_) = 0;  // Modulo 2 * kEntries.
  uint32_t overflow_ ABSL_GUARDED_BY(mutex_) = 0;  // The flag as it was acknowledged.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_EVENT_QUEUE_H_
