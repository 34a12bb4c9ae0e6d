#include "engine/operations/nested_domain_operations.h"

#include <memory>
#include <variant>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"
#include "engine/operations/domain_checks.h"
#include "engine/operations/fault_queues.h"
#include "engine/operations/stage1_checks.h"

namespace viommu {
namespace {

constexpr absl::string_view kFaultQueueField = "domain.nested.fault_queue";

absl::Status NotNestParent(const std::string& name, absl::string_view what) {
  return Error(absl::StatusCode::kFailedPrecondition, "NOT_NEST_PARENT",
               absl::StrCat(name, " is ", what, ", not a PAGING domain made with nest_parent"))
      .Errno("EINVAL")
      .Field("domain.nested.parent")
      .Resource(name)
      .Violation("name a PAGING domain that was made with nest_parent");
}

}  // namespace

absl::StatusOr<Domain*> CreateNestedDomainOperation::FindParent(const Model& model) const {
  const ObjectRef& ref = request_.parent;
  if (!ref.owner.has_value() && (ref.id == kIdentityDomain || ref.id == kBlockedDomain)) {
    return NotNestParent(absl::StrCat("domains/", ref.id), "a static domain");
  }
  return model.Find<Domain>(context(), ref);
}

absl::StatusOr<std::vector<Uid>> CreateNestedDomainOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(const Domain* parent, FindParent(model));
  // Before any lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckClaimed(model, *device, parent->owner()));
  return std::vector<Uid>{model.GroupOf(*device).uid, parent->uid()};
}

absl::Status CreateNestedDomainOperation::CheckRequest(const Model& model, const Device& device,
                                                       const Domain& parent) const {
  if (request_.fault_queue.has_value()) {
    RETURN_IF_ERROR(CheckPageFaults(model, device, kFaultQueueField));
  }
  RETURN_IF_ERROR(CheckNesting(model, device, "domain.nested.device"));
  if (!parent.spec.nest_parent) {
    return NotNestParent(parent.NameFor(context().principal),
                         parent.nested() ? "a NESTED domain" : "a plain PAGING domain");
  }
  const auto* vtd = std::get_if<VtdStage1>(&request_.stage1);
  if (vtd == nullptr) {
    return Stage1Unavailable(device, "domain.nested.arm_smmu_v3",
                             "an Arm SMMUv3 first stage is nothing for Intel VT-d");
  }
  RETURN_IF_ERROR(model.backend().CheckCompatible(device.index, parent.properties));
  return CheckVtdStage1(*vtd, model.UnitOf(device), device, parent.properties.aperture);
}

absl::Status CreateNestedDomainOperation::Plan(Model& model) {
  RETURN_IF_ERROR(CheckNotStatic(id_));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(parent_, FindParent(model));
  RETURN_IF_ERROR(CheckClaimed(model, *device, parent_->owner()));
  RETURN_IF_ERROR(CheckRequest(model, *device, *parent_));
  DomainSpec spec;
  spec.device = device->index;
  spec.kind = DomainSpec::Kind::kNested;
  spec.pasid = request_.pasid;
  spec.parent = parent_->uid();
  spec.stage1 = std::get<VtdStage1>(request_.stage1);
  ASSIGN_OR_RETURN(const DomainProperties properties, model.backend().PlanDomain(spec));
  ASSIGN_OR_RETURN(domain_, model.Reserve(std::make_unique<Domain>(
                                parent_->owner(), model.IdOrGenerated(id_, ObjectKind::kDomain),
                                model.objects.NextUid(), spec, parent_->ioas, properties)));
  if (request_.fault_queue.has_value()) {
    absl::Status taken =
        UseFaultQueue(model, context(), *request_.fault_queue, kFaultQueueField, *domain_);
    if (!taken.ok()) {
      model.Discard(*domain_);
      return taken;
    }
  }
  parent_->AddReferences(domain_->uid(), 1);
  answer() = ViewOf(model, *domain_, context().principal);
  return absl::OkStatus();
}

void CreateNestedDomainOperation::Unplan(Model& model) {
  LeaveFaultQueue(model, *domain_);
  parent_->DropReferences(domain_->uid(), 1);
  model.Discard(*domain_);
}

LogicalOperation CreateNestedDomainOperation::Logical() const {
  const VtdStage1& stage1 = domain_->spec.stage1;
  return record::CreateNestedDomain{domain_->uid(),
                                    domain_->id(),
                                    parent_->uid(),
                                    request_.device,
                                    request_.pasid,
                                    stage1.table_address,
                                    stage1.address_width_bits,
                                    stage1.supervisor_requests,
                                    stage1.write_protect,
                                    stage1.extended_accessed,
                                    domain_->fault_queue};
}

absl::Status CreateNestedDomainOperation::Apply(Backend& backend) {
  return backend.CreateDomain(domain_->uid(), domain_->spec, {});
}

void CreateNestedDomainOperation::Commit(Model& model) {
  model.Publish(*domain_);
  model.Touch(*parent_);  // It shows its children.
  TouchFaultQueue(model, *domain_);
  answer() = ViewOf(model, *domain_, context().principal);
}

}  // namespace viommu
