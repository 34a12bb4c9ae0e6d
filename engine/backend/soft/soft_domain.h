// engine/backend/soft/soft_domain.h -- One paging domain: a page table, of the first or the second
// stage, that maps what an Ioas maps.
//
// The order of every unmap is: clear the entries, flush each unit, and only then give the freed
// tables back to the arena (reliability case 6). Where a flush failed, the tables stay set aside
// until a later one succeeds. What lies nested on the domain is flushed with it, wholly: caches and
// devices know it by the guest's addresses (invariant I9).
//
// Thread-safe. Lock order: the domain's lock, then those of its children, then a unit's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SOFT_DOMAIN_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SOFT_DOMAIN_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/domain_tables.h"
#include "engine/backend/soft/unit_domain.h"
#include "engine/backend/soft/unit_port.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/dirty_bitmap.h"
#include "engine/base/status_macros.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

// A BackendMapping whose memory has been found.
struct PhysicalMapping {
  Iova iova = 0;
  PhysAddr to;
  uint64_t size_bytes = 0;
  Permission permission = Permission::kReadWrite;

  IovaRange range() const { return {iova, iova + (size_bytes - 1)}; }
};

class SoftDomain final : public UnitDomain {
 public:
  // What is nested on a domain.
  class Child {
   public:
    virtual ~Child() = default;
    // Drops everything that units cache of it.
    // kInternal: a flush failed.
    virtual absl::Status FlushParentChange() = 0;
  };

  // An empty domain, planned for `unit`. Its tables are made in `arena`, which outlives it, through
  // `store`.
  // kResourceExhausted: no table memory.
  template <typename Store>
  static absl::StatusOr<std::shared_ptr<SoftDomain>> Create(const DomainProperties& properties,
                                                            const IommuSpec& unit,
                                                            const Store& store, TableArena* arena) {
    ASSIGN_OR_RETURN(PageTable table, MakePageTable(properties, unit, store, arena));
    return std::shared_ptr<SoftDomain>(new SoftDomain(properties, std::move(table), arena));
  }

  // No unit is to use it any more. One that may do so nevertheless (AbandonUnit) and still can not
  // be flushed keeps the tables; such units outlive the domain.
  ~SoftDomain() override;

  // What requests behind `unit` will meet on a domain with these properties that is not made yet;
  // placeholders, which no entry has, stand for its table and its tag.
  static UnitTranslation TranslationToCome(const DomainProperties& properties,
                                           const UnitPort& unit);

  const DomainProperties& properties() const { return *properties_; }
  std::shared_ptr<const DomainProperties> shared_properties() const { return properties_; }
  PhysAddr root() const { return root_; }

  // Maps all or nothing.
  // As PageTable::Map, for the mapping at fault. kInternal: a flush failed that had to come first.
  absl::Status Map(absl::Span<const PhysicalMapping> mappings) ABSL_LOCKS_EXCLUDED(mutex_);

  // As PageTable::SetLargeLeaves.
  void SetLargePages(bool large_pages) ABSL_LOCKS_EXCLUDED(mutex_);

  // Removes what lies in the ranges. When it answers OK no unit caches any of it (R4).
  // kInternal: it is removed, but a flush failed, or one does that AbandonUnit left to be done.
  absl::Status Unmap(absl::Span<const IovaRange> ranges) ABSL_LOCKS_EXCLUDED(mutex_);

  // As Unmap, but flushes nothing: units may go on using what they cache of the range until
  // FlushAll, so it is not mapped again before. Tables that it unlinks are set aside.
  void UnmapDeferred(const IovaRange& range) ABSL_LOCKS_EXCLUDED(mutex_);
  // When it answers OK no unit caches anything that was unmapped before.
  // kInternal: a flush failed.
  absl::Status FlushAll() ABSL_LOCKS_EXCLUDED(mutex_);

  // Maps the page at `iova` to a doorbell; it may be there already.
  // As PageTable::Map.
  absl::Status MapDoorbell(Iova iova, PhysAddr doorbell) ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether its leaves are marked whenever a device writes, tracked or not: dirty state of an Arm
  // first stage is its leaves' permission to be written, and always on (iommufd-semantics.md 9).
  bool always_marks() const { return properties_->dirty_tracking && IsFirstStage(*properties_); }
  // Whether entries that lead to the domain, or to what is nested on it, have devices mark what
  // they write. Those that stand are to be written again (DeviceGroup::WriteAgain).
  bool tracked() const { return tracked_.load(); }
  void Track(bool enabled) { tracked_.store(enabled); }
  // What was marked, as PageTable::ReadDirty; what is cleaned is dropped from all caches as well.
  // kInternal: a flush failed; what was dirty is so still.
  absl::StatusOr<DirtyBitmap> ReadDirty(const IovaRange& range, uint64_t page_bytes, bool clear)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Makes everything clean, in the tables and in caches, those too of units that AbandonUnit left.
  // kInternal: a flush failed.
  absl::Status ClearDirty() ABSL_LOCKS_EXCLUDED(mutex_);

  // `child` is nested on the domain from here on, until it is removed.
  void AddChild(Child* child) ABSL_LOCKS_EXCLUDED(mutex_);
  void RemoveChild(Child* child) ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasChildren() const ABSL_LOCKS_EXCLUDED(mutex_);
  // A child that goes leaves behind what it could not flush: it leads through these tables.
  void AdoptFromChild(absl::Span<const Abandoned> abandoned) { Adopt(abandoned); }

 private:
  SoftDomain(const DomainProperties& properties, PageTable table, TableArena* arena);

  absl::Status UnmapLocked(absl::Span<const IovaRange> ranges)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Where a unit may still be led by a pointer to a table that a deferred unmap of `range`
  // unlinked: what is mapped there is not found before a flush.
  IovaRange ShadowOf(const IovaRange& range) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  absl::Status FlushAllLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Drops what units cache of the ranges, and all that children make of the domain.
  absl::Status FlushLocked(absl::Span<const IovaRange> ranges, bool leaves_only)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  UnitTranslation TranslationWith(uint32_t tag) const override;

  const std::shared_ptr<const DomainProperties> properties_;
  const PhysAddr root_;
  TableArena& arena_;
  std::atomic<bool> tracked_{false};

  mutable absl::Mutex mutex_;
  PageTable table_ ABSL_GUARDED_BY(mutex_);
  PageList unlinked_ ABSL_GUARDED_BY(mutex_);  // Tables that a cache may still lead to.
  bool flush_failed_ ABSL_GUARDED_BY(mutex_) =
      false;                                        // What an earlier unmap removed may be cached.
  bool flush_due_ ABSL_GUARDED_BY(mutex_) = false;  // There were deferred unmaps.
  std::vector<IovaRange> shadows_ ABSL_GUARDED_BY(mutex_);  // Of those.
  absl::flat_hash_set<Child*> children_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_DOMAIN_H_
