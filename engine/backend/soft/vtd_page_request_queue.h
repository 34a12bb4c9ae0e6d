// engine/backend/soft/vtd_page_request_queue.h -- Software's side of the page requests of a VT-d
// unit: the ring that the hardware fills, what of it nobody has taken yet, and the answers.
//
// Layouts: VT-d 7.5.1.1 and Linux intel/prq.c (formats-amd-riscv.md A.4). What the kernel's handler
// refuses is refused here: an address that is not canonical, privileged reading or writing, reading
// beside executing. A request that asks for nothing (a stop marker) is passed over.
//
// Thread-safe. Lock order: this one's lock, then the hardware's; the invalidation queue's is taken
// alone.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_VTD_PAGE_REQUEST_QUEUE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_VTD_PAGE_REQUEST_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/invalidation_queue.h"
#include "engine/backend/soft/page_request_backlog.h"
#include "engine/base/address.h"
#include "engine/entries/vtd_descriptors.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

class VtdPageRequestQueue {
 public:
  static constexpr uint32_t kEntries = 512;  // Of the ring; one stays free.
  static constexpr size_t kMaxUntaken = PageRequestBacklog::kMaxRequests;

  using Request = PageRequestBacklog::Request;
  using Taken = PageRequestBacklog::Taken;

  // Takes the ring from `arena` and gives it to `hardware`; all outlive the queue.
  // kResourceExhausted: no table memory.
  static absl::StatusOr<std::unique_ptr<VtdPageRequestQueue>> Create(hardware::VtdModel* hardware,
                                                                     InvalidationQueue* queue,
                                                                     TableArena* arena);
  ~VtdPageRequestQueue();

  // Empties the ring: what the page request event asks for.
  void Serve() ABSL_LOCKS_EXCLUDED(mutex_);
  // What Serve has found since the last time. Waits for no hardware.
  Taken Take() ABSL_LOCKS_EXCLUDED(mutex_);
  // Answers kInvalid what a function asked for with a PASID, or without, and nobody has taken, when
  // all that is on its way has arrived. (The tear-down of an entry ends so: iommufd-semantics.md
  // 18.3.)
  void Drop(uint16_t source_id, std::optional<uint32_t> pasid) ABSL_LOCKS_EXCLUDED(mutex_);
  // The same for all that a function asked for.
  void DropAll(uint16_t source_id) ABSL_LOCKS_EXCLUDED(mutex_);

  // kInternal: as InvalidationQueue::Submit.
  absl::Status Respond(uint16_t source_id, std::optional<uint32_t> pasid, uint32_t group,
                       vtd::PageGroupCode code);

 private:
  void DropIf(absl::FunctionRef<bool(const Request&)> is_dropped) ABSL_LOCKS_EXCLUDED(mutex_);

  VtdPageRequestQueue(hardware::VtdModel* hardware, InvalidationQueue* queue, TableArena* arena,
                      PhysAddr ring)
      : hardware_(*hardware), queue_(*queue), arena_(*arena), ring_(ring) {}

  // Moves the ring's requests to the backlog, and answers to those that do not get there to
  // `answers`.
  void Read(std::vector<vtd::Descriptor>* answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // False: there is no room for it.
  bool Accept(const Request& request, std::vector<vtd::Descriptor>* answers)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  hardware::VtdModel& hardware_;
  InvalidationQueue& queue_;
  TableArena& arena_;
  const PhysAddr ring_;

  absl::Mutex mutex_;
  uint32_t head_ ABSL_GUARDED_BY(mutex_) = 0;  // In bytes.
  PageRequestBacklog backlog_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_VTD_PAGE_REQUEST_QUEUE_H_
