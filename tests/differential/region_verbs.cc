#include "tests/differential/region_verbs.h"

#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kAnyNode = 0xffff;

// ---- create_region ----

std::vector<uint64_t> InventCreate(Dice& dice, const State&, Caller) {
  constexpr uint64_t kSizes[] = {0x100000, 0x400000, 0x800000, 0x1000};
  uint64_t size = dice.Any(kSizes);
  if (dice.OneIn(30)) size = dice.Below(3) * 0x801;
  if (dice.OneIn(60)) size = kMaxRegionBytes + dice.Below(2) * kPageBytes;
  const uint64_t node = dice.OneIn(6) ? dice.Below(2) : kAnyNode;
  return {InventNewName(dice), size, node, dice.OneIn(6) ? 1u : 0u};
}

bool HostHasNode(const Topology& topology, int32_t node) {
  for (const IommuSpec& iommu : topology.iommus) {
    if (iommu.numa_node == node) return true;
  }
  for (const DeviceSpec& device : topology.devices) {
    if (device.numa_node == node) return true;
  }
  return false;
}

std::optional<int32_t> NodeOf(uint64_t argument) {
  if (argument == kAnyNode) return std::nullopt;
  return static_cast<int32_t>(argument);
}

Answer ReferCreate(const Call& call, State& state) {
  const uint64_t size = call[1];
  const std::optional<int32_t> node = NodeOf(call[2]);
  if (size == 0 || size % kPageBytes != 0 || size > kMaxRegionBytes) return Invalid("INVALID_SIZE");
  if (node.has_value() && !HostHasNode(state.hardware->topology, *node)) {
    return Invalid("INVALID_NUMA_NODE");
  }
  const std::string& owner = call.context.principal;
  const Name name = call.Made(call[0], Sort::kRegion, owner);
  if (state.regions.count(name) != 0) return Exists("MEMORY_REGION_EXISTS");
  const Used used = state.UsedBy(owner);
  if (used.regions + 1 > state.limits.max_memory_regions) return Exhausted("OBJECT_LIMIT");
  if (used.region_bytes + size > state.limits.max_region_bytes_total) {
    return Exhausted("REGION_BYTES_LIMIT");
  }
  state.regions[name] = Region{size, size, node, call[3] != 0, false, 0, state.NextVersion()};
  state.touched.regions.push_back(name);
  state.changed = true;
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowRegion(answer.said, state, name);
  return answer;
}

Answer AskCreate(const Call& call, Engine& engine) {
  const auto view = engine.CreateMemoryRegion(call.context, call.NewId(call[0], Sort::kRegion),
                                              call[1], NodeOf(call[2]), call[3] != 0);
  Answer answer = FromStatus(view.status());
  if (!view.ok()) return answer;
  answer.said = Sheet(call.in_words);
  answer.made_up = call.MadeUp(call[0], view->object.id);
  Show(answer.said, *view);
  return answer;
}

// ---- delete_region ----

std::vector<uint64_t> InventDelete(Dice& dice, const State& state, Caller caller) {
  return {InventName(dice, state, caller, Sort::kRegion), InventEtag(dice)};
}

bool Maps(const Areas& areas, const Name& region) {
  for (const auto& [iova, area] : areas) {
    if (area.region == region) return true;
  }
  return false;
}

Answer ReferDelete(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(FindRegion(call, state, call[0], &name));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  Answer in_use = Precondition("IN_USE");
  for (const auto& [ioas, space] : state.spaces) {
    if (!Maps(space.areas, name)) continue;
    const bool may_know = call.context.is_operator || ioas.owner == call.context.principal;
    in_use.in_the_way.push_back(may_know ? Shown("ioas", ioas, call.context.principal)
                                         : "another owner's object");
  }
  for (const Isolation& group : state.groups) {
    if (state.wrong == WrongRule::kDeleteForgetsHostMappings) break;
    if (Maps(group.host_areas, name) || Maps(group.waiting, name)) {
      in_use.in_the_way.push_back("host mappings of group " + group.name);
    }
  }
  if (!in_use.in_the_way.empty()) return Ordered(std::move(in_use));
  state.regions.erase(name);
  state.touched.regions.push_back(name);
  state.changed = true;
  return {};
}

Answer AskDelete(const Call& call, Engine& engine) {
  const ObjectRef ref = call.Ref(call[0], Sort::kRegion);
  const auto now = engine.GetMemoryRegion(call.context, ref);
  const std::string etag = EtagOf(call[1], now.ok() ? now->object.etag : "gone");
  return FromStatus(engine.DeleteMemoryRegion(call.context, ref, etag));
}

// ---- resize_region, revoke_region ----

std::vector<uint64_t> InventResize(Dice& dice, const State& state, Caller caller) {
  uint64_t size = 0x1000 * (1 + dice.Below(128));
  if (dice.OneIn(3)) size = 0x100000;
  if (dice.OneIn(12)) size = dice.OneIn(2) ? dice.Below(0x2000) : 0x2000000;
  return {InventName(dice, state, caller, Sort::kRegion), InventEtag(dice), size};
}

// What lies beyond the first `size` bytes goes: areas that reach there are out of force as a whole.
// What the host maps of it can not be taken away.
Answer Lose(const Call& call, State& state, const Name& name, uint64_t size) {
  const auto loses = [&](const Mapped& area) {
    return area.region == name && area.offset + (area.range.size_bytes() - 1) >= size;
  };
  for (const Isolation& group : state.groups) {
    for (const Areas* areas : {&group.host_areas, &group.waiting}) {
      for (const auto& [iova, area] : *areas) {
        if (loses(area)) return Precondition("HOST_MAPPINGS");
      }
    }
  }
  Region& region = state.regions[name];
  const bool revokes = size == 0;
  const bool changes = revokes ? !region.suspended : size != region.size;
  if (changes) {
    for (auto& [ioas, space] : state.spaces) {
      bool lost = false;
      for (auto& [iova, area] : space.areas) {
        if (area.suspended || !loses(area)) continue;
        area.suspended = lost = true;
      }
      if (!lost) continue;
      space.mapping_version = state.NextVersion();
      state.touched.spaces.push_back(ioas);
    }
    if (revokes) region.suspended = true;
    if (!revokes) region.size = size;
    region.version = state.NextVersion();
    state.touched.regions.push_back(name);
    state.changed = true;
  }
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowRegion(answer.said, state, name);
  return answer;
}

Answer ReferResize(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(FindRegion(call, state, call[0], &name));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  const Region& region = state.regions[name];
  const uint64_t size = call[2];
  if (region.suspended) return Precondition("REGION_SUSPENDED");
  if (size == 0 || size % kPageBytes != 0 || size > region.capacity) {
    return Invalid("INVALID_SIZE");
  }
  return Lose(call, state, name, size);
}

Answer ReferRevoke(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(FindRegion(call, state, call[0], &name));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  return Lose(call, state, name, 0);
}

std::string CurrentEtag(const Call& call, Engine& engine) {
  const auto now = engine.GetMemoryRegion(call.context, call.Ref(call[0], Sort::kRegion));
  return EtagOf(call[1], now.ok() ? now->object.etag : "gone");
}

Answer Told(const Call& call, const absl::StatusOr<MemoryRegionView>& view) {
  Answer answer = FromStatus(view.status());
  if (!view.ok()) return answer;
  answer.said = Sheet(call.in_words);
  Show(answer.said, *view);
  return answer;
}

Answer AskResize(const Call& call, Engine& engine) {
  const std::string etag = CurrentEtag(call, engine);
  return Told(call, engine.ResizeMemoryRegion(call.context, call.Ref(call[0], Sort::kRegion),
                                              call[2], etag));
}

Answer AskRevoke(const Call& call, Engine& engine) {
  const std::string etag = CurrentEtag(call, engine);
  return Told(call,
              engine.RevokeMemoryRegion(call.context, call.Ref(call[0], Sort::kRegion), etag));
}

}  // namespace

absl::Span<const Verb> RegionVerbs() {
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"create_region", {{"region", Sort::kRegion}, {"size"}, {"node"}, {"read_only"}}, {}},
       6,
       InventCreate,
       ReferCreate,
       AskCreate},
      {{"delete_region", {{"region", Sort::kRegion}, {"etag"}}, {}},
       4,
       InventDelete,
       ReferDelete,
       AskDelete},
      {{"resize_region", {{"region", Sort::kRegion}, {"etag"}, {"size"}}, {}},
       2,
       InventResize,
       ReferResize,
       AskResize},
      {{"revoke_region", {{"region", Sort::kRegion}, {"etag"}}, {}},
       1,
       InventDelete,
       ReferRevoke,
       AskRevoke},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
