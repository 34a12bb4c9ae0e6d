#include "tests/differential/state.h"

#include <algorithm>
#include <utility>

namespace viommu::differential {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kLargestAlignment = uint64_t{2} << 20;

// A group asks for IDENTITY when a member does; it gets it when all may have it (R1).
DefaultDomainType Asked(const Topology& topology, const std::vector<size_t>& members) {
  for (const size_t member : members) {
    const DefaultDomainType asked = topology.devices[member].default_domain;
    if (asked == DefaultDomainType::kIdentity) return asked;
  }
  return DefaultDomainType::kDma;
}

// The names of those of which `is_meant` holds.
template <typename T, typename Predicate>
std::vector<Name> NamesIf(const std::map<Name, T>& all, const Predicate& is_meant) {
  std::vector<Name> names;
  for (const auto& [name, one] : all) {
    if (is_meant(one)) names.push_back(name);
  }
  return names;
}

}  // namespace

State::State(const Hardware* hardware, const OwnerLimits& limits, WrongRule wrong)
    : hardware(hardware), limits(limits), wrong(wrong) {
  std::map<std::string, size_t> by_name;
  for (const DeviceSpec& spec : hardware->topology.devices) {
    const auto [it, added] = by_name.try_emplace(spec.group, groups.size());
    if (added) {
      groups.emplace_back();
      groups.back().name = spec.group;
    }
    groups[it->second].members.push_back(devices.size());
    Function device;
    device.group = it->second;
    devices.push_back(device);
  }
  for (Isolation& group : groups) {
    const DefaultDomainType asked = Asked(hardware->topology, group.members);
    group.default_domain = DefaultFor(group, asked, &group.fallback);
  }
}

DefaultDomainType State::DefaultFor(const Isolation& group, DefaultDomainType asked,
                                    Fallback* fallback) const {
  *fallback = Fallback::kNone;
  if (asked == DefaultDomainType::kDma) return asked;
  const bool identity = asked == DefaultDomainType::kIdentity;
  for (const size_t member : group.members) {
    const bool has = identity ? hardware->HasPassThrough(member) : hardware->DefersFlushes(member);
    if (has) continue;
    *fallback = identity ? Fallback::kNoPassThrough : Fallback::kNoDeferredFlush;
  }
  for (const size_t member : group.members) {
    if (hardware->topology.devices[member].untrusted) *fallback = Fallback::kUntrusted;
  }
  return *fallback == Fallback::kNone ? asked : DefaultDomainType::kDma;
}

Target State::TargetAt(const Isolation& group, Spot at) {
  const auto it = group.targets.find(at);
  return it == group.targets.end() ? Target() : it->second;
}

std::vector<size_t> State::AttachedAt(size_t device, Spot at) const {
  std::vector<size_t> attached;
  for (const size_t member : GroupOf(device).members) {
    if (devices[member].attached.count(at) != 0) attached.push_back(member);
  }
  return attached;
}

std::vector<size_t> State::AttachedTo(const Target& target) const {
  std::vector<size_t> attached;
  for (size_t device = 0; device < devices.size(); ++device) {
    const std::set<Spot>& places = devices[device].attached;
    const Isolation& group = GroupOf(device);
    if (std::any_of(places.begin(), places.end(),
                    [&](Spot at) { return TargetAt(group, at) == target; })) {
      attached.push_back(device);
    }
  }
  return attached;
}

bool State::Has(Sort sort, const Name& name) const {
  switch (sort) {
    case Sort::kRegion:
      return regions.count(name) != 0;
    case Sort::kIoas:
      return spaces.count(name) != 0;
    case Sort::kDomain:
      return domains.count(name) != 0;
    case Sort::kFaultQueue:
      return queues.count(name) != 0;
    case Sort::kViommu:
      return viommus.count(name) != 0;
    case Sort::kVdevice:
      return vdevices.count(name) != 0;
    case Sort::kEventQueue:
      return event_queues.count(name) != 0;
    case Sort::kNumber:
    case Sort::kDevice:
      break;
  }
  return false;
}

std::vector<Name> State::DomainsOver(const Name& ioas) const {
  return NamesIf(domains, [&](const Domain& domain) {
    return domain.ioas == ioas && !domain.parent.has_value();
  });
}

std::vector<Name> State::DomainsOn(const Name& parent) const {
  return NamesIf(domains, [&](const Domain& domain) {
    return domain.parent == parent && !domain.viommu.has_value();
  });
}

std::vector<Name> State::DomainsOfViommu(const Name& viommu) const {
  return NamesIf(domains, [&](const Domain& domain) { return domain.viommu == viommu; });
}

std::vector<Name> State::VdevicesOf(const Name& viommu) const {
  return NamesIf(vdevices, [&](const GuestDevice& vdevice) { return vdevice.viommu == viommu; });
}

std::vector<Name> State::EventQueuesOf(const Name& viommu) const {
  return NamesIf(event_queues, [&](const GuestEvents& queue) { return queue.viommu == viommu; });
}

std::vector<Name> State::DomainsWith(const Name& queue) const {
  return NamesIf(domains, [&](const Domain& domain) { return domain.queue == queue; });
}

std::vector<Name> State::ViommusOn(const Name& parent) const {
  return NamesIf(viommus, [&](const Guest& guest) { return guest.parent == parent; });
}

std::optional<Name> State::VdeviceOf(size_t device) const {
  for (const auto& [name, vdevice] : vdevices) {
    if (vdevice.device == device) return name;
  }
  return std::nullopt;
}

std::vector<IovaRange> State::RegionsOn(size_t device, const Target& target) const {
  const DeviceSpec& spec = hardware->topology.devices[device];
  if (target.kind != Target::Kind::kDomain) return {};
  if (!domains.at(target.domain).parent.has_value()) return EnforcedRegions(spec);
  std::vector<IovaRange> ranges;
  for (const ReservedRegion& region : spec.reserved_regions) {
    if (region.type == ReservedRegionType::kSwMsi) ranges.push_back(region.range);
  }
  return ranges;
}

bool State::Holds(const Name& ioas, uint64_t permission) const {
  for (const Name& domain : DomainsOver(ioas)) {
    if (!hardware->Holds(domains.at(domain).making, permission)) return false;
  }
  return true;
}

std::vector<IovaRange> State::Reserved(const Name& ioas) const {
  std::vector<IovaRange> reserved;
  for (const size_t device : spaces.at(ioas).loaded) {
    for (const IovaRange& range : EnforcedRegions(hardware->topology.devices[device])) {
      reserved.push_back(range);
    }
  }
  for (const Name& domain : DomainsOver(ioas)) {
    const int width = hardware->WidthBits(domains.at(domain).making);
    reserved.push_back({uint64_t{1} << width, kMaxAddress});
  }
  for (size_t device = 0; device < devices.size(); ++device) {
    if (devices[device].attached.count(std::nullopt) == 0) continue;
    const Target target = TargetAt(GroupOf(device), std::nullopt);
    if (target.kind != Target::Kind::kDomain || domains.at(target.domain).ioas != ioas) continue;
    for (const IovaRange& range : RegionsOn(device, target)) reserved.push_back(range);
  }
  return reserved;
}

std::vector<IovaRange> State::Usable(const Name& ioas) const {
  // The holes: cut everything at each reserved range.
  std::vector<IovaRange> holes{{0, kMaxAddress}};
  for (const IovaRange& reserved : Reserved(ioas)) {
    std::vector<IovaRange> left;
    for (const IovaRange& hole : holes) {
      if (!hole.Overlaps(reserved)) {
        left.push_back(hole);
        continue;
      }
      if (hole.first < reserved.first) left.push_back({hole.first, reserved.first - 1});
      if (hole.last > reserved.last) left.push_back({reserved.last + 1, hole.last});
    }
    holes = left;
  }
  return holes;
}

uint64_t State::Alignment(const Name& ioas) const {
  // The smallest page of each domain over it, which is 4 KiB in all formats here; the same without
  // large pages (3.10).
  return DomainsOver(ioas).empty() && spaces.at(ioas).large_pages ? 1 : kPageBytes;
}

uint64_t State::MappingsOf(const Name& region) const {
  uint64_t count = 0;
  const auto add = [&](const Areas& areas) {
    for (const auto& [iova, area] : areas) count += area.region == region ? 1 : 0;
  };
  for (const auto& [name, space] : spaces) add(space.areas);
  for (const Isolation& group : groups) {
    add(group.host_areas);
    add(group.waiting);
  }
  return count;
}

Used State::UsedBy(const std::string& owner) const {
  Used used;
  for (const auto& [name, region] : regions) {
    if (name.owner != owner) continue;
    ++used.regions;
    used.region_bytes += region.capacity;
  }
  for (const auto& [name, space] : spaces) {
    if (name.owner != owner) continue;
    ++used.spaces;
    used.mappings += space.areas.size();
    for (const auto& [iova, area] : space.areas) used.mapped_bytes += area.range.size_bytes();
  }
  for (const auto& [name, domain] : domains) used.domains += name.owner == owner ? 1 : 0;
  for (const auto& [name, queue] : queues) {
    if (name.owner != owner) continue;
    ++used.fault_queues;
    used.fault_groups += queue.depth;
  }
  for (const auto& [name, viommu] : viommus) used.viommus += name.owner == owner ? 1 : 0;
  for (const auto& [name, queue] : event_queues) {
    used.queued_events += name.owner == owner ? queue.depth : 0;
  }
  for (const Isolation& group : groups) {
    for (const auto& [pasid, taken] : group.pasids) used.pasids += taken.owner == owner ? 1 : 0;
  }
  return used;
}

Used State::UsedByHost() const {
  Used used;
  for (const Isolation& group : groups) {
    used.mappings += group.host_areas.size();
    for (const auto& [iova, area] : group.host_areas) used.mapped_bytes += area.range.size_bytes();
  }
  return used;
}

void State::ChangeSpace(const Name& name) {
  spaces[name].version = NextVersion();
  touched.spaces.push_back(name);
}

void State::ChangeDomain(const Name& name) {
  domains[name].version = NextVersion();
  touched.domains.push_back(name);
}

void State::ChangeDevice(size_t device) {
  devices[device].version = NextVersion();
  touched.devices.push_back(device);
}

void State::ChangeQueue(const Name& name) {
  queues[name].version = NextVersion();
  touched.queues.push_back(name);
}

void State::ChangeViommu(const Name& name) {
  viommus[name].version = NextVersion();
  touched.viommus.push_back(name);
}

void State::DropVdevice(size_t device) {
  const std::optional<Name> vdevice = VdeviceOf(device);
  if (!vdevice.has_value() || wrong == WrongRule::kVdevicesStay) return;
  ChangeViommu(vdevices.at(*vdevice).viommu);
  vdevices.erase(*vdevice);
  touched.vdevices.push_back(*vdevice);
}

void State::Flush(Isolation& group) {
  for (const auto& [iova, area] : group.waiting) touched.regions.push_back(area.region);
  group.waiting.clear();
}

std::vector<IovaRange> EnforcedRegions(const DeviceSpec& device) {
  std::vector<IovaRange> ranges;
  for (const ReservedRegion& region : device.reserved_regions) {
    if (region.type != ReservedRegionType::kDirectRelaxable) ranges.push_back(region.range);
  }
  return ranges;
}

bool Meets(const Areas& areas, const IovaRange& range) {
  return std::any_of(areas.begin(), areas.end(),
                     [&](const auto& entry) { return entry.second.range.Overlaps(range); });
}

bool Meets(const std::vector<IovaRange>& ranges, const IovaRange& range) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const IovaRange& other) { return other.Overlaps(range); });
}

std::optional<Iova> Choose(const Areas& areas, const std::vector<IovaRange>& reserved,
                           const std::vector<IovaRange>& allowed, uint64_t size, uint64_t source) {
  uint64_t alignment = 1;
  while (alignment < size) alignment *= 2;
  if (source != 0) alignment = std::min(alignment, source & -source);
  alignment = std::min(alignment, kLargestAlignment);
  // The low bits within a page are those of the source.
  const uint64_t in_page = source % kPageBytes;
  if (in_page != 0) alignment = kPageBytes;

  constexpr IovaRange kChoosable{kPageBytes, kMaxAddress - kPageBytes};
  std::vector<IovaRange> windows = allowed;
  if (allowed.empty()) windows = {kChoosable};
  std::optional<Iova> best;
  for (const IovaRange& window : windows) {
    if (!window.Overlaps(kChoosable)) continue;
    const IovaRange clipped{std::max(window.first, kChoosable.first),
                            std::min(window.last, kChoosable.last)};
    // The lowest fit begins where the window does, or behind something that is taken.
    std::vector<Iova> starts{clipped.first};
    for (const auto& [iova, area] : areas) {
      if (area.range.last != kMaxAddress) starts.push_back(area.range.last + 1);
    }
    for (const IovaRange& range : reserved) {
      if (range.last != kMaxAddress) starts.push_back(range.last + 1);
    }
    for (const Iova start : starts) {
      if (start < clipped.first || start > clipped.last) continue;
      Iova iova = (start & -alignment) | in_page;
      if (iova < start && iova > kMaxAddress - alignment) continue;
      if (iova < start) iova += alignment;
      if (iova > clipped.last || clipped.last - iova < size - 1) continue;
      if (best.has_value() && iova >= *best) continue;
      const IovaRange range{iova, iova + (size - 1)};
      if (!Meets(areas, range) && !Meets(reserved, range)) best = iova;
    }
  }
  return best;
}

}  // namespace viommu::differential
