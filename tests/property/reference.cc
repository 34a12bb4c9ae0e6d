#include "tests/property/reference.h"

#include <algorithm>
#include <string>

namespace viommu::property {

Reference::Reference(const Topology& topology, int ioas_count, int domain_count)
    : topology_(topology), ioases_(ioas_count), domains_(domain_count) {
  std::map<std::string, int> by_name;
  for (const DeviceSpec& device : topology.devices) {
    const auto [it, added] = by_name.try_emplace(device.group, groups_.size());
    if (added) {
      groups_.emplace_back();
      const bool identity =
          device.default_domain == DefaultDomainType::kIdentity && !device.untrusted;
      groups_.back().host_place = identity ? Place::kHostIdentity : Place::kHostDma;
      groups_.back().place = groups_.back().host_place;
    }
    groups_[it->second].members.push_back(static_cast<int>(group_of_.size()));
    group_of_.push_back(it->second);
    attached_.push_back(false);
  }
}

int Reference::Width(int device) const {
  for (const IommuSpec& iommu : topology_.iommus) {
    if (iommu.id != topology_.devices[device].iommu) continue;
    return std::min(iommu.levels_5 ? 57 : 48, iommu.guest_address_width_bits);
  }
  return 0;
}

std::vector<IovaRange> Reference::Reserved(int ioas) const {
  std::vector<IovaRange> reserved;
  for (const auto& domain : domains_) {
    if (!domain.has_value() || domain->ioas != ioas) continue;
    reserved.push_back({uint64_t{1} << domain->width_bits, kMaxAddress});
  }
  for (size_t device = 0; device < attached_.size(); ++device) {
    const RefGroup& group = GroupOf(device);
    if (!attached_[device] || group.place != Place::kDomain) continue;
    if (domains_[group.domain]->ioas != ioas) continue;
    for (const ReservedRegion& region : topology_.devices[device].reserved_regions) {
      if (region.type != ReservedRegionType::kDirectRelaxable) reserved.push_back(region.range);
    }
  }
  return reserved;
}

bool Reference::Free(int ioas, const IovaRange& range) const {
  for (const IovaRange& reserved : Reserved(ioas)) {
    if (reserved.Overlaps(range)) return false;
  }
  for (const auto& [iova, area] : ioases_[ioas].areas) {
    if (range.Overlaps({iova, iova + (area.size - 1)})) return false;
  }
  return true;
}

bool Reference::MapAt(int ioas, Iova iova, const RefArea& area) {
  if (iova > kMaxAddress - (area.size - 1)) return false;
  if (!Free(ioas, {iova, iova + (area.size - 1)})) return false;
  ioases_[ioas].areas[iova] = area;
  return true;
}

std::optional<Iova> Reference::Choose(int ioas, uint64_t size, uint64_t offset) const {
  // iommufd-semantics.md 3.6.
  uint64_t alignment = 1;
  while (alignment < size) alignment *= 2;
  if (offset != 0) alignment = std::min(alignment, offset & -offset);
  alignment = std::min(alignment, uint64_t{2} << 20);
  // The lowest fit begins at the lowest page, or just behind something taken.
  std::vector<Iova> starts{kPage};
  for (const auto& [iova, area] : ioases_[ioas].areas) starts.push_back(iova + area.size);
  for (const IovaRange& reserved : Reserved(ioas)) {
    if (reserved.last != kMaxAddress) starts.push_back(reserved.last + 1);
  }
  std::optional<Iova> best;
  for (const Iova start : starts) {
    const Iova iova = (start + alignment - 1) & -alignment;
    if (iova < kPage || (best.has_value() && iova >= *best)) continue;
    if (Free(ioas, {iova, iova + (size - 1)})) best = iova;
  }
  return best;
}

std::optional<uint64_t> Reference::Unmap(int ioas, Iova iova, uint64_t size) {
  const IovaRange range{iova, iova + (size - 1)};
  uint64_t bytes = 0;
  for (const auto& [first, area] : ioases_[ioas].areas) {
    const IovaRange placed{first, first + (area.size - 1)};
    if (!range.Overlaps(placed)) continue;
    if (!range.Contains(placed)) return std::nullopt;
    bytes += area.size;
  }
  if (bytes == 0) return std::nullopt;
  auto& areas = ioases_[ioas].areas;
  for (auto it = areas.begin(); it != areas.end();) {
    it = range.Contains(it->first) ? areas.erase(it) : std::next(it);
  }
  return bytes;
}

bool Reference::CreateDomain(int number, int ioas, int device) {
  if (domains_[number].has_value() || !GroupOf(device).claimed()) return false;
  const int width = Width(device);
  for (const auto& [iova, area] : ioases_[ioas].areas) {
    if ((iova + (area.size - 1)) >> width != 0) return false;
  }
  domains_[number] = RefDomain{ioas, width};
  return true;
}

bool Reference::DestroyDomain(int number) {
  if (!domains_[number].has_value()) return false;
  for (size_t device = 0; device < attached_.size(); ++device) {
    const RefGroup& group = GroupOf(device);
    if (attached_[device] && group.place == Place::kDomain && group.domain == number) return false;
  }
  domains_[number].reset();
  return true;
}

bool Reference::Claim(int device) {
  RefGroup& group = GroupOf(device);
  if (group.claimed()) return true;  // Again: nothing changes.
  for (const int member : group.members) {
    for (const ReservedRegion& region : topology_.devices[member].reserved_regions) {
      if (region.type == ReservedRegionType::kDirect) return false;
    }
  }
  group.place = Place::kBlocked;
  return true;
}

bool Reference::Release(int device) {
  RefGroup& group = GroupOf(device);
  if (!group.claimed()) return false;
  for (const int member : group.members) {
    if (attached_[member]) return false;
  }
  group.place = group.host_place;
  return true;
}

bool Reference::ReservesConflict(int ioas, int device) const {
  for (const ReservedRegion& region : topology_.devices[device].reserved_regions) {
    if (region.type == ReservedRegionType::kDirectRelaxable) continue;
    for (const auto& [iova, area] : ioases_[ioas].areas) {
      if (region.range.Overlaps({iova, iova + (area.size - 1)})) return true;
    }
  }
  return false;
}

bool Reference::CanUse(int device, int number) const {
  if (number == kToBlocked) return true;
  const RefGroup& group = GroupOf(device);
  if (number == kToIdentity) {
    return std::all_of(group.members.begin(), group.members.end(), [&](int member) {
      return topology_.devices[member].allow_identity && !topology_.devices[member].untrusted;
    });
  }
  // The wide unit walks the narrow one's tables too, not the other way round.
  if (!domains_[number].has_value()) return false;
  return std::all_of(group.members.begin(), group.members.end(),
                     [&](int member) { return Width(member) >= domains_[number]->width_bits; });
}

bool Reference::Attach(int device, int number) {
  RefGroup& group = GroupOf(device);
  if (!group.claimed() || attached_[device] || !CanUse(device, number)) return false;
  const Place place = number == kToBlocked    ? Place::kBlocked
                      : number == kToIdentity ? Place::kIdentity
                                              : Place::kDomain;
  for (const int member : group.members) {
    if (!attached_[member]) continue;
    if (group.place != place || (place == Place::kDomain && group.domain != number)) return false;
  }
  if (place == Place::kDomain && ReservesConflict(domains_[number]->ioas, device)) return false;
  attached_[device] = true;
  group.place = place;
  group.domain = number;
  return true;
}

bool Reference::Replace(int device, int number) {
  RefGroup& group = GroupOf(device);
  if (!group.claimed() || !attached_[device] || !CanUse(device, number)) return false;
  if (number >= 0) {
    const int ioas = domains_[number]->ioas;
    const bool same_ioas = group.place == Place::kDomain && domains_[group.domain]->ioas == ioas;
    for (const int member : group.members) {
      if (attached_[member] && !same_ioas && ReservesConflict(ioas, member)) return false;
    }
  }
  group.place = number == kToBlocked    ? Place::kBlocked
                : number == kToIdentity ? Place::kIdentity
                                        : Place::kDomain;
  group.domain = number;
  return true;
}

bool Reference::Detach(int device) {
  RefGroup& group = GroupOf(device);
  if (!group.claimed()) return false;
  attached_[device] = false;
  for (const int member : group.members) {
    if (attached_[member]) return true;
  }
  group.place = Place::kBlocked;
  return true;
}

View Reference::Look(int device, Iova iova, bool write) const {
  const RefGroup& group = GroupOf(device);
  switch (group.place) {
    case Place::kBlocked:
      return {kBlocked};
    case Place::kHostDma:
      return {iova >> Width(device) != 0 ? kTooWide : kNotPresent};
    case Place::kIdentity:
    case Place::kHostIdentity:
      if (iova >> topology_.iommus[0].host_address_width_bits != 0) return {kTooWide};
      return {0, -1, iova};
    case Place::kDomain:
      break;
  }
  const RefDomain& domain = *domains_[group.domain];
  if (iova >> domain.width_bits != 0) return {kTooWide};
  const auto& areas = ioases_[domain.ioas].areas;
  auto it = areas.upper_bound(iova);
  if (it == areas.begin()) return {kNotPresent};
  --it;
  const auto& [first, area] = *it;
  if (iova - first >= area.size) return {kNotPresent};
  if (write && (area.permission & 2) == 0) return {kWriteDenied};
  if (!write && (area.permission & 1) == 0) return {kReadDenied};
  return {0, area.region, area.offset + (iova - first)};
}

}  // namespace viommu::property
