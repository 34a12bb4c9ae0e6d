// engine/backend/soft/device_group.h -- What the requests of one device group are attached to,
// those without PASID and those with each PASID, and how they change together.
//
// All members sit behind one unit and are always on the same domains. A change takes every step
// that can fail for lack of something before the first store; if the hardware fails later, the
// members that have moved go back in reverse order (R2, reliability case 15).
//
// A member that is held is blocked whatever the group is on: a change leaves its entries alone, and
// letting it go writes those of where the group is then.
//
// Thread-safe. Lock order: the group's lock, then the domain's, then the unit's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_DEVICE_GROUP_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_DEVICE_GROUP_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/unit_domain.h"
#include "engine/backend/soft/vtd_capability.h"
#include "engine/backend/soft/vtd_unit.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/entries/entry_writer.h"
#include "engine/entries/vtd_entries.h"

namespace viommu {

// Where a group is, or is to go, with one PASID or without.
struct GroupPlace {
  DomainTarget::Kind kind = DomainTarget::Kind::kBlocked;
  std::shared_ptr<UnitDomain> domain;  // For kDomain.
  bool is_default = false;             // It is the host's default domain, a SoftDomain if any.
};

template <typename Store>
class DeviceGroup {
 public:
  // A blocked group of `source_ids` behind `unit`, which outlives it.
  DeviceGroup(VtdUnit* unit, std::vector<uint16_t> source_ids, const Store& store)
      : unit_(*unit), source_ids_(std::move(source_ids)), store_(store) {}
  // The unit is about to go as well: nobody is left to look at the entries.
  ~DeviceGroup() {
    for (const auto& [pasid, place] : places_) {
      if (place.domain != nullptr) place.domain->LeaveUnit(&unit_, pasid);
    }
  }
  DeviceGroup(const DeviceGroup&) = delete;
  DeviceGroup& operator=(const DeviceGroup&) = delete;

  VtdUnit& unit() const { return unit_; }

  // Of requests without PASID.
  GroupPlace place() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return PlaceAt(VtdUnit::kRidPasid);
  }

  // Pure. What SwitchTo would report.
  Transition PlanSwitchTo(const GroupPlace& target,
                          std::optional<uint32_t> pasid = std::nullopt) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Pure. The same for an entry that no domain has yet.
  Transition PlanChangeTo(const vtd::PasidEntry& entry, std::optional<uint32_t> pasid) const
      ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return TransitionTo(pasid.value_or(VtdUnit::kRidPasid), entry);
  }

  // Moves the requests with `pasid`, or (none) without, of all members or of none.
  // kUnimplemented, IDENTITY_UNAVAILABLE: the unit has no pass-through.
  // kOutOfRange, PASID_OUT_OF_RANGE: a member can not issue that PASID, or it is 0, which stands
  //   for requests without one.
  // kResourceExhausted: the unit has no domain id left, or there is no table memory.
  // kInternal: the hardware failed.
  absl::StatusOr<Transition> SwitchTo(const GroupPlace& target,
                                      std::optional<uint32_t> pasid = std::nullopt)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Writes again all entries that lead to what `tables` maps, after its tracking has changed:
  // hitless, as only that changes in them. kInternal: the hardware failed; some may be as they
  // were.
  absl::Status WriteAgain(const UnitDomain& tables) ABSL_LOCKS_EXCLUDED(mutex_);
  // The same in any case; flushes that fail are owed.
  void ForceAgain(const UnitDomain& tables) ABSL_LOCKS_EXCLUDED(mutex_);

  // Blocks the requests with any PASID.
  // kInternal: the hardware failed; some may be left.
  absl::Status DropPasids() ABSL_LOCKS_EXCLUDED(mutex_);

  // Blocks a member until it is let go. Once more is no error.
  // kInternal: it is blocked, but caches may still hold what it had; the flush is owed.
  absl::Status Hold(uint16_t source_id) ABSL_LOCKS_EXCLUDED(mutex_);
  // Puts a member where its group is, wholly or not at all.
  // kResourceExhausted: no table memory.
  // kInternal: the hardware failed.
  absl::Status LetGo(uint16_t source_id) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  GroupPlace PlaceAt(uint32_t pasid) const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    const auto place = places_.find(pasid);
    return place == places_.end() ? GroupPlace{} : place->second;
  }
  bool IsHeld(uint16_t source_id) const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return held_.contains(source_id);
  }

  // Everything that may be refused for the members' sake.
  absl::Status Prepare(uint32_t pasid, const GroupPlace& target)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The entry for `target`; where it is a domain, that now counts the group as one of its users.
  absl::StatusOr<vtd::PasidEntry> Enter(uint32_t pasid, const GroupPlace& target);
  vtd::PasidEntry StaticEntry(DomainTarget::Kind kind) const;
  vtd::PasidEntry PreviewEntry(const GroupPlace& place) const;
  Transition TransitionTo(uint32_t pasid, const vtd::PasidEntry& entry) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Transition> Move(uint32_t pasid, const GroupPlace& target)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WriteAll(uint32_t pasid, const vtd::PasidEntry& target)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Leaves where the group is with `pasid`, whose entries are gone, for `target`.
  void MovePlace(uint32_t pasid, const GroupPlace& target) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Blocks all entries of a member, in any case.
  absl::Status BlockMember(uint16_t source_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Writes all entries of a blocked member, until one fails.
  absl::Status WriteMember(uint16_t source_id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  VtdUnit& unit_;
  const std::vector<uint16_t> source_ids_;
  const Store store_;

  mutable absl::Mutex mutex_;
  // By PASID, VtdUnit::kRidPasid for requests without one. What is not there is blocked.
  absl::btree_map<uint32_t, GroupPlace> places_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<uint16_t> held_ ABSL_GUARDED_BY(mutex_);  // Source ids.
};

template <typename Store>
vtd::PasidEntry DeviceGroup<Store>::StaticEntry(DomainTarget::Kind kind) const {
  if (kind == DomainTarget::Kind::kBlocked) return vtd::MakeBlockedEntry();
  // ECAP.SMPWC: every modelled unit has it.
  return vtd::MakePassThroughEntry({vtd::DeepestLevels(unit_.spec()), true});
}

template <typename Store>
vtd::PasidEntry DeviceGroup<Store>::PreviewEntry(const GroupPlace& place) const {
  return place.kind == DomainTarget::Kind::kDomain ? place.domain->PreviewEntry(&unit_)
                                                   : StaticEntry(place.kind);
}

template <typename Store>
absl::Status DeviceGroup<Store>::Prepare(uint32_t pasid, const GroupPlace& target) {
  if (target.kind == DomainTarget::Kind::kBlocked) return absl::OkStatus();
  if (target.kind == DomainTarget::Kind::kIdentity && !unit_.spec().pass_through) {
    return Error(absl::StatusCode::kUnimplemented, "IDENTITY_UNAVAILABLE",
                 absl::StrCat("iommu ", unit_.spec().id, " cannot pass addresses through"))
        .Errno("EOPNOTSUPP");
  }
  for (const uint16_t source_id : source_ids_) {
    // The tables of a member that is held are made when it is let go.
    RETURN_IF_ERROR(IsHeld(source_id) ? unit_.CheckPasid(source_id, pasid)
                                      : unit_.PrepareEntry(source_id, pasid));
  }
  return absl::OkStatus();
}

template <typename Store>
absl::StatusOr<vtd::PasidEntry> DeviceGroup<Store>::Enter(uint32_t pasid,
                                                          const GroupPlace& target) {
  if (target.kind == DomainTarget::Kind::kDomain) return target.domain->EnterUnit(&unit_, pasid);
  return StaticEntry(target.kind);
}

template <typename Store>
Transition DeviceGroup<Store>::TransitionTo(uint32_t pasid, const vtd::PasidEntry& entry) const {
  Transition transition;
  for (const uint16_t source_id : source_ids_) {
    if (IsHeld(source_id)) continue;
    const auto plan = PlanEntry<vtd::PasidArchitecture>(unit_.EntryOf(source_id, pasid), entry);
    transition.hitless = transition.hitless && plan.hitless();
  }
  if (!transition.hitless) {
    transition.reason = "the PASID-table entry changes in more than one atomic store";
  }
  return transition;
}

template <typename Store>
Transition DeviceGroup<Store>::PlanSwitchTo(const GroupPlace& target,
                                            std::optional<uint32_t> pasid) const {
  absl::MutexLock lock(&mutex_);
  return TransitionTo(pasid.value_or(VtdUnit::kRidPasid), PreviewEntry(target));
}

template <typename Store>
absl::StatusOr<Transition> DeviceGroup<Store>::SwitchTo(const GroupPlace& target,
                                                        std::optional<uint32_t> pasid) {
  if (pasid == VtdUnit::kRidPasid) {
    return Error(absl::StatusCode::kOutOfRange, "PASID_OUT_OF_RANGE",
                 "PASID 0 stands for requests without one")
        .Errno("EINVAL")
        .Field("pasid");
  }
  absl::MutexLock lock(&mutex_);
  const uint32_t key = pasid.value_or(VtdUnit::kRidPasid);
  auto done = Move(key, target);
  for (const uint16_t source_id : source_ids_) unit_.ReleaseTable(source_id, key);
  return done;
}

template <typename Store>
absl::StatusOr<Transition> DeviceGroup<Store>::Move(uint32_t pasid, const GroupPlace& target) {
  RETURN_IF_ERROR(Prepare(pasid, target));
  ASSIGN_OR_RETURN(const vtd::PasidEntry entry, Enter(pasid, target));
  const Transition transition = TransitionTo(pasid, entry);
  const absl::Status status = WriteAll(pasid, entry);
  if (!status.ok()) {
    if (target.domain != nullptr) target.domain->AbandonUnit(&unit_, pasid);
    return status;
  }
  MovePlace(pasid, target);
  return transition;
}

template <typename Store>
void DeviceGroup<Store>::MovePlace(uint32_t pasid, const GroupPlace& target) {
  const GroupPlace old = PlaceAt(pasid);
  if (old.domain != nullptr) {
    // A member that is held was not flushed just now, and what it had may be owed since it was.
    if (held_.empty() || unit_.Settle().ok()) {
      old.domain->LeaveUnit(&unit_, pasid);
    } else {
      old.domain->AbandonUnit(&unit_, pasid);
    }
  }
  if (target.kind == DomainTarget::Kind::kBlocked) {
    places_.erase(pasid);
  } else {
    places_[pasid] = target;
  }
}

template <typename Store>
absl::Status DeviceGroup<Store>::WriteAll(uint32_t pasid, const vtd::PasidEntry& target) {
  std::vector<std::pair<uint16_t, vtd::PasidEntry>> moved;  // And what they had.
  for (const uint16_t source_id : source_ids_) {
    if (IsHeld(source_id)) continue;
    const vtd::PasidEntry old = unit_.EntryOf(source_id, pasid);
    absl::Status status = unit_.SetEntry(store_, source_id, pasid, target);
    if (!status.ok()) {
      for (; !moved.empty(); moved.pop_back()) {
        unit_.ForceEntry(store_, moved.back().first, pasid, moved.back().second);
      }
      return status;
    }
    moved.emplace_back(source_id, old);
  }
  return absl::OkStatus();
}

template <typename Store>
absl::Status DeviceGroup<Store>::WriteAgain(const UnitDomain& tables) {
  absl::MutexLock lock(&mutex_);
  for (const auto& [pasid, place] : places_) {
    if (place.domain == nullptr || &place.domain->tables() != &tables) continue;
    RETURN_IF_ERROR(WriteAll(pasid, PreviewEntry(place)));
  }
  return absl::OkStatus();
}

template <typename Store>
void DeviceGroup<Store>::ForceAgain(const UnitDomain& tables) {
  absl::MutexLock lock(&mutex_);
  for (const auto& [pasid, place] : places_) {
    if (place.domain == nullptr || &place.domain->tables() != &tables) continue;
    for (const uint16_t source_id : source_ids_) {
      if (!IsHeld(source_id)) unit_.ForceEntry(store_, source_id, pasid, PreviewEntry(place));
    }
  }
}

template <typename Store>
absl::Status DeviceGroup<Store>::DropPasids() {
  std::vector<uint32_t> pasids;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [pasid, place] : places_) {
      if (pasid != VtdUnit::kRidPasid) pasids.push_back(pasid);
    }
  }
  for (const uint32_t pasid : pasids) RETURN_IF_ERROR(SwitchTo(GroupPlace{}, pasid).status());
  return absl::OkStatus();
}

template <typename Store>
absl::Status DeviceGroup<Store>::Hold(uint16_t source_id) {
  absl::MutexLock lock(&mutex_);
  held_.insert(source_id);
  return BlockMember(source_id);
}

template <typename Store>
absl::Status DeviceGroup<Store>::BlockMember(uint16_t source_id) {
  // Without a place of its own, too: what is owed is tried in any case.
  absl::Status result = unit_.BlockEntry(store_, source_id, VtdUnit::kRidPasid);
  for (const auto& [pasid, place] : places_) {
    result.Update(unit_.BlockEntry(store_, source_id, pasid));
    unit_.ReleaseTable(source_id, pasid);
  }
  // What an early entry owes may have been done with a later one.
  return result.ok() ? result : unit_.Settle();
}

template <typename Store>
absl::Status DeviceGroup<Store>::LetGo(uint16_t source_id) {
  absl::MutexLock lock(&mutex_);
  if (!IsHeld(source_id)) return absl::OkStatus();
  absl::Status status = WriteMember(source_id);
  if (status.ok()) {
    held_.erase(source_id);
  } else {
    BlockMember(source_id).IgnoreError();  // Then it is owed.
  }
  return status;
}

template <typename Store>
absl::Status DeviceGroup<Store>::WriteMember(uint16_t source_id) {
  RETURN_IF_ERROR(unit_.Settle());
  for (const auto& [pasid, place] : places_) {
    RETURN_IF_ERROR(unit_.PrepareEntry(source_id, pasid));
  }
  for (const auto& [pasid, place] : places_) {
    RETURN_IF_ERROR(unit_.SetEntry(store_, source_id, pasid, PreviewEntry(place)));
  }
  return absl::OkStatus();
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_DEVICE_GROUP_H_
