// engine/backend/soft/soft_backend_inl.h -- The definitions of SoftBackendT, for those who
// instantiate it with a store policy of their own.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SOFT_BACKEND_INL_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SOFT_BACKEND_INL_H_

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/soft/unit_capability.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {

namespace soft_internal {

absl::Status NoObject(absl::string_view kind, Uid uid);
absl::Status ObjectExists(absl::string_view kind, Uid uid);
std::vector<LeafCount> LeavesOf(const DomainProperties& properties, const BackendMapping& mapping,
                                PhysAddr to);
absl::Status WrongDomain(absl::string_view reason, Uid uid, absl::string_view what);
absl::Status DomainInUse(Uid uid);
// What a group takes by default, given its members.
DefaultDomainType DefaultOf(absl::Span<const DeviceSpec* const> members);
// kPermissionDenied, UNTRUSTED_DEVICE: identity is never for these.
absl::Status CheckDefault(DefaultDomainType type, absl::Span<const DeviceSpec* const> members);

}  // namespace soft_internal

template <typename Store>
absl::StatusOr<std::unique_ptr<SoftBackendT<Store>>> SoftBackendT<Store>::Create(
    Topology topology, const SoftBackendOptions& options, Store store) {
  ASSIGN_OR_RETURN(auto machine,
                   SoftMachine::Create(std::move(topology), options.table_arena_bytes));
  machine->MakePorts(store);
  std::unique_ptr<SoftBackendT> backend(new SoftBackendT(std::move(machine), store));
  backend->MakeGroups();
  RETURN_IF_ERROR(backend->EnterDefaultDomains());
  RETURN_IF_ERROR(backend->machine_->EnableTranslation());
  return backend;
}

template <typename Store>
SoftBackendT<Store>::SoftBackendT(std::unique_ptr<SoftMachine> machine, Store store)
    : machine_(std::move(machine)),
      store_(store),
      viommus_(machine_.get(), [this](Uid uid) { return FindParent(uid); }) {}

template <typename Store>
void SoftBackendT<Store>::MakeGroups() {
  std::map<std::string, std::vector<DeviceIndex>> members;
  for (DeviceIndex i = 0; i < topology().devices.size(); ++i) {
    members[topology().devices[i].group].push_back(i);
  }
  group_of_.resize(topology().devices.size());
  for (const auto& [name, devices] : members) {
    std::vector<uint32_t> requesters;
    for (const DeviceIndex i : devices) requesters.push_back(machine_->requester_of(i));
    groups_.push_back(
        std::make_unique<DeviceGroup>(&machine_->port_of(devices[0]), std::move(requesters)));
    for (const DeviceIndex i : devices) group_of_[i] = groups_.back().get();
  }
}

template <typename Store>
std::vector<const DeviceSpec*> SoftBackendT<Store>::MembersOf(const DeviceGroup& group) const {
  std::vector<const DeviceSpec*> members;
  for (DeviceIndex i = 0; i < group_of_.size(); ++i) {
    if (group_of_[i] == &group) members.push_back(&topology().devices[i]);
  }
  return members;
}

template <typename Store>
absl::Status SoftBackendT<Store>::EnterDefaultDomains() {
  for (DeviceIndex i = 0; i < group_of_.size(); ++i) {
    if (group_of_[i]->place().is_default) continue;  // As another member of its group.
    const auto type = soft_internal::DefaultOf(MembersOf(*group_of_[i]));
    RETURN_IF_ERROR(AssignDefault(absl::MakeConstSpan(&i, 1), type).status());
  }
  return absl::OkStatus();
}

// Planning.

template <typename Store>
absl::StatusOr<DomainProperties> SoftBackendT<Store>::PlanDomain(const DomainSpec& spec) const {
  const IommuSpec& unit = machine_->port_of(spec.device).spec();
  if (spec.kind == DomainSpec::Kind::kPaging) return PlanPaging(unit, spec);
  if (spec.kind == DomainSpec::Kind::kSva) return PlanSva(unit);
  ASSIGN_OR_RETURN(const auto parent, FindParent(spec.parent));
  if (spec.viommu != 0) return PlanVste(unit, spec.vste, parent->properties());
  return PlanNested(unit, spec.stage1, parent->properties());
}

template <typename Store>
absl::Status SoftBackendT<Store>::CheckCompatible(DeviceIndex device,
                                                  const DomainProperties& properties) const {
  return CheckDomain(machine_->port_of(device).spec(), properties);
}

template <typename Store>
absl::Status SoftBackendT<Store>::CheckSwitch(absl::Span<const DeviceIndex> group,
                                              std::optional<uint32_t> pasid,
                                              const DomainTarget& target) const {
  const auto place = FindPlace(target);
  if (!place.ok()) return absl::OkStatus();  // What is not there yet is not known to be refused.
  return group_of_[group[0]]->CheckSwitchTo(*place, pasid);
}

template <typename Store>
Transition SoftBackendT<Store>::PlanSwitch(absl::Span<const DeviceIndex> group,
                                           std::optional<uint32_t> pasid,
                                           const DomainTarget& target) const {
  const auto place = FindPlace(target);
  if (!place.ok()) return {false, std::string(place.status().message())};
  return group_of_[group[0]]->PlanSwitchTo(*place, pasid);
}

template <typename Store>
Transition SoftBackendT<Store>::PlanSwitchToNew(absl::Span<const DeviceIndex> group,
                                                std::optional<uint32_t> pasid,
                                                const DomainSpec& spec) const {
  const auto properties = PlanDomain(spec);
  if (!properties.ok()) return {false, std::string(properties.status().message())};
  const DeviceGroup& found = *group_of_[group[0]];
  return found.PlanChangeTo(SoftDomain::TranslationToCome(*properties, found.unit()), pasid);
}

template <typename Store>
std::vector<LeafCount> SoftBackendT<Store>::PlanLeaves(const DomainProperties& properties,
                                                       const BackendMapping& mapping) const {
  const auto to =
      machine_->memory().Locate(mapping.region, mapping.offset_bytes, mapping.size_bytes);
  if (!to.ok()) return {};
  return soft_internal::LeavesOf(properties, mapping, *to);
}

// Objects.

template <typename Store>
absl::Status SoftBackendT<Store>::CreateMemoryRegion(Uid uid, uint64_t size_bytes,
                                                     std::optional<int32_t>) {
  return machine_->memory().CreateRegion(uid, size_bytes);
}

template <typename Store>
absl::Status SoftBackendT<Store>::DestroyMemoryRegion(Uid uid) {
  return machine_->memory().DestroyRegion(uid);
}

template <typename Store>
absl::Status SoftBackendT<Store>::CreateIoas(Uid uid) {
  absl::MutexLock lock(&mutex_);
  if (ioases_.emplace(uid, std::make_shared<SoftIoas>()).second) return absl::OkStatus();
  return soft_internal::ObjectExists("ioas", uid);
}

template <typename Store>
absl::Status SoftBackendT<Store>::SetLargePages(Uid ioas, bool large_pages) {
  ASSIGN_OR_RETURN(const auto found, FindIoas(ioas));
  found->SetLargePages(large_pages);
  return absl::OkStatus();
}

template <typename Store>
absl::Status SoftBackendT<Store>::DestroyIoas(Uid uid) {
  absl::MutexLock lock(&mutex_);
  return ioases_.erase(uid) == 1 ? absl::OkStatus() : soft_internal::NoObject("ioas", uid);
}

template <typename Store>
absl::StatusOr<std::shared_ptr<SoftIoas>> SoftBackendT<Store>::FindIoas(Uid uid) const {
  absl::MutexLock lock(&mutex_);
  const auto it = ioases_.find(uid);
  if (it == ioases_.end()) return soft_internal::NoObject("ioas", uid);
  return it->second;
}

template <typename Store>
absl::StatusOr<GroupPlace> SoftBackendT<Store>::FindPlace(const DomainTarget& target) const {
  if (target.kind != DomainTarget::Kind::kDomain) return GroupPlace{target.kind, nullptr, false};
  ASSIGN_OR_RETURN(const DomainRecord record, FindDomain(target.domain));
  return GroupPlace{target.kind, record.domain(), false};
}

template <typename Store>
absl::StatusOr<typename SoftBackendT<Store>::DomainRecord> SoftBackendT<Store>::FindDomain(
    Uid uid) const {
  absl::MutexLock lock(&mutex_);
  const auto it = domains_.find(uid);
  if (it == domains_.end()) return soft_internal::NoObject("domain", uid);
  return it->second;
}

template <typename Store>
absl::StatusOr<std::shared_ptr<SoftDomain>> SoftBackendT<Store>::FindParent(Uid uid) const {
  ASSIGN_OR_RETURN(DomainRecord record, FindDomain(uid));
  if (record.paging != nullptr) return std::move(record.paging);
  return soft_internal::WrongDomain("NOT_A_NEST_PARENT", uid, "is nested itself");
}

template <typename Store>
absl::StatusOr<std::shared_ptr<SoftDomain>> SoftBackendT<Store>::MakeDomain(
    const IommuSpec& unit, const DomainProperties& properties) const {
  return SoftDomain::Create(properties, unit, store_, &machine_->memory().arena());
}

template <typename Store>
absl::Status SoftBackendT<Store>::CreateDomain(Uid uid, const DomainSpec& spec,
                                               absl::Span<const BackendMapping> existing) {
  if (spec.kind == DomainSpec::Kind::kNested) return CreateNestedDomain(uid, spec);
  ASSIGN_OR_RETURN(const auto ioas, FindIoas(spec.ioas));
  ASSIGN_OR_RETURN(const auto mappings, Locate(existing));
  ASSIGN_OR_RETURN(const DomainProperties properties, PlanDomain(spec));
  ASSIGN_OR_RETURN(const auto domain,
                   MakeDomain(machine_->port_of(spec.device).spec(), properties));
  domain->SetLargePages(ioas->large_pages());
  RETURN_IF_ERROR(domain->Map(mappings));
  RETURN_IF_ERROR(AddDomain(uid, {domain, ioas, nullptr, nullptr}));
  ioas->Add(domain);
  return absl::OkStatus();
}

template <typename Store>
absl::Status SoftBackendT<Store>::CreateNestedDomain(Uid uid, const DomainSpec& spec) {
  RETURN_IF_ERROR(PlanDomain(spec).status());
  ASSIGN_OR_RETURN(auto parent, FindParent(spec.parent));
  if (spec.viommu != 0) {
    auto guest = std::make_shared<ViommuDomain>(spec.vste, std::move(parent));
    return AddDomain(uid, {nullptr, nullptr, nullptr, std::move(guest)});
  }
  auto nested = std::make_shared<NestedDomain>(spec.stage1, std::move(parent));
  return AddDomain(uid, {nullptr, nullptr, std::move(nested), nullptr});
}

template <typename Store>
absl::Status SoftBackendT<Store>::AddDomain(Uid uid, DomainRecord record) {
  absl::MutexLock lock(&mutex_);
  // A record that is refused goes behind the lock, with the caller's own.
  if (domains_.try_emplace(uid, record).second) return absl::OkStatus();
  return soft_internal::ObjectExists("domain", uid);
}

template <typename Store>
absl::Status SoftBackendT<Store>::DestroyDomain(Uid uid) {
  ASSIGN_OR_RETURN(const DomainRecord record, FindDomain(uid));
  if (record.paging != nullptr && record.paging->HasChildren()) {
    return soft_internal::DomainInUse(uid);
  }
  // Once it is gone, an unmap from its Ioas would no longer flush what it may have left.
  RETURN_IF_ERROR(record.domain()->FlushAbandoned());
  if (record.ioas != nullptr) record.ioas->Remove(record.paging.get());
  absl::MutexLock lock(&mutex_);
  domains_.erase(uid);
  return absl::OkStatus();
}

// Mapping.

template <typename Store>
absl::StatusOr<std::vector<PhysicalMapping>> SoftBackendT<Store>::Locate(
    absl::Span<const BackendMapping> mappings) const {
  std::vector<PhysicalMapping> located;
  located.reserve(mappings.size());
  RETURN_IF_ERROR(
      machine_->memory().LocateEach(mappings, [&](const BackendMapping& m, PhysAddr to) {
        located.push_back({m.iova, to, m.size_bytes, m.permission});
      }));
  return located;
}

template <typename Store>
absl::Status SoftBackendT<Store>::Map(Uid ioas, absl::Span<const BackendMapping> mappings) {
  ASSIGN_OR_RETURN(const auto found, FindIoas(ioas));
  ASSIGN_OR_RETURN(const auto located, Locate(mappings));
  return found->Map(located);
}

template <typename Store>
absl::Status SoftBackendT<Store>::Unmap(Uid ioas, absl::Span<const IovaRange> areas) {
  ASSIGN_OR_RETURN(const auto found, FindIoas(ioas));
  return found->Unmap(areas);
}

template <typename Store>
absl::Status SoftBackendT<Store>::MapDoorbell(Uid domain, Iova iova, PhysAddr doorbell) {
  ASSIGN_OR_RETURN(const auto found, FindParent(domain));
  return found->MapDoorbell(iova, doorbell);
}

template <typename Store>
absl::Status SoftBackendT<Store>::UnmapDoorbell(Uid domain, Iova iova) {
  ASSIGN_OR_RETURN(const auto found, FindParent(domain));
  const IovaRange page{iova, iova + (TableArena::kPageBytes - 1)};
  return found->Unmap(absl::MakeConstSpan(&page, 1));
}

// Dirty tracking.

template <typename Store>
absl::StatusOr<std::shared_ptr<SoftDomain>> SoftBackendT<Store>::FindTracked(Uid uid) const {
  ASSIGN_OR_RETURN(DomainRecord record, FindDomain(uid));
  if (record.paging != nullptr && record.paging->properties().dirty_tracking) {
    return std::move(record.paging);
  }
  return soft_internal::WrongDomain("NOT_TRACKED", uid, "was made without dirty tracking");
}

template <typename Store>
absl::Status SoftBackendT<Store>::SetDirtyTracking(Uid domain, bool enabled) {
  ASSIGN_OR_RETURN(const auto found, FindTracked(domain));
  if (found->tracked() == enabled) return absl::OkStatus();
  if (enabled) RETURN_IF_ERROR(found->ClearDirty());
  if (found->always_marks()) {
    found->Track(enabled);
    return absl::OkStatus();
  }
  // Whoever enters the domain from here on does so as it is now; the others are written again.
  found->Track(enabled);
  absl::Status result;
  for (const auto& group : groups_) {
    result = group->WriteAgain(*found);
    if (!result.ok()) break;
  }
  if (result.ok()) return result;
  found->Track(!enabled);
  for (const auto& group : groups_) group->ForceAgain(*found);
  return result;
}

template <typename Store>
absl::StatusOr<DirtyBitmap> SoftBackendT<Store>::ReadDirty(Uid domain, IovaRange range,
                                                           uint64_t page_bytes, bool clear) {
  ASSIGN_OR_RETURN(const auto found, FindTracked(domain));
  return found->ReadDirty(range, page_bytes, clear);
}

// Attaching.

template <typename Store>
absl::StatusOr<Transition> SoftBackendT<Store>::Switch(absl::Span<const DeviceIndex> group,
                                                       std::optional<uint32_t> pasid,
                                                       const DomainTarget& target) {
  ASSIGN_OR_RETURN(const GroupPlace place, FindPlace(target));
  return group_of_[group[0]]->SwitchTo(place, pasid);
}

template <typename Store>
absl::Status SoftBackendT<Store>::Invalidate(
    Uid domain, absl::Span<const VtdStage1Invalidation> invalidations) {
  ASSIGN_OR_RETURN(const DomainRecord record, FindDomain(domain));
  if (record.nested != nullptr) return record.nested->Invalidate(invalidations);
  return soft_internal::WrongDomain("NOT_NESTED", domain, "has no guest's stage");
}

template <typename Store>
absl::Status SoftBackendT<Store>::Block(DeviceIndex device) {
  return group_of_[device]->Hold(machine_->requester_of(device));
}

template <typename Store>
absl::Status SoftBackendT<Store>::Unblock(DeviceIndex device) {
  return group_of_[device]->LetGo(machine_->requester_of(device));
}

template <typename Store>
absl::Status SoftBackendT<Store>::Claim(absl::Span<const DeviceIndex> group) {
  DeviceGroup& found = *group_of_[group[0]];
  RETURN_IF_ERROR(found.DropPasids());
  return found.SwitchTo(GroupPlace{}).status();
}

template <typename Store>
absl::StatusOr<Transition> SoftBackendT<Store>::AssignDefault(absl::Span<const DeviceIndex> group,
                                                              DefaultDomainType type) {
  DeviceGroup& found = *group_of_[group[0]];
  RETURN_IF_ERROR(soft_internal::CheckDefault(type, MembersOf(found)));
  RETURN_IF_ERROR(found.DropPasids());
  GroupPlace place;
  place.is_default = true;
  if (type == DefaultDomainType::kIdentity) {
    place.kind = DomainTarget::Kind::kIdentity;
  } else {
    const GroupPlace now = found.place();
    if (now.is_default && now.domain != nullptr) return Transition{};
    place.kind = DomainTarget::Kind::kDomain;
    ASSIGN_OR_RETURN(place.domain, MakeDefaultDomain(found));
  }
  return found.SwitchTo(place);
}

template <typename Store>
absl::StatusOr<std::shared_ptr<SoftDomain>> SoftBackendT<Store>::MakeDefaultDomain(
    const DeviceGroup& group) {
  ASSIGN_OR_RETURN(const DomainProperties properties, PlanPaging(group.unit().spec(), {}));
  ASSIGN_OR_RETURN(auto domain, MakeDomain(group.unit().spec(), properties));
  std::vector<PhysicalMapping> direct;
  for (const IovaRange& range : DirectRanges(MembersOf(group))) {
    direct.push_back(
        {range.first, PhysAddr{range.first}, range.size_bytes(), Permission::kReadWrite});
  }
  RETURN_IF_ERROR(domain->Map(direct));
  return domain;
}

// Simulation.

template <typename Store>
DmaOutcome SoftBackendT<Store>::Dma(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova,
                                    bool write, absl::Span<char> data) {
  return machine_->Dma(device, pasid, iova, write, data);
}

template <typename Store>
absl::Status SoftBackendT<Store>::ReadMemory(Uid region, uint64_t offset_bytes,
                                             absl::Span<char> data) {
  return machine_->memory().Read(region, offset_bytes, data);
}

template <typename Store>
absl::Status SoftBackendT<Store>::WriteMemory(Uid region, uint64_t offset_bytes,
                                              absl::Span<const char> data) {
  return machine_->memory().Write(region, offset_bytes, data);
}

template <typename Store>
absl::StatusOr<PhysAddr> SoftBackendT<Store>::PhysicalAddress(Uid region, uint64_t offset_bytes) {
  return machine_->memory().Locate(region, offset_bytes, 1);
}

template <typename Store>
absl::StatusOr<std::shared_ptr<SoftDomain>> SoftBackendT<Store>::HostDomain(
    DeviceIndex device) const {
  const GroupPlace place = group_of_[device]->place();
  if (place.is_default && place.domain != nullptr) {
    return std::static_pointer_cast<SoftDomain>(place.domain);
  }
  return Error(absl::StatusCode::kFailedPrecondition, "NOT_ON_DMA_DOMAIN",
               absl::StrCat("the group of ", topology().devices[device].id,
                            " is not on a DMA default domain"));
}

template <typename Store>
absl::Status SoftBackendT<Store>::HostMap(DeviceIndex device, const BackendMapping& mapping) {
  ASSIGN_OR_RETURN(const auto domain, HostDomain(device));
  ASSIGN_OR_RETURN(const auto located, Locate(absl::MakeConstSpan(&mapping, 1)));
  return domain->Map(located);
}

template <typename Store>
absl::StatusOr<std::shared_ptr<SoftDomain>> SoftBackendT<Store>::HostDomainWithout(
    DeviceIndex device, const IovaRange& range) const {
  for (const IovaRange& direct : DirectRanges(MembersOf(*group_of_[device]))) {
    if (!direct.Overlaps(range)) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "RESERVED_RANGE",
                 absl::StrCat(ToString(direct), " is a DIRECT region and stays mapped"));
  }
  return HostDomain(device);
}

template <typename Store>
absl::Status SoftBackendT<Store>::HostUnmap(DeviceIndex device, IovaRange range) {
  ASSIGN_OR_RETURN(const auto domain, HostDomainWithout(device, range));
  return domain->Unmap(absl::MakeConstSpan(&range, 1));
}

template <typename Store>
absl::Status SoftBackendT<Store>::HostUnmapDeferred(DeviceIndex device, IovaRange range) {
  ASSIGN_OR_RETURN(const auto domain, HostDomainWithout(device, range));
  domain->UnmapDeferred(range);
  return absl::OkStatus();
}

template <typename Store>
absl::Status SoftBackendT<Store>::HostFlush(DeviceIndex device) {
  ASSIGN_OR_RETURN(const auto domain, HostDomain(device));
  return domain->FlushAll();
}

template <typename Store>
std::vector<TableEntryDump> SoftBackendT<Store>::DumpTables(DeviceIndex device,
                                                            std::optional<uint32_t> pasid,
                                                            Iova iova) {
  return machine_->DumpTables(device, pasid, iova);
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_BACKEND_INL_H_
