#include "engine/operations/detach_operation.h"

#include "engine/base/status_macros.h"
#include "engine/operations/claims.h"
#include "engine/operations/placement.h"

namespace viommu {

absl::StatusOr<std::vector<Uid>> DetachOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  RETURN_IF_ERROR(CheckHeldFor(model, *device, context(), owner_));
  const Group& group = model.GroupOf(*device);
  std::vector<Uid> lanes{group.uid};
  AddLanes(model, group.TargetAt(pasid_), &lanes);
  return SortedLanes(std::move(lanes));
}

absl::Status DetachOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  device_ = device->index;
  RETURN_IF_ERROR(CheckHeldFor(model, *device, context(), owner_));
  attached_ = device->AttachmentAt(pasid_) != nullptr;
  if (!attached_) return absl::OkStatus();
  leaving_ = Leaving(model, *device, pasid_);
  leaving_.Foresee(model);
  answer() = {leaving_.transition(), leaving_.effects()};
  return absl::OkStatus();
}

LogicalOperation DetachOperation::Logical() const {
  return record::Detach{device_id_, pasid_, leaving_.auto_domain()};
}

absl::Status DetachOperation::Apply(Backend& backend) {
  RETURN_IF_ERROR(leaving_.Switch(backend));
  answer().transition = leaving_.transition();
  leaving_.Finish(backend);
  return absl::OkStatus();
}

void DetachOperation::Commit(Model& model) {
  model.Bump(model.devices[device_]);
  leaving_.Commit(model);
}

}  // namespace viommu
