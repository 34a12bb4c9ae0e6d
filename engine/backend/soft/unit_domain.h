// engine/backend/soft/unit_domain.h -- A domain as remapping units know it: the table entry that
// leads to it and, for each unit, the domain id under which that unit caches its translations and
// the PASIDs of the entries that hold it.
//
// A unit that the domain should have entered, but whose flush failed on the way, may use it all the
// same: it is flushed like the others until it has answered.
//
// Thread-safe. Lock order: what a subclass locks, then the lock over the uses, then a unit's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_UNIT_DOMAIN_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_UNIT_DOMAIN_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/backend/soft/vtd_unit.h"
#include "engine/entries/vtd_entries.h"

namespace viommu {

class UnitDomain {
 public:
  virtual ~UnitDomain() = default;
  UnitDomain(const UnitDomain&) = delete;
  UnitDomain& operator=(const UnitDomain&) = delete;

  // One more device group behind `unit` is about to use the domain for this PASID, or for
  // VtdUnit::kRidPasid: answers the entry for it.
  // kResourceExhausted: the unit has no domain id left.
  absl::StatusOr<vtd::PasidEntry> EnterUnit(VtdUnit* unit, uint32_t pasid)
      ABSL_LOCKS_EXCLUDED(uses_mutex_);
  // One fewer; its entries are gone from memory and caches.
  void LeaveUnit(VtdUnit* unit, uint32_t pasid) ABSL_LOCKS_EXCLUDED(uses_mutex_);
  // As LeaveUnit after a failed flush: entries and translations of the domain may still be cached.
  // Its domain id is not used again before the unit has been flushed.
  void AbandonUnit(VtdUnit* unit, uint32_t pasid) ABSL_LOCKS_EXCLUDED(uses_mutex_);
  // Flushes the units that were abandoned: when it answers OK none of them caches anything.
  // kInternal: a flush failed.
  absl::Status FlushAbandoned() ABSL_LOCKS_EXCLUDED(uses_mutex_);

  // The domain in whose tables a device finds what it may use: this one, or a guest's nest parent.
  virtual const UnitDomain& tables() const { return *this; }

  // The entry that EnterUnit would answer; a placeholder stands for a domain id not yet taken.
  vtd::PasidEntry PreviewEntry(const VtdUnit* unit) const ABSL_LOCKS_EXCLUDED(uses_mutex_);

 protected:
  struct UnitUse {
    VtdUnit* unit = nullptr;
    uint16_t domain_id = 0;
    absl::btree_map<uint32_t, int> groups;  // By PASID; none is 0.

    std::vector<uint32_t> pasids() const;
  };

  UnitDomain() = default;

  // The domain id that it shares with others like it, which then differ by PASID; none: it takes
  // one of its own on each unit. Pure, and of what never changes.
  virtual std::optional<uint16_t> SharedDomainId() const { return std::nullopt; }
  // Pure, and of what never changes, but that the tables may be tracked or not (SoftDomain::Track).
  virtual vtd::PasidEntry EntryFor(const VtdUnit& unit, uint16_t domain_id) const = 0;

  // Calls `flush` for every unit, also behind one that fails, and flushes those abandoned.
  // kInternal: a flush failed.
  absl::Status FlushUses(absl::FunctionRef<absl::Status(const UnitUse&)> flush)
      ABSL_LOCKS_EXCLUDED(uses_mutex_);

  // What was abandoned and could not be flushed goes over to the domain whose tables it needs.
  std::vector<UnitUse> TakeAbandoned() ABSL_LOCKS_EXCLUDED(uses_mutex_);
  void Adopt(std::vector<UnitUse> abandoned) ABSL_LOCKS_EXCLUDED(uses_mutex_);

 private:
  // A shared id stays taken for ever.
  void GiveBackId(VtdUnit* unit, uint16_t domain_id) const;
  absl::Status FlushAbandonedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(uses_mutex_);
  // Drops one group; answers the domain id if nothing uses it any more.
  std::optional<uint16_t> DropGroup(VtdUnit* unit, uint32_t pasid)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(uses_mutex_);

  mutable absl::Mutex uses_mutex_;
  std::vector<UnitUse> units_ ABSL_GUARDED_BY(uses_mutex_);
  std::vector<UnitUse> abandoned_ ABSL_GUARDED_BY(uses_mutex_);  // Not flushed since.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_UNIT_DOMAIN_H_
