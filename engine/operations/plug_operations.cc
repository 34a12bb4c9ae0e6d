#include "engine/operations/plug_operations.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"
#include "engine/operations/fault_delivery.h"
#include "engine/operations/pasid_operations.h"
#include "engine/operations/placement.h"

namespace viommu {
namespace {

constexpr absl::string_view kUnplugged = "UNPLUGGED";

absl::Status CheckOperator(const CallContext& context) {
  if (context.is_operator) return absl::OkStatus();
  return Error(absl::StatusCode::kPermissionDenied, "NOT_OPERATOR",
               "only an operator may plug and unplug devices")
      .Errno("EPERM");
}

// Whether `is` holds for a member of the group besides `device`.
template <typename Predicate>
bool AnyOther(const Model& model, const Device& device, Predicate is) {
  const std::vector<DeviceIndex>& members = model.GroupOf(device).members;
  return std::any_of(members.begin(), members.end(), [&](DeviceIndex index) {
    return index != device.index && is(model.devices[index]);
  });
}

// A device whose group is on a guest's stage is reached by the guest's commands, and its TLB
// flushed, under its virtual id only.
absl::Status CheckNameable(const Model& model, const Device& device, absl::string_view principal) {
  const DomainTarget target = model.GroupOf(device).TargetAt(std::nullopt);
  if (target.kind != DomainTarget::Kind::kDomain || device.vdevice != 0) return absl::OkStatus();
  const Domain& domain = *model.Get<Domain>(target.domain);
  if (!domain.properties.needs_vdevice) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "VDEVICE_MISSING",
               absl::StrCat(device.Name(), " would come to ", domain.NameFor(principal),
                            ", which translates for a guest that has no name for it"))
      .Errno("ENOENT")
      .Field("name")
      .Resource(device.Name())
      .Violation(absl::StrCat("attach its group to another domain than ", domain.NameFor(principal),
                              " until it has a vdevice"));
}

}  // namespace

// ---- Unplug ----

absl::StatusOr<std::vector<Uid>> UnplugOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  RETURN_IF_ERROR(CheckOperator(context()));
  std::vector<Uid> lanes{model.GroupOf(*device).uid};
  for (const auto& [pasid, attachment] : device->attachments) {
    AddLanes(model, attachment.target, &lanes);
  }
  VdevicesLeaving::AddLanes(model, {device->index}, &lanes);
  return SortedLanes(std::move(lanes));
}

absl::Status UnplugOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  RETURN_IF_ERROR(CheckOperator(context()));
  device_ = device->index;
  const Group& group = model.GroupOf(*device);
  group_ = group.members;
  default_domain_ = group.default_domain;
  held_back_ = device->held_back;
  const bool last = !AnyOther(model, *device, [](const Device& other) { return other.present; });
  // Nobody could unmap them any more.
  if (last) RETURN_IF_ERROR(CheckNoHostMappings(model, *device));
  ends_claim_ = last && group.claimed();
  leavings_.clear();
  left_ = 0;
  vdevices_.Plan(model, {device_});
  for (const auto& [pasid, attachment] : device->attachments) {
    leavings_.emplace_back(model, *device, pasid);
  }
  return absl::OkStatus();
}

absl::Status UnplugOperation::Apply(Backend& backend) {
  // First of all: from here on nothing that happens to the group reaches memory through it. Also
  // when it is held back already: caches may still hold what it had then.
  absl::Status left = backend.Block(device_);
  if (left.ok()) left = Leave(backend);
  if (!left.ok()) {
    stuck_ = !Undo(backend).ok();
    return left;
  }
  for (Leaving& leaving : leavings_) leaving.Finish(backend);
  vdevices_.Apply(backend);
  return absl::OkStatus();
}

absl::Status UnplugOperation::Leave(Backend& backend) {
  for (Leaving& leaving : leavings_) {
    RETURN_IF_ERROR(leaving.Switch(backend));
    ++left_;
  }
  if (!ends_claim_) return absl::OkStatus();
  ASSIGN_OR_RETURN(transition_, backend.AssignDefault(group_, default_domain_));
  return absl::OkStatus();
}

absl::Status UnplugOperation::Undo(Backend& backend) {
  for (; left_ > 0; --left_) RETURN_IF_ERROR(leavings_[left_ - 1].Undo(backend));
  // What did not answer on the way stays out until it is reset.
  const std::vector<DeviceIndex> quarantined = backend.Quarantined();
  const bool is_quarantined =
      std::find(quarantined.begin(), quarantined.end(), device_) != quarantined.end();
  return held_back_ || is_quarantined ? absl::OkStatus() : backend.Unblock(device_);
}

void UnplugOperation::Unplan(Model& model) {
  if (!stuck_) return;
  Device& device = model.devices[device_];
  device.held_back = true;
  device.health = DeviceHealth::kUnhealthy;
  device.health_cause = HealthReason::kUnplugFailed;
  device.health_reason = "blocked, but could not be taken out; unplug it again";
  model.Bump(device);
}

void UnplugOperation::Commit(Model& model) {
  Device& device = model.devices[device_];
  Group& group = model.GroupOf(device);
  WithdrawAllFaults(model, device);
  for (Leaving& leaving : leavings_) leaving.Commit(model);
  vdevices_.Commit(model);
  if (ends_claim_) {
    FreeAllPasids(model, group);
    const DomainState from = model.StateOf(group);
    group.claimed_by.clear();
    model.CountTransition(from, model.StateOf(group), transition_.hitless);
  }
  model.Unplug(device, kUnplugged);
  TouchOthers(model, group.members, {device_});
}

// ---- Plug ----

absl::StatusOr<std::vector<Uid>> PlugOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindSlot(device_id_));
  RETURN_IF_ERROR(CheckOperator(context()));
  return std::vector<Uid>{model.GroupOf(*device).uid};
}

absl::Status PlugOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindSlot(device_id_));
  device_ = device->index;
  if (device->present) {
    return Error(absl::StatusCode::kAlreadyExists, "DEVICE_PRESENT",
                 absl::StrCat(device->Name(), " is plugged in already"))
        .Errno("EEXIST")
        .Field("name")
        .Resource(device->Name());
  }
  RETURN_IF_ERROR(CheckNameable(model, *device, context().principal));
  uid_ = model.objects.NextUid();
  Device foreseen = *device;
  foreseen.uid = uid_;
  foreseen.generation = 1;
  answer() = ViewOf(model, foreseen, context());
  return absl::OkStatus();
}

void PlugOperation::Commit(Model& model) {
  Device& device = model.devices[device_];
  model.Plug(device, uid_);
  TouchOthers(model, model.GroupOf(device).members, {device_});
  answer() = ViewOf(model, device, context());
}

}  // namespace viommu
