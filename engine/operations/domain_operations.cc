#include "engine/operations/domain_operations.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"
#include "engine/operations/domain_making.h"

namespace viommu {

absl::StatusOr<std::vector<Uid>> CreateDomainOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Ioas* ioas, model.Find<Ioas>(context(), request_.ioas));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  // Before any lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckClaimed(model, *device, ioas->owner()));
  return std::vector<Uid>{model.GroupOf(*device).uid, ioas->uid()};
}

absl::Status CreateDomainOperation::Plan(Model& model) {
  if (id_ == kIdentityDomain || id_ == kBlockedDomain) {
    return Error(absl::StatusCode::kAlreadyExists, "DOMAIN_EXISTS",
                 absl::StrCat("domains/", id_, " is a static domain"))
        .Errno("EEXIST")
        .Field("domain_id");
  }
  ASSIGN_OR_RETURN(ioas_, model.Find<Ioas>(context(), request_.ioas));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  RETURN_IF_ERROR(CheckClaimed(model, *device, ioas_->owner()));
  DomainSpec spec{ioas_->uid(), device->index};
  spec.pasid = request_.pasid;
  ASSIGN_OR_RETURN(const DomainProperties properties, model.backend().PlanDomain(spec));
  ASSIGN_OR_RETURN(domain_, model.Reserve(std::make_unique<Domain>(
                                ioas_->owner(), model.IdOrGenerated(id_, ObjectKind::kDomain),
                                model.objects.NextUid(), spec, ioas_->uid(), properties)));
  absl::Status reserved = CloseForDomain(*ioas_, properties, domain_->uid());
  if (!reserved.ok()) {
    model.Discard(*domain_);
    return reserved;
  }
  ioas_->AddReferences(domain_->uid(), 1);
  existing_.clear();
  for (const PlacedArea& area : ioas_->CommittedAreas()) existing_.push_back(area.ToBackend());
  answer() = ViewOf(model, *domain_, context().principal);
  return absl::OkStatus();
}

void CreateDomainOperation::Unplan(Model& model) {
  ioas_->DropReferences(domain_->uid(), 1);
  OpenForDomain(*ioas_, domain_->uid());
  model.Discard(*domain_);
}

LogicalOperation CreateDomainOperation::Logical() const {
  return record::CreateDomain{domain_->uid(), domain_->id(), ioas_->uid(), request_.device};
}

absl::Status CreateDomainOperation::Apply(Backend& backend) {
  return backend.CreateDomain(domain_->uid(), domain_->spec, existing_);
}

void CreateDomainOperation::Commit(Model& model) {
  ioas_->domains.insert(domain_->uid());
  model.Publish(*domain_);
  model.Touch(*ioas_);  // It shows its domains and its alignment.
  answer() = ViewOf(model, *domain_, context().principal);
}

void DeleteDomainOperation::DropWhatItHolds(Model& model) {
  Ioas& ioas = *model.Get<Ioas>(object().ioas);
  ioas.domains.erase(object().uid());
  ioas.DropReferences(object().uid(), 1);
  OpenForDomain(ioas, object().uid());
  model.Touch(ioas);
}

}  // namespace viommu
