#include "engine/operations/plug_operations.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"

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

// They show who else is in their group.
void TouchOthers(Model& model, const Device& device) {
  for (const DeviceIndex index : model.GroupOf(device).members) {
    if (index != device.index && model.devices[index].present) model.Touch(model.devices[index]);
  }
}

}  // namespace

// ---- Unplug ----

absl::StatusOr<std::vector<Uid>> UnplugOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  RETURN_IF_ERROR(CheckOperator(context()));
  const Group& group = model.GroupOf(*device);
  std::vector<Uid> lanes{group.uid};
  if (group.claimed() && group.target.kind == DomainTarget::Kind::kDomain) {
    lanes.push_back(group.target.domain);
    lanes.push_back(model.Get<Domain>(group.target.domain)->ioas);
    std::sort(lanes.begin(), lanes.end());
  }
  return lanes;
}

absl::Status UnplugOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  RETURN_IF_ERROR(CheckOperator(context()));
  device_ = device->index;
  const Group& group = model.GroupOf(*device);
  group_ = group.members;
  target_ = group.target;
  default_domain_ = group.default_domain;
  held_back_ = device->held_back;
  const bool last = !AnyOther(model, *device, [](const Device& other) { return other.present; });
  // Nobody could unmap them any more.
  if (last) RETURN_IF_ERROR(CheckNoHostMappings(model, *device));
  ends_claim_ = last && group.claimed();
  last_attached_ =
      device->attachment.has_value() &&
      !AnyOther(model, *device, [](const Device& other) { return other.attachment.has_value(); });
  return absl::OkStatus();
}

absl::Status UnplugOperation::Apply(Backend& backend) {
  // First of all: from here on nothing that happens to the group reaches memory through it.
  if (!held_back_) RETURN_IF_ERROR(backend.Block(device_));
  absl::Status left = Leave(backend);
  if (!left.ok()) stuck_ = !Undo(backend).ok();
  return left;
}

absl::Status UnplugOperation::Leave(Backend& backend) {
  if (last_attached_) {
    ASSIGN_OR_RETURN(transition_, backend.Switch(group_, std::nullopt, DomainTarget{}));
    switched_ = true;
  }
  if (!ends_claim_) return absl::OkStatus();
  return backend.AssignDefault(group_, default_domain_).status();
}

absl::Status UnplugOperation::Undo(Backend& backend) {
  if (switched_) RETURN_IF_ERROR(backend.Switch(group_, std::nullopt, target_).status());
  if (held_back_) return absl::OkStatus();
  return backend.Unblock(device_);
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

void UnplugOperation::DropAttachment(Model& model, Device& device) const {
  if (!device.attachment.has_value()) return;
  device.attachment.reset();
  if (target_.kind != DomainTarget::Kind::kDomain) return;
  Domain& domain = *model.Get<Domain>(target_.domain);
  domain.DropReferences(device.uid, 1);
  model.Get<Ioas>(domain.ioas)->space().Unreserve(device.uid);
  model.Touch(domain);
}

void UnplugOperation::Commit(Model& model) {
  Device& device = model.devices[device_];
  Group& group = model.GroupOf(device);
  const DomainState from = model.StateOf(group);
  DropAttachment(model, device);
  if (last_attached_) group.target = DomainTarget{};
  if (ends_claim_) group.claimed_by.clear();
  const DomainState to = model.StateOf(group);
  if (from != to) model.CountTransition(from, to, transition_.hitless);
  model.Unplug(device, kUnplugged);
  TouchOthers(model, device);
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
  TouchOthers(model, device);
  answer() = ViewOf(model, device, context());
}

}  // namespace viommu
