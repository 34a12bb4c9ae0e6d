#include "engine/operations/reset_operation.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"
#include "engine/operations/fault_delivery.h"

namespace viommu {
namespace {

// What a reset that succeeds mends: the device was left blocked, and is not any more.
bool WasLeftBlocked(const Device& device) {
  return device.held_back && (device.health_cause == HealthReason::kResetFailed ||
                              device.health_cause == HealthReason::kUnplugFailed ||
                              device.health_cause == HealthReason::kInvalidationFailed);
}

}  // namespace

absl::Status ResetOperation::CheckMayReset(const Model& model, const Device& device) const {
  // An operator may reset what the host has, too.
  if (context().is_operator) return absl::OkStatus();
  return CheckClaimed(model, device, context().principal);
}

absl::StatusOr<std::vector<Uid>> ResetOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  RETURN_IF_ERROR(CheckMayReset(model, *device));
  return std::vector<Uid>{model.GroupOf(*device).uid};
}

absl::Status ResetOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(Device * device, model.FindDevice(device_id_));
  RETURN_IF_ERROR(CheckMayReset(model, *device));
  device_ = device->index;
  held_ = device->held_back;
  // As it will be shown, should the reset succeed.
  answer().device = ViewOf(model, *device, context());
  if (WasLeftBlocked(*device)) {
    answer().device.health = DeviceHealth::kHealthy;
    answer().device.health_cause = HealthReason::kNone;
    answer().device.health_reason.clear();
  }
  model.GroupOf(*device).resetting = device_;
  return absl::OkStatus();
}

void ResetOperation::Unplan(Model& model) {
  model.GroupOf(model.devices[device_]).resetting = std::nullopt;
}

absl::Status ResetOperation::Apply(Backend& backend) {
  absl::Status blocked;
  if (!held_) blocked = backend.Block(device_);
  answer().outcome = backend.Unblock(device_);
  if (blocked.ok()) return absl::OkStatus();
  // Its requests may still have met what caches held: that was no reset. It is back where it was,
  // or else it stays blocked.
  if (answer().outcome.ok()) return blocked;
  return absl::OkStatus();
}

void ResetOperation::Commit(Model& model) {
  Device& device = model.devices[device_];
  model.GroupOf(device).resetting = std::nullopt;
  WithdrawAllFaults(model, device);
  const bool was_left_blocked = WasLeftBlocked(device);
  device.held_back = !answer().outcome.ok();
  if (device.held_back) {
    device.health = DeviceHealth::kUnhealthy;
    device.health_cause = HealthReason::kResetFailed;
    device.health_reason = "blocked, as it could not be put back after a reset; reset it again";
  } else if (was_left_blocked) {
    device.health = DeviceHealth::kHealthy;
    device.health_cause = HealthReason::kNone;
    device.health_reason.clear();
  }
  model.Bump(device);
  answer().device = ViewOf(model, device, context());
  if (!device.held_back) return;
  const std::string why(answer().outcome.message());
  answer().outcome = Error(absl::StatusCode::kInternal, "RESET_FAILED",
                           absl::StrCat(device.Name(), " stays blocked: ", why))
                         .Errno("EIO")
                         .Resource(device.Name());
}

}  // namespace viommu
