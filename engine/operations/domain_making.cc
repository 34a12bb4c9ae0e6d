#include "engine/operations/domain_making.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/operations/doorbells.h"
#include "engine/operations/fault_queues.h"

namespace viommu {
namespace {

uint64_t SmallestPage(const DomainProperties& properties) {
  return properties.page_sizes & -properties.page_sizes;
}

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

void Forget(Model& model, Ioas& ioas, Domain& domain) {
  OpenForDomain(ioas, domain);
  DropDoorbells(model, domain);
  LeaveFaultQueue(model, domain);
  ioas.DropReferences(domain.uid(), 1);
  model.Discard(domain);
}

}  // namespace

absl::Status CloseForDomain(Ioas& ioas, const DomainProperties& properties, Uid domain) {
  RETURN_IF_ERROR(ioas.CheckAlignment(SmallestPage(properties)));
  const IovaRange& aperture = properties.aperture;
  absl::Status closed;
  if (aperture.first > 0) closed = CloseRange(ioas, IovaRange{0, aperture.first - 1}, domain);
  if (closed.ok() && aperture.last < kMaxAddress) {
    closed = CloseRange(ioas, IovaRange{aperture.last + 1, kMaxAddress}, domain);
  }
  // Only then are the areas put into the tables (iommufd-semantics.md 3.13).
  if (closed.ok()) closed = ioas.CheckPermissions(properties);
  if (!closed.ok()) {
    ioas.space().Unreserve(domain);
    return closed;
  }
  ioas.space().AddAlignment(domain, SmallestPage(properties));
  ioas.AddPermissionLimits(properties);
  return absl::OkStatus();
}

void OpenForDomain(Ioas& ioas, const Domain& domain) {
  ioas.RemovePermissionLimits(domain.properties);
  ioas.space().RemoveAlignment(domain.uid());
  ioas.space().Unreserve(domain.uid());
}

absl::Status DomainMaking::Plan(Model& model, Ioas& ioas, const std::string& id,
                                const DomainSpec& spec, bool automatic) {
  ASSIGN_OR_RETURN(const DomainProperties properties, model.backend().PlanDomain(spec));
  ASSIGN_OR_RETURN(Domain * made, model.Reserve(std::make_unique<Domain>(
                                      ioas.owner(), model.IdOrGenerated(id, ObjectKind::kDomain),
                                      model.objects.NextUid(), spec, ioas.uid(), properties)));
  absl::Status closed = CloseForDomain(ioas, properties, made->uid());
  if (!closed.ok()) {
    model.Discard(*made);
    return closed;
  }
  made->automatic = automatic;
  ioas.AddReferences(made->uid(), 1);
  existing_.clear();
  for (const PlacedArea& area : ioas.CommittedAreas()) existing_.push_back(area.ToBackend());
  ioas_ = &ioas;
  domain_ = made;
  device_id_ = model.devices[spec.device].spec.id;
  return absl::OkStatus();
}

absl::Status DomainMaking::TakeFaultQueue(const Model& model, const CallContext& context,
                                          const ObjectRef& queue, absl::string_view field) {
  return UseFaultQueue(model, context, queue, field, *domain_);
}

void DomainMaking::Unplan(Model& model) {
  if (!planned()) return;
  if (left_behind_) {
    Commit(model);
  } else {
    Forget(model, *ioas_, *domain_);
  }
  domain_ = nullptr;
}

record::CreateDomain DomainMaking::Logical() const {
  const DomainSpec& spec = domain_->spec;
  return {domain_->uid(),   domain_->id(), spec.ioas,           device_id_,
          spec.nest_parent, spec.pasid,    spec.dirty_tracking, domain_->fault_queue};
}

absl::Status DomainMaking::Apply(Backend& backend) {
  if (!planned()) return absl::OkStatus();
  return backend.CreateDomain(domain_->uid(), domain_->spec, existing_);
}

void DomainMaking::Undo(Backend& backend) {
  if (planned()) left_behind_ = !backend.DestroyDomain(domain_->uid()).ok();
}

void DomainMaking::Commit(Model& model) {
  if (!planned()) return;
  ioas_->domains.insert(domain_->uid());
  model.Publish(*domain_);
  model.Touch(*ioas_);  // It shows its domains and its alignment.
  TouchFaultQueue(model, *domain_);
}

void DomainLeaving::Plan(const Model& model, const DomainTarget& target, size_t leavers) {
  uid_ = 0;
  if (target.kind != DomainTarget::Kind::kDomain) return;
  const Domain& domain = *model.Get<Domain>(target.domain);
  uint64_t references = 0;
  for (const auto& [holder, count] : domain.referrers()) references += count;
  if (domain.automatic && references == leavers) uid_ = domain.uid();
}

void DomainLeaving::Apply(Backend& backend) {
  if (uid_ != 0) destroyed_ = backend.DestroyDomain(uid_).ok();
}

void DomainLeaving::Commit(Model& model) {
  if (!destroyed_) return;
  Domain& domain = *model.Get<Domain>(uid_);
  Ioas& ioas = *model.Get<Ioas>(domain.ioas);
  ioas.domains.erase(uid_);
  Forget(model, ioas, domain);
  model.Touch(ioas);
}

}  // namespace viommu
