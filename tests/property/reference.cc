#include "tests/property/reference.h"

#include <algorithm>
#include <string>

namespace viommu::property {
namespace {

constexpr int kFirstAuto = 1000;

}  // namespace

Reference::Reference(const Topology& topology, int ioas_count, int tables_region)
    : topology_(topology),
      tables_region_(tables_region),
      guests_(topology.iommus[0].architecture),
      ioases_(ioas_count),
      next_auto_(kFirstAuto),
      guest_words_(kTablesBytes / 8) {
  std::map<std::string, int> by_name;
  for (const DeviceSpec& device : topology.devices) {
    const auto [it, added] = by_name.try_emplace(device.group, groups_.size());
    if (added) {
      groups_.emplace_back();
      const bool identity =
          device.default_domain == DefaultDomainType::kIdentity && !device.untrusted;
      groups_.back().host_place = identity ? Place::kHostIdentity : Place::kHostDma;
    }
    groups_[it->second].members.push_back(static_cast<int>(group_of_.size()));
    group_of_.push_back(it->second);
    present_.push_back(true);
  }
}

const IommuSpec& Reference::UnitOf(int device) const {
  return *std::find_if(topology_.iommus.begin(), topology_.iommus.end(),
                       [&](const IommuSpec& s) { return s.id == topology_.devices[device].iommu; });
}

int Reference::Width(int device) const {
  const IommuSpec& unit = UnitOf(device);
  if (IsArm(device)) return unit.smmu_v3.oas_bits;
  return std::min(unit.levels_5 ? 57 : 48, unit.guest_address_width_bits);
}

int Reference::FirstWidth(int device) const {
  if (IsArm(device)) return 48;  // Of TTB0, which has no sign.
  return UnitOf(device).first_stage_levels_5 ? 56 : 47;
}

// ---- Mappings ----

std::vector<IovaRange> Reference::Reserved(int ioas) const {
  std::vector<IovaRange> reserved;
  for (const auto& [number, domain] : domains_) {
    if (domain.ioas != ioas || domain.nested()) continue;
    reserved.push_back({uint64_t{1} << domain.width_bits, kMaxAddress});
  }
  for (size_t device = 0; device < present_.size(); ++device) {
    const Requester rid{static_cast<int>(device), kRid};
    if (!attached(rid)) continue;
    const Demand demand = DemandOf(Where(rid));
    if (demand.ioas != ioas) continue;
    for (const ReservedRegion& region : topology_.devices[device].reserved_regions) {
      if (IsIn(demand.scope, region.type)) reserved.push_back(region.range);
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

bool Reference::CanHold(const RefDomain& domain, int permission) {
  // Whatever is present in a first stage can be read; VT-d's nest parents have erratum 772415.
  const bool read_only = !domain.nest_parent || !domain.iommu.empty();
  return !(domain.first_stage && permission == 2) && (read_only || permission != 1);
}

bool Reference::CanHold(int ioas, int permission) const {
  return std::all_of(domains_.begin(), domains_.end(), [&](const auto& entry) {
    const RefDomain& domain = entry.second;
    if (domain.ioas != ioas || domain.nested()) return true;
    return CanHold(domain, permission);
  });
}

bool Reference::MapAt(int ioas, Iova iova, const RefArea& area) {
  if (iova > kMaxAddress - (area.size - 1) || !CanHold(ioas, area.permission)) return false;
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

// ---- Domains ----

RefDomain Reference::PagingFor(const RefDomainRequest& request) const {
  RefDomain domain;
  domain.ioas = request.ioas;
  domain.nest_parent = request.nest_parent;
  domain.pasid = request.pasid;
  domain.first_stage = HasFirstStage(UnitOf(request.device)) && !request.nest_parent;
  domain.width_bits = domain.first_stage ? FirstWidth(request.device) : Width(request.device);
  if (IsArm(request.device)) domain.iommu = UnitOf(request.device).id;
  return domain;
}

bool Reference::CanHoldAreas(const RefDomain& domain) const {
  for (const auto& [iova, area] : ioases_[domain.ioas].areas) {
    if ((iova + (area.size - 1)) >> domain.width_bits != 0) return false;
    if (!CanHold(domain, area.permission)) return false;
  }
  return true;
}

std::optional<RefDomain> Reference::NestedFor(const RefDomainRequest& request) const {
  const IommuSpec& unit = UnitOf(request.device);
  RefDomain domain;
  domain.parent = request.parent;
  domain.viommu = request.viommu;
  domain.guest = request.guest;
  domain.pasid = request.pasid;
  if (request.viommu >= 0) {
    const auto viommu = viommus_.find(request.viommu);
    // All PASIDs are the guest's.
    if (viommu == viommus_.end() || viommu->second.iommu != unit.id || request.pasid) return {};
    domain.parent = viommu->second.parent;
    domain.entry = request.entry;
    domain.iommu = unit.id;
  }
  const auto parent = domains_.find(domain.parent);
  if (parent == domains_.end() || !parent->second.nest_parent) return {};
  domain.ioas = parent->second.ioas;
  if (domain.viommu >= 0) return domain;
  const bool can = !IsArm(request.device) && unit.nesting && parent->second.iommu.empty() &&
                   parent->second.width_bits <= Width(request.device);
  return can ? std::make_optional(domain) : std::nullopt;
}

bool Reference::CreateDomain(int number, const RefDomainRequest& request) {
  if (domains_.count(number) > 0 || !present_[request.device]) return false;
  if (!GroupOf(request.device).claimed) return false;
  if (request.parent >= 0 || request.viommu >= 0) {
    const std::optional<RefDomain> nested = NestedFor(request);
    if (nested.has_value()) domains_[number] = *nested;
    return nested.has_value();
  }
  if (request.nest_parent && !HasNesting(UnitOf(request.device))) return false;
  const RefDomain domain = PagingFor(request);
  // Of an SMMUv3 requests with PASID can be on a first stage only.
  if (IsArm(request.device) && request.pasid && !domain.first_stage) return false;
  if (!CanHoldAreas(domain)) return false;
  domains_[number] = domain;
  return true;
}

bool Reference::DestroyDomain(int number) {
  if (domains_.count(number) == 0) return false;
  for (const auto& [other, domain] : domains_) {
    if (domain.parent == number) return false;
  }
  for (const RefGroup& group : groups_) {
    for (const auto& [pasid, place] : group.places) {
      if (place == RefTarget{Place::kDomain, number}) return false;
    }
  }
  for (const auto& [other, viommu] : viommus_) {
    if (viommu.parent == number) return false;
  }
  domains_.erase(number);
  stale_.erase(std::remove_if(stale_.begin(), stale_.end(),
                              [&](const Stale& stale) { return !HasTag(stale.tag); }),
               stale_.end());
  return true;
}

void Reference::DropUnusedAutoDomains() {
  for (auto it = domains_.lower_bound(kFirstAuto); it != domains_.end();) {
    const bool used = std::any_of(groups_.begin(), groups_.end(), [&](const RefGroup& group) {
      const auto rid = group.places.find(kRid);
      return rid != group.places.end() && rid->second == RefTarget{Place::kDomain, it->first};
    });
    it = used ? std::next(it) : domains_.erase(it);
  }
}

// ---- Devices ----

bool Reference::Claim(int device) {
  RefGroup& group = GroupOf(device);
  if (!present_[device]) return false;
  if (group.claimed) return true;  // Again: nothing changes.
  for (const int member : group.members) {
    for (const ReservedRegion& region : topology_.devices[member].reserved_regions) {
      if (region.type == ReservedRegionType::kDirect) return false;
    }
  }
  group.claimed = true;
  return true;
}

bool Reference::Release(int device) {
  RefGroup& group = GroupOf(device);
  if (!present_[device] || !group.claimed || !group.places.empty()) return false;
  group.claimed = false;
  for (const int member : group.members) vdevices_.erase(member);
  return true;
}

bool Reference::Unplug(int device) {
  if (!present_[device]) return false;
  RefGroup& group = GroupOf(device);
  std::vector<uint32_t> pasids;
  for (const auto& [pasid, place] : group.places) pasids.push_back(pasid);
  for (const uint32_t pasid : pasids) Leave(device, pasid);
  present_[device] = false;
  vdevices_.erase(device);
  const bool last = std::none_of(group.members.begin(), group.members.end(),
                                 [&](int member) { return present_[member]; });
  if (last) group.claimed = false;
  return true;
}

bool Reference::Plug(int device) {
  if (present_[device]) return false;
  // A guest's commands could not name it.
  const RefDomain* const domain = DomainAt({device, kRid});
  if (domain != nullptr && domain->needs_vdevices()) return false;
  present_[device] = true;
  return true;
}

bool Reference::AnyAttached(const RefGroup& group, uint32_t pasid) const {
  return std::any_of(group.members.begin(), group.members.end(),
                     [&](int member) { return AttachedAt(member, pasid); });
}

RefTarget Reference::Where(const Requester& who) const {
  const RefGroup& group = GroupOf(who.device);
  const auto place = group.places.find(who.pasid);
  if (place != group.places.end()) return place->second;
  return {group.claimed || who.pasid != kRid ? Place::kBlocked : group.host_place, -1};
}

const RefDomain* Reference::DomainAt(const Requester& who) const {
  const RefTarget where = Where(who);
  return where.place == Place::kDomain ? &domains_.at(where.number) : nullptr;
}

Reference::Demand Reference::DemandOf(const RefTarget& target) const {
  if (target.place != Place::kDomain) return {};
  const RefDomain& domain = domains_.at(target.number);
  return {domain.nested() ? Scope::kSwMsi : Scope::kAll, domain.ioas};
}

bool Reference::IsIn(Scope scope, ReservedRegionType type) {
  if (scope == Scope::kSwMsi) return type == ReservedRegionType::kSwMsi;
  return scope == Scope::kAll && type != ReservedRegionType::kDirectRelaxable;
}

bool Reference::Conflicts(int device, const Demand& from, const Demand& to) const {
  if (to.scope == Scope::kNone) return false;
  for (const ReservedRegion& region : topology_.devices[device].reserved_regions) {
    if (!IsIn(to.scope, region.type)) continue;
    if (from.ioas == to.ioas && IsIn(from.scope, region.type)) continue;
    for (const auto& [iova, area] : ioases_[to.ioas].areas) {
      if (region.range.Overlaps({iova, iova + (area.size - 1)})) return true;
    }
  }
  return false;
}

bool Reference::CanUse(int device, int number) const {
  const auto found = domains_.find(number);
  if (found == domains_.end()) return false;
  const RefDomain& domain = found->second;
  // All members of a group are behind one unit.
  if (!domain.iommu.empty() || IsArm(device)) return domain.iommu == UnitOf(device).id;
  if (domain.nested()) return UnitOf(device).first_stage && CanUse(device, domain.parent);
  if (domain.first_stage) {
    return UnitOf(device).first_stage && FirstWidth(device) >= domain.width_bits;
  }
  // A wide unit walks a narrow one's tables too, not the other way round.
  return Width(device) >= domain.width_bits && (!domain.nest_parent || UnitOf(device).nesting);
}

bool Reference::PasidUsable(int device, uint32_t pasid) const {
  const std::vector<int>& members = GroupOf(device).members;
  return std::all_of(members.begin(), members.end(), [&](int member) {
    return pasid >> topology_.devices[member].pasid_bits == 0;
  });
}

bool Reference::HasVdevices(const RefGroup& group, const RefTarget& target) const {
  if (target.place != Place::kDomain) return true;
  const RefDomain& domain = domains_.at(target.number);
  return std::all_of(group.members.begin(), group.members.end(), [&](int member) {
    const auto vdevice = vdevices_.find(member);
    return !domain.needs_vdevices() || !present_[member] ||
           (vdevice != vdevices_.end() && vdevice->second == domain.viommu);
  });
}

bool Reference::Serves(const RefTarget& target) const {
  return target.place != Place::kDomain || domains_.at(target.number).pasid;
}

bool Reference::PasidCompatible(const Requester& who, const RefTarget& target) const {
  const RefGroup& group = GroupOf(who.device);
  if (who.pasid != kRid) return Serves(target) && Serves(Where({who.device, kRid}));
  const bool beside = group.places.upper_bound(kRid) != group.places.end();
  return !beside || Serves(target);
}

bool Reference::Choose(const Requester& who, bool joins, RefTarget* target,
                       std::optional<RefDomain>* made) const {
  const int ioas = target->number;
  if (who.pasid != kRid) return false;
  if (joins) {
    const RefDomain* now = DomainAt(who);
    *target = Where(who);
    return now != nullptr && now->automatic && now->ioas == ioas;
  }
  for (const auto& [number, domain] : domains_) {
    if (!domain.automatic || domain.ioas != ioas || !CanUse(who.device, number)) continue;
    *target = {Place::kDomain, number};
    return true;
  }
  RefDomainRequest request;
  request.ioas = ioas;
  request.device = who.device;
  *made = PagingFor(request);
  (*made)->automatic = true;
  *target = {Place::kDomain, next_auto_};
  return CanHoldAreas(**made);
}

bool Reference::Move(const Requester& who, RefTarget target, const std::vector<int>& movers,
                     bool joins) {
  RefGroup& group = GroupOf(who.device);
  std::optional<RefDomain> made;
  if (target.place == Place::kIdentity) {
    for (const int member : group.members) {
      if (!topology_.devices[member].allow_identity) return false;
    }
  }
  if (target.place == Place::kDomain && domains_.count(target.number) == 0) return false;
  if (target.place == Place::kIoas && !Choose(who, joins, &target, &made)) return false;
  const bool moves = attached(who);
  if (joins && !(Where(who) == target)) return false;
  if (moves && Where(who) == target) return true;
  if (who.pasid != kRid && !PasidUsable(who.device, who.pasid)) return false;
  if (made.has_value()) domains_[target.number] = *made;
  // Of an SMMUv3 requests with PASID can be on a first stage only.
  const bool identity_at_pasid = who.pasid != kRid && target.place == Place::kIdentity;
  bool allowed = PasidCompatible(who, target) && HasVdevices(group, target) &&
                 !(IsArm(who.device) && identity_at_pasid) &&
                 (target.place != Place::kDomain || CanUse(who.device, target.number));
  if (who.pasid == kRid && allowed) {
    const Demand from = moves ? DemandOf(Where(who)) : Demand{};
    for (const int mover : movers) allowed = allowed && !Conflicts(mover, from, DemandOf(target));
  }
  if (!allowed) {
    if (made.has_value()) domains_.erase(target.number);
    return false;
  }
  if (made.has_value()) ++next_auto_;
  for (const int mover : movers) attached_.insert({mover, who.pasid});
  group.places[who.pasid] = target;
  DropUnusedAutoDomains();
  return true;
}

bool Reference::Attach(const Requester& who, RefTarget target) {
  const RefGroup& group = GroupOf(who.device);
  if (!present_[who.device] || !group.claimed || attached(who)) return false;
  return Move(who, target, {who.device}, AnyAttached(group, who.pasid));
}

bool Reference::Replace(const Requester& who, RefTarget target) {
  const RefGroup& group = GroupOf(who.device);
  if (!present_[who.device] || !group.claimed || !attached(who)) return false;
  std::vector<int> movers;
  for (const int member : group.members) {
    if (AttachedAt(member, who.pasid)) movers.push_back(member);
  }
  return Move(who, target, movers, false);
}

void Reference::Leave(int device, uint32_t pasid) {
  RefGroup& group = GroupOf(device);
  attached_.erase({device, pasid});
  if (!AnyAttached(group, pasid)) group.places.erase(pasid);
  DropUnusedAutoDomains();
}

bool Reference::Detach(const Requester& who) {
  if (!present_[who.device] || !GroupOf(who.device).claimed) return false;
  Leave(who.device, who.pasid);
  return true;
}

}  // namespace viommu::property
