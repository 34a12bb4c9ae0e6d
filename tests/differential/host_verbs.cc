#include "tests/differential/host_verbs.h"

#include <optional>

namespace viommu::differential {
namespace {

constexpr uint64_t kPageBytes = 4096;

// ---- host_map: the host's DMA API for a device that the host has ----

std::vector<uint64_t> InventMap(Dice& dice, const State& state, Caller caller) {
  return {InventDevice(dice, state), InventName(dice, state, caller, Sort::kRegion),
          InventOffset(dice), InventLength(dice)};
}

// What no IOVA of the host may meet: what lies outside the apertures, and all that the members of
// the group reserve, what may be relaxed too.
std::vector<IovaRange> ReservedForHost(const State& state, const Isolation& group) {
  std::vector<IovaRange> reserved;
  for (const size_t member : group.members) {
    reserved.push_back({uint64_t{1} << state.hardware->WidthBits({member}), kMaxAddress});
    for (const ReservedRegion& region : state.hardware->topology.devices[member].reserved_regions) {
      reserved.push_back(region.range);
    }
  }
  return reserved;
}

Answer ReferMap(const Call& call, State& state) {
  const uint64_t offset = call[2], length = call[3];
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  if (!call.context.is_operator) return Forbidden("NOT_OPERATOR");
  Isolation& group = state.GroupOf(device);
  if (!group.claimed_by.empty()) return Precondition("DEVICE_CLAIMED");
  Name name;
  REFUSE_UNLESS(FindRegion(call, state, call[1], &name));
  if (state.regions.at(name).suspended) return Precondition("REGION_SUSPENDED");
  if (length == 0) return Invalid("INVALID_LENGTH");
  if (length % kPageBytes != 0 || offset % kPageBytes != 0) {
    return Invalid("MISALIGNED");
  }
  const Region& region = state.regions.at(name);
  if (offset >= region.size || length > region.size - offset) {
    return Beyond("SOURCE_OUT_OF_BOUNDS");
  }
  if (region.read_only) return Forbidden("REGION_READ_ONLY");  // It maps for writing.
  // What waits for a flush is in the way as well.
  Areas taken = group.host_areas;
  taken.insert(group.waiting.begin(), group.waiting.end());
  Iova iova = region.physical + offset;
  if (group.default_domain != DefaultDomainType::kIdentity) {
    const std::optional<Iova> chosen =
        Choose(taken, ReservedForHost(state, group), {}, length, offset);
    if (!chosen.has_value()) return Exhausted("IOVA_EXHAUSTED");
    iova = *chosen;
  }
  const Used used = state.UsedByHost();
  if (used.mappings + 1 > state.limits.max_mappings) return Exhausted("MAPPING_LIMIT");
  if (used.mapped_bytes + length > state.limits.max_mapped_bytes) {
    return Exhausted("MAPPED_BYTES_LIMIT");
  }
  const IovaRange range{iova, iova + (length - 1)};
  if (Meets(taken, range)) return Exists("IOVA_OCCUPIED");
  group.host_areas[iova] = {range, name, offset, 3};
  state.touched.regions.push_back(name);
  state.changed = true;
  Answer answer;
  answer.said = Sheet(call.in_words);
  answer.said.Put("iova", iova);
  return answer;
}

Answer AskMap(const Call& call, Engine& engine) {
  const auto iova =
      engine.HostMap(call.context, Call::DeviceId(call[0]), call.Ref(call[1], Sort::kRegion),
                     call[2], call[3], Permission::kReadWrite);
  Answer answer = FromStatus(iova.status());
  if (!iova.ok()) return answer;
  answer.said = Sheet(call.in_words);
  answer.said.Put("iova", *iova);
  return answer;
}

// ---- host_unmap ----

std::vector<uint64_t> InventUnmap(Dice& dice, const State& state, Caller) {
  const uint64_t argument = InventDevice(dice, state);
  Iova iova = InventIova(dice, {});
  uint64_t length = InventLength(dice);
  if (argument < state.devices.size() && !state.GroupOf(argument).host_areas.empty()) {
    const IovaRange& range = dice.Any(state.GroupOf(argument).host_areas).second.range;
    iova = range.first;
    length = range.size_bytes() + (dice.OneIn(12) ? kPageBytes : 0);
  }
  return {argument, iova, length};
}

Answer ReferUnmap(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  if (!call.context.is_operator) return Forbidden("NOT_OPERATOR");
  Isolation& group = state.GroupOf(device);
  Areas& areas = group.host_areas;
  const auto it = areas.find(call[1]);
  if (it == areas.end() || it->second.range.size_bytes() != call[2]) {
    return Missing("IOVA_NOT_COVERED");
  }
  state.touched.regions.push_back(it->second.region);
  if (group.default_domain == DefaultDomainType::kDmaFq) {
    // Deferred (section 21): one entry of the ring stays free.
    if (group.waiting.size() + 1 == kFlushQueueEntries) state.Flush(group);
    group.waiting.insert(*it);
  }
  areas.erase(it);
  state.changed = true;
  return {};
}

Answer AskUnmap(const Call& call, Engine& engine) {
  return FromStatus(engine.HostUnmap(call.context, Call::DeviceId(call[0]), call[1], call[2]));
}

}  // namespace

absl::Span<const Verb> HostVerbs() {
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"host_map",
        {{"device", Sort::kDevice}, {"region", Sort::kRegion}, {"offset"}, {"length"}},
        {}},
       4,
       InventMap,
       ReferMap,
       AskMap},
      {{"host_unmap", {{"device", Sort::kDevice}, {"iova"}, {"length"}}, {}},
       4,
       InventUnmap,
       ReferUnmap,
       AskUnmap},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
