#include "engine/model/model.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

absl::Status DeviceNotFound(absl::string_view id) {
  const std::string name = absl::StrCat("devices/", id);
  return Error(absl::StatusCode::kNotFound, "DEVICE_NOT_FOUND",
               absl::StrCat(name, " does not exist"))
      .Errno("ENOENT")
      .Resource(name);
}

}  // namespace

absl::string_view DomainStateName(DomainState state) {
  switch (state) {
    case DomainState::kBlocked:
      return "blocked";
    case DomainState::kIdentity:
      return "identity";
    case DomainState::kPaging:
      return "paging";
    case DomainState::kHostIdentity:
      return "host_identity";
    case DomainState::kHostDma:
      return "host_dma";
  }
  return "";
}

Model::Model(const Backend* backend, Env* env, const OwnerLimits& limits,
             const FlushQueueOptions& flush_queue)
    : ledger(limits), backend_(backend), env_(env) {
  absl::flat_hash_map<std::string, size_t> group_by_name;
  for (const DeviceSpec& spec : backend->topology().devices) {
    const auto index = static_cast<DeviceIndex>(devices.size());
    const auto [it, added] = group_by_name.try_emplace(spec.group, groups.size());
    if (added) {
      groups.emplace_back();
      groups.back().uid = objects.NextUid();
      groups.back().host.queue = FlushQueue(flush_queue);
      holder_names_[groups.back().uid] = absl::StrCat("host mappings of group ", spec.group);
    }
    Device device;
    device.index = index;
    device.spec = spec;
    device.uid = objects.NextUid();
    device.group = it->second;
    groups[it->second].members.push_back(index);
    device_by_id_[spec.id] = index;
    holder_names_[device.uid] = device.Name();
    devices.push_back(std::move(device));
  }
}

absl::StatusOr<std::string> Model::OwnerOf(const CallContext& context, const ObjectRef& ref) {
  if (!ref.owner.has_value() || *ref.owner == context.principal) return context.principal;
  if (context.is_operator) return *ref.owner;
  return Error(absl::StatusCode::kPermissionDenied, "NOT_OPERATOR",
               "only an operator may address another owner's objects")
      .Errno("EPERM")
      .Field("name");
}

absl::StatusOr<Object*> Model::FindObject(const CallContext& context, const ObjectRef& ref,
                                          ObjectKind kind) const {
  ASSIGN_OR_RETURN(const std::string owner, OwnerOf(context, ref));
  Object* const object = objects.FindLive(owner, kind, ref.id);
  if (object != nullptr) return object;
  const std::string own = absl::StrCat(Collection(kind), "/", ref.id);
  const std::string name =
      owner == context.principal ? own : absl::StrCat("owners/", owner, "/", own);
  return Error(absl::StatusCode::kNotFound, absl::StrCat(ReasonPrefix(kind), "_NOT_FOUND"),
               absl::StrCat(name, " does not exist"))
      .Errno("ENOENT")
      .Resource(name);
}

absl::StatusOr<Device*> Model::FindDevice(absl::string_view id) {
  const absl::StatusOr<Device*> device = FindSlot(id);
  return device.ok() && !(*device)->present ? DeviceNotFound(id) : device;
}

absl::StatusOr<Device*> Model::FindSlot(absl::string_view id) {
  const auto it = device_by_id_.find(id);
  if (it != device_by_id_.end()) return &devices[it->second];
  return DeviceNotFound(id);
}

const IommuSpec& Model::UnitOf(const Device& device) const {
  const std::vector<IommuSpec>& units = backend_->topology().iommus;
  return *std::find_if(units.begin(), units.end(),
                       [&](const IommuSpec& unit) { return unit.id == device.spec.iommu; });
}

absl::Status Model::CheckEtag(const std::string& etag, const std::string& current,
                              absl::string_view name) {
  if (etag.empty() || etag == current) return absl::OkStatus();
  return Error(absl::StatusCode::kAborted, "ETAG_MISMATCH",
               absl::StrCat(name, " has changed: its etag is ", current, ", not ", etag))
      .Field("etag")
      .Resource(name)
      .Meta("etag", current);
}

std::string Model::TargetName(const DomainTarget& target, absl::string_view principal) const {
  switch (target.kind) {
    case DomainTarget::Kind::kBlocked:
      return "domains/blocked";
    case DomainTarget::Kind::kIdentity:
      return "domains/identity";
    case DomainTarget::Kind::kDomain:
      break;
  }
  return Get<Domain>(target.domain)->NameFor(principal);
}

DomainState Model::StateOf(const Group& group) const {
  if (!group.claimed()) {
    return group.default_domain == DefaultDomainType::kIdentity ? DomainState::kHostIdentity
                                                                : DomainState::kHostDma;
  }
  return StateOf(group.TargetAt(std::nullopt));
}

DomainState Model::StateOf(const DomainTarget& target) {
  switch (target.kind) {
    case DomainTarget::Kind::kBlocked:
      return DomainState::kBlocked;
    case DomainTarget::Kind::kIdentity:
      return DomainState::kIdentity;
    case DomainTarget::Kind::kDomain:
      break;
  }
  return DomainState::kPaging;
}

std::string Model::IdOrGenerated(const std::string& id, ObjectKind kind) {
  if (!id.empty()) return id;
  return absl::StrFormat("%s-%012x", absl::AsciiStrToLower(Collection(kind)),
                         env_->Random() & 0xffffffffffff);
}

std::string Model::ChildIdOrGenerated(const Viommu& viommu, const std::string& id,
                                      ObjectKind kind) {
  const std::string prefix = ChildPrefix(viommu.id(), kind);
  if (!id.empty()) return prefix + id;
  return absl::StrFormat("%s%s-%012x", prefix, absl::AsciiStrToLower(SubCollection(kind)),
                         env_->Random() & 0xffffffffffff);
}

absl::Status Model::ReserveObject(std::unique_ptr<Object> object) {
  ASSIGN_OR_RETURN(Object * reserved, objects.Reserve(std::move(object)));
  const absl::StatusOr<Account*> account = ledger.Take(reserved->owner(), reserved->Holds());
  if (account.ok()) {
    reserved->account = *account;
  } else {
    objects.Erase(reserved->uid());
  }
  return account.status();
}

Domain* Model::PagingDomainOf(const DomainTarget& target) const {
  if (target.kind != DomainTarget::Kind::kDomain) return nullptr;
  Domain* const domain = Get<Domain>(target.domain);
  return domain->nested() ? Get<Domain>(domain->spec.parent) : domain;
}

void Model::Discard(Object& object) {
  if (object.exists()) {
    feed.Record(Change{
        ++revision, Change::Type::kDeleted, object.kind(), object.uid(), 0,
        std::make_unique<const Change::Gone>(Change::Gone{object.id(), object.owner(), ""})});
    if (object.kind() == ObjectKind::kIoas) {
      feed.ForgetMappings(static_cast<const Ioas&>(object).mapping_revision);
    }
  }
  ledger.GiveBack(*object.account, object.Holds());
  objects.Erase(object.uid());
}

void Model::Publish(Object& object) {
  object.state = Object::State::kLive;
  object.create_time = env_->Now();
  object.create_revision = object.revision = ++revision;
  feed.Record(Change{revision, Change::Type::kAdded, object.kind(), object.uid(), 0, nullptr});
}

uint64_t Model::Bump(Object& object) {
  ++object.generation;
  object.revision = ++revision;
  feed.Record(Change{revision, Change::Type::kModified, object.kind(), object.uid(), 0, nullptr});
  return revision;
}

uint64_t Model::Bump(Device& device) {
  ++device.generation;
  device.revision = ++revision;
  feed.Record(
      Change{revision, Change::Type::kModified, std::nullopt, device.uid, device.index, nullptr});
  return revision;
}

void Model::Unplug(Device& device, absl::string_view reason) {
  holder_names_.erase(device.uid);
  device.present = false;
  device.held_back = true;
  device.health = DeviceHealth::kHealthy;
  device.health_cause = HealthReason::kNone;
  device.health_reason.clear();
  feed.Record(Change{
      ++revision, Change::Type::kDeleted, std::nullopt, device.uid, device.index,
      std::make_unique<const Change::Gone>(Change::Gone{device.spec.id, "", std::string(reason)})});
}

void Model::Plug(Device& device, Uid uid) {
  device.uid = uid;
  holder_names_[device.uid] = device.Name();
  device.present = true;
  device.held_back = false;
  device.generation = 1;
  device.plug_revision = device.revision = ++revision;
  feed.Record(
      Change{revision, Change::Type::kAdded, std::nullopt, device.uid, device.index, nullptr});
}

void Model::NoteQuarantined() {
  for (const DeviceIndex index : backend_->Quarantined()) {
    Device& device = devices[index];
    if (device.held_back) continue;  // Known, or blocked for another reason that a reset ends too.
    device.held_back = true;
    device.health = DeviceHealth::kUnhealthy;
    device.health_cause = HealthReason::kInvalidationFailed;
    device.health_reason = "blocked, as its TLB did not answer an invalidation; reset it";
    ++quarantines;
    Bump(device);
  }
}

uint64_t Model::BumpMappings(Ioas& ioas) {
  ++revision;
  feed.RecordMappings(ioas.uid(), ioas.mapping_revision, revision);
  return ioas.mapping_revision = revision;
}

void Model::CountTransition(DomainState from, DomainState to, bool hitless) {
  ++transitions[hitless ? 1 : 0][{from, to}];
}

std::vector<std::string> Model::ReferrerNames(const Object& object, const CallContext& context,
                                              size_t limit) const {
  std::vector<std::string> names;
  for (const auto& [holder, count] : object.referrers()) {
    if (names.size() == limit) break;
    if (const Object* named = objects.FindByUid(holder); named != nullptr) {
      const bool may_know = context.is_operator || named->owner() == context.principal;
      names.push_back(may_know ? named->NameFor(context.principal) : "another owner's object");
    } else if (const auto it = holder_names_.find(holder); it != holder_names_.end()) {
      names.push_back(it->second);
    }
  }
  return names;
}

}  // namespace viommu
