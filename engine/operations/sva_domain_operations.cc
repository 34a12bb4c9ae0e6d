#include "engine/operations/sva_domain_operations.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"
#include "engine/operations/domain_checks.h"
#include "engine/operations/domain_making.h"
#include "engine/operations/pasids.h"

namespace viommu {

absl::StatusOr<std::vector<Uid>> CreateSvaDomainOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(const Ioas* process, model.Find<Ioas>(context(), request_.process));
  // Before any lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckClaimed(model, *device, process->owner()));
  return std::vector<Uid>{model.GroupOf(*device).uid, process->uid()};
}

absl::Status CreateSvaDomainOperation::TakePasid(Model& model, const Device& device) {
  ASSIGN_OR_RETURN(const uint32_t highest, HighestPasid(model, device));
  const auto nobody_has = [&](uint32_t pasid) {
    return std::none_of(model.groups.begin(), model.groups.end(),
                        [&](const Group& group) { return group.pasids.contains(pasid); });
  };
  const std::optional<uint32_t> pasid =
      model.process_pasids.Take(process_->uid(), highest, nobody_has);
  if (!pasid.has_value()) {
    return Error(absl::StatusCode::kResourceExhausted, "PASIDS_EXHAUSTED",
                 absl::StrCat("every PASID up to ", highest, " is taken"))
        .Errno("ENOSPC")
        .Resource(device.Name());
  }
  pasid_ = *pasid;
  if (pasid_ <= highest) return absl::OkStatus();
  model.process_pasids.GiveBack(process_->uid());
  return Error(absl::StatusCode::kOutOfRange, "PASID_OUT_OF_RANGE",
               absl::StrCat("the process has PASID ", pasid_, ", and the group of ", device.Name(),
                            " can use those up to ", highest))
      .Errno("EOVERFLOW")
      .Resource(device.Name());
}

absl::Status CreateSvaDomainOperation::PlanDomain(Model& model, const DomainSpec& spec,
                                                  const DomainProperties& properties) {
  ASSIGN_OR_RETURN(domain_, model.Reserve(std::make_unique<Domain>(
                                process_->owner(), model.IdOrGenerated(id_, ObjectKind::kDomain),
                                model.objects.NextUid(), spec, process_->uid(), properties)));
  absl::Status closed = CloseForDomain(*process_, properties, domain_->uid());
  if (!closed.ok()) model.Discard(*domain_);
  return closed;
}

absl::Status CreateSvaDomainOperation::Plan(Model& model) {
  RETURN_IF_ERROR(CheckNotStatic(id_));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(process_, model.Find<Ioas>(context(), request_.process));
  RETURN_IF_ERROR(CheckClaimed(model, *device, process_->owner()));
  if (process_->mode != IoasMode::kProcess) {
    const std::string name = process_->NameFor(context().principal);
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_A_PROCESS",
                 absl::StrCat(name, " is not the address space of a process"))
        .Errno("EINVAL")
        .Field("domain.sva.process")
        .Resource(name)
        .Violation("name an address space of mode PROCESS");
  }
  DomainSpec spec{process_->uid(), device->index};
  spec.kind = DomainSpec::Kind::kSva;
  spec.pasid = true;
  ASSIGN_OR_RETURN(const DomainProperties properties, model.backend().PlanDomain(spec));
  RETURN_IF_ERROR(TakePasid(model, *device));
  absl::Status planned = PlanDomain(model, spec, properties);
  if (!planned.ok()) {
    model.process_pasids.GiveBack(process_->uid());
    return planned;
  }
  process_->AddReferences(domain_->uid(), 1);
  existing_.clear();
  for (const PlacedArea& area : process_->CommittedAreas()) existing_.push_back(area.ToBackend());
  answer() = ViewOf(model, *domain_, context().principal);
  return absl::OkStatus();
}

void CreateSvaDomainOperation::Unplan(Model& model) {
  process_->DropReferences(domain_->uid(), 1);
  OpenForDomain(*process_, *domain_);
  model.Discard(*domain_);
  model.process_pasids.GiveBack(process_->uid());
}

LogicalOperation CreateSvaDomainOperation::Logical() const {
  return record::CreateSvaDomain{domain_->uid(), domain_->id(), process_->uid(), request_.device,
                                 pasid_};
}

absl::Status CreateSvaDomainOperation::Apply(Backend& backend) {
  return backend.CreateDomain(domain_->uid(), domain_->spec, existing_);
}

void CreateSvaDomainOperation::Commit(Model& model) {
  process_->domains.insert(domain_->uid());
  model.Publish(*domain_);
  model.Touch(*process_);  // It shows its domains and its alignment.
  answer() = ViewOf(model, *domain_, context().principal);
}

}  // namespace viommu
