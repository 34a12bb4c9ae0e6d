#include "engine/operations/viommu_operations.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/model/viommu_views.h"
#include "engine/operations/claims.h"
#include "engine/operations/viommu_checks.h"

namespace viommu {
namespace {

constexpr absl::string_view kParentField = "viommu.parent";

}  // namespace

absl::StatusOr<Domain*> CreateViommuOperation::FindParent(Model& model,
                                                          const Device& device) const {
  const ObjectRef& ref = request_.parent;
  ASSIGN_OR_RETURN(const std::string owner, Model::OwnerOf(context(), ref));
  // Before any lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckClaimed(model, device, owner));
  RETURN_IF_ERROR(CheckViommuType(model, device, request_.type));
  if (!ref.owner.has_value() && (ref.id == kIdentityDomain || ref.id == kBlockedDomain)) {
    return NotNestParent(absl::StrCat("domains/", ref.id), "a static domain", kParentField);
  }
  return model.Find<Domain>(context(), ref);
}

absl::StatusOr<std::vector<Uid>> CreateViommuOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(const Domain* parent, FindParent(model, *device));
  return std::vector<Uid>{model.GroupOf(*device).uid, parent->uid()};
}

absl::Status CreateViommuOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(parent_, FindParent(model, *device));
  if (!parent_->spec.nest_parent) {
    return NotNestParent(parent_->NameFor(context().principal),
                         parent_->nested() ? "a NESTED domain" : "a plain PAGING domain",
                         kParentField);
  }
  RETURN_IF_ERROR(model.backend().CheckCompatible(device->index, parent_->properties));
  RETURN_IF_ERROR(CheckNoViommu(model, *device, *parent_, context()));
  ASSIGN_OR_RETURN(viommu_, model.Reserve(std::make_unique<Viommu>(
                                parent_->owner(), model.IdOrGenerated(id_, ObjectKind::kViommu),
                                model.objects.NextUid(), request_.type, device->index,
                                device->spec.iommu, parent_->uid())));
  parent_->AddReferences(viommu_->uid(), 1);
  answer() = ViewOf(model, *viommu_, context().principal);
  return absl::OkStatus();
}

void CreateViommuOperation::Unplan(Model& model) {
  parent_->DropReferences(viommu_->uid(), 1);
  model.Discard(*viommu_);
}

LogicalOperation CreateViommuOperation::Logical() const {
  return record::CreateViommu{viommu_->uid(), viommu_->id(), static_cast<int>(viommu_->type),
                              request_.device, parent_->uid()};
}

absl::Status CreateViommuOperation::Apply(Backend& backend) {
  return backend.viommus()->CreateViommu(viommu_->uid(), viommu_->device, parent_->uid());
}

void CreateViommuOperation::Commit(Model& model) {
  model.Publish(*viommu_);
  answer() = ViewOf(model, *viommu_, context().principal);
}

void DeleteViommuOperation::DropWhatItHolds(Model& model) {
  model.Get<Domain>(object().parent)->DropReferences(object().uid(), 1);
}

}  // namespace viommu
