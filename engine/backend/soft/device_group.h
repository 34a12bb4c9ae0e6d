// engine/backend/soft/device_group.h -- What the requests of one device group are attached to,
// those without PASID and those with each PASID, and how they change together.
//
// All members sit behind one unit and are always on the same domains. A change takes every step
// that can fail for lack of something before the first store; if the hardware fails later, the
// members that have moved go back in reverse order (R2, reliability case 15). What they go back to
// is what the group knows of them, not what a table says.
//
// A member that is held is blocked whatever the group is on: a change leaves its entries alone, and
// letting it go writes those of where the group is then. One in quarantine is moved with the
// others, and refused all the same; letting it go readmits it.
//
// Thread-safe. Lock order: the group's lock, then the domain's, then the unit's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_DEVICE_GROUP_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_DEVICE_GROUP_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/unit_domain.h"
#include "engine/backend/soft/unit_port.h"

namespace viommu {

// Where a group is, or is to go, with one PASID or without.
struct GroupPlace {
  DomainTarget::Kind kind = DomainTarget::Kind::kBlocked;
  std::shared_ptr<UnitDomain> domain;  // For kDomain.
  bool is_default = false;             // It is the host's default domain, a SoftDomain if any.
};

class DeviceGroup {
 public:
  // A blocked group of `requesters` behind `unit`, which outlives it.
  DeviceGroup(UnitPort* unit, std::vector<uint32_t> requesters);
  // The unit is about to go as well: nobody is left to look at the entries.
  ~DeviceGroup();
  DeviceGroup(const DeviceGroup&) = delete;
  DeviceGroup& operator=(const DeviceGroup&) = delete;

  const UnitPort& unit() const { return unit_; }

  // Of requests without PASID.
  GroupPlace place() const ABSL_LOCKS_EXCLUDED(mutex_);

  // Pure. Whether the unit can have the group's requests with `pasid`, or (none) without, on
  // `target`, given where the others are.
  // As UnitPort::CheckTogether.
  absl::Status CheckSwitchTo(const GroupPlace& target,
                             std::optional<uint32_t> pasid = std::nullopt) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Pure. What SwitchTo would report.
  Transition PlanSwitchTo(const GroupPlace& target,
                          std::optional<uint32_t> pasid = std::nullopt) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Pure. The same for a translation that no domain has yet.
  Transition PlanChangeTo(const UnitTranslation& target, std::optional<uint32_t> pasid) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Moves the requests with `pasid`, or (none) without, of all members or of none.
  // As CheckSwitchTo.
  // kOutOfRange, PASID_OUT_OF_RANGE: a member can not issue that PASID, or it is 0, which stands
  //   for requests without one.
  // kResourceExhausted: the unit has no tag left, or there is no table memory.
  // kInternal: the hardware failed.
  absl::StatusOr<Transition> SwitchTo(const GroupPlace& target,
                                      std::optional<uint32_t> pasid = std::nullopt)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Writes again all entries that lead to what `tables` maps, after its tracking has changed.
  // kInternal: the hardware failed; some may be as they were.
  absl::Status WriteAgain(const UnitDomain& tables) ABSL_LOCKS_EXCLUDED(mutex_);
  // The same in any case; flushes that fail are owed.
  void ForceAgain(const UnitDomain& tables) ABSL_LOCKS_EXCLUDED(mutex_);

  // Blocks the requests with any PASID.
  // kInternal: the hardware failed; some may be left.
  absl::Status DropPasids() ABSL_LOCKS_EXCLUDED(mutex_);

  // Blocks a member until it is let go. Once more is no error.
  // kInternal: it is blocked, but caches may still hold what it had; the flush is owed.
  absl::Status Hold(uint32_t requester) ABSL_LOCKS_EXCLUDED(mutex_);
  // Puts a member where its group is, wholly or not at all, out of quarantine too.
  // kResourceExhausted: no table memory.
  // kInternal: the hardware failed, or its device TLB still does not answer.
  absl::Status LetGo(uint32_t requester) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // A place that the group has entered, and what its members' entries say of it.
  struct Entered {
    GroupPlace place;
    UnitTranslation translation;
  };

  // Blocked where the group has entered nothing.
  Entered At(uint32_t pasid) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  bool IsHeld(uint32_t requester) const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return held_.contains(requester);
  }

  absl::Status CheckLocked(uint32_t pasid, TranslationKind kind) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Everything that may be refused for the members' sake.
  absl::Status Prepare(uint32_t pasid, TranslationKind kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The translation for `target`; where it is a domain, that now counts the group as one of its
  // users.
  absl::StatusOr<UnitTranslation> Enter(uint32_t pasid, const GroupPlace& target);
  UnitTranslation Preview(const GroupPlace& place) const;
  Transition TransitionTo(uint32_t pasid, const UnitTranslation& target) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Transition> Move(uint32_t pasid, const GroupPlace& target)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WriteAll(uint32_t pasid, const UnitTranslation& target)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The PASIDs with which the group is on what `tables` maps.
  std::vector<uint32_t> PasidsOn(const UnitDomain& tables) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  // Leaves where the group is with `pasid`, whose entries are gone, for `target`.
  void MovePlace(uint32_t pasid, const Entered& target) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Blocks all entries of a member, in any case.
  absl::Status BlockMember(uint32_t requester) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Writes all entries of a blocked member, until one fails.
  absl::Status WriteMember(uint32_t requester) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  UnitPort& unit_;
  const std::vector<uint32_t> requesters_;

  mutable absl::Mutex mutex_;
  // By PASID, kRidPasid for requests without one. What is not there is blocked.
  absl::btree_map<uint32_t, Entered> places_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<uint32_t> held_ ABSL_GUARDED_BY(mutex_);  // Requesters.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_DEVICE_GROUP_H_
