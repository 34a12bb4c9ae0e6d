#include "engine/operations/domain_operations.h"

#include <memory>

#include "engine/model/views.h"
#include "engine/operations/claims.h"

namespace viommu {
namespace {

uint64_t SmallestPage(const DomainProperties& properties) {
  return properties.page_sizes & -properties.page_sizes;
}

// The addresses that a domain can not translate are closed in its Ioas.
absl::Status CloseRange(Ioas& ioas, const IovaRange& range, Uid domain) {
  const std::optional<PlacedArea> area = ioas.FirstOverlap(range);
  if (area.has_value()) {
    return Error(absl::StatusCode::kFailedPrecondition, "IOVA_CONFLICT",
                 absl::StrCat("area ", ToString(area->range),
                              " lies outside the addresses that the domain can translate"))
        .Errno("EADDRINUSE")
        .Violation(absl::StrCat("unmap ", ToString(area->range)));
  }
  return ioas.space().Reserve(range, domain, "outside the aperture of a domain");
}

}  // namespace

absl::StatusOr<std::vector<Uid>> CreateDomainOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Ioas* ioas, model.Find<Ioas>(context(), ioas_ref_));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  // Before any lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckClaimed(model, *device, ioas->owner()));
  return std::vector<Uid>{model.GroupOf(*device).uid, ioas->uid()};
}

absl::Status CreateDomainOperation::ReserveSpace(const DomainProperties& properties, Uid uid) {
  RETURN_IF_ERROR(ioas_->CheckAlignment(SmallestPage(properties)));
  const IovaRange& aperture = properties.aperture;
  absl::Status closed;
  if (aperture.first > 0) closed = CloseRange(*ioas_, IovaRange{0, aperture.first - 1}, uid);
  if (closed.ok() && aperture.last < kMaxAddress) {
    closed = CloseRange(*ioas_, IovaRange{aperture.last + 1, kMaxAddress}, uid);
  }
  if (!closed.ok()) {
    ioas_->space().Unreserve(uid);
    return closed;
  }
  ioas_->space().AddAlignment(uid, SmallestPage(properties));
  return absl::OkStatus();
}

absl::Status CreateDomainOperation::Plan(Model& model) {
  if (id_ == kIdentityDomain || id_ == kBlockedDomain) {
    return Error(absl::StatusCode::kAlreadyExists, "DOMAIN_EXISTS",
                 absl::StrCat("domains/", id_, " is a static domain"))
        .Errno("EEXIST")
        .Field("domain_id");
  }
  ASSIGN_OR_RETURN(ioas_, model.Find<Ioas>(context(), ioas_ref_));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  RETURN_IF_ERROR(CheckClaimed(model, *device, ioas_->owner()));
  const DomainSpec spec{ioas_->uid(), device->index};
  ASSIGN_OR_RETURN(const DomainProperties properties, model.backend().PlanDomain(spec));
  ASSIGN_OR_RETURN(domain_, model.Reserve(std::make_unique<Domain>(
                                ioas_->owner(), model.IdOrGenerated(id_, ObjectKind::kDomain),
                                model.objects.NextUid(), spec, ioas_->uid(), properties)));
  absl::Status reserved = ReserveSpace(properties, domain_->uid());
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
  ioas_->space().RemoveAlignment(domain_->uid());
  ioas_->space().Unreserve(domain_->uid());
  model.Discard(*domain_);
}

LogicalOperation CreateDomainOperation::Logical() const {
  return record::CreateDomain{domain_->uid(), domain_->id(), ioas_->uid(), device_id_};
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
  ioas.space().RemoveAlignment(object().uid());
  ioas.space().Unreserve(object().uid());
  model.Touch(ioas);
}

}  // namespace viommu
