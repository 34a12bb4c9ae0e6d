// engine/backend/soft/unit_domain.h -- A domain as remapping units know it: the translation that
// leads to it and, for each unit, the tag under which that unit caches its translations and the
// PASIDs of the entries that hold it.
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
#include "absl/types/span.h"
#include "engine/backend/soft/unit_port.h"

namespace viommu {

class UnitDomain {
 public:
  virtual ~UnitDomain() = default;
  UnitDomain(const UnitDomain&) = delete;
  UnitDomain& operator=(const UnitDomain&) = delete;

  TranslationKind kind() const { return kind_; }

  // One more device group behind `unit` is about to use the domain for this PASID, or for
  // kRidPasid: answers the translation for it.
  // kResourceExhausted: the unit has no tag left.
  absl::StatusOr<UnitTranslation> EnterUnit(UnitPort* unit, uint32_t pasid)
      ABSL_LOCKS_EXCLUDED(uses_mutex_);
  // One fewer; its entries are gone from memory and caches.
  void LeaveUnit(UnitPort* unit, uint32_t pasid) ABSL_LOCKS_EXCLUDED(uses_mutex_);
  // As LeaveUnit after a failed flush: entries and translations of the domain may still be cached.
  // Its tag is not used again before the unit has been flushed.
  void AbandonUnit(UnitPort* unit, uint32_t pasid) ABSL_LOCKS_EXCLUDED(uses_mutex_);
  // Flushes the units that were abandoned: when it answers OK none of them caches anything.
  // kInternal: a flush failed.
  absl::Status FlushAbandoned() ABSL_LOCKS_EXCLUDED(uses_mutex_);

  // The domain in whose tables a device finds what it may use: this one, or a guest's nest parent.
  virtual const UnitDomain& tables() const { return *this; }

  // What EnterUnit would answer; a placeholder stands for a tag not yet taken.
  UnitTranslation Preview(const UnitPort* unit) const ABSL_LOCKS_EXCLUDED(uses_mutex_);

 protected:
  struct UnitUse {
    UnitPort* unit = nullptr;
    uint32_t tag = 0;
    absl::btree_map<uint32_t, int> groups;  // By PASID; none is 0.

    std::vector<uint32_t> pasids() const;
  };

  explicit UnitDomain(TranslationKind kind) : kind_(kind) {}

  // Pure, and of what never changes, but that the tables may be tracked or not (SoftDomain::Track).
  virtual UnitTranslation TranslationWith(uint32_t tag) const = 0;

  // A tag of its own for a unit, which it gives back; what stands for it until then.
  virtual absl::StatusOr<uint32_t> TakeTag(UnitPort* unit) { return unit->TakeTag(kind_); }
  virtual void ReturnTag(UnitPort* unit, const UnitTag& tag) { unit->ReturnTag(tag); }
  virtual uint32_t TagToCome(const UnitPort* unit) const { return unit->TagToCome(kind_); }

  UnitTag TagOf(const UnitUse& use) const { return {kind_, use.tag}; }

  // Calls `flush` for every unit, also behind one that fails, and flushes those abandoned.
  // kInternal: a flush failed.
  absl::Status FlushUses(absl::FunctionRef<absl::Status(const UnitUse&)> flush)
      ABSL_LOCKS_EXCLUDED(uses_mutex_);

  // What was abandoned and could not be flushed goes over to the domain whose tables it needs.
  struct Abandoned {
    UnitPort* unit = nullptr;
    UnitTag tag;
  };
  std::vector<Abandoned> TakeAbandoned() ABSL_LOCKS_EXCLUDED(uses_mutex_);
  void Adopt(absl::Span<const Abandoned> abandoned) ABSL_LOCKS_EXCLUDED(uses_mutex_);

 private:
  absl::Status FlushAbandonedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(uses_mutex_);
  // Drops one group; answers the tag if nothing uses it any more.
  std::optional<uint32_t> DropGroup(UnitPort* unit, uint32_t pasid)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(uses_mutex_);

  const TranslationKind kind_;

  mutable absl::Mutex uses_mutex_;
  std::vector<UnitUse> units_ ABSL_GUARDED_BY(uses_mutex_);
  std::vector<Abandoned> abandoned_ ABSL_GUARDED_BY(uses_mutex_);  // Not flushed since.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_UNIT_DOMAIN_H_
