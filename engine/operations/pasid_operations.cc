#include "engine/operations/pasid_operations.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"
#include "engine/operations/pasids.h"

namespace viommu {
namespace {

absl::StatusOr<std::vector<Uid>> LaneOfGroup(Model& model, const std::string& device_id,
                                             const CallContext& context,
                                             const std::string& owner = "") {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id));
  // Before the lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckHeldFor(model, *device, context, owner));
  return std::vector<Uid>{model.GroupOf(*device).uid};
}

absl::Status CheckLabel(const std::string& label) {
  if (label.size() <= kMaxPasidLabelBytes) return absl::OkStatus();
  return Error(
             absl::StatusCode::kInvalidArgument, "LABEL_TOO_LONG",
             absl::StrCat("the label has ", label.size(), " bytes; at most ", kMaxPasidLabelBytes))
      .Errno("EINVAL")
      .Field("label");
}

absl::Status RangeInvalid(uint32_t first, uint32_t last) {
  return Error(absl::StatusCode::kInvalidArgument, "RANGE_INVALID",
               absl::StrCat("the lowest PASID ", first, " is above the highest, ", last))
      .Errno("EINVAL")
      .Field("min_pasid");
}

absl::Status PasidExists(const Device& device, uint32_t pasid) {
  return Error(absl::StatusCode::kAlreadyExists, "PASID_EXISTS",
               absl::StrCat("PASID ", pasid, " of the group of ", device.Name(), " is taken"))
      .Errno("EEXIST")
      .Field("pasid")
      .Resource(device.Name());
}

absl::Status PasidsExhausted(const Device& device, uint32_t first, uint32_t last) {
  return Error(absl::StatusCode::kResourceExhausted, "PASIDS_EXHAUSTED",
               absl::StrCat("every PASID from ", first, " to ", last, " of the group of ",
                            device.Name(), " is taken"))
      .Errno("ENOSPC")
      .Resource(device.Name());
}

absl::Status PasidNotFound(const Device& device, uint32_t pasid) {
  return Error(absl::StatusCode::kNotFound, "PASID_NOT_FOUND",
               absl::StrCat("PASID ", pasid, " of the group of ", device.Name(), " is not taken"))
      .Errno("ENOENT")
      .Field("pasid")
      .Resource(device.Name());
}

absl::Status CheckNotAttachedAt(const Model& model, const Device& device, uint32_t pasid) {
  std::vector<std::string> attached;
  for (const DeviceIndex index : model.GroupOf(device).members) {
    const Device& member = model.devices[index];
    if (member.AttachmentAt(pasid) != nullptr) attached.push_back(NameAt(member, pasid));
  }
  if (attached.empty()) return absl::OkStatus();
  Error error(absl::StatusCode::kFailedPrecondition, "IN_USE",
              absl::StrCat(attached.front(), " is attached"));
  for (const std::string& name : attached) error.Violation(absl::StrCat("detach ", name));
  return std::move(error).Errno("EBUSY").Resource(device.Name());
}

}  // namespace

absl::StatusOr<std::vector<Uid>> TakePasidOperation::Lanes(Model& model) {
  return LaneOfGroup(model, device_id_, context());
}

absl::StatusOr<uint32_t> TakePasidOperation::Choose(const Model& model,
                                                    const Device& device) const {
  RETURN_IF_ERROR(CheckLabel(request_.label));
  const uint32_t first = request_.min.value_or(1);
  RETURN_IF_ERROR(CheckPasid(model, device, reserves_ ? "pasid" : "min_pasid", first));
  ASSIGN_OR_RETURN(const uint32_t highest, HighestPasid(model, device));
  const uint32_t last = request_.max.value_or(highest);
  RETURN_IF_ERROR(CheckPasid(model, device, "max_pasid", last));
  if (first > last) return RangeInvalid(first, last);
  const Group& group = model.GroupOf(device);
  uint32_t free = first;
  while (free <= last && (group.pasids.contains(free) || model.process_pasids.Has(free))) ++free;
  if (free <= last) return free;
  return reserves_ ? PasidExists(device, first) : PasidsExhausted(device, first, last);
}

PasidEntry::Kind TakePasidOperation::kind() const {
  return reserves_ ? PasidEntry::Kind::kReserved : PasidEntry::Kind::kAllocated;
}

absl::Status TakePasidOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  device_ = device->index;
  RETURN_IF_ERROR(CheckHeldFor(model, *device, context()));
  ASSIGN_OR_RETURN(pasid_, Choose(model, *device));
  ASSIGN_OR_RETURN(account_, model.ledger.Take(context().principal, Usage(Resource::kPasids, 1)));
  answer() = {device->Name(),
              pasid_,
              reserves_ ? PasidState::kReserved : PasidState::kAllocated,
              "",
              context().principal,
              request_.label,
              0};
  return absl::OkStatus();
}

void TakePasidOperation::Unplan(Model& model) {
  model.ledger.GiveBack(*account_, Usage(Resource::kPasids, 1));
}

LogicalOperation TakePasidOperation::Logical() const {
  return record::TakePasid{device_id_, pasid_, !reserves_, request_.label};
}

void TakePasidOperation::Commit(Model& model) {
  const Device& device = model.devices[device_];
  model.GroupOf(device).pasids[pasid_] = {kind(), context().principal, request_.label, account_,
                                          ++model.revision};
  answer() = PasidOf(model, device, pasid_, context().principal);
}

absl::StatusOr<std::vector<Uid>> FreePasidOperation::Lanes(Model& model) {
  return LaneOfGroup(model, device_id_, context(), owner_);
}

absl::Status FreePasidOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(device_id_));
  device_ = device->index;
  RETURN_IF_ERROR(CheckHeldFor(model, *device, context(), owner_));
  const Group& group = model.GroupOf(*device);
  const auto entry = group.pasids.find(pasid_);
  if (entry == group.pasids.end()) return PasidNotFound(*device, pasid_);
  if (!context().is_operator) {
    RETURN_IF_ERROR(CheckPasidIsOf(*device, pasid_, entry->second, context().principal));
  }
  return CheckNotAttachedAt(model, *device, pasid_);
}

void FreePasidOperation::Commit(Model& model) {
  Group& group = model.GroupOf(model.devices[device_]);
  const auto entry = group.pasids.find(pasid_);
  model.ledger.GiveBack(*entry->second.account, Usage(Resource::kPasids, 1));
  group.pasids.erase(entry);
  ++model.revision;
}

void FreeAllPasids(Model& model, Group& group) {
  for (const auto& [pasid, entry] : group.pasids) {
    model.ledger.GiveBack(*entry.account, Usage(Resource::kPasids, 1));
  }
  group.pasids.clear();
}

}  // namespace viommu
