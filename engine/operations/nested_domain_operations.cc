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
#include "engine/operations/viommu_checks.h"

namespace viommu {
namespace {

constexpr absl::string_view kParentField = "domain.nested.parent";
constexpr absl::string_view kFaultQueueField = "domain.nested.fault_queue";

}  // namespace

absl::StatusOr<Domain*> CreateNestedDomainOperation::FindParent(const Model& model) const {
  const ObjectRef& ref = request_.parent;
  if (!ref.owner.has_value() && (ref.id == kIdentityDomain || ref.id == kBlockedDomain)) {
    return NotNestParent(absl::StrCat("domains/", ref.id), "a static domain", kParentField);
  }
  return model.Find<Domain>(context(), ref);
}

absl::StatusOr<CreateNestedDomainOperation::Base> CreateNestedDomainOperation::FindBase(
    const Model& model) const {
  Base base;
  if (!request_.viommu.has_value()) {
    ASSIGN_OR_RETURN(base.parent, FindParent(model));
    return base;
  }
  ASSIGN_OR_RETURN(base.viommu, model.Find<Viommu>(context(), *request_.viommu));
  base.parent = model.Get<Domain>(base.viommu->parent);
  return base;
}

absl::StatusOr<std::vector<Uid>> CreateNestedDomainOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(const Base base, FindBase(model));
  // Before any lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckClaimed(model, *device, base.parent->owner()));
  return std::vector<Uid>{model.GroupOf(*device).uid, base.object().uid()};
}

absl::Status CreateNestedDomainOperation::CheckOnParent(const Model& model, const Device& device,
                                                        const Domain& parent) const {
  if (request_.fault_queue.has_value()) {
    RETURN_IF_ERROR(CheckPageFaults(model, device, kFaultQueueField));
  }
  RETURN_IF_ERROR(CheckNesting(model, device, "domain.nested.device"));
  if (!parent.spec.nest_parent) {
    return NotNestParent(parent.NameFor(context().principal),
                         parent.nested() ? "a NESTED domain" : "a plain PAGING domain",
                         kParentField);
  }
  const auto* vtd = std::get_if<VtdStage1>(&request_.stage1);
  const bool smmu = model.backend().DescribeViommus(device.index).arm_smmu_v3;
  if (vtd == nullptr) {
    return Stage1Unavailable(device, "domain.nested.arm_smmu_v3",
                             smmu ? "an Arm SMMUv3 first stage stands on a Viommu, on no parent"
                                  : "an Arm SMMUv3 first stage is nothing for Intel VT-d");
  }
  if (smmu) {
    return Stage1Unavailable(device, "domain.nested.vtd",
                             "an Intel VT-d first stage is nothing for Arm SMMUv3");
  }
  RETURN_IF_ERROR(model.backend().CheckCompatible(device.index, parent.properties));
  return CheckVtdStage1(*vtd, model.UnitOf(device), device, parent.properties.aperture);
}

absl::Status CreateNestedDomainOperation::CheckOnViommu(const Model& model, const Device& device,
                                                        const Viommu& viommu) const {
  RETURN_IF_ERROR(CheckSameIommu(viommu, device, "domain.nested.device", context().principal));
  if (request_.fault_queue.has_value()) {
    RETURN_IF_ERROR(CheckPageFaults(model, device, kFaultQueueField));
  }
  if (request_.pasid) {
    return Error(absl::StatusCode::kUnimplemented, "PASID_UNAVAILABLE",
                 "the PASIDs of a device on a Viommu are the guest's: the domain serves them all")
        .Errno("EOPNOTSUPP")
        .Field("domain.nested.pasid");
  }
  if (std::holds_alternative<ArmSmmuV3Stage1>(request_.stage1)) return absl::OkStatus();
  return Stage1Unavailable(device, "domain.nested.vtd",
                           "an Intel VT-d first stage is nothing for Arm SMMUv3");
}

DomainSpec CreateNestedDomainOperation::SpecFor(const Device& device, const Base& base) const {
  DomainSpec spec;
  spec.device = device.index;
  spec.kind = DomainSpec::Kind::kNested;
  spec.pasid = request_.pasid;
  spec.parent = base.parent->uid();
  if (base.viommu == nullptr) {
    spec.stage1 = std::get<VtdStage1>(request_.stage1);
  } else {
    spec.viommu = base.viommu->uid();
    spec.vste = std::get<ArmSmmuV3Stage1>(request_.stage1);
  }
  return spec;
}

absl::Status CreateNestedDomainOperation::Plan(Model& model) {
  RETURN_IF_ERROR(CheckNotStatic(id_));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(const Base base, FindBase(model));
  const Domain& parent = *base.parent;
  RETURN_IF_ERROR(CheckClaimed(model, *device, parent.owner()));
  RETURN_IF_ERROR(base.viommu == nullptr ? CheckOnParent(model, *device, parent)
                                         : CheckOnViommu(model, *device, *base.viommu));
  const DomainSpec spec = SpecFor(*device, base);
  ASSIGN_OR_RETURN(const DomainProperties properties, model.backend().PlanDomain(spec));
  ASSIGN_OR_RETURN(domain_, model.Reserve(std::make_unique<Domain>(
                                parent.owner(), model.IdOrGenerated(id_, ObjectKind::kDomain),
                                model.objects.NextUid(), spec, parent.ioas, properties)));
  if (request_.fault_queue.has_value()) {
    absl::Status taken =
        UseFaultQueue(model, context(), *request_.fault_queue, kFaultQueueField, *domain_);
    if (!taken.ok()) {
      model.Discard(*domain_);
      return taken;
    }
  }
  base_ = &base.object();
  base_->AddReferences(domain_->uid(), 1);
  answer() = ViewOf(model, *domain_, context().principal);
  return absl::OkStatus();
}

void CreateNestedDomainOperation::Unplan(Model& model) {
  LeaveFaultQueue(model, *domain_);
  base_->DropReferences(domain_->uid(), 1);
  model.Discard(*domain_);
}

LogicalOperation CreateNestedDomainOperation::Logical() const {
  const DomainSpec& spec = domain_->spec;
  return record::CreateNestedDomain{domain_->uid(),
                                    domain_->id(),
                                    spec.parent,
                                    request_.device,
                                    request_.pasid,
                                    spec.stage1.table_address,
                                    spec.stage1.address_width_bits,
                                    spec.stage1.supervisor_requests,
                                    spec.stage1.write_protect,
                                    spec.stage1.extended_accessed,
                                    spec.viommu,
                                    {spec.vste.ste[0], spec.vste.ste[1]},
                                    domain_->fault_queue};
}

absl::Status CreateNestedDomainOperation::Apply(Backend& backend) {
  return backend.CreateDomain(domain_->uid(), domain_->spec, {});
}

void CreateNestedDomainOperation::Commit(Model& model) {
  model.Publish(*domain_);
  model.Touch(*base_);  // It shows its children.
  TouchFaultQueue(model, *domain_);
  answer() = ViewOf(model, *domain_, context().principal);
}

}  // namespace viommu
