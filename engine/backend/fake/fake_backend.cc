#include "engine/backend/fake/fake_backend.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr IovaRange kMsiWindow{0xfee00000, 0xfeefffff};

std::string Where(const DomainTarget& target) {
  switch (target.kind) {
    case DomainTarget::Kind::kBlocked:
      return "blocked";
    case DomainTarget::Kind::kIdentity:
      return "identity";
    case DomainTarget::Kind::kDomain:
      break;
  }
  return absl::StrCat("domain ", target.domain);
}

const IommuSpec& UnitOf(const Topology& topology, DeviceIndex device) {
  const std::string& id = topology.devices[device].iommu;
  return *std::find_if(topology.iommus.begin(), topology.iommus.end(),
                       [&](const IommuSpec& unit) { return unit.id == id; });
}

DeviceSpec SmallDevice(int number, const std::string& iommu, const std::string& group) {
  DeviceSpec device;
  device.id = absl::StrCat("dev", number);
  device.iommu = iommu;
  device.group = group;
  device.reserved_regions = {{kMsiWindow, ReservedRegionType::kMsi}};
  return device;
}

}  // namespace

FakeBackend::FakeBackend(Topology topology)
    : topology_(std::move(topology)),
      viommus_({[this](const std::string& verb) { return Ask(verb); },
                [this](const std::string& line, bool holds) { Record(line, holds); },
                [this](Uid domain) { return HasDomain(domain); }}) {}

bool FakeBackend::HasDomain(Uid domain) const {
  absl::MutexLock lock(&mutex_);
  return domains_.count(domain) == 1;
}

ViommuSupport FakeBackend::DescribeViommus(DeviceIndex device) const {
  const DeviceSpec& spec = topology_.devices[device];
  for (const IommuSpec& unit : topology_.iommus) {
    if (unit.id == spec.iommu) return FakeViommus::Describe(unit, spec);
  }
  return {};
}

void FakeBackend::SetHook(std::function<absl::Status(const std::string&)> hook) {
  absl::MutexLock lock(&mutex_);
  hook_ = std::move(hook);
}

std::vector<std::string> FakeBackend::log() const {
  absl::MutexLock lock(&mutex_);
  return log_;
}

std::vector<std::string> FakeBackend::breaches() const {
  absl::MutexLock lock(&mutex_);
  return breaches_;
}

void FakeBackend::SetSwitchCheck(absl::Status answer) {
  absl::MutexLock lock(&mutex_);
  switch_check_ = std::move(answer);
}

absl::Status FakeBackend::CheckSwitch(absl::Span<const DeviceIndex>, std::optional<uint32_t>,
                                      const DomainTarget&) const {
  absl::MutexLock lock(&mutex_);
  return switch_check_;
}

std::string FakeBackend::State() const {
  absl::MutexLock lock(&mutex_);
  std::string state;
  for (const Uid region : regions_) absl::StrAppend(&state, "region ", region, "\n");
  for (const auto& [uid, ioas] : ioas_) {
    absl::StrAppend(&state, "ioas ", uid, ioas.large_pages ? "\n" : " small pages\n");
    for (const auto& [iova, m] : ioas.areas) {
      absl::StrAppend(&state, "  ", Hex(iova), "+", Hex(m.size_bytes), " -> ", m.region, "+",
                      Hex(m.offset_bytes), " ", static_cast<int>(m.permission), "\n");
    }
  }
  for (const auto& [uid, domain] : domains_) {
    if (domain.parent == 0) {
      absl::StrAppend(&state, "domain ", uid, " ", domain.ioas, "\n");
    } else {
      absl::StrAppend(&state, "domain ", uid, " nested on ", domain.parent, "\n");
    }
    if (domain.tracks) absl::StrAppend(&state, "  marks writes\n");
    for (const Iova page : domain.dirty) absl::StrAppend(&state, "  dirty ", Hex(page), "\n");
    for (const auto& [iova, doorbell] : domain.doorbells) {
      absl::StrAppend(&state, "  doorbell ", Hex(iova), " -> ", Hex(doorbell.value), "\n");
    }
  }
  for (const auto& [device, where] : places_) {
    absl::StrAppend(&state, "device ", device, " on ", where, "\n");
  }
  for (const auto& [key, where] : pasids_) {
    absl::StrAppend(&state, "device ", key.first, " pasid ", key.second, " on ", where, "\n");
  }
  for (const DeviceIndex device : blocked_) absl::StrAppend(&state, "held ", device, "\n");
  return state + viommus_.State();
}

absl::Status FakeBackend::Ask(const std::string& verb) {
  std::function<absl::Status(const std::string&)> hook;
  {
    absl::MutexLock lock(&mutex_);
    hook = hook_;
  }
  return hook == nullptr ? absl::OkStatus() : hook(verb);
}

void FakeBackend::Note(const std::string& line, bool holds) {
  log_.push_back(line);
  if (!holds) breaches_.push_back(line);
}

void FakeBackend::Record(const std::string& line, bool holds) {
  absl::MutexLock lock(&mutex_);
  Note(line, holds);
}

std::string FakeBackend::PlaceOf(DeviceIndex device) const {
  absl::MutexLock lock(&mutex_);
  const auto it = places_.find(device);
  return it == places_.end() ? "" : it->second;
}

void FakeBackend::Place(absl::Span<const DeviceIndex> group, const std::string& where) {
  for (const DeviceIndex device : group) places_[device] = where;
}

absl::StatusOr<DomainProperties> FakeBackend::PlanDomain(const DomainSpec& spec) const {
  DomainProperties properties;
  properties.format = absl::StrCat("fake-", topology_.devices[spec.device].iommu);
  properties.levels = 4;
  properties.aperture = {0, (uint64_t{1} << 48) - 1};
  properties.page_sizes = 0x1000;
  if (spec.dirty_tracking && !HasDirtyTracking(UnitOf(topology_, spec.device))) {
    return Error(absl::StatusCode::kUnimplemented, "DIRTY_TRACKING_UNAVAILABLE",
                 "the unit has no dirty tracking")
        .Errno("EOPNOTSUPP");
  }
  properties.dirty_tracking = spec.dirty_tracking;
  properties.nest_parent = spec.nest_parent;
  // As VT-d has it: read only is not for nest parents, and a domain for PASIDs is taken to be a
  // first stage, whose writable pages can be read.
  properties.read_only = !spec.nest_parent;
  properties.write_only = !spec.pasid;
  if (spec.viommu != 0) {
    ASSIGN_OR_RETURN(properties.needs_vdevice, FakeViommus::CheckVste(spec.vste));
    return properties;
  }
  if (spec.kind == DomainSpec::Kind::kNested) {
    properties.levels = spec.stage1.address_width_bits == 57 ? 5 : 4;
    properties.aperture = {0, (uint64_t{1} << (spec.stage1.address_width_bits - 1)) - 1};
    properties.stage1 = spec.stage1;
  }
  return properties;
}

absl::Status FakeBackend::CheckCompatible(DeviceIndex device,
                                          const DomainProperties& properties) const {
  ASSIGN_OR_RETURN(const DomainProperties own, PlanDomain({0, device}));
  if (own.format == properties.format) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "INCOMPATIBLE_DOMAIN",
               absl::StrCat("format ", properties.format, " is not ", own.format))
      .Errno("EINVAL");
}

absl::Status FakeBackend::CreateMemoryRegion(Uid uid, uint64_t, std::optional<int32_t>) {
  RETURN_IF_ERROR(Ask("CreateMemoryRegion"));
  absl::MutexLock lock(&mutex_);
  Note(absl::StrCat("CreateMemoryRegion ", uid), regions_.insert(uid).second);
  return absl::OkStatus();
}

absl::Status FakeBackend::DestroyMemoryRegion(Uid uid) {
  RETURN_IF_ERROR(Ask("DestroyMemoryRegion"));
  absl::MutexLock lock(&mutex_);
  bool unused = true;
  for (const auto& [ioas, state] : ioas_) {
    for (const auto& [iova, mapping] : state.areas) unused = unused && mapping.region != uid;
  }
  Note(absl::StrCat("DestroyMemoryRegion ", uid), regions_.erase(uid) == 1 && unused);
  return absl::OkStatus();
}

absl::Status FakeBackend::CreateIoas(Uid uid) {
  RETURN_IF_ERROR(Ask("CreateIoas"));
  absl::MutexLock lock(&mutex_);
  Note(absl::StrCat("CreateIoas ", uid), ioas_.try_emplace(uid).second);
  return absl::OkStatus();
}

absl::Status FakeBackend::SetLargePages(Uid uid, bool large_pages) {
  RETURN_IF_ERROR(Ask("SetLargePages"));
  absl::MutexLock lock(&mutex_);
  const auto it = ioas_.find(uid);
  const bool allowed =
      it != ioas_.end() && (large_pages || it->second.areas.empty() || it->second.domains.empty());
  Note(absl::StrCat("SetLargePages ", uid, large_pages ? " on" : " off"), allowed);
  if (allowed) it->second.large_pages = large_pages;
  return absl::OkStatus();
}

absl::Status FakeBackend::DestroyIoas(Uid uid) {
  RETURN_IF_ERROR(Ask("DestroyIoas"));
  absl::MutexLock lock(&mutex_);
  const auto it = ioas_.find(uid);
  Note(absl::StrCat("DestroyIoas ", uid), it != ioas_.end() && it->second.domains.empty());
  ioas_.erase(uid);
  return absl::OkStatus();
}

absl::Status FakeBackend::CreateDomain(Uid uid, const DomainSpec& spec,
                                       absl::Span<const BackendMapping> existing) {
  RETURN_IF_ERROR(Ask("CreateDomain"));
  absl::MutexLock lock(&mutex_);
  if (spec.kind == DomainSpec::Kind::kNested) {
    Note(absl::StrCat("CreateDomain ", uid, " nested on ", spec.parent),
         domains_.count(spec.parent) == 1 && existing.empty() &&
             (spec.viommu == 0 || viommus_.Exists(spec.viommu)) &&
             domains_.try_emplace(uid, Domain{0, spec.parent}).second);
    if (spec.viommu != 0) viommus_.AddDomain(spec.viommu, uid);
    return absl::OkStatus();
  }
  const auto it = ioas_.find(spec.ioas);
  const bool complete = it != ioas_.end() && it->second.areas.size() == existing.size();
  Note(absl::StrCat("CreateDomain ", uid, " over ", spec.ioas),
       complete && domains_.try_emplace(uid, Domain{spec.ioas, 0, spec.dirty_tracking}).second);
  if (it != ioas_.end()) it->second.domains.insert(uid);
  return absl::OkStatus();
}

bool FakeBackend::Unused(Uid domain) const {
  const std::string where = absl::StrCat("domain ", domain);
  bool unused = true;
  for (const auto& [device, place] : places_) unused = unused && place != where;
  for (const auto& [key, place] : pasids_) unused = unused && place != where;
  for (const auto& [uid, other] : domains_) unused = unused && other.parent != domain;
  return unused && !viommus_.Uses(domain);
}

absl::Status FakeBackend::DestroyDomain(Uid uid) {
  RETURN_IF_ERROR(Ask("DestroyDomain"));
  absl::MutexLock lock(&mutex_);
  const auto it = domains_.find(uid);
  Note(absl::StrCat("DestroyDomain ", uid), it != domains_.end() && Unused(uid));
  if (it == domains_.end()) return absl::OkStatus();
  if (it->second.parent == 0) ioas_[it->second.ioas].domains.erase(uid);
  viommus_.RemoveDomain(uid);
  domains_.erase(it);
  return absl::OkStatus();
}

bool FakeBackend::MeetsArea(Uid ioas, const IovaRange& range) const {
  const auto found = ioas_.find(ioas);
  if (found == ioas_.end()) return false;
  const std::map<Iova, BackendMapping>& areas = found->second.areas;
  const auto next = areas.upper_bound(range.last);
  return next != areas.begin() && std::prev(next)->second.range().last >= range.first;
}

bool FakeBackend::Covers(Uid ioas, const IovaRange& range) const {
  const auto found = ioas_.find(ioas);
  if (found == ioas_.end()) return false;
  const std::map<Iova, BackendMapping>& areas = found->second.areas;
  for (Iova next = range.first;;) {
    const auto above = areas.upper_bound(next);
    if (above == areas.begin()) return false;
    const IovaRange area = std::prev(above)->second.range();
    if (!area.Contains(next)) return false;
    if (area.last >= range.last) return true;
    next = area.last + 1;
  }
}

bool FakeBackend::MeetsDoorbell(Uid ioas, const IovaRange& range) const {
  for (const auto& [uid, domain] : domains_) {
    if (domain.ioas != ioas) continue;
    for (const auto& [iova, doorbell] : domain.doorbells) {
      if (range.Overlaps({iova, iova + 0xfff})) return true;
    }
  }
  return false;
}

absl::Status FakeBackend::Map(Uid uid, absl::Span<const BackendMapping> mappings) {
  RETURN_IF_ERROR(Ask("Map"));
  absl::MutexLock lock(&mutex_);
  std::map<Iova, BackendMapping>& areas = ioas_[uid].areas;
  for (const BackendMapping& mapping : mappings) {
    const bool is_free = !MeetsArea(uid, mapping.range()) && !MeetsDoorbell(uid, mapping.range());
    Note(absl::StrCat("Map ", uid, " ", Hex(mapping.iova), "+", Hex(mapping.size_bytes)),
         is_free && regions_.count(mapping.region) == 1);
    areas[mapping.iova] = mapping;
  }
  return absl::OkStatus();
}

absl::Status FakeBackend::Unmap(Uid uid, absl::Span<const IovaRange> ranges) {
  RETURN_IF_ERROR(Ask("Unmap"));
  absl::MutexLock lock(&mutex_);
  for (const IovaRange& range : ranges) {
    const bool cut = Cut(&ioas_[uid], range);
    Note(absl::StrCat("Unmap ", uid, " ", ToString(range)), cut);
    for (auto& [domain_uid, domain] : domains_) {
      if (domain.ioas != uid) continue;
      domain.dirty.erase(domain.dirty.lower_bound(range.first & ~Iova{0xfff}),
                         domain.dirty.upper_bound(range.last));
    }
  }
  return absl::OkStatus();
}

absl::Status FakeBackend::MapDoorbell(Uid uid, Iova iova, PhysAddr doorbell) {
  RETURN_IF_ERROR(Ask("MapDoorbell"));
  absl::MutexLock lock(&mutex_);
  const auto it = domains_.find(uid);
  const bool known = it != domains_.end() && it->second.parent == 0;
  const bool holds = known && !MeetsArea(it->second.ioas, {iova, iova + 0xfff}) &&
                     it->second.doorbells.try_emplace(iova, doorbell).first->second == doorbell;
  Note(absl::StrCat("MapDoorbell ", uid, " ", Hex(iova), " -> ", Hex(doorbell.value)), holds);
  return absl::OkStatus();
}

absl::Status FakeBackend::UnmapDoorbell(Uid uid, Iova iova) {
  RETURN_IF_ERROR(Ask("UnmapDoorbell"));
  absl::MutexLock lock(&mutex_);
  const auto it = domains_.find(uid);
  Note(absl::StrCat("UnmapDoorbell ", uid, " ", Hex(iova)),
       it != domains_.end() && it->second.doorbells.erase(iova) == 1);
  return absl::OkStatus();
}

bool FakeBackend::Cut(Ioas* ioas, const IovaRange& range) {
  auto it = ioas->areas.upper_bound(range.first);
  if (it == ioas->areas.begin()) return false;
  const BackendMapping area = (--it)->second;
  if (!area.range().Contains(range)) return false;
  const bool whole = area.size_bytes == range.size_bytes();
  if (!whole && ioas->large_pages) return false;
  ioas->areas.erase(it);
  BackendMapping low = area;
  low.size_bytes = range.first - area.iova;
  if (low.size_bytes > 0) ioas->areas[low.iova] = low;
  BackendMapping high = area;
  high.size_bytes = area.range().last - range.last;
  high.iova += area.size_bytes - high.size_bytes;
  high.offset_bytes += area.size_bytes - high.size_bytes;
  if (high.size_bytes > 0) ioas->areas[high.iova] = high;
  return true;
}

absl::StatusOr<Transition> FakeBackend::Switch(absl::Span<const DeviceIndex> group,
                                               std::optional<uint32_t> pasid,
                                               const DomainTarget& target) {
  RETURN_IF_ERROR(Ask("Switch"));
  absl::MutexLock lock(&mutex_);
  const bool known =
      target.kind != DomainTarget::Kind::kDomain || domains_.count(target.domain) == 1;
  DropUntaken([&](const PageFault& fault) {
    return fault.pasid == pasid &&
           std::find(group.begin(), group.end(), fault.device) != group.end();
  });
  if (!pasid.has_value()) {
    Note(absl::StrCat("Switch ", group[0], " to ", Where(target)), known);
    Place(group, Where(target));
    return Transition{};
  }
  Note(absl::StrCat("Switch ", group[0], " pasid ", *pasid, " to ", Where(target)), known);
  for (const DeviceIndex device : group) {
    if (target.kind == DomainTarget::Kind::kBlocked) {
      pasids_.erase({device, *pasid});
    } else {
      pasids_[{device, *pasid}] = Where(target);
    }
  }
  return Transition{};
}

void FakeBackend::Write(Uid domain, Iova iova) {
  absl::MutexLock lock(&mutex_);
  Domain& written = domains_.at(domain);
  if (written.tracks) written.dirty.insert(iova & ~Iova{0xfff});
}

absl::Status FakeBackend::SetDirtyTracking(Uid uid, bool enabled) {
  RETURN_IF_ERROR(Ask("SetDirtyTracking"));
  absl::MutexLock lock(&mutex_);
  const auto it = domains_.find(uid);
  const bool holds = it != domains_.end() && it->second.can_track;
  Note(absl::StrCat("SetDirtyTracking ", uid, enabled ? " on" : " off"), holds);
  if (!holds) return absl::OkStatus();
  it->second.tracks = enabled;
  if (enabled) it->second.dirty.clear();
  return absl::OkStatus();
}

absl::StatusOr<DirtyBitmap> FakeBackend::ReadDirty(Uid uid, IovaRange range, uint64_t page_bytes,
                                                   bool clear) {
  RETURN_IF_ERROR(Ask("ReadDirty"));
  absl::MutexLock lock(&mutex_);
  const auto it = domains_.find(uid);
  const bool holds = it != domains_.end() && it->second.can_track && Covers(it->second.ioas, range);
  Note(absl::StrCat("ReadDirty ", uid, " ", ToString(range), clear ? "" : " keep"), holds);
  DirtyBitmap bitmap(range, page_bytes);
  if (!holds) return bitmap;
  std::set<Iova>& dirty = it->second.dirty;
  for (auto page = dirty.begin(); page != dirty.end();) {
    const IovaRange whole{*page, *page + 0xfff};
    bitmap.Mark(whole);
    page = clear && range.Contains(whole) ? dirty.erase(page) : std::next(page);
  }
  return bitmap;
}

absl::Status FakeBackend::Invalidate(Uid domain,
                                     absl::Span<const VtdStage1Invalidation> invalidations) {
  RETURN_IF_ERROR(Ask("Invalidate"));
  absl::MutexLock lock(&mutex_);
  const auto it = domains_.find(domain);
  Note(absl::StrCat("Invalidate ", domain, " ", invalidations.size()),
       it != domains_.end() && it->second.parent != 0);
  return absl::OkStatus();
}

absl::Status FakeBackend::Block(DeviceIndex device) {
  absl::Status asked = Ask("Block");
  absl::MutexLock lock(&mutex_);
  // The one effect that takes place even where it fails, and that may be asked for again.
  blocked_.insert(device);
  DropUntaken([&](const PageFault& fault) { return fault.device == device; });
  Note(absl::StrCat("Block ", device), true);
  return asked;
}

absl::Status FakeBackend::Unblock(DeviceIndex device) {
  RETURN_IF_ERROR(Ask("Unblock"));
  absl::MutexLock lock(&mutex_);
  Note(absl::StrCat("Unblock ", device), blocked_.erase(device) == 1);
  quarantined_.erase(device);
  return absl::OkStatus();
}

void FakeBackend::Quarantine(DeviceIndex device) {
  absl::MutexLock lock(&mutex_);
  blocked_.insert(device);
  quarantined_.insert(device);
}

std::vector<DeviceIndex> FakeBackend::Quarantined() const {
  absl::MutexLock lock(&mutex_);
  return {quarantined_.begin(), quarantined_.end()};
}

absl::Status FakeBackend::ReportPageFault(const PageFault& fault) {
  absl::MutexLock lock(&mutex_);
  untaken_.faults.push_back(fault);
  if (fault.last) waiting_.insert({fault.device, fault.pasid, fault.group});
  return absl::OkStatus();
}

void FakeBackend::LosePageFaults(DeviceIndex device) {
  absl::MutexLock lock(&mutex_);
  untaken_.broken.push_back(device);
}

std::vector<PageGroupResponse> FakeBackend::ResponsesTo(DeviceIndex device) const {
  absl::MutexLock lock(&mutex_);
  const auto it = responses_.find(device);
  return it == responses_.end() ? std::vector<PageGroupResponse>() : it->second;
}

size_t FakeBackend::groups_waiting() const {
  absl::MutexLock lock(&mutex_);
  return waiting_.size();
}

PageFaultBatch FakeBackend::TakePageFaults() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(untaken_, {});
}

absl::Status FakeBackend::RespondPageGroup(const PageGroupResponse& response) {
  RETURN_IF_ERROR(Ask("RespondPageGroup"));
  absl::MutexLock lock(&mutex_);
  Answer(response);
  return absl::OkStatus();
}

void FakeBackend::Answer(const PageGroupResponse& response) {
  constexpr absl::string_view kCodes[] = {"SUCCESS", "INVALID", "FAILURE"};
  const PageGroup& group = response.group;
  const auto it = waiting_.find({group.device, group.pasid, group.group});
  Note(absl::StrCat("Respond ", group.device, " group ", group.group, " ",
                    kCodes[static_cast<size_t>(response.code)]),
       it != waiting_.end());
  if (it == waiting_.end()) return;
  waiting_.erase(it);
  responses_[group.device].push_back(response);
}

void FakeBackend::DropUntaken(const std::function<bool(const PageFault&)>& is_left) {
  std::vector<PageFault> kept;
  for (const PageFault& fault : untaken_.faults) {
    if (!is_left(fault)) {
      kept.push_back(fault);
    } else if (fault.last) {
      Answer({{fault.device, fault.pasid, fault.group}, PageResponse::kInvalid});
    }
  }
  untaken_.faults = std::move(kept);
}

absl::Status FakeBackend::Claim(absl::Span<const DeviceIndex> group) {
  RETURN_IF_ERROR(Ask("Claim"));
  absl::MutexLock lock(&mutex_);
  Note(absl::StrCat("Claim ", group[0]), places_[group[0]].rfind("host", 0) == 0);
  Place(group, "blocked");
  return absl::OkStatus();
}

absl::StatusOr<Transition> FakeBackend::AssignDefault(absl::Span<const DeviceIndex> group,
                                                      DefaultDomainType type) {
  RETURN_IF_ERROR(Ask("AssignDefault"));
  absl::MutexLock lock(&mutex_);
  const std::string& now = places_[group[0]];
  Note(absl::StrCat("AssignDefault ", group[0]),
       now.empty() || now == "blocked" || now.rfind("host", 0) == 0);
  Place(group, type == DefaultDomainType::kIdentity ? "host identity" : "host dma");
  return Transition{};
}

Topology SmallTopology() {
  Topology topology;
  topology.iommus.resize(2);
  topology.iommus[0].id = "unit0";
  topology.iommus[0].numa_node = 0;
  topology.iommus[0].first_stage = true;
  topology.iommus[0].nesting = true;
  topology.iommus[0].dirty_tracking = true;
  topology.iommus[1].id = "unit1";
  topology.devices = {SmallDevice(0, "unit0", "g0"), SmallDevice(1, "unit0", "g1"),
                      SmallDevice(2, "unit0", "g1"), SmallDevice(3, "unit0", "g3"),
                      SmallDevice(4, "unit0", "g4"), SmallDevice(5, "unit1", "g5")};
  topology.devices[3].reserved_regions.push_back(
      {IovaRange{0x10000, 0x1ffff}, ReservedRegionType::kDirect});
  topology.devices[4].untrusted = true;
  topology.devices[4].default_domain = DefaultDomainType::kIdentity;
  topology.devices[5].allow_identity = true;
  topology.devices[0].pasid_bits = 8;
  topology.devices[1].pasid_bits = 6;
  topology.devices[2].pasid_bits = 4;
  topology.devices[5].pasid_bits = 20;
  return topology;
}

}  // namespace viommu
