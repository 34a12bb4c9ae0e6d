// engine/backend/soft/smmu_page_request_queue.h -- The PRI queue of an SMMUv3, as its driver sees
// it: the ring that the unit fills, what of it nobody has taken yet, and the answers.
//
// Sources: Arm IHI 0070 8 (records, stop markers), 8.1.1 (what to do once the ring has overflowed),
// 4.5.2 (CMD_PRI_RESP). A stop marker is passed over: nobody waits for it.
//
// Thread-safe. Lock order: this one's lock, then the hardware's; the command queue's is taken
// alone.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_PAGE_REQUEST_QUEUE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_PAGE_REQUEST_QUEUE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/page_request_backlog.h"
#include "engine/backend/soft/smmu_command_queue.h"
#include "engine/base/address.h"
#include "engine/entries/smmu_commands.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

class SmmuPageRequestQueue {
 public:
  static constexpr uint32_t kEntriesLog2 = 8;
  static constexpr uint32_t kEntries = 1 << kEntriesLog2;

  using Request = PageRequestBacklog::Request;
  using Taken = PageRequestBacklog::Taken;

  // Takes the ring from `arena` and switches the queue of `hardware` on; all outlive it.
  // kResourceExhausted: no table memory.
  static absl::StatusOr<std::unique_ptr<SmmuPageRequestQueue>> Create(hardware::SmmuModel* hardware,
                                                                      SmmuCommandQueue* commands,
                                                                      TableArena* arena);
  ~SmmuPageRequestQueue();

  // Empties the ring: what the PRI queue's interrupt asks for. What does not get any further is
  // answered with a response failure.
  void Serve() ABSL_LOCKS_EXCLUDED(mutex_);
  // What Serve has found since the last time. Waits for no hardware.
  Taken Take() ABSL_LOCKS_EXCLUDED(mutex_);
  // Answers kInvalidRequest what `goes` picks of all that was asked for and nobody has taken.
  void Drop(absl::FunctionRef<bool(const Request&)> goes) ABSL_LOCKS_EXCLUDED(mutex_);

  // kInternal: as SmmuCommandQueue::Submit.
  absl::Status Respond(const smmu::PageRequestGroup& group, smmu::PriAnswer answer);

 private:
  using Commands = std::vector<smmu::Command>;

  SmmuPageRequestQueue(hardware::SmmuModel* hardware, SmmuCommandQueue* commands, TableArena* arena,
                       PhysAddr ring)
      : hardware_(*hardware), commands_(*commands), arena_(*arena), ring_(ring) {}

  // Moves the ring's requests to the backlog, and answers to those that do not get there to
  // `answers`.
  void Read(Commands* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Request RequestAt(uint32_t index) const;
  // A function that is not answered waits until it is reset; nothing better can be done for it.
  void Send(const Commands& answers) ABSL_LOCKS_EXCLUDED(mutex_);

  hardware::SmmuModel& hardware_;
  SmmuCommandQueue& commands_;
  TableArena& arena_;
  const PhysAddr ring_;

  absl::Mutex mutex_;
  uint32_t consumer_ ABSL_GUARDED_BY(mutex_) = 0;  // Modulo 2 * kEntries.
  uint32_t overflow_ ABSL_GUARDED_BY(mutex_) = 0;  // The flag as it was acknowledged.
  PageRequestBacklog backlog_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_PAGE_REQUEST_QUEUE_H_
