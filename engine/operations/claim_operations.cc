#include "engine/operations/claim_operations.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/default_domains.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"
#include "engine/operations/pasid_operations.h"
#include "engine/operations/placement.h"

namespace viommu {
namespace {

absl::Status CheckClaimable(const Model& model, const Group& group) {
  for (const DeviceIndex index : group.members) {
    const Device& member = model.devices[index];
    RETURN_IF_ERROR(CheckHealthy(member));
    for (const ReservedRegion& region : member.spec.reserved_regions) {
      if (region.type != ReservedRegionType::kDirect) continue;
      return Error(absl::StatusCode::kFailedPrecondition, "DIRECT_REGION",
                   absl::StrCat(member.Name(), " must stay mapped one to one at ",
                                ToString(region.range), ", so it can not be taken from the host"))
          .Errno("EINVAL")
          .Resource(member.Name());
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Uid>> GroupOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  return std::vector<Uid>{model.GroupOf(*device).uid};
}

absl::StatusOr<Device*> GroupOperation::Locate(Model& model) {
  ASSIGN_OR_RETURN(Device * device, model.FindDevice(device_id_));
  device_ = device->index;
  members_ = model.GroupOf(*device).members;
  AnswerWithDevice(model);
  return device;
}

void GroupOperation::AnswerWithDevice(const Model& model) {
  answer() = ViewOf(model, model.devices[device_], context());
}

void GroupChange::Foresee(Model& model) {
  Group& group = GroupIn(model);
  const GroupState before = group;
  Change(group);
  AnswerWithDevice(model);
  static_cast<GroupState&>(group) = before;
}

void GroupChange::CommitChange(Model& model, bool hitless) {
  Group& group = GroupIn(model);
  const DomainState from = model.StateOf(group);
  CommitOnPaper(model);
  model.CountTransition(from, model.StateOf(group), hitless);
}

void GroupChange::CommitOnPaper(Model& model) {
  Change(GroupIn(model));
  for (const DeviceIndex index : members()) model.Bump(model.devices[index]);
  AnswerWithDevice(model);
}

// ---- Claim ----

absl::StatusOr<std::vector<Uid>> ClaimOperation::Lanes(Model& model) {
  // Before the lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckMayClaim(context()));
  RETURN_IF_ERROR(CheckMayActFor(context(), owner_, "owner"));
  return GroupChange::Lanes(model);
}

absl::Status ClaimOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, Locate(model));
  const Group& group = model.GroupOf(*device);
  RETURN_IF_ERROR(Model::CheckEtag(etag_, device->Etag(), device->Name()));
  held_ = group.claimed_by == owner_;
  if (held_) return absl::OkStatus();
  if (group.claimed()) return ClaimedByAnother(*device);
  RETURN_IF_ERROR(CheckClaimable(model, group));
  RETURN_IF_ERROR(CheckNoHostMappings(model, *device));
  flush_.Plan(GroupIn(model), FlushQueue::Cause::kSync);
  Foresee(model);
  return absl::OkStatus();
}

absl::Status ClaimOperation::Apply(Backend& backend) {
  RETURN_IF_ERROR(flush_.Apply(backend, members().front()));
  return backend.Claim(members());
}

void ClaimOperation::Change(GroupState& group) const {
  group.claimed_by = owner_;
  group.targets.clear();
}

void ClaimOperation::Commit(Model& model) {
  flush_.Commit(model, GroupIn(model));
  // Into BLOCKED every transition is hitless: each request meets the old state or none.
  CommitChange(model, /*hitless=*/true);
}

// ---- Release ----

absl::StatusOr<std::vector<Uid>> ReleaseOperation::Lanes(Model& model) {
  RETURN_IF_ERROR(CheckMayClaim(context()));
  ASSIGN_OR_RETURN(std::vector<Uid> lanes, GroupChange::Lanes(model));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id()));
  VdevicesLeaving::AddLanes(model, model.GroupOf(*device).members, &lanes);
  return SortedLanes(std::move(lanes));
}

absl::Status ReleaseOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, Locate(model));
  const Group& group = model.GroupOf(*device);
  RETURN_IF_ERROR(Model::CheckEtag(etag_, device->Etag(), device->Name()));
  RETURN_IF_ERROR(CheckHeldFor(model, *device, context(), owner_));
  RETURN_IF_ERROR(CheckNothingAttached(model, group, "STILL_ATTACHED"));
  type_ = group.default_domain;
  vdevices_.Plan(model, group.members);
  Foresee(model);
  return absl::OkStatus();
}

absl::Status ReleaseOperation::Apply(Backend& backend) {
  ASSIGN_OR_RETURN(transition_, backend.AssignDefault(members(), type_));
  vdevices_.Apply(backend);
  return absl::OkStatus();
}

void ReleaseOperation::Change(GroupState& group) const { group.claimed_by.clear(); }

void ReleaseOperation::Commit(Model& model) {
  vdevices_.Commit(model);
  FreeAllPasids(model, GroupIn(model));
  CommitChange(model, transition_.hitless);
}

// ---- SetDefaultDomain ----

absl::Status SetDefaultDomainOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, Locate(model));
  if (!context().is_operator) {
    return Error(absl::StatusCode::kPermissionDenied, "NOT_OPERATOR",
                 "only an operator may choose a default domain")
        .Errno("EACCES");
  }
  const Group& group = model.GroupOf(*device);
  RETURN_IF_ERROR(CheckHostHas(model, *device));
  type_ = DefaultDomainFor(model, group, asked_, &fallback_);
  switches_ = IsTranslated(type_) != IsTranslated(group.default_domain);
  // Mappings that are in use would lead elsewhere in another domain.
  if (switches_) RETURN_IF_ERROR(CheckNoHostMappings(model, *device));
  if (type_ == DefaultDomainType::kIdentity) {
    RETURN_IF_ERROR(CheckIdentityAllowed(model, *device, context()));
  }
  same_ = type_ == group.default_domain && fallback_ == group.default_domain_fallback;
  flush_ = FlushStep();
  if (type_ != DefaultDomainType::kDmaFq) {
    flush_.Plan(GroupIn(model), FlushQueue::Cause::kSync);
  }
  Foresee(model);
  return absl::OkStatus();
}

LogicalOperation SetDefaultDomainOperation::Logical() const {
  return record::SetDefaultDomain{device_id(), static_cast<int>(type_)};
}

absl::Status SetDefaultDomainOperation::Apply(Backend& backend) {
  RETURN_IF_ERROR(flush_.Apply(backend, members().front()));
  if (!switches_) return absl::OkStatus();
  ASSIGN_OR_RETURN(transition_, backend.AssignDefault(members(), type_));
  return absl::OkStatus();
}

void SetDefaultDomainOperation::Change(GroupState& group) const {
  group.default_domain = type_;
  group.default_domain_fallback = fallback_;
}

void SetDefaultDomainOperation::Commit(Model& model) {
  flush_.Commit(model, GroupIn(model));
  CommitChange(model, transition_.hitless);
}

}  // namespace viommu
