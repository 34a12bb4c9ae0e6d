#include "engine/backend/soft/device_group.h"

#include <utility>

#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

TranslationKind KindOf(const GroupPlace& place) {
  switch (place.kind) {
    case DomainTarget::Kind::kBlocked:
      return TranslationKind::kBlocked;
    case DomainTarget::Kind::kIdentity:
      return TranslationKind::kIdentity;
    case DomainTarget::Kind::kDomain:
      return place.domain->kind();
  }
  return TranslationKind::kBlocked;
}

}  // namespace

DeviceGroup::DeviceGroup(UnitPort* unit, std::vector<uint32_t> requesters)
    : unit_(*unit), requesters_(std::move(requesters)) {}

DeviceGroup::~DeviceGroup() {
  for (const auto& [pasid, entered] : places_) {
    if (entered.place.domain != nullptr) entered.place.domain->LeaveUnit(&unit_, pasid);
  }
}

GroupPlace DeviceGroup::place() const {
  absl::MutexLock lock(&mutex_);
  return At(kRidPasid).place;
}

DeviceGroup::Entered DeviceGroup::At(uint32_t pasid) const {
  const auto entered = places_.find(pasid);
  return entered == places_.end() ? Entered{} : entered->second;
}

// ---- Planning ----

absl::Status DeviceGroup::CheckSwitchTo(const GroupPlace& target,
                                        std::optional<uint32_t> pasid) const {
  absl::MutexLock lock(&mutex_);
  return CheckLocked(pasid.value_or(kRidPasid), KindOf(target));
}

absl::Status DeviceGroup::CheckLocked(uint32_t pasid, TranslationKind kind) const {
  if (kind == TranslationKind::kBlocked) return absl::OkStatus();
  TranslationKind without_pasid = At(kRidPasid).translation.kind;
  std::vector<TranslationKind> with_pasids;
  for (const auto& [other, entered] : places_) {
    if (other == kRidPasid || other == pasid) continue;
    with_pasids.push_back(entered.translation.kind);
  }
  if (pasid == kRidPasid) {
    without_pasid = kind;
  } else {
    with_pasids.push_back(kind);
  }
  return unit_.CheckTogether(without_pasid, with_pasids);
}

UnitTranslation DeviceGroup::Preview(const GroupPlace& place) const {
  if (place.kind == DomainTarget::Kind::kDomain) return place.domain->Preview(&unit_);
  return {KindOf(place)};
}

Transition DeviceGroup::TransitionTo(uint32_t pasid, const UnitTranslation& target) const {
  for (const uint32_t requester : requesters_) {
    if (IsHeld(requester)) continue;
    Transition transition = unit_.PlanChange(requester, pasid, target);
    if (!transition.hitless) return transition;
  }
  return {};
}

Transition DeviceGroup::PlanSwitchTo(const GroupPlace& target,
                                     std::optional<uint32_t> pasid) const {
  absl::MutexLock lock(&mutex_);
  return TransitionTo(pasid.value_or(kRidPasid), Preview(target));
}

Transition DeviceGroup::PlanChangeTo(const UnitTranslation& target,
                                     std::optional<uint32_t> pasid) const {
  absl::MutexLock lock(&mutex_);
  return TransitionTo(pasid.value_or(kRidPasid), target);
}

// ---- Moving the group ----

absl::StatusOr<Transition> DeviceGroup::SwitchTo(const GroupPlace& target,
                                                 std::optional<uint32_t> pasid) {
  if (pasid == kRidPasid) {
    return Error(absl::StatusCode::kOutOfRange, "PASID_OUT_OF_RANGE",
                 "PASID 0 stands for requests without one")
        .Errno("EINVAL")
        .Field("pasid");
  }
  absl::MutexLock lock(&mutex_);
  const uint32_t key = pasid.value_or(kRidPasid);
  auto done = Move(key, target);
  for (const uint32_t requester : requesters_) unit_.ReleaseTable(requester, key);
  return done;
}

absl::StatusOr<Transition> DeviceGroup::Move(uint32_t pasid, const GroupPlace& target) {
  RETURN_IF_ERROR(Prepare(pasid, KindOf(target)));
  ASSIGN_OR_RETURN(UnitTranslation translation, Enter(pasid, target));
  const Transition transition = TransitionTo(pasid, translation);
  const absl::Status status = WriteAll(pasid, translation);
  if (!status.ok()) {
    if (target.domain != nullptr) target.domain->AbandonUnit(&unit_, pasid);
    return status;
  }
  MovePlace(pasid, {target, std::move(translation)});
  return transition;
}

absl::Status DeviceGroup::Prepare(uint32_t pasid, TranslationKind kind) {
  if (kind == TranslationKind::kBlocked) return absl::OkStatus();
  RETURN_IF_ERROR(CheckLocked(pasid, kind));
  for (const uint32_t requester : requesters_) {
    // The tables of a member that is held are made when it is let go.
    RETURN_IF_ERROR(IsHeld(requester) ? unit_.CheckPasid(requester, pasid)
                                      : unit_.PrepareEntry(requester, pasid, kind));
  }
  return absl::OkStatus();
}

absl::StatusOr<UnitTranslation> DeviceGroup::Enter(uint32_t pasid, const GroupPlace& target) {
  if (target.kind == DomainTarget::Kind::kDomain) return target.domain->EnterUnit(&unit_, pasid);
  return UnitTranslation{KindOf(target)};
}

absl::Status DeviceGroup::WriteAll(uint32_t pasid, const UnitTranslation& target) {
  const UnitTranslation old = At(pasid).translation;
  std::vector<uint32_t> moved;
  for (const uint32_t requester : requesters_) {
    if (IsHeld(requester)) continue;
    absl::Status status = unit_.SetEntry(requester, pasid, target);
    if (!status.ok()) {
      for (; !moved.empty(); moved.pop_back()) unit_.ForceEntry(moved.back(), pasid, old);
      return status;
    }
    moved.push_back(requester);
  }
  return absl::OkStatus();
}

void DeviceGroup::MovePlace(uint32_t pasid, const Entered& target) {
  const GroupPlace old = At(pasid).place;
  if (old.domain != nullptr) {
    // A member that is held was not flushed just now, and what it had may be owed since it was.
    if (held_.empty() || unit_.Settle().ok()) {
      old.domain->LeaveUnit(&unit_, pasid);
    } else {
      old.domain->AbandonUnit(&unit_, pasid);
    }
  }
  if (target.place.kind == DomainTarget::Kind::kBlocked) {
    places_.erase(pasid);
  } else {
    places_[pasid] = target;
  }
}

std::vector<uint32_t> DeviceGroup::PasidsOn(const UnitDomain& tables) const {
  std::vector<uint32_t> pasids;
  for (const auto& [pasid, entered] : places_) {
    const UnitDomain* const domain = entered.place.domain.get();
    if (domain != nullptr && &domain->tables() == &tables) pasids.push_back(pasid);
  }
  return pasids;
}

absl::Status DeviceGroup::WriteAgain(const UnitDomain& tables) {
  absl::MutexLock lock(&mutex_);
  for (const uint32_t pasid : PasidsOn(tables)) {
    Entered& entered = places_.at(pasid);
    UnitTranslation translation = Preview(entered.place);
    RETURN_IF_ERROR(WriteAll(pasid, translation));
    entered.translation = std::move(translation);
  }
  return absl::OkStatus();
}

void DeviceGroup::ForceAgain(const UnitDomain& tables) {
  absl::MutexLock lock(&mutex_);
  for (const uint32_t pasid : PasidsOn(tables)) {
    Entered& entered = places_.at(pasid);
    entered.translation = Preview(entered.place);
    for (const uint32_t requester : requesters_) {
      if (!IsHeld(requester)) unit_.ForceEntry(requester, pasid, entered.translation);
    }
  }
}

absl::Status DeviceGroup::DropPasids() {
  std::vector<uint32_t> pasids;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [pasid, entered] : places_) {
      if (pasid != kRidPasid) pasids.push_back(pasid);
    }
  }
  for (const uint32_t pasid : pasids) RETURN_IF_ERROR(SwitchTo(GroupPlace{}, pasid).status());
  return absl::OkStatus();
}

// ---- Holding members ----

absl::Status DeviceGroup::Hold(uint32_t requester) {
  absl::MutexLock lock(&mutex_);
  held_.insert(requester);
  return BlockMember(requester);
}

absl::Status DeviceGroup::BlockMember(uint32_t requester) {
  // Without a place of its own, too: what is owed is tried in any case.
  absl::Status result = unit_.BlockEntry(requester, kRidPasid);
  for (const auto& [pasid, entered] : places_) {
    result.Update(unit_.BlockEntry(requester, pasid));
    unit_.ReleaseTable(requester, pasid);
  }
  // What an early entry owes may have been done with a later one.
  return result.ok() ? result : unit_.Settle();
}

absl::Status DeviceGroup::LetGo(uint32_t requester) {
  absl::MutexLock lock(&mutex_);
  if (!IsHeld(requester)) return unit_.Readmit(requester);
  absl::Status status = WriteMember(requester);
  if (status.ok()) status = unit_.Readmit(requester);
  if (status.ok()) {
    held_.erase(requester);
  } else {
    BlockMember(requester).IgnoreError();  // Then it is owed.
  }
  return status;
}

absl::Status DeviceGroup::WriteMember(uint32_t requester) {
  RETURN_IF_ERROR(unit_.Settle());
  for (const auto& [pasid, entered] : places_) {
    RETURN_IF_ERROR(unit_.PrepareEntry(requester, pasid, entered.translation.kind));
  }
  for (const auto& [pasid, entered] : places_) {
    RETURN_IF_ERROR(unit_.SetEntry(requester, pasid, entered.translation));
  }
  return absl::OkStatus();
}

}  // namespace viommu
