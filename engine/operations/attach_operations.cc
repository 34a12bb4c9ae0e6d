#include "engine/operations/attach_operations.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"
#include "engine/operations/domain_checks.h"
#include "engine/operations/fault_delivery.h"
#include "engine/operations/fault_queues.h"
#include "engine/operations/pasids.h"
#include "engine/operations/placement.h"
#include "engine/operations/viommu_checks.h"

namespace viommu {
namespace {

absl::Status CheckGroupCompatible(const Model& model, absl::Span<const DeviceIndex> group,
                                  const Domain& domain) {
  for (const DeviceIndex member : group) {
    RETURN_IF_ERROR(model.backend().CheckCompatible(member, domain.properties));
  }
  return absl::OkStatus();
}

bool IsIncompatible(const absl::Status& status) {
  const std::optional<ErrorDetail> detail = DetailOf(status);
  return detail.has_value() && detail->reason == "INCOMPATIBLE_DOMAIN";
}

bool IsAutoDomainOf(const Model& model, const Ioas& ioas, const DomainTarget& target) {
  if (target.kind != DomainTarget::Kind::kDomain) return false;
  const Domain& domain = *model.Get<Domain>(target.domain);
  return domain.automatic && domain.ioas == ioas.uid();
}

// A member of the device's group is attached, but not to what is asked for.
absl::Status GroupMismatch(const Model& model, const Device& device, PasidOrRid pasid,
                           absl::string_view principal) {
  const Group& group = model.GroupOf(device);
  const Device* sibling = nullptr;
  for (const DeviceIndex index : group.members) {
    if (model.devices[index].AttachmentAt(pasid) != nullptr) sibling = &model.devices[index];
  }
  return Error(absl::StatusCode::kFailedPrecondition, "GROUP_MISMATCH",
               absl::StrCat(NameAt(*sibling, pasid), " of the same group is attached to ",
                            model.TargetName(group.TargetAt(pasid), principal)))
      .Errno("EINVAL")
      .Resource(sibling->Name())
      .Violation(
          absl::StrCat("detach ", NameAt(*sibling, pasid), ", or attach both to one domain"));
}

}  // namespace

absl::StatusOr<ToDomainOperation::Named> ToDomainOperation::Resolve(const Model& model,
                                                                    const Device& device) const {
  const ObjectRef& ref = named_.ref;
  Named named;
  if (named_.kind == AttachTarget::Kind::kIoas) {
    ASSIGN_OR_RETURN(named.ioas, model.Find<Ioas>(context(), ref));
    return named;
  }
  if (!ref.owner.has_value() && ref.id == kBlockedDomain) return named;
  if (!ref.owner.has_value() && ref.id == kIdentityDomain) {
    RETURN_IF_ERROR(CheckIdentityAllowed(model, device, context()));
    named.domain.kind = DomainTarget::Kind::kIdentity;
    return named;
  }
  ASSIGN_OR_RETURN(const Domain* domain, model.Find<Domain>(context(), ref));
  named.domain = {DomainTarget::Kind::kDomain, domain->uid()};
  return named;
}

absl::StatusOr<std::vector<Uid>> ToDomainOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  ASSIGN_OR_RETURN(const Named named, Resolve(model, *device));
  // Before any lane is entered: nobody waits in another tenant's, or for a reset.
  RETURN_IF_ERROR(CheckClaimed(model, *device, context().principal));
  RETURN_IF_ERROR(CheckNotInReset(model, *device));
  const Group& group = model.GroupOf(*device);
  std::vector<Uid> lanes{group.uid};
  // All that happens to the auto domains of an Ioas happens in its lane.
  if (named.ioas != nullptr) lanes.push_back(named.ioas->uid());
  AddLanes(model, named.domain, &lanes);
  AddLanes(model, group.TargetAt(pasid_), &lanes);
  return SortedLanes(std::move(lanes));
}

absl::Status ToDomainOperation::ChooseAutoDomain(Model& model, const Device& device, Ioas& ioas) {
  RETURN_IF_ERROR(CheckClaimed(model, device, ioas.owner()));
  if (pasid_.has_value()) return AutoDomainsServeNoPasids(device);
  RETURN_IF_ERROR(CheckNotProcess(ioas, context().principal));
  if (joins_) {
    if (!IsAutoDomainOf(model, ioas, old_)) {
      return GroupMismatch(model, device, pasid_, context().principal);
    }
    target_ = old_;
    return absl::OkStatus();
  }
  target_.kind = DomainTarget::Kind::kDomain;
  for (const Uid uid : ioas.domains) {  // Uids count up: in the order of creation.
    const Domain& candidate = *model.Get<Domain>(uid);
    if (!candidate.automatic) continue;
    absl::Status fits = CheckGroupCompatible(model, group_, candidate);
    target_.domain = uid;
    if (!IsIncompatible(fits)) return fits;
  }
  RETURN_IF_ERROR(
      made_.Plan(model, ioas, "", DomainSpec{ioas.uid(), device.index}, /*automatic=*/true));
  target_.domain = made_.domain().uid();
  return absl::OkStatus();
}

absl::Status ToDomainOperation::Choose(Model& model, const Device& device, const Named& named) {
  if (named.ioas != nullptr) return ChooseAutoDomain(model, device, *named.ioas);
  target_ = named.domain;
  return absl::OkStatus();
}

absl::Status ToDomainOperation::CheckTarget(const Model& model, const Device& device) const {
  if (pasid_.has_value()) {
    RETURN_IF_ERROR(CheckPasid(model, device, "pasid", *pasid_));
    const Group& group = model.GroupOf(device);
    const auto taken = group.pasids.find(*pasid_);
    if (taken != group.pasids.end()) {
      RETURN_IF_ERROR(CheckPasidIsOf(device, *pasid_, taken->second, context().principal));
    }
  }
  RETURN_IF_ERROR(CheckProcessPasid(model, device, pasid_, target_, context().principal));
  RETURN_IF_ERROR(CheckPasidCompatible(model, device, pasid_, target_, context().principal));
  if (target_.kind == DomainTarget::Kind::kDomain) {
    const Domain& domain = *model.Get<Domain>(target_.domain);
    RETURN_IF_ERROR(CheckGroupCompatible(model, group_, domain));
    RETURN_IF_ERROR(CheckPageFaultsOf(model, group_, domain));
    RETURN_IF_ERROR(CheckVdevices(model, group_, domain, context().principal));
  }
  if (switches_hardware_ && !made_.planned()) {
    RETURN_IF_ERROR(model.backend().CheckSwitch(group_, pasid_, target_));
  }
  return CheckNotHeld(model, device);
}

absl::Status ToDomainOperation::CloseRegions(Model& model) {
  if (pasid_.has_value()) return absl::OkStatus();
  const RegionDemand from = was_attached_ ? RegionDemandOf(model, old_) : RegionDemand{};
  regions_ = RegionMove(from, RegionDemandOf(model, target_), moving_);
  RETURN_IF_ERROR(regions_.Plan(model));
  absl::Status placed = doorbells_.Plan(model, target_, moving_);
  if (!placed.ok()) regions_.Unplan(model);
  return placed;
}

absl::Status ToDomainOperation::TakePasid(Model& model, const Device& device) {
  if (model.GroupOf(device).pasids.contains(*pasid_)) return absl::OkStatus();
  ASSIGN_OR_RETURN(charged_, model.ledger.Take(context().principal, Usage(Resource::kPasids, 1)));
  return absl::OkStatus();
}

void ToDomainOperation::AddReferences(Model& model) {
  if (target_.kind != DomainTarget::Kind::kDomain) return;
  for (const DeviceIndex index : moving_) {
    model.Get<Domain>(target_.domain)->AddReferences(model.devices[index].uid, 1);
  }
}

absl::Status ToDomainOperation::PlanMove(Model& model, const Device& device) {
  RETURN_IF_ERROR(CheckAgainstGroup(model, device));
  if (moving_.empty()) return absl::OkStatus();
  if (target_.kind == DomainTarget::Kind::kDomain) {
    // First of all: what an address space maps is told only to its owner.
    RETURN_IF_ERROR(CheckClaimed(model, device, model.Get<Domain>(target_.domain)->owner()));
  }
  RETURN_IF_ERROR(CloseRegions(model));
  absl::Status usable = CheckTarget(model, device);
  if (usable.ok() && pasid_.has_value()) usable = TakePasid(model, device);
  if (!usable.ok()) {
    doorbells_.Unplan(model);
    regions_.Unplan(model);
    return usable;
  }
  if (was_attached_) left_.Plan(model, old_, moving_.size());
  AddReferences(model);
  return absl::OkStatus();
}

void ToDomainOperation::AnswerAsPlanned(const Model& model, const Device& device) {
  const Attachment* const now = device.AttachmentAt(pasid_);
  answer().attachment = {device.Name(),
                         model.TargetName(target_, context().principal),
                         context().principal,
                         device.revision,
                         now == nullptr ? absl::Time() : now->create_time,
                         pasid_,
                         MsiIovaOf(model, device, pasid_, target_)};
  answer().effects = {regions_.Gained(model), regions_.Lost(model), {}};
  if (!switches_hardware_) return;
  answer().transition = made_.planned()
                            ? model.backend().PlanSwitchToNew(group_, pasid_, made_.domain().spec)
                            : model.backend().PlanSwitch(group_, pasid_, target_);
  answer().effects.siblings_moved = MovedSiblings(model, group_, device_);
}

absl::Status ToDomainOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  device_ = device->index;
  const Group& group = model.GroupOf(*device);
  group_ = group.members;
  RETURN_IF_ERROR(CheckClaimed(model, *device, context().principal));
  ASSIGN_OR_RETURN(const Named named, Resolve(model, *device));
  old_ = group.TargetAt(pasid_);
  was_attached_ = device->AttachmentAt(pasid_) != nullptr;
  moving_.clear();
  joins_ = false;
  switches_hardware_ = true;
  regions_ = RegionMove();
  doorbells_ = DoorbellPlacing();
  left_ = DomainLeaving();
  charged_ = nullptr;
  RETURN_IF_ERROR(CheckVerb(model, *device));
  RETURN_IF_ERROR(Choose(model, *device, named));
  absl::Status planned = PlanMove(model, *device);
  if (!planned.ok()) {
    made_.Unplan(model);
    return planned;
  }
  AnswerAsPlanned(model, *device);
  return absl::OkStatus();
}

void ToDomainOperation::Unplan(Model& model) {
  doorbells_.Unplan(model);
  regions_.Unplan(model);
  if (charged_ != nullptr) model.ledger.GiveBack(*charged_, Usage(Resource::kPasids, 1));
  if (target_.kind == DomainTarget::Kind::kDomain) {
    for (const DeviceIndex index : moving_) {
      model.Get<Domain>(target_.domain)->DropReferences(model.devices[index].uid, 1);
    }
  }
  made_.Unplan(model);
}

LogicalOperation ToDomainOperation::Logical() const {
  record::Attach logical{device_id_, target_.domain, "", pasid_, std::nullopt, left_.uid()};
  if (target_.kind == DomainTarget::Kind::kBlocked) logical.static_domain = kBlockedDomain.data();
  if (target_.kind == DomainTarget::Kind::kIdentity) {
    logical.static_domain = kIdentityDomain.data();
  }
  if (made_.planned()) logical.made = made_.Logical();
  logical.doorbells = doorbells_.Logical();
  return logical;
}

absl::Status ToDomainOperation::Apply(Backend& backend) {
  RETURN_IF_ERROR(made_.Apply(backend));
  absl::Status mapped = doorbells_.Apply(backend);
  if (!mapped.ok()) {
    made_.Undo(backend);
    return mapped;
  }
  if (switches_hardware_) {
    absl::StatusOr<Transition> switched = backend.Switch(group_, pasid_, target_);
    if (!switched.ok()) {
      doorbells_.Undo(backend);
      made_.Undo(backend);
      return switched.status();
    }
    answer().transition = *std::move(switched);
  }
  left_.Apply(backend);
  return absl::OkStatus();
}

void ToDomainOperation::CommitAttachment(Model& model, Device& device) {
  if (was_attached_ && old_.kind == DomainTarget::Kind::kDomain) {
    model.Get<Domain>(old_.domain)->DropReferences(device.uid, 1);
  }
  const Attachment* const now = device.AttachmentAt(pasid_);
  const absl::Time created = now == nullptr ? model.env().Now() : now->create_time;
  const uint64_t revision = model.Bump(device);
  device.attachments[pasid_] = Attachment{target_, context().principal, revision, created};
}

void ToDomainOperation::Commit(Model& model) {
  Group& group = model.GroupOf(model.devices[device_]);
  made_.Commit(model);
  if (switches_hardware_) WithdrawFaults(model, group_, pasid_, old_);
  for (const DeviceIndex index : moving_) CommitAttachment(model, model.devices[index]);
  regions_.Commit(model);
  group.targets[pasid_] = target_;
  if (charged_ != nullptr) {
    group.pasids[*pasid_] = {PasidEntry::Kind::kImplicit, context().principal, "", charged_,
                             model.revision};
  }
  TouchDomain(model, old_);
  if (!made_.planned() && !SameTarget(old_, target_)) TouchDomain(model, target_);
  left_.Commit(model);
  if (switches_hardware_) {
    if (!pasid_.has_value()) TouchOthers(model, group_, moving_);
    model.CountTransition(Model::StateOf(old_), Model::StateOf(target_),
                          answer().transition.hitless);
  }
  answer().attachment = AttachmentOf(model, model.devices[device_], pasid_, context().principal);
}

absl::Status AttachOperation::CheckVerb(const Model& model, const Device& device) {
  if (const Attachment* const now = device.AttachmentAt(pasid())) {
    return Error(absl::StatusCode::kFailedPrecondition, "ALREADY_ATTACHED",
                 absl::StrCat(NameAt(device, pasid()), " is attached to ",
                              model.TargetName(now->target, context().principal)))
        .Errno("EBUSY")
        .Resource(device.Name())
        .Violation("replace the attachment, or detach first");
  }
  joins_ = model.GroupOf(device).AttachedAt(pasid()) != nullptr;
  moving_ = {device.index};
  return absl::OkStatus();
}

absl::Status AttachOperation::CheckAgainstGroup(const Model& model, const Device& device) {
  switches_hardware_ = !joins_;
  if (!joins_ || SameTarget(model.GroupOf(device).TargetAt(pasid()), target())) {
    return absl::OkStatus();
  }
  return GroupMismatch(model, device, pasid(), context().principal);
}

absl::Status ReplaceOperation::CheckVerb(const Model& model, const Device& device) {
  if (device.AttachmentAt(pasid()) == nullptr) {
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_ATTACHED",
                 absl::StrCat(NameAt(device, pasid()),
                              " is not attached; there is nothing to replace"))
        .Errno("EINVAL")
        .Resource(device.Name())
        .Violation("attach the device");
  }
  for (const DeviceIndex index : model.GroupOf(device).members) {
    if (model.devices[index].AttachmentAt(pasid()) != nullptr) moving_.push_back(index);
  }
  return absl::OkStatus();
}

absl::Status ReplaceOperation::CheckAgainstGroup(const Model& model, const Device& device) {
  switches_hardware_ = !SameTarget(model.GroupOf(device).TargetAt(pasid()), target());
  if (!switches_hardware_) moving_.clear();  // Onto the same domain: nothing moves.
  return absl::OkStatus();
}

}  // namespace viommu
