#include "engine/operations/leaving.h"

#include <algorithm>

#include "engine/base/status_macros.h"
#include "engine/operations/fault_delivery.h"
#include "engine/operations/placement.h"

namespace viommu {

Leaving::Leaving(const Model& model, const Device& device, PasidOrRid pasid)
    : device_(device.index), pasid_(pasid) {
  const Group& group = model.GroupOf(device);
  group_ = group.members;
  old_ = group.TargetAt(pasid_);
  last_ = std::none_of(group_.begin(), group_.end(), [&](DeviceIndex index) {
    return index != device_ && model.devices[index].AttachmentAt(pasid_) != nullptr;
  });
  left_.Plan(model, old_, 1);
  if (!pasid_.has_value()) regions_ = RegionMove(RegionDemandOf(model, old_), {}, {device_});
}

void Leaving::Foresee(const Model& model) {
  effects_ = {regions_.Gained(model), regions_.Lost(model), {}};
  if (!last_) return;
  transition_ = model.backend().PlanSwitch(group_, pasid_, DomainTarget{});
  effects_.siblings_moved = MovedSiblings(model, group_, device_);
}

absl::Status Leaving::Switch(Backend& backend) {
  if (!last_) return absl::OkStatus();
  ASSIGN_OR_RETURN(transition_, backend.Switch(group_, pasid_, DomainTarget{}));
  return absl::OkStatus();
}

absl::Status Leaving::Undo(Backend& backend) const {
  if (!last_) return absl::OkStatus();
  return backend.Switch(group_, pasid_, old_).status();
}

void Leaving::Finish(Backend& backend) {
  if (last_) left_.Apply(backend);
}

void Leaving::CommitLast(Model& model, Group& group) {
  group.targets.erase(pasid_);
  model.CountTransition(Model::StateOf(old_), DomainState::kBlocked, transition_.hitless);
  if (!pasid_.has_value()) {
    TouchOthers(model, group_, {device_});
    return;
  }
  const auto entry = group.pasids.find(*pasid_);
  if (entry->second.kind != PasidEntry::Kind::kImplicit) return;
  model.ledger.GiveBack(*entry->second.account, Usage(Resource::kPasids, 1));
  group.pasids.erase(entry);
}

void Leaving::Commit(Model& model) {
  Device& device = model.devices[device_];
  if (last_) WithdrawFaults(model, group_, pasid_, old_);
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
