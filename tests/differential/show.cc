#include "tests/differential/show.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/differential/verb.h"

namespace viommu::differential {
namespace {

constexpr uint64_t kNoNode = 0xffff;

void PutName(Sheet& sheet, const std::string& owner, const std::string& id) {
  sheet.Put("owner", owner);
  sheet.Put("id", id);
}

// In one order, whatever the order they come in.
void PutSorted(Sheet& sheet, const char* field, std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) sheet.Put(field, name);
}

std::string DeviceName(size_t device) { return absl::StrCat("devices/dev", device); }

std::vector<std::string> DeviceNames(const std::vector<size_t>& devices) {
  std::vector<std::string> names;
  for (const size_t device : devices) names.push_back(DeviceName(device));
  return names;
}

std::string TargetName(const Target& target, const std::string& viewer) {
  switch (target.kind) {
    case Target::Kind::kBlocked:
      return "domains/blocked";
    case Target::Kind::kIdentity:
      return "domains/identity";
    case Target::Kind::kDomain:
      break;
  }
  return Shown("domains", target.domain, viewer);
}

void PutMapping(Sheet& sheet, const IovaRange& range, const std::string& region, uint64_t offset,
                uint64_t permission, bool suspended) {
  sheet.Put("first", range.first);
  sheet.Put("last", range.last);
  sheet.Put("region", region);
  sheet.Put("offset", offset);
  sheet.Put("permission", permission);
  sheet.Put("suspended", suspended ? 1 : 0);
}

void PutHolds(Sheet& sheet, bool read_only, bool write_only) {
  sheet.Put("read_only", read_only ? 1 : 0);
  sheet.Put("write_only", write_only ? 1 : 0);
}

void PutStage1(Sheet& sheet, const VtdStage1& stage1) {
  sheet.Put("table", stage1.table_address);
  sheet.Put("width", static_cast<uint64_t>(stage1.address_width_bits));
  sheet.Put("supervisor", stage1.supervisor_requests ? 1 : 0);
  sheet.Put("write_protect", stage1.write_protect ? 1 : 0);
  sheet.Put("extended", stage1.extended_accessed ? 1 : 0);
}

void PutAt(Sheet& sheet, Spot at) {
  sheet.Put("has_pasid", at.has_value() ? 1 : 0);
  sheet.Put("pasid", at.value_or(0));
}

// What a group can have as its default domain: what it would get when it is asked for.
std::vector<DefaultDomainType> AvailableTypes(const State& state, const Isolation& group) {
  std::vector<DefaultDomainType> available;
  for (const DefaultDomainType type :
       {DefaultDomainType::kIdentity, DefaultDomainType::kDma, DefaultDomainType::kDmaFq}) {
    Fallback fallback = Fallback::kNone;
    bool may = state.DefaultFor(group, type, &fallback) == type;
    for (const size_t member : group.members) {
      const bool allows = state.hardware->topology.devices[member].allow_identity;
      may = may && (type != DefaultDomainType::kIdentity || allows);
    }
    if (may) available.push_back(type);
  }
  return available;
}

void PutUsage(Sheet& sheet, const std::string& owner, const Used& used) {
  const std::pair<const char*, uint64_t> limits[] = {{"max_memory_regions", used.regions},
                                                     {"max_ioas", used.spaces},
                                                     {"max_domains", used.domains},
                                                     {"max_mappings", used.mappings},
                                                     {"max_mapped_bytes", used.mapped_bytes},
                                                     {"max_region_bytes_total", used.region_bytes},
                                                     {"max_pasids", used.pasids},
                                                     {"max_fault_queues", used.fault_queues},
                                                     {"max_fault_groups", used.fault_groups},
                                                     {"max_viommus", used.viommus},
                                                     {"max_queued_events", used.queued_events}};
  for (const auto& [limit, in_use] : limits) {
    if (in_use == 0) continue;
    sheet.Put("owner", owner);
    sheet.Put(limit, in_use);
  }
}

}  // namespace

void Show(Sheet& sheet, const MemoryRegionView& view) {
  PutName(sheet, view.object.owner, view.object.id);
  sheet.Put("size", view.size_bytes);
  sheet.Put("node", view.numa_node.value_or(kNoNode));
  sheet.Put("mappings", view.mapping_count);
  sheet.Put("read_only", view.read_only ? 1 : 0);
  sheet.Put("suspended", view.suspended ? 1 : 0);
}

void ShowRegion(Sheet& sheet, const State& state, const Name& name) {
  const Region& region = state.regions.at(name);
  PutName(sheet, name.owner, name.id);
  sheet.Put("size", region.size);
  sheet.Put("node", region.numa_node.value_or(kNoNode));
  sheet.Put("mappings", state.MappingsOf(name));
  sheet.Put("read_only", region.read_only ? 1 : 0);
  sheet.Put("suspended", region.suspended ? 1 : 0);
}

void Show(Sheet& sheet, const IoasView& view) {
  PutName(sheet, view.object.owner, view.object.id);
  sheet.Put("mappings", view.mapping_count);
  sheet.Put("bytes", view.mapped_bytes);
  sheet.Put("alignment", view.alignment_bytes);
  Show(sheet, view.allowed_ranges);
  PutSorted(sheet, "domain", view.domains);
  sheet.Put("mode", static_cast<uint64_t>(view.mode));
  sheet.Put("large_pages", view.large_pages ? 1 : 0);
  sheet.Put("suspended", view.suspended_mapping_count);
  PutSorted(sheet, "loaded", view.loaded_devices);
}

void ShowSpace(Sheet& sheet, const State& state, const Name& name, const std::string& viewer) {
  const Space& space = state.spaces.at(name);
  PutName(sheet, name.owner, name.id);
  sheet.Put("mappings", space.areas.size());
  uint64_t bytes = 0, suspended = 0;
  for (const auto& [iova, area] : space.areas) {
    bytes += area.range.size_bytes();
    suspended += area.suspended ? 1 : 0;
  }
  sheet.Put("bytes", bytes);
  sheet.Put("alignment", state.Alignment(name));
  Show(sheet, space.allowed);
  std::vector<std::string> domains;
  for (const Name& domain : state.DomainsOver(name)) {
    domains.push_back(Shown("domains", domain, viewer));
  }
  PutSorted(sheet, "domain", std::move(domains));
  sheet.Put("mode", static_cast<uint64_t>(space.mode));
  sheet.Put("large_pages", space.large_pages ? 1 : 0);
  sheet.Put("suspended", suspended);
  PutSorted(sheet, "loaded", DeviceNames({space.loaded.begin(), space.loaded.end()}));
}

void Show(Sheet& sheet, const std::vector<MappingView>& mappings) {
  for (const MappingView& mapping : mappings) {
    PutMapping(sheet, mapping.range, mapping.memory_region, mapping.offset_bytes,
               static_cast<uint64_t>(mapping.permission), mapping.suspended);
  }
}

void ShowMappings(Sheet& sheet, const State& state, const Name& name, const std::string& viewer) {
  for (const auto& [iova, area] : state.spaces.at(name).areas) {
    PutMapping(sheet, area.range, Shown("memoryRegions", area.region, viewer), area.offset,
               area.permission, area.suspended);
  }
}

void Show(Sheet& sheet, const std::vector<IovaRange>& ranges) {
  for (const IovaRange& range : ranges) {
    sheet.Put("from", range.first);
    sheet.Put("to", range.last);
  }
}

void Show(Sheet& sheet, const DomainView& view) {
  PutName(sheet, view.object.owner, view.object.id);
  sheet.Put("kind", static_cast<uint64_t>(view.kind));
  sheet.Put("ioas", view.ioas);
  sheet.Put("device", view.device);
  sheet.Put("pasid", view.pasid ? 1 : 0);
  sheet.Put("automatic", view.automatic ? 1 : 0);
  sheet.Put("parent", view.parent);
  const DomainProperties& properties = view.properties;
  sheet.Put("aperture", properties.aperture.last);
  sheet.Put("nest_parent", properties.nest_parent ? 1 : 0);
  PutHolds(sheet, properties.read_only, properties.write_only);
  PutStage1(sheet, view.stage1);
  sheet.Put("viommu", view.viommu);
  for (const uint64_t word : view.vste.ste) sheet.Put("vste", word);
  sheet.Put("queue", view.fault_queue);
  PutSorted(sheet, "child", view.children);
  PutSorted(sheet, "attached", view.attached_devices);
}

void ShowDomain(Sheet& sheet, const State& state, const Name& name, const std::string& viewer) {
  const Domain& domain = state.domains.at(name);
  const Making& making = domain.making;
  const bool nested = domain.parent.has_value();
  PutName(sheet, name.owner, name.id);
  sheet.Put("kind", static_cast<uint64_t>(nested ? DomainKind::kNested : DomainKind::kPaging));
  sheet.Put("ioas", Shown("ioas", domain.ioas, viewer));
  sheet.Put("device", DeviceName(making.device));
  sheet.Put("pasid", making.pasid ? 1 : 0);
  sheet.Put("automatic", domain.automatic ? 1 : 0);
  sheet.Put("parent", nested ? Shown("domains", *domain.parent, viewer) : "");
  sheet.Put("aperture", (uint64_t{1} << state.hardware->WidthBits(making)) - 1);
  sheet.Put("nest_parent", making.nest_parent ? 1 : 0);
  PutHolds(sheet, state.hardware->Holds(making, 1), state.hardware->Holds(making, 2));
  PutStage1(sheet, making.stage1.value_or(VtdStage1()));
  sheet.Put("viommu", domain.viommu.has_value() ? Shown("viommus", *domain.viommu, viewer) : "");
  for (const uint64_t word : domain.vste.ste) sheet.Put("vste", word);
  sheet.Put("queue", domain.queue.has_value() ? Shown("faultQueues", *domain.queue, viewer) : "");
  std::vector<std::string> children;
  for (const Name& child : state.DomainsOn(name)) {
    children.push_back(Shown("domains", child, viewer));
  }
  PutSorted(sheet, "child", std::move(children));
  PutSorted(sheet, "attached", DeviceNames(state.AttachedTo({Target::Kind::kDomain, name})));
}

void ShowStaticDomain(Sheet& sheet, const State& state, Target::Kind kind,
                      const CallContext& viewer) {
  const bool identity = kind == Target::Kind::kIdentity;
  PutName(sheet, "", identity ? "identity" : "blocked");
  sheet.Put("kind", static_cast<uint64_t>(identity ? DomainKind::kIdentity : DomainKind::kBlocked));
  sheet.Put("ioas", "");
  sheet.Put("device", "");
  sheet.Put("pasid", 0);
  sheet.Put("automatic", 0);
  sheet.Put("parent", "");
  sheet.Put("aperture", 0);
  sheet.Put("nest_parent", 0);
  PutHolds(sheet, true, true);
  PutStage1(sheet, {});
  sheet.Put("viommu", "");
  for (const uint64_t word : ArmSmmuV3Stage1().ste) sheet.Put("vste", word);
  sheet.Put("queue", "");
  std::vector<size_t> attached;
  for (const size_t device : state.AttachedTo({kind, {}})) {
    const bool own = state.GroupOf(device).claimed_by == viewer.principal;
    if (own || viewer.is_operator) attached.push_back(device);
  }
  PutSorted(sheet, "attached", DeviceNames(attached));
}

void Show(Sheet& sheet, const DeviceView& view) {
  sheet.Put("device", view.spec.id);
  sheet.Put("claimed", view.ownership == DeviceOwnership::kClaimed ? 1 : 0);
  sheet.Put("by", view.claimed_by);
  sheet.Put("domain", view.domain);
  sheet.Put("attached", view.attached ? 1 : 0);
  sheet.Put("default", static_cast<uint64_t>(view.default_domain));
  sheet.Put("fell_back", view.default_domain_fallback.empty() ? 0 : 1);
  for (const DefaultDomainType type : view.default_domain_types) {
    sheet.Put("type", static_cast<uint64_t>(type));
  }
  sheet.Put("healthy", view.health == DeviceHealth::kHealthy ? 1 : 0);
  sheet.Put("health_reason", view.health_reason);
  PutSorted(sheet, "member", view.group_members);
}

void ShowDevice(Sheet& sheet, const State& state, size_t device, const CallContext& viewer) {
  const Function& function = state.devices[device];
  const Isolation& group = state.GroupOf(device);
  const bool claimed = !group.claimed_by.empty();
  const bool may_know = viewer.is_operator || group.claimed_by == viewer.principal;
  sheet.Put("device", absl::StrCat("dev", device));
  sheet.Put("claimed", claimed ? 1 : 0);
  sheet.Put("by", may_know ? group.claimed_by : "");
  std::string domain;
  if (claimed && may_know) {
    domain = TargetName(State::TargetAt(group, std::nullopt), viewer.principal);
  }
  const bool identity = group.default_domain == DefaultDomainType::kIdentity;
  if (!claimed && identity) domain = "domains/identity";
  sheet.Put("domain", domain);
  sheet.Put("attached", may_know && function.attached.count(std::nullopt) != 0 ? 1 : 0);
  sheet.Put("default", static_cast<uint64_t>(group.default_domain));
  sheet.Put("fell_back", group.fallback == Fallback::kNone ? 0 : 1);
  for (const DefaultDomainType type : AvailableTypes(state, group)) {
    sheet.Put("type", static_cast<uint64_t>(type));
  }
  sheet.Put("healthy", function.healthy ? 1 : 0);
  sheet.Put("health_reason", function.health_reason);
  std::vector<size_t> others;
  for (const size_t member : group.members) {
    if (member != device && state.devices[member].present) others.push_back(member);
  }
  PutSorted(sheet, "member", DeviceNames(others));
}

void Show(Sheet& sheet, const AttachmentView& view) {
  sheet.Put("device", view.device);
  sheet.Put("domain", view.domain);
  sheet.Put("owner", view.owner);
  PutAt(sheet, view.pasid);
}

void ShowAttachment(Sheet& sheet, const State& state, size_t device, Spot at,
                    const std::string& viewer) {
  sheet.Put("device", DeviceName(device));
  sheet.Put("domain", TargetName(State::TargetAt(state.GroupOf(device), at), viewer));
  sheet.Put("owner", state.GroupOf(device).claimed_by);
  PutAt(sheet, at);
}

void Show(Sheet& sheet, const PasidView& view) {
  sheet.Put("device", view.device);
  sheet.Put("pasid", view.pasid);
  sheet.Put("state", static_cast<uint64_t>(view.state));
  sheet.Put("domain", view.domain);
  sheet.Put("owner", view.owner);
  sheet.Put("label", view.label);
}

void ShowPasid(Sheet& sheet, const State& state, size_t device, uint32_t pasid,
               const std::string& viewer) {
  const Isolation& group = state.GroupOf(device);
  const Taken& taken = group.pasids.at(pasid);
  const bool attached = group.targets.count(pasid) != 0;
  const bool allocated = taken.how == Taken::How::kAllocated;
  PasidState shown = allocated ? PasidState::kAllocated : PasidState::kReserved;
  if (attached) shown = PasidState::kAttached;
  sheet.Put("device", DeviceName(device));
  sheet.Put("pasid", pasid);
  sheet.Put("state", static_cast<uint64_t>(shown));
  sheet.Put("domain", attached ? TargetName(group.targets.at(pasid), viewer) : "");
  sheet.Put("owner", taken.owner);
  sheet.Put("label", taken.label);
}

void Show(Sheet& sheet, const std::vector<UsageView>& usage) {
  for (const UsageView& view : usage) {
    sheet.Put("owner", view.owner);
    sheet.Put(view.limit, view.in_use);
  }
}

void ShowUsage(Sheet& sheet, const State& state, const CallContext& viewer) {
  // Ascending by owner; the host has no name.
  if (viewer.is_operator) PutUsage(sheet, "", state.UsedByHost());
  for (int i = 0; i < kCallers; ++i) {
    const std::string owner = PrincipalOf(static_cast<Caller>(i));
    if (viewer.is_operator || owner == viewer.principal) {
      PutUsage(sheet, owner, state.UsedBy(owner));
    }
  }
}

}  // namespace viommu::differential
