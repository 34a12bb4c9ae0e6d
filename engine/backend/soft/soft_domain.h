// engine/backend/soft/soft_domain.h -- One paging domain: a page table, and for each unit that uses
// it the domain id under which that unit caches its translations.
//
// The order of every unmap is: clear the entries, flush each unit, and only then give the freed
// tables back to the arena (reliability case 6). Where a flush failed, the tables stay set aside
// until a later one succeeds. A unit that the domain should have entered, but whose flush failed on
// the way, may use it all the same: it is flushed like the others until it has answered.
//
// Thread-safe. Lock order: the domain's lock, then a unit's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SOFT_DOMAIN_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SOFT_DOMAIN_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/vtd_unit.h"
#include "engine/base/address.h"
#include "engine/base/status_macros.h"
#include "engine/entries/vtd_entries.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/table_arena.h"
#include "engine/pagetable/vtd_second_stage.h"

namespace viommu {

// A BackendMapping whose memory has been found.
struct PhysicalMapping {
  Iova iova = 0;
  PhysAddr to;
  uint64_t size_bytes = 0;
  Permission permission = Permission::kReadWrite;

  IovaRange range() const { return {iova, iova + (size_bytes - 1)}; }
};

class SoftDomain {
 public:
  // An empty domain. Its tables are made in `arena`, which outlives it, through `store`.
  // kResourceExhausted: no table memory.
  template <typename Store>
  static absl::StatusOr<std::shared_ptr<SoftDomain>> Create(const DomainProperties& properties,
                                                            int host_address_bits,
                                                            const Store& store, TableArena* arena) {
    ASSIGN_OR_RETURN(const VtdSecondStage format, FormatOf(properties, host_address_bits));
    ASSIGN_OR_RETURN(PageTable table, PageTable::Create(format, store, arena));
    return std::shared_ptr<SoftDomain>(new SoftDomain(properties, std::move(table), arena));
  }

  // No unit is to use it any more. One that may do so nevertheless (AbandonUnit) and still can not
  // be flushed keeps the tables; such units outlive the domain.
  ~SoftDomain();

  const DomainProperties& properties() const { return properties_; }

  // Maps all or nothing.
  // As PageTable::Map, for the mapping at fault.
  absl::Status Map(absl::Span<const PhysicalMapping> mappings) ABSL_LOCKS_EXCLUDED(mutex_);

  // As PageTable::SetLargeLeaves.
  void SetLargePages(bool large_pages) ABSL_LOCKS_EXCLUDED(mutex_);

  // Removes what lies in the ranges. When it answers OK no unit caches any of it (R4).
  // kInternal: it is removed, but a flush failed, or one does that AbandonUnit left to be done.
  absl::Status Unmap(absl::Span<const IovaRange> ranges) ABSL_LOCKS_EXCLUDED(mutex_);

  // One more device group behind `unit` is about to use the domain: answers the entry for it.
  // kResourceExhausted: the unit has no domain id left.
  absl::StatusOr<vtd::PasidEntry> EnterUnit(VtdUnit* unit) ABSL_LOCKS_EXCLUDED(mutex_);
  // One fewer; its entries are gone from memory and caches.
  void LeaveUnit(VtdUnit* unit) ABSL_LOCKS_EXCLUDED(mutex_);
  // As LeaveUnit after a failed flush: entries and translations of the domain may still be cached.
  // Its domain id is not used again before the unit has been flushed.
  void AbandonUnit(VtdUnit* unit) ABSL_LOCKS_EXCLUDED(mutex_);
  // Flushes the units that were abandoned: when it answers OK none of them caches anything.
  // kInternal: a flush failed.
  absl::Status FlushAbandoned() ABSL_LOCKS_EXCLUDED(mutex_);

  // The entry that EnterUnit would answer; a placeholder stands for a domain id not yet taken.
  vtd::PasidEntry PreviewEntry(const VtdUnit* unit) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct UnitUse {
    VtdUnit* unit = nullptr;
    uint16_t domain_id = 0;
    int groups = 0;
  };

  SoftDomain(const DomainProperties& properties, PageTable table, TableArena* arena);
  static absl::StatusOr<VtdSecondStage> FormatOf(const DomainProperties& properties,
                                                 int host_address_bits);

  absl::Status UnmapLocked(absl::Span<const IovaRange> ranges)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status FlushAbandonedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  vtd::PasidEntry EntryFor(uint16_t domain_id) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Drops one group; the domain id if it was the unit's last one.
  std::optional<uint16_t> DropGroup(VtdUnit* unit) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const DomainProperties properties_;
  TableArena& arena_;

  mutable absl::Mutex mutex_;
  PageTable table_ ABSL_GUARDED_BY(mutex_);
  PageList unlinked_ ABSL_GUARDED_BY(mutex_);  // Tables that a cache may still lead to.
  bool flush_failed_ ABSL_GUARDED_BY(mutex_) =
      false;  // What an earlier unmap removed may be cached.
  std::vector<UnitUse> units_ ABSL_GUARDED_BY(mutex_);
  std::vector<UnitUse> abandoned_ ABSL_GUARDED_BY(mutex_);  // Not flushed since.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_DOMAIN_H_
