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
#include "engine/backend/soft/vtd_capability.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {

namespace soft_internal {

absl::Status NoObject(absl::string_view kind, Uid uid);
absl::Status ObjectExists(absl::string_view kind, Uid uid);
// kUnimplemented: what no engine asks for yet.
absl::Status NotYet(absl::string_view what);
// What a group takes by default, given its members.
DefaultDomainType DefaultOf(absl::Span<const DeviceSpec* const> members);
// kPermissionDenied, UNTRUSTED_DEVICE: identity is never for these.
// kUnimplemented: deferred invalidation.
absl::Status CheckDefault(DefaultDomainType type, absl::Span<const DeviceSpec* const> members);

}  // namespace soft_internal

template <typename Store>
absl::StatusOr<std::unique_ptr<SoftBackendT<Store>>> SoftBackendT<Store>::Create(
    Topology topology, const SoftBackendOptions& options, Store store) {
  ASSIGN_OR_RETURN(auto machine,
                   SoftMachine::Create(std::move(topology), options.table_arena_bytes));
  std::unique_ptr<SoftBackendT> backend(new SoftBackendT(std::move(machine), store));
  backend->MakeGroups();
  RETURN_IF_ERROR(backend->EnterDefaultDomains());
  RETURN_IF_ERROR(backend->machine_->EnableTranslation());
  return backend;
}

template <typename Store>
SoftBackendT<Store>::SoftBackendT(std::unique_ptr<SoftMachine> machine, Store store)
    : machine_(std::move(machine)), store_(store) {}

template <typename Store>
void SoftBackendT<Store>::MakeGroups() {
  std::map<std::string, std::vector<DeviceIndex>> members;
  for (DeviceIndex i = 0; i < topology().devices.size(); ++i) {
    members[topology().devices[i].group].push_back(i);
  }
  group_of_.resize(topology().devices.size());
  for (const auto& [name, devices] : members) {
    std::vector<uint16_t> source_ids;
    for (const DeviceIndex i : devices) source_ids.push_back(machine_->source_id_of(i));
    groups_.push_back(
        std::make_unique<Group>(&machine_->unit_of(devices[0]), std::move(source_ids), store_));
    for (const DeviceIndex i : devices) group_of_[i] = groups_.back().get();
  }
}

template <typename Store>
std::vector<const DeviceSpec*> SoftBackendT<Store>::MembersOf(const Group& group) const {
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
  if (spec.kind != DomainSpec::Kind::kPaging || spec.nest_parent || spec.dirty_tracking ||
      spec.pasid) {
    return soft_internal::NotYet("domain of this kind");
  }
  return vtd::PlanSecondStage(machine_->unit_of(spec.device).spec());
}

template <typename Store>
absl::Status SoftBackendT<Store>::CheckCompatible(DeviceIndex device,
                                                  const DomainProperties& properties) const {
  return vtd::CheckSecondStage(machine_->unit_of(device).spec(), properties);
}

template <typename Store>
Transition SoftBackendT<Store>::PlanSwitch(absl::Span<const DeviceIndex> group,
                                           std::optional<uint32_t>,
                                           const DomainTarget& target) const {
  const auto place = FindPlace(target);
  if (!place.ok()) return {false, std::string(place.status().message())};
  return group_of_[group[0]]->PlanSwitchTo(*place);
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
  absl::MutexLock lock(&mutex_);
  const auto it = domains_.find(target.domain);
  if (it == domains_.end()) return soft_internal::NoObject("domain", target.domain);
  return GroupPlace{target.kind, it->second.domain, false};
}

template <typename Store>
absl::StatusOr<std::shared_ptr<SoftDomain>> SoftBackendT<Store>::MakeDomain(const VtdUnit& unit) {
  ASSIGN_OR_RETURN(const DomainProperties properties, vtd::PlanSecondStage(unit.spec()));
  return SoftDomain::Create(properties, unit.spec().host_address_width_bits, store_,
                            &machine_->memory().arena());
}

template <typename Store>
absl::Status SoftBackendT<Store>::CreateDomain(Uid uid, const DomainSpec& spec,
                                               absl::Span<const BackendMapping> existing) {
  ASSIGN_OR_RETURN(const auto ioas, FindIoas(spec.ioas));
  ASSIGN_OR_RETURN(const auto mappings, Locate(existing));
  ASSIGN_OR_RETURN(const auto domain, MakeDomain(machine_->unit_of(spec.device)));
  domain->SetLargePages(ioas->large_pages());
  RETURN_IF_ERROR(domain->Map(mappings));
  {
    absl::MutexLock lock(&mutex_);
    if (!domains_.emplace(uid, DomainRecord{domain, ioas}).second) {
      return soft_internal::ObjectExists("domain", uid);
    }
  }
  ioas->Add(domain);
  return absl::OkStatus();
}

template <typename Store>
absl::Status SoftBackendT<Store>::DestroyDomain(Uid uid) {
  DomainRecord record;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = domains_.find(uid);
    if (it == domains_.end()) return soft_internal::NoObject("domain", uid);
    record = it->second;
  }
  // Once it is gone, an unmap from its Ioas would no longer flush what it may have left.
  RETURN_IF_ERROR(record.domain->FlushAbandoned());
  record.ioas->Remove(record.domain.get());
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

// Attaching.

template <typename Store>
absl::StatusOr<Transition> SoftBackendT<Store>::Switch(absl::Span<const DeviceIndex> group,
                                                       std::optional<uint32_t> pasid,
                                                       const DomainTarget& target) {
  if (pasid.has_value()) return soft_internal::NotYet("attached PASIDs");
  ASSIGN_OR_RETURN(const GroupPlace place, FindPlace(target));
  return group_of_[group[0]]->SwitchTo(place);
}

template <typename Store>
absl::Status SoftBackendT<Store>::Invalidate(Uid, absl::Span<const VtdStage1Invalidation>) {
  return soft_internal::NotYet("nested domains");
}

template <typename Store>
absl::Status SoftBackendT<Store>::Block(DeviceIndex) {
  return soft_internal::NotYet("devices held back");
}

template <typename Store>
absl::Status SoftBackendT<Store>::Unblock(DeviceIndex) {
  return soft_internal::NotYet("devices held back");
}

template <typename Store>
absl::Status SoftBackendT<Store>::Claim(absl::Span<const DeviceIndex> group) {
  return group_of_[group[0]]->SwitchTo(GroupPlace{}).status();
}

template <typename Store>
absl::StatusOr<Transition> SoftBackendT<Store>::AssignDefault(absl::Span<const DeviceIndex> group,
                                                              DefaultDomainType type) {
  Group& found = *group_of_[group[0]];
  RETURN_IF_ERROR(soft_internal::CheckDefault(type, MembersOf(found)));
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
    const Group& group) {
  ASSIGN_OR_RETURN(auto domain, MakeDomain(group.unit()));
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
  if (place.is_default && place.domain != nullptr) return place.domain;
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
absl::Status SoftBackendT<Store>::HostUnmap(DeviceIndex device, IovaRange range) {
  ASSIGN_OR_RETURN(const auto domain, HostDomain(device));
  for (const IovaRange& direct : DirectRanges(MembersOf(*group_of_[device]))) {
    if (!direct.Overlaps(range)) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "RESERVED_RANGE",
                 absl::StrCat(ToString(direct), " is a DIRECT region and stays mapped"));
  }
  return domain->Unmap(absl::MakeConstSpan(&range, 1));
}

template <typename Store>
std::vector<TableEntryDump> SoftBackendT<Store>::DumpTables(DeviceIndex device, Iova iova) {
  return machine_->DumpTables(device, iova);
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_BACKEND_INL_H_
