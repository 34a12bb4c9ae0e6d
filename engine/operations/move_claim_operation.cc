#include "engine/operations/move_claim_operation.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/operations/claims.h"
#include "engine/operations/pasid_operations.h"
#include "engine/operations/placement.h"

namespace viommu {
namespace {

absl::Status HostHasIt(const Device& device) {
  return Error(absl::StatusCode::kFailedPrecondition, "DEVICE_NOT_CLAIMED",
               absl::StrCat(device.Name(), " is claimed by nobody, the host has it"))
      .Errno("EPERM")
      .Resource(device.Name())
      .Violation(absl::StrCat("claim ", device.Name(), " from the host, without from_owner"));
}

}  // namespace

absl::StatusOr<std::vector<Uid>> MoveClaimOperation::Lanes(Model& model) {
  // Before any lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckMayClaim(context()));
  RETURN_IF_ERROR(CheckMayActFor(context(), move_.owner, "owner"));
  RETURN_IF_ERROR(CheckMayActFor(context(), move_.from_owner, "from_owner"));
  ASSIGN_OR_RETURN(std::vector<Uid> lanes, GroupChange::Lanes(model));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id()));
  VdevicesLeaving::AddLanes(model, model.GroupOf(*device).members, &lanes);
  return SortedLanes(std::move(lanes));
}

absl::Status MoveClaimOperation::CheckMovable(const Model& model, const Device& device) const {
  const Group& group = model.GroupOf(device);
  if (!group.claimed()) return HostHasIt(device);
  if (group.claimed_by != move_.from_owner) return ClaimedByAnother(device);
  RETURN_IF_ERROR(CheckNothingAttached(model, group, "IN_USE"));
  // What is broken can be taken back, but not given.
  if (move_.owner == context().principal) return absl::OkStatus();
  for (const DeviceIndex index : group.members) {
    RETURN_IF_ERROR(CheckHealthy(model.devices[index]));
  }
  return absl::OkStatus();
}

absl::Status MoveClaimOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, Locate(model));
  const Group& group = model.GroupOf(*device);
  RETURN_IF_ERROR(Model::CheckEtag(etag_, device->Etag(), device->Name()));
  held_ = group.claimed_by == move_.owner;
  if (held_) return absl::OkStatus();
  RETURN_IF_ERROR(CheckMovable(model, *device));
  vdevices_.Plan(model, group.members);
  Foresee(model);
  return absl::OkStatus();
}

absl::Status MoveClaimOperation::Apply(Backend& backend) {
  vdevices_.Apply(backend);
  return absl::OkStatus();
}

void MoveClaimOperation::Commit(Model& model) {
  vdevices_.Commit(model);
  FreeAllPasids(model, GroupIn(model));
  CommitOnPaper(model);
}

}  // namespace viommu
