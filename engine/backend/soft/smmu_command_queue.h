// engine/backend/soft/smmu_command_queue.h -- The command queue of an SMMUv3, as its driver sees
// it: commands go in, and a CMD_SYNC behind them says when they are done.
//
// Sources: Arm IHI 0070 3.5, 4.7.3, 7.1; iommufd-semantics.md 17.8.
//
// Thread-safe. Lock order: the queue's lock, then the hardware's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_COMMAND_QUEUE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_COMMAND_QUEUE_H_

#include <array>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/base/address.h"
#include "engine/entries/smmu_commands.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

class SmmuCommandQueue {
 public:
  static constexpr uint32_t kEntriesLog2 = 8;
  static constexpr uint32_t kEntries = 1 << kEntriesLog2;

  struct Counters {
    uint64_t submitted = 0;  // Commands, CMD_SYNCs included.
    uint64_t errors = 0;     // Times the hardware stopped at a command.
    uint64_t timeouts = 0;   // Times that the queue, or a device, gave no answer.
    std::array<uint64_t, 256> by_opcode = {};
  };

  // Takes the ring from `arena` and switches the queue of `hardware` on; both outlive it.
  // kResourceExhausted: no table memory.
  // kInternal: the hardware does not follow.
  static absl::StatusOr<std::unique_ptr<SmmuCommandQueue>> Create(hardware::SmmuModel* hardware,
                                                                  TableArena* arena);
  ~SmmuCommandQueue();

  // Hands the batch to the hardware and waits until it is done. A batch larger than the ring goes
  // in parts; the parts of two batches may alternate.
  // kInternal: the hardware refused a command or could not read one (QUEUE_ERROR), a device did not
  //   answer an invalidation of its TLB, which `silent` tells, or the queue does not answer
  //   (QUEUE_TIMEOUT). What was invalidated is unknown; the queue itself goes on.
  absl::Status Submit(absl::Span<const smmu::Command> batch, bool* silent = nullptr)
      ABSL_LOCKS_EXCLUDED(mutex_);

  Counters counters() const ABSL_LOCKS_EXCLUDED(mutex_);
  uint32_t head() const;                              // The slot that the hardware takes next.
  uint32_t tail() const ABSL_LOCKS_EXCLUDED(mutex_);  // The slot to be filled next.

 private:
  SmmuCommandQueue(hardware::SmmuModel* hardware, TableArena* arena, PhysAddr ring)
      : hardware_(*hardware), arena_(*arena), ring_(ring) {}

  absl::Status SubmitPart(absl::Span<const smmu::Command> part, bool* silent)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Push(const smmu::Command& command) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Until the hardware has consumed everything.
  absl::Status AwaitEmpty(bool* silent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The hardware stopped at a command. Lets it go on, past a command that it will never do.
  absl::Status TakeError(bool* silent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t* Slot(uint32_t index) const;

  hardware::SmmuModel& hardware_;
  TableArena& arena_;
  const PhysAddr ring_;

  mutable absl::Mutex mutex_;
  uint32_t producer_ ABSL_GUARDED_BY(mutex_) = 0;  // Modulo 2 * kEntries.
  Counters counters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_COMMAND_QUEUE_H_
