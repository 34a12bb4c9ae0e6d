#include "engine/operations/vdevice_operations.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/viommu_views.h"
#include "engine/operations/claims.h"
#include "engine/operations/pasids.h"
#include "engine/operations/viommu_checks.h"

namespace viommu {

namespace {

// A guest's commands, and the events that it gets, have 32 bits for it (Arm IHI 0070 4.2, 7.3).
absl::Status CheckVirtualId(uint64_t virtual_id) {
  constexpr uint64_t kMaxStreamId = 0xffffffff;
  if (virtual_id <= kMaxStreamId) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_VIRTUAL_ID",
               absl::StrCat("virtual id ", Hex(virtual_id), " is no stream id: the highest is ",
                            Hex(kMaxStreamId)))
      .Errno("EINVAL")
      .Field("vdevice.virtual_id");
}

}  // namespace

absl::StatusOr<std::vector<Uid>> CreateVdeviceOperation::Lanes(Model& model) {
  RETURN_IF_ERROR(CheckVirtualId(virtual_id_));
  ASSIGN_OR_RETURN(const Viommu* viommu, model.Find<Viommu>(context(), viommu_ref_));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  // Before any lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckClaimed(model, *device, viommu->owner()));
  return std::vector<Uid>{model.GroupOf(*device).uid, viommu->uid()};
}

absl::Status CreateVdeviceOperation::Check(const Model& model, const Device& device) const {
  const std::string& principal = context().principal;
  RETURN_IF_ERROR(CheckSameIommu(*viommu_, device, "vdevice.device", principal));
  if (device.vdevice != 0) {
    const Vdevice& other = *model.Get<Vdevice>(device.vdevice);
    // Left behind by a release, it may be somebody else's.
    const bool may_know = other.owner() == viommu_->owner();
    return Error(absl::StatusCode::kAlreadyExists, "DEVICE_HAS_VDEVICE",
                 absl::StrCat(device.Name(), " is ",
                              may_know ? other.NameFor(principal) : "another owner's vdevice",
                              " already"))
        .Errno("EEXIST")
        .Field("vdevice.device")
        .Resource(device.Name());
  }
  if (const auto taken = viommu_->vdevices.find(virtual_id_); taken != viommu_->vdevices.end()) {
    const std::string name = model.Get<Vdevice>(taken->second)->NameFor(principal);
    return Error(absl::StatusCode::kAlreadyExists, "VIRTUAL_ID_TAKEN",
                 absl::StrCat("virtual id ", virtual_id_, " is that of ", name))
        .Errno("EEXIST")
        .Field("vdevice.virtual_id")
        .Resource(name);
  }
  if (model.backend().DescribeViommus(device.index).single_stream) return absl::OkStatus();
  return Error(
             absl::StatusCode::kUnimplemented, "STREAMS_UNAVAILABLE",
             absl::StrCat(device.Name(), " is not one stream, for which a virtual id could stand"))
      .Errno("EOPNOTSUPP")
      .Field("vdevice.device")
      .Resource(device.Name());
}

absl::Status CreateVdeviceOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(viommu_, model.Find<Viommu>(context(), viommu_ref_));
  ASSIGN_OR_RETURN(Device * device, model.FindDevice(device_id_));
  RETURN_IF_ERROR(CheckClaimed(model, *device, viommu_->owner()));
  RETURN_IF_ERROR(Check(model, *device));
  ASSIGN_OR_RETURN(
      vdevice_, model.Reserve(std::make_unique<Vdevice>(
                    viommu_->owner(), model.ChildIdOrGenerated(*viommu_, id_, ObjectKind::kVdevice),
                    model.objects.NextUid(), viommu_->uid(), device->index, virtual_id_)));
  device_ = device->index;
  device->vdevice = vdevice_->uid();
  viommu_->vdevices[virtual_id_] = vdevice_->uid();
  viommu_->AddReferences(vdevice_->uid(), 1);
  answer() = ViewOf(model, *vdevice_, context().principal);
  return absl::OkStatus();
}

void CreateVdeviceOperation::Unplan(Model& model) {
  DropVdevice(model, *vdevice_);
  model.Discard(*vdevice_);
}

LogicalOperation CreateVdeviceOperation::Logical() const {
  return record::CreateVdevice{vdevice_->uid(), vdevice_->id(), viommu_->uid(), device_id_,
                               virtual_id_};
}

absl::Status CreateVdeviceOperation::Apply(Backend& backend) {
  return backend.viommus()->CreateVdevice(vdevice_->uid(), viommu_->uid(), device_, virtual_id_);
}

void CreateVdeviceOperation::Commit(Model& model) {
  model.Publish(*vdevice_);
  model.Touch(*viommu_);  // It shows its vdevices.
  answer() = ViewOf(model, *vdevice_, context().principal);
}

// ---- Delete ----

std::vector<Uid> DeleteVdeviceOperation::OtherLanes(const Model& model, const Vdevice& vdevice) {
  return {model.GroupOf(model.devices[vdevice.device]).uid, vdevice.viommu};
}

absl::Status DeleteVdeviceOperation::CheckNotAttached(const Model& model) {
  const std::string& principal = context().principal;
  std::vector<std::string> where;
  // Whichever member of the group is attached, the requests of all of them are on the domain.
  for (const DeviceIndex member : model.GroupOf(model.devices[object().device]).members) {
    const Device& device = model.devices[member];
    for (const auto& [pasid, attachment] : device.attachments) {
      if (attachment.target.kind != DomainTarget::Kind::kDomain) continue;
      const Domain& domain = *model.Get<Domain>(attachment.target.domain);
      if (domain.spec.viommu != object().viommu || !domain.properties.needs_vdevice) continue;
      where.push_back(absl::StrCat(NameAt(device, pasid), " on ", domain.NameFor(principal)));
    }
  }
  if (where.empty()) return absl::OkStatus();
  const std::string name = object().NameFor(principal);
  Error error(absl::StatusCode::kFailedPrecondition, "IN_USE",
              absl::StrCat(name, " is in use by ", absl::StrJoin(where, ", ")));
  for (const std::string& attachment : where) error.Violation(attachment);
  return std::move(error).Errno("EBUSY").Resource(name);
}

absl::Status DeleteVdeviceOperation::Plan(Model& model) {
  RETURN_IF_ERROR(DeleteOperation::Plan(model));
  absl::Status unused = CheckNotAttached(model);
  if (!unused.ok()) Unplan(model);
  return unused;
}

void DeleteVdeviceOperation::DropWhatItHolds(Model& model) {
  DropVdevice(model, object());
  model.Touch(*model.Get<Viommu>(object().viommu));
}

void DropVdevice(Model& model, const Vdevice& vdevice) {
  Viommu& viommu = *model.Get<Viommu>(vdevice.viommu);
  viommu.vdevices.erase(vdevice.virtual_id);
  viommu.DropReferences(vdevice.uid(), 1);
  model.devices[vdevice.device].vdevice = 0;
}

}  // namespace viommu
