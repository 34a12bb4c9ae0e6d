#include "engine/operations/attach_operations.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"

namespace viommu {
namespace {

// The PAGING domain that a group is on, if it is on one.
std::optional<Uid> PagingDomainOf(const Group& group) {
  if (!group.claimed() || group.target.kind != DomainTarget::Kind::kDomain) return std::nullopt;
  return group.target.domain;
}

void AddDomainLanes(const Model& model, Uid domain, std::vector<Uid>* lanes) {
  lanes->push_back(domain);
  lanes->push_back(model.Get<Domain>(domain)->ioas);
}

std::vector<Uid> Sorted(std::vector<Uid> lanes) {
  std::sort(lanes.begin(), lanes.end());
  lanes.erase(std::unique(lanes.begin(), lanes.end()), lanes.end());
  return lanes;
}

// Whether a domain's Ioas must stay clear of a region (iommufd-semantics.md section 7,
// iopt_table_enforce_dev_resv_regions).
bool Enforced(ReservedRegionType type) { return type != ReservedRegionType::kDirectRelaxable; }

absl::Status ReserveOne(Ioas& ioas, const Device& device, const ReservedRegion& region) {
  const std::optional<PlacedArea> area = ioas.FirstOverlap(region.range);
  if (area.has_value()) {
    return Error(absl::StatusCode::kFailedPrecondition, "IOVA_CONFLICT",
                 absl::StrCat("area ", ToString(area->range), " lies in the reserved region ",
                              ToString(region.range), " of ", device.Name()))
        .Errno("EADDRINUSE")
        .Resource(device.Name())
        .Violation(absl::StrCat("unmap ", ToString(area->range)));
  }
  return ioas.space().Reserve(region.range, device.uid,
                              absl::StrCat("reserved region of ", device.Name()));
}

// The members of a group besides those that are changed anyway.
void TouchOthers(Model& model, absl::Span<const DeviceIndex> group,
                 absl::Span<const DeviceIndex> changed) {
  for (const DeviceIndex index : group) {
    if (std::find(changed.begin(), changed.end(), index) == changed.end()) {
      model.Touch(model.devices[index]);
    }
  }
}

void DropRegions(Model& model, Uid domain, absl::Span<const DeviceIndex> devices) {
  Ioas& ioas = *model.Get<Ioas>(model.Get<Domain>(domain)->ioas);
  for (const DeviceIndex index : devices) ioas.space().Unreserve(model.devices[index].uid);
}

}  // namespace

absl::StatusOr<DomainTarget> ToDomainOperation::ResolveTarget(const Model& model,
                                                              const Device& device) const {
  const bool own = !domain_ref_.owner.has_value();
  if (own && domain_ref_.id == kBlockedDomain) {
    return DomainTarget{DomainTarget::Kind::kBlocked, 0};
  }
  if (own && domain_ref_.id == kIdentityDomain) {
    RETURN_IF_ERROR(CheckIdentityAllowed(model, device, context()));
    return DomainTarget{DomainTarget::Kind::kIdentity, 0};
  }
  ASSIGN_OR_RETURN(const Domain* domain, model.Find<Domain>(context(), domain_ref_));
  return DomainTarget{DomainTarget::Kind::kDomain, domain->uid()};
}

absl::StatusOr<std::vector<Uid>> ToDomainOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  ASSIGN_OR_RETURN(const DomainTarget target, ResolveTarget(model, *device));
  // Before any lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckClaimed(model, *device, context().principal));
  const Group& group = model.GroupOf(*device);
  std::vector<Uid> lanes{group.uid};
  if (target.kind == DomainTarget::Kind::kDomain) AddDomainLanes(model, target.domain, &lanes);
  if (const auto old = PagingDomainOf(group)) AddDomainLanes(model, *old, &lanes);
  return Sorted(std::move(lanes));
}

absl::Status ToDomainOperation::CheckTarget(const Model& model, const Device& device) const {
  if (target_.kind != DomainTarget::Kind::kDomain) return absl::OkStatus();
  const Domain& domain = *model.Get<Domain>(target_.domain);
  RETURN_IF_ERROR(CheckClaimed(model, device, domain.owner()));
  for (const DeviceIndex member : group_) {
    RETURN_IF_ERROR(model.backend().CheckCompatible(member, domain.properties));
  }
  return absl::OkStatus();
}

absl::Status ToDomainOperation::ReserveRegions(Model& model) {
  Ioas& ioas = *model.Get<Ioas>(model.Get<Domain>(target_.domain)->ioas);
  for (const DeviceIndex index : moving_) {
    const Device& device = model.devices[index];
    for (const ReservedRegion& region : device.spec.reserved_regions) {
      if (!Enforced(region.type)) continue;
      absl::Status reserved = ReserveOne(ioas, device, region);
      if (reserved.ok()) continue;
      UnreserveRegions(model, target_.domain);
      return reserved;
    }
  }
  return absl::OkStatus();
}

void ToDomainOperation::UnreserveRegions(Model& model, Uid domain) {
  DropRegions(model, domain, moving_);
}

absl::Status ToDomainOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  device_ = device->index;
  const Group& group = model.GroupOf(*device);
  group_ = group.members;
  RETURN_IF_ERROR(CheckClaimed(model, *device, context().principal));
  ASSIGN_OR_RETURN(target_, ResolveTarget(model, *device));
  old_domain_ = PagingDomainOf(group);
  moving_.clear();
  switches_hardware_ = true;
  RETURN_IF_ERROR(CheckVerb(model, *device));
  RETURN_IF_ERROR(CheckTarget(model, *device));
  reserves_ = target_.kind == DomainTarget::Kind::kDomain;
  if (reserves_ && old_domain_.has_value() && !moving_.empty() &&
      model.devices[moving_.front()].attachment.has_value()) {
    // Between two domains of one Ioas nothing changes there.
    reserves_ = model.Get<Domain>(*old_domain_)->ioas != model.Get<Domain>(target_.domain)->ioas;
  }
  if (reserves_) RETURN_IF_ERROR(ReserveRegions(model));
  if (target_.kind == DomainTarget::Kind::kDomain) {
    for (const DeviceIndex index : moving_) {
      model.Get<Domain>(target_.domain)->AddReferences(model.devices[index].uid, 1);
    }
  }
  answer().attachment = {device->Name(), model.TargetName(target_, context().principal),
                         context().principal, device->revision, absl::Time()};
  if (device->attachment.has_value()) {
    answer().attachment.create_time = device->attachment->create_time;
  }
  if (switches_hardware_)
    answer().transition = model.backend().PlanSwitch(group_, std::nullopt, target_);
  return absl::OkStatus();
}

void ToDomainOperation::Unplan(Model& model) {
  if (reserves_) UnreserveRegions(model, target_.domain);
  if (target_.kind != DomainTarget::Kind::kDomain) return;
  for (const DeviceIndex index : moving_) {
    model.Get<Domain>(target_.domain)->DropReferences(model.devices[index].uid, 1);
  }
}

LogicalOperation ToDomainOperation::Logical() const {
  record::Attach logical{device_id_, target_.domain, ""};
  if (target_.kind == DomainTarget::Kind::kBlocked) logical.static_domain = kBlockedDomain.data();
  if (target_.kind == DomainTarget::Kind::kIdentity) {
    logical.static_domain = kIdentityDomain.data();
  }
  return logical;
}

absl::Status ToDomainOperation::Apply(Backend& backend) {
  if (!switches_hardware_) return absl::OkStatus();
  ASSIGN_OR_RETURN(answer().transition, backend.Switch(group_, std::nullopt, target_));
  return absl::OkStatus();
}

void ToDomainOperation::Commit(Model& model) {
  Group& group = model.GroupOf(model.devices[device_]);
  const DomainState from = model.StateOf(group);
  for (const DeviceIndex index : moving_) {
    Device& device = model.devices[index];
    const bool was_attached = device.attachment.has_value();
    if (was_attached && old_domain_.has_value()) {
      Domain& old = *model.Get<Domain>(*old_domain_);
      old.DropReferences(device.uid, 1);
      if (target_.kind != DomainTarget::Kind::kDomain || reserves_) {
        model.Get<Ioas>(old.ioas)->space().Unreserve(device.uid);
      }
    }
    const uint64_t revision = model.Bump(device);
    const absl::Time created = was_attached ? device.attachment->create_time : model.env().Now();
    device.attachment = Attachment{target_, context().principal, revision, created};
  }
  group.target = target_;
  // Domains show who is attached, and every member of a group shows where the group is.
  if (old_domain_.has_value()) model.Touch(*model.Get<Domain>(*old_domain_));
  if (target_.kind == DomainTarget::Kind::kDomain && old_domain_ != target_.domain) {
    model.Touch(*model.Get<Domain>(target_.domain));
  }
  if (switches_hardware_) {
    TouchOthers(model, group_, moving_);
    model.CountTransition(from, model.StateOf(group), answer().transition.hitless);
  }
  answer().attachment = AttachmentOf(model, model.devices[device_], context().principal);
}

absl::Status AttachOperation::CheckVerb(const Model& model, const Device& device) {
  if (device.attachment.has_value()) {
    return Error(absl::StatusCode::kFailedPrecondition, "ALREADY_ATTACHED",
                 absl::StrCat(device.Name(), " is attached to ",
                              model.TargetName(device.attachment->target, context().principal)))
        .Errno("EBUSY")
        .Resource(device.Name())
        .Violation("replace the attachment, or detach first");
  }
  for (const DeviceIndex index : model.GroupOf(device).members) {
    const Device& sibling = model.devices[index];
    if (!sibling.attachment.has_value()) continue;
    switches_hardware_ = false;
    const DomainTarget& other = sibling.attachment->target;
    if (other.kind == target().kind && other.domain == target().domain) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "GROUP_MISMATCH",
                 absl::StrCat(sibling.Name(), " of the same group is attached to ",
                              model.TargetName(other, context().principal)))
        .Errno("EINVAL")
        .Resource(sibling.Name())
        .Violation(absl::StrCat("detach ", sibling.Name(), ", or attach both to one domain"));
  }
  moving_ = {device.index};
  return absl::OkStatus();
}

absl::Status ReplaceOperation::CheckVerb(const Model& model, const Device& device) {
  if (!device.attachment.has_value()) {
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_ATTACHED",
                 absl::StrCat(device.Name(), " is not attached; there is nothing to replace"))
        .Errno("EINVAL")
        .Resource(device.Name())
        .Violation("attach the device");
  }
  const DomainTarget& now = device.attachment->target;
  switches_hardware_ = now.kind != target().kind || now.domain != target().domain;
  if (!switches_hardware_) return absl::OkStatus();  // Onto the same domain: nothing moves.
  for (const DeviceIndex index : model.GroupOf(device).members) {
    if (model.devices[index].attachment.has_value()) moving_.push_back(index);
  }
  return absl::OkStatus();
}

// ---- Detach ----

absl::Status DetachOperation::CheckMayDetach(const Model& model, const Device& device) const {
  // An operator may take a device off whoever holds it.
  if (context().is_operator && model.GroupOf(device).claimed()) return absl::OkStatus();
  return CheckClaimed(model, device, context().principal);
}

absl::StatusOr<std::vector<Uid>> DetachOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  RETURN_IF_ERROR(CheckMayDetach(model, *device));
  const Group& group = model.GroupOf(*device);
  std::vector<Uid> lanes{group.uid};
  if (const auto old = PagingDomainOf(group)) AddDomainLanes(model, *old, &lanes);
  return Sorted(std::move(lanes));
}

absl::Status DetachOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  const Group& group = model.GroupOf(*device);
  device_ = device->index;
  group_ = group.members;
  RETURN_IF_ERROR(CheckMayDetach(model, *device));
  attached_ = device->attachment.has_value();
  last_ = std::none_of(group_.begin(), group_.end(), [&](DeviceIndex index) {
    return index != device_ && model.devices[index].attachment.has_value();
  });
  if (attached_ && last_)
    answer().transition = model.backend().PlanSwitch(group_, std::nullopt, DomainTarget{});
  return absl::OkStatus();
}

absl::Status DetachOperation::Apply(Backend& backend) {
  if (!last_) return absl::OkStatus();
  ASSIGN_OR_RETURN(answer().transition, backend.Switch(group_, std::nullopt, DomainTarget{}));
  return absl::OkStatus();
}

void DetachOperation::Commit(Model& model) {
  Device& device = model.devices[device_];
  Group& group = model.GroupOf(device);
  model.Bump(device);
  if (const auto old = PagingDomainOf(group)) {
    model.Get<Domain>(*old)->DropReferences(device.uid, 1);
    model.Touch(*model.Get<Domain>(*old));
    DropRegions(model, *old, {device_});
  }
  device.attachment.reset();
  if (!last_) return;
  TouchOthers(model, group_, {device_});
  const DomainState from = model.StateOf(group);
  group.target = DomainTarget{};
  model.CountTransition(from, model.StateOf(group), answer().transition.hitless);
}

}  // namespace viommu
