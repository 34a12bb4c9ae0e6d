#include "engine/operations/claims.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/default_domains.h"
#include "engine/operations/pasids.h"

namespace viommu {

absl::Status CheckClaimed(const Model& model, const Device& device, const std::string& principal) {
  const Group& group = model.GroupOf(device);
  if (group.claimed() && group.claimed_by == principal) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "DEVICE_NOT_CLAIMED",
               absl::StrCat(device.Name(), " is not claimed by you"))
      .Errno("EPERM")
      .Resource(device.Name())
      .Violation(group.claimed() ? absl::StrCat(device.Name(), " is claimed by another principal")
                                 : absl::StrCat("claim ", device.Name(), " first"));
}

absl::Status CheckHeldFor(const Model& model, const Device& device, const CallContext& context,
                          const std::string& owner) {
  const Group& group = model.GroupOf(device);
  if (!owner.empty()) {
    RETURN_IF_ERROR(CheckMayActFor(context, owner, "owner"));
    if (group.claimed() && group.claimed_by != owner) return ClaimedByAnother(device);
  }
  if (context.is_operator && group.claimed()) return absl::OkStatus();
  return CheckClaimed(model, device, context.principal);
}

absl::Status CheckMayActFor(const CallContext& context, const std::string& principal,
                            const std::string& field) {
  if (context.is_operator || principal == context.principal) return absl::OkStatus();
  return Error(absl::StatusCode::kPermissionDenied, "NOT_OPERATOR",
               absl::StrCat("only an operator may act for \"", principal, "\""))
      .Errno("EPERM")
      .Field(field);
}

absl::Status CheckMayClaim(const CallContext& context) {
  if (context.may_claim) return absl::OkStatus();
  return Error(absl::StatusCode::kPermissionDenied, "NOT_OPERATOR",
               "an operator gives you your devices, and takes them back")
      .Errno("EPERM");
}

absl::Status ClaimedByAnother(const Device& device) {
  return Error(absl::StatusCode::kFailedPrecondition, "DEVICE_CLAIMED",
               absl::StrCat(device.Name(), " is claimed by another principal"))
      .Errno("EBUSY")
      .Resource(device.Name());
}

absl::Status CheckHealthy(const Device& device) {
  if (device.health != DeviceHealth::kUnhealthy) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "DEVICE_UNHEALTHY",
               absl::StrCat(device.Name(), " is unhealthy: ", device.health_reason))
      .Errno("ENODEV")
      .Resource(device.Name());
}

absl::Status CheckNothingAttached(const Model& model, const Group& group,
                                  const std::string& reason) {
  std::vector<std::string> attached;
  std::string first;
  for (const DeviceIndex index : group.members) {
    const Device& member = model.devices[index];
    if (first.empty() && !member.attachments.empty()) first = member.Name();
    for (const auto& [pasid, attachment] : member.attachments) {
      attached.push_back(NameAt(member, pasid));
    }
  }
  if (attached.empty()) return absl::OkStatus();
  Error error(absl::StatusCode::kFailedPrecondition, reason,
              absl::StrCat(absl::StrJoin(attached, ", "), " still attached"));
  for (const std::string& name : attached) {
    error.Violation(name);
  }
  return std::move(error).Errno("EBUSY").Resource(first);
}

absl::Status CheckHostHas(const Model& model, const Device& device) {
  if (!model.GroupOf(device).claimed()) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "DEVICE_CLAIMED",
               absl::StrCat(device.Name(), " is claimed, the host does not have it"))
      .Errno("EBUSY")
      .Resource(device.Name())
      .Violation(absl::StrCat("release ", device.Name(), " first"));
}

absl::Status CheckNoHostMappings(const Model& model, const Device& device) {
  const size_t count = model.GroupOf(device).host.live();
  if (count == 0) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "HOST_MAPPINGS",
               absl::StrCat("the host maps memory for the group of ", device.Name(), " in ", count,
                            " places"))
      .Errno("EBUSY")
      .Resource(device.Name())
      .Violation(absl::StrCat("undo the ", count, " host mappings first"));
}

absl::Status CheckNotInReset(const Model& model, const Device& device) {
  const std::optional<DeviceIndex> resetting = model.GroupOf(device).resetting;
  if (!resetting.has_value()) return absl::OkStatus();
  const std::string name = model.devices[*resetting].Name();
  return Error(absl::StatusCode::kAborted, "DEVICE_IN_RESET",
               absl::StrCat(name, " is being reset; try again when that is done"))
      .Errno("EBUSY")
      .Resource(name);
}

absl::Status CheckNotHeld(const Model& model, const Device& device) {
  for (const DeviceIndex index : model.GroupOf(device).members) {
    const Device& member = model.devices[index];
    if (!member.present || !member.held_back) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "DEVICE_UNHEALTHY",
                 absl::StrCat(member.Name(), " is blocked until it has been reset"))
        .Errno("ENODEV")
        .Resource(member.Name())
        .Violation(absl::StrCat("reset ", member.Name()));
  }
  return absl::OkStatus();
}

absl::Status CheckIdentityAllowed(const Model& model, const Device& device,
                                  const CallContext& context) {
  std::string why;
  if (!context.is_operator) why = "only an operator may ask for it";
  for (const DeviceIndex index : model.GroupOf(device).members) {
    const DeviceSpec& member = model.devices[index].spec;
    if (member.untrusted) why = absl::StrCat("devices/", member.id, " is untrusted");
    if (!member.allow_identity) {
      why = absl::StrCat("allow_identity is not set for devices/", member.id);
    }
  }
  if (!why.empty()) {
    return Error(absl::StatusCode::kPermissionDenied, "IDENTITY_NOT_ALLOWED",
                 absl::StrCat(device.Name(), " may not be put on IDENTITY: ", why))
        .Errno("EPERM")
        .Resource(device.Name());
  }
  why = IdentityUnavailable(model, model.GroupOf(device));
  if (why.empty()) return absl::OkStatus();
  return Error(absl::StatusCode::kUnimplemented, "IDENTITY_UNAVAILABLE", why)
      .Errno("EOPNOTSUPP")
      .Resource(device.Name());
}

}  // namespace viommu
