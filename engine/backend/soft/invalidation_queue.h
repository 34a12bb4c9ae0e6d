// engine/backend/soft/invalidation_queue.h -- The software side of a VT-d invalidation queue: a
// ring of 32-byte descriptors in memory (VT-d 6.5.2; kernel: intel/dmar.c qi_submit_sync).
//
// Submit answers only when the hardware has done everything in the batch: each batch is closed by a
// wait descriptor, whose status word is polled. Nothing that went wrong is ever reported as success
// (reliability case 10). One lock covers filling, ringing the tail and waiting, so concurrent
// submitters complete in the order in which their descriptors lie in the ring (case 8).
//
// Thread-safe.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_INVALIDATION_QUEUE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_INVALIDATION_QUEUE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/base/address.h"
#include "engine/entries/vtd_descriptors.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

class InvalidationQueue {
 public:
  static constexpr uint32_t kEntries = 256;

  struct Counters {
    uint64_t submitted = 0;  // Descriptors, wait descriptors included.
    uint64_t errors = 0;     // Descriptors refused by the hardware.
    uint64_t timeouts = 0;   // Batches that the queue, or a device, gave no answer to.
    std::array<uint64_t, vtd::kDescriptorKinds> by_kind = {};  // Indexed by DescriptorKind.
  };

  // Takes ring and status page from `arena` and enables the queue of `hardware`; both outlive it.
  // kResourceExhausted: no table memory.
  // kInternal: the hardware does not enable it.
  static absl::StatusOr<std::unique_ptr<InvalidationQueue>> Create(hardware::VtdModel* hardware,
                                                                   TableArena* arena);
  ~InvalidationQueue();

  // Hands the batch to the hardware and waits until it is done. A batch larger than the ring goes
  // in parts; the parts of two batches may alternate.
  // kInternal: the hardware refused a descriptor, or did not answer (QUEUE_ERROR, QUEUE_TIMEOUT);
  //   where it was one device's TLB that did not, `silent` and "source_id" of the metadata name the
  //   device. What was invalidated is unknown; the queue itself goes on.
  absl::Status Submit(absl::Span<const vtd::Descriptor> batch,
                      std::optional<uint16_t>* silent = nullptr) ABSL_LOCKS_EXCLUDED(mutex_);

  Counters counters() const ABSL_LOCKS_EXCLUDED(mutex_);
  uint32_t head() const;  // In descriptors: the next one that the hardware takes.
  uint32_t tail() const ABSL_LOCKS_EXCLUDED(mutex_);  // The next slot to be filled.

 private:
  InvalidationQueue(hardware::VtdModel* hardware, TableArena* arena, PhysAddr ring,
                    PhysAddr status);

  absl::Status SubmitPart(absl::Span<const vtd::Descriptor> part, std::optional<uint16_t>* silent)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Push(const vtd::Descriptor& descriptor) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AwaitStatus(uint32_t sequence, std::optional<uint16_t>* silent)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Replaces the descriptor that stopped the hardware by one without effect and lets it go on.
  absl::Status SkipRefused() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A device's TLB did not answer, so the wait was aborted. Lets the hardware go on.
  absl::Status TakeTimeout(std::optional<uint16_t>* silent) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t* Slot(uint32_t index) const;

  hardware::VtdModel& hardware_;
  TableArena& arena_;
  const PhysAddr ring_;
  const PhysAddr status_;  // Of the word that wait descriptors write.

  mutable absl::Mutex mutex_;
  uint32_t tail_ ABSL_GUARDED_BY(mutex_) = 0;
  uint32_t sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  Counters counters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_INVALIDATION_QUEUE_H_
