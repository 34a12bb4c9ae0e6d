#include "engine/operations/detach_operation.h"

#include <algorithm>

#include "engine/base/status_macros.h"
#include "engine/operations/claims.h"
#include "engine/operations/placement.h"

namespace viommu {

absl::StatusOr<std::vector<Uid>> DetachOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  RETURN_IF_ERROR(CheckHeldFor(model, *device, context()));
  const Group& group = model.GroupOf(*device);
  std::vector<Uid> lanes{group.uid};
  AddLanes(model, group.TargetAt(pasid_), &lanes);
  return SortedLanes(std::move(lanes));
}

absl::Status DetachOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  const Group& group = model.GroupOf(*device);
  device_ = device->index;
  group_ = group.members;
  old_ = group.TargetAt(pasid_);
  RETURN_IF_ERROR(CheckHeldFor(model, *device, context()));
  attached_ = device->AttachmentAt(pasid_) != nullptr;
  if (!attached_) return absl::OkStatus();
  last_ = std::none_of(group_.begin(), group_.end(), [&](DeviceIndex index) {
    return index != device_ && model.devices[index].AttachmentAt(pasid_) != nullptr;
  });
  left_.Plan(model, old_, 1);
  if (!pasid_.has_value()) regions_ = RegionMove(RegionDemandOf(model, old_), {}, {device_});
  if (last_) answer().transition = model.backend().PlanSwitch(group_, pasid_, DomainTarget{});
  return absl::OkStatus();
}

LogicalOperation DetachOperation::Logical() const {
  return record::Detach{device_id_, pasid_, left_.uid()};
}

absl::Status DetachOperation::Apply(Backend& backend) {
  if (!last_) return absl::OkStatus();
  ASSIGN_OR_RETURN(answer().transition, backend.Switch(group_, pasid_, DomainTarget{}));
  left_.Apply(backend);
  return absl::OkStatus();
}

void DetachOperation::CommitLast(Model& model, Group& group) {
  group.targets.erase(pasid_);
  model.CountTransition(Model::StateOf(old_), DomainState::kBlocked, answer().transition.hitless);
  if (!pasid_.has_value()) {
    TouchOthers(model, group_, {device_});
    return;
  }
  const auto entry = group.pasids.find(*pasid_);
  if (entry->second.kind != PasidEntry::Kind::kImplicit) return;
  model.ledger.GiveBack(*entry->second.account, Usage(Resource::kPasids, 1));
  group.pasids.erase(entry);
}

void DetachOperation::Commit(Model& model) {
  Device& device = model.devices[device_];
  model.Bump(device);
  if (old_.kind == DomainTarget::Kind::kDomain) {
    model.Get<Domain>(old_.domain)->DropReferences(device.uid, 1);
    TouchDomain(model, old_);
  }
  regions_.Commit(model);
  device.attachments.erase(pasid_);
  left_.Commit(model);
  if (last_) CommitLast(model, model.GroupOf(device));
}

}  // namespace viommu
