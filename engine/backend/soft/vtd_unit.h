// engine/backend/soft/vtd_unit.h -- The driver of one VT-d remapping unit in scalable mode.
//
// Owns the unit's root, context and PASID tables, its domain ids and its invalidation queue. Each
// requester (source id) has one PASID table, whose entry 0 serves requests without PASID: what the
// requester is attached to is that entry. All tables above it are made before translation is
// enabled and never change afterwards.
//
// Thread-safe. Lock order: the unit's lock, then the queue's, then the hardware's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_VTD_UNIT_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_VTD_UNIT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/domain_ids.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/invalidation_queue.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/entries/entry_writer.h"
#include "engine/entries/vtd_entries.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

class VtdUnit {
 public:
  // A unit whose requesters are all blocked, with translation not yet enabled. `memory` and `arena`
  // outlive it; the arena lies in the memory.
  // kResourceExhausted: no table memory.
  static absl::StatusOr<std::unique_ptr<VtdUnit>> Create(const IommuSpec& spec,
                                                         absl::Span<const uint16_t> requesters,
                                                         PhysicalMemory* memory, TableArena* arena);
  ~VtdUnit();

  const IommuSpec& spec() const { return spec_; }
  hardware::VtdModel& hardware() { return *hardware_; }
  const hardware::VtdModel& hardware() const { return *hardware_; }
  const InvalidationQueue& queue() const { return *queue_; }

  // From here on every request is translated.
  // kInternal: the hardware does not follow.
  absl::Status EnableTranslation();

  // What the requester's entry holds now.
  vtd::PasidEntry RequesterEntry(uint16_t source_id) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Changes a requester's entry and flushes what the hardware may have cached under the old one,
  // in the order PASID cache, IOTLB (iommufd-semantics.md 18.3; formats-amd-riscv.md A.5), so that
  // when it returns no request uses the old entry.
  // kInternal: a flush failed. The old entry is back, but both may be cached: what the target's
  //   domain id tags must not be reused.
  template <typename Store>
  absl::Status SetRequesterEntry(const Store& store, uint16_t source_id,
                                 const vtd::PasidEntry& target) ABSL_LOCKS_EXCLUDED(mutex_);

  // Writes an entry whether or not the hardware answers, and asks it to flush everything: how a
  // change that failed half way is taken back.
  template <typename Store>
  void ForceRequesterEntry(const Store& store, uint16_t source_id, const vtd::PasidEntry& entry)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // An id for the entries and cached translations of one paging domain.
  // kResourceExhausted, DOMAIN_IDS_EXHAUSTED: none is left.
  absl::StatusOr<uint16_t> TakeDomainId() ABSL_LOCKS_EXCLUDED(mutex_);
  // No entry holds the id, and whatever it tagged is flushed.
  void ReturnDomainId(uint16_t id) ABSL_LOCKS_EXCLUDED(mutex_);

  // Drops all cached translations of the ranges under a domain id. With `leaves_only` cached
  // pointers to tables may stay: no table was unlinked.
  // kInternal: the queue failed; what is still cached is unknown.
  absl::Status Flush(uint16_t domain_id, absl::Span<const IovaRange> ranges, bool leaves_only);

 private:
  VtdUnit(const IommuSpec& spec, PhysicalMemory* memory, TableArena* arena);

  // Makes the tables that lead to a requester's PASID table.
  absl::Status AddRequester(uint16_t source_id);
  absl::StatusOr<PhysAddr> ContextTableFor(uint16_t source_id);
  absl::StatusOr<PhysAddr> NewTablePage();
  absl::Status SetRootTable();
  absl::Status Command(uint32_t command);
  uint64_t* EntryWords(uint16_t source_id) const;
  vtd::PasidEntry ReadEntry(uint16_t source_id) const;
  template <typename Store>
  void ForceLocked(const Store& store, uint16_t source_id, const vtd::PasidEntry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Drops what the hardware may hold because of `old`, the requester's entry until now.
  absl::Status FlushEntry(const vtd::PasidEntry& old);
  // The last resort after a failed flush.
  void FlushEverything();

  const IommuSpec spec_;
  TableArena& arena_;
  std::unique_ptr<hardware::VtdModel> hardware_;
  std::unique_ptr<InvalidationQueue> queue_;

  // Constant once Create has returned.
  PhysAddr root_table_;
  std::vector<PhysAddr> table_pages_;                     // All pages of all tables here.
  absl::flat_hash_map<uint16_t, PhysAddr> pasid_tables_;  // By source id.

  mutable absl::Mutex mutex_;  // Also held by the only writer of an entry.
  DomainIds domain_ids_ ABSL_GUARDED_BY(mutex_);
};

template <typename Store>
absl::Status VtdUnit::SetRequesterEntry(const Store& store, uint16_t source_id,
                                        const vtd::PasidEntry& target) {
  absl::MutexLock lock(&mutex_);
  const vtd::PasidEntry old = ReadEntry(source_id);
  const auto plan = PlanEntry<vtd::PasidArchitecture>(old, target);
  absl::Status status =
      WriteEntry(plan, EntryWords(source_id), store, [&] { return FlushEntry(old); });
  if (!status.ok()) ForceLocked(store, source_id, old);
  return status;
}

template <typename Store>
void VtdUnit::ForceRequesterEntry(const Store& store, uint16_t source_id,
                                  const vtd::PasidEntry& entry) {
  absl::MutexLock lock(&mutex_);
  ForceLocked(store, source_id, entry);
}

template <typename Store>
void VtdUnit::ForceLocked(const Store& store, uint16_t source_id, const vtd::PasidEntry& entry) {
  const auto plan = PlanEntry<vtd::PasidArchitecture>(ReadEntry(source_id), entry);
  const auto flush = [&] {
    FlushEverything();
    return absl::OkStatus();
  };
  WriteEntry(plan, EntryWords(source_id), store, flush).IgnoreError();  // This flush answers OK.
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_VTD_UNIT_H_
