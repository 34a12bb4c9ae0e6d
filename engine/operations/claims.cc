#include "engine/operations/claims.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/model/default_domains.h"

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

absl::Status CheckHeldFor(const Model& model, const Device& device, const CallContext& context) {
  if (context.is_operator && model.GroupOf(device).claimed()) return absl::OkStatus();
  return CheckClaimed(model, device, context.principal);
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
