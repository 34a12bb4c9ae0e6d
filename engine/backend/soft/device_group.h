// engine/backend/soft/device_group.h -- What the members of one device group are attached to, and
// how they change together.
//
// All members sit behind one unit and are always on the same domain. A change takes every step that
// can fail for lack of something before the first store; if the hardware fails later, the members
// that have moved go back in reverse order (R2, reliability case 15).
//
// Thread-safe. Lock order: the group's lock, then the domain's, then the unit's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_DEVICE_GROUP_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_DEVICE_GROUP_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/soft_domain.h"
#include "engine/backend/soft/vtd_capability.h"
#include "engine/backend/soft/vtd_unit.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/entries/entry_writer.h"
#include "engine/entries/vtd_entries.h"

namespace viommu {

// Where a group is, or is to go.
struct GroupPlace {
  DomainTarget::Kind kind = DomainTarget::Kind::kBlocked;
  std::shared_ptr<SoftDomain> domain;  // For kPaging.
  bool is_default = false;             // It is the host's DMA default domain.
};

template <typename Store>
class DeviceGroup {
 public:
  // A blocked group of `source_ids` behind `unit`, which outlives it.
  DeviceGroup(VtdUnit* unit, std::vector<uint16_t> source_ids, const Store& store)
      : unit_(*unit), source_ids_(std::move(source_ids)), store_(store) {}
  // The unit is about to go as well: nobody is left to look at the entries.
  ~DeviceGroup() {
    if (place_.domain != nullptr) place_.domain->LeaveUnit(&unit_);
  }
  DeviceGroup(const DeviceGroup&) = delete;
  DeviceGroup& operator=(const DeviceGroup&) = delete;

  VtdUnit& unit() const { return unit_; }

  GroupPlace place() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return place_;
  }

  // Pure. What SwitchTo would report.
  Transition PlanSwitchTo(const GroupPlace& target) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Moves all members or none.
  // kUnimplemented, IDENTITY_UNAVAILABLE: the unit has no pass-through.
  // kResourceExhausted: the unit has no domain id left.
  // kInternal: the hardware failed.
  absl::StatusOr<Transition> SwitchTo(const GroupPlace& target) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // The entry for `target`; where it is a domain, that now counts the group as one of its users.
  absl::StatusOr<vtd::PasidEntry> Enter(const GroupPlace& target);
  vtd::PasidEntry StaticEntry(DomainTarget::Kind kind) const;
  Transition TransitionTo(const vtd::PasidEntry& entry) const;
  absl::Status WriteAll(const vtd::PasidEntry& target) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  VtdUnit& unit_;
  const std::vector<uint16_t> source_ids_;
  const Store store_;

  mutable absl::Mutex mutex_;
  GroupPlace place_ ABSL_GUARDED_BY(mutex_);
};

template <typename Store>
vtd::PasidEntry DeviceGroup<Store>::StaticEntry(DomainTarget::Kind kind) const {
  if (kind == DomainTarget::Kind::kBlocked) return vtd::MakeBlockedEntry();
  // ECAP.SMPWC: every modelled unit has it.
  return vtd::MakePassThroughEntry({vtd::DeepestLevels(unit_.spec()), true});
}

template <typename Store>
absl::StatusOr<vtd::PasidEntry> DeviceGroup<Store>::Enter(const GroupPlace& target) {
  if (target.kind == DomainTarget::Kind::kDomain) return target.domain->EnterUnit(&unit_);
  if (target.kind == DomainTarget::Kind::kIdentity && !unit_.spec().pass_through) {
    return Error(absl::StatusCode::kUnimplemented, "IDENTITY_UNAVAILABLE",
                 absl::StrCat("iommu ", unit_.spec().id, " cannot pass addresses through"))
        .Errno("EOPNOTSUPP");
  }
  return StaticEntry(target.kind);
}

template <typename Store>
Transition DeviceGroup<Store>::TransitionTo(const vtd::PasidEntry& entry) const {
  Transition transition;
  for (const uint16_t source_id : source_ids_) {
    const auto plan = PlanEntry<vtd::PasidArchitecture>(unit_.RequesterEntry(source_id), entry);
    transition.hitless = transition.hitless && plan.hitless();
  }
  if (!transition.hitless) {
    transition.reason = "the PASID-table entry changes in more than one atomic store";
  }
  return transition;
}

template <typename Store>
Transition DeviceGroup<Store>::PlanSwitchTo(const GroupPlace& target) const {
  absl::MutexLock lock(&mutex_);
  return TransitionTo(target.kind == DomainTarget::Kind::kDomain
                          ? target.domain->PreviewEntry(&unit_)
                          : StaticEntry(target.kind));
}

template <typename Store>
absl::StatusOr<Transition> DeviceGroup<Store>::SwitchTo(const GroupPlace& target) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const vtd::PasidEntry entry, Enter(target));
  const Transition transition = TransitionTo(entry);
  const absl::Status status = WriteAll(entry);
  if (!status.ok()) {
    if (target.domain != nullptr) target.domain->AbandonUnit(&unit_);
    return status;
  }
  if (place_.domain != nullptr) place_.domain->LeaveUnit(&unit_);
  place_ = target;
  return transition;
}

template <typename Store>
absl::Status DeviceGroup<Store>::WriteAll(const vtd::PasidEntry& target) {
  std::vector<vtd::PasidEntry> old;
  for (const uint16_t source_id : source_ids_) {
    old.push_back(unit_.RequesterEntry(source_id));
    absl::Status status = unit_.SetRequesterEntry(store_, source_id, target);
    if (status.ok()) continue;
    for (size_t i = old.size() - 1; i > 0; --i) {
      unit_.ForceRequesterEntry(store_, source_ids_[i - 1], old[i - 1]);
    }
    return status;
  }
  return absl::OkStatus();
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_DEVICE_GROUP_H_
