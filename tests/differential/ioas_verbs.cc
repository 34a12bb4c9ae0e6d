#include "tests/differential/ioas_verbs.h"

#include <algorithm>

#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

Answer Showing(const Call& call, const State& state, const Name& name) {
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowSpace(answer.said, state, name, call.context.principal);
  return answer;
}

Answer Told(const Call& call, const absl::StatusOr<IoasView>& view) {
  Answer answer = FromStatus(view.status());
  if (!view.ok()) return answer;
  answer.said = Sheet(call.in_words);
  answer.made_up = call.MadeUp(call[0], view->object.id);
  Show(answer.said, *view);
  return answer;
}

// ---- create_ioas ----

// How large pages are asked for when an Ioas is made.
constexpr uint64_t kAsTheMode = 0;
constexpr uint64_t kLarge = 1;

std::vector<uint64_t> InventCreate(Dice& dice, const State&, Caller) {
  const uint64_t mode = dice.OneIn(2) ? dice.Below(3) : 0;
  return {InventNewName(dice), mode, dice.OneIn(4) ? dice.Below(3) : kAsTheMode};
}

Answer ReferCreate(const Call& call, State& state) {
  const std::string& owner = call.context.principal;
  const auto mode = static_cast<IoasMode>(call[1]);
  const bool type1 = mode == IoasMode::kVfioType1;
  const bool large = call[2] == kAsTheMode ? !type1 : call[2] == kLarge;
  if (type1 && large) return Invalid("LARGE_PAGES_NOT_ALLOWED");
  const Name name = call.Made(call[0], Sort::kIoas, owner);
  if (state.spaces.count(name) != 0) return Exists("IOAS_EXISTS");
  if (state.UsedBy(owner).spaces + 1 > state.limits.max_ioas) return Exhausted("OBJECT_LIMIT");
  state.ChangeSpace(name);
  state.spaces[name].mode = mode;
  state.spaces[name].large_pages = large;
  state.changed = true;
  return Showing(call, state, name);
}

Answer AskCreate(const Call& call, Engine& engine) {
  IoasOptions options;
  options.mode = static_cast<IoasMode>(call[1]);
  if (call[2] != kAsTheMode) options.large_pages = call[2] == kLarge;
  return Told(call, engine.CreateIoas(call.context, call.NewId(call[0], Sort::kIoas), options));
}

// ---- delete_ioas ----

std::vector<uint64_t> InventDelete(Dice& dice, const State& state, Caller caller) {
  return {InventName(dice, state, caller, Sort::kIoas), InventEtag(dice)};
}

Answer ReferDelete(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(FindSpace(call, state, call[0], &name));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  Answer in_use = Precondition("IN_USE");
  for (const Name& domain : state.DomainsOver(name)) {
    in_use.in_the_way.push_back(Shown("domains", domain, call.context.principal));
  }
  if (!in_use.in_the_way.empty()) return Ordered(std::move(in_use));
  for (const auto& [iova, area] : state.spaces[name].areas) {
    state.touched.regions.push_back(area.region);
  }
  state.spaces.erase(name);
  state.touched.spaces.push_back(name);
  state.changed = true;
  return {};
}

Answer AskDelete(const Call& call, Engine& engine) {
  const ObjectRef ref = call.Ref(call[0], Sort::kIoas);
  const auto now = engine.GetIoas(call.context, ref);
  const std::string etag = EtagOf(call[1], now.ok() ? now->object.etag : "gone");
  return FromStatus(engine.DeleteIoas(call.context, ref, etag));
}

// ---- allow_ranges (iommufd-semantics.md 3.4) ----

std::vector<uint64_t> InventAllow(Dice& dice, const State& state, Caller caller) {
  std::vector<uint64_t> arguments{InventName(dice, state, caller, Sort::kIoas), InventEtag(dice)};
  const Areas& areas = AreasOf(state, caller, arguments[0]);
  for (uint64_t entries = dice.Below(4); entries > 0; --entries) {
    const Iova first = InventIova(dice, areas);
    uint64_t last = first + 0x1000 * (1 + dice.Below(32)) - 1;
    if (dice.OneIn(24)) last = first - dice.Below(2);
    arguments.push_back(first);
    arguments.push_back(last);
  }
  return arguments;
}

std::vector<IovaRange> RangesOf(const Step& step) {
  std::vector<IovaRange> ranges;
  for (size_t i = 0; i < step.entries(); ++i) {
    ranges.push_back({step.OfEntry(i, 0), step.OfEntry(i, 1)});
  }
  return ranges;
}

Answer ReferAllow(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(FindSpace(call, state, call[0], &name));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  std::vector<IovaRange> ranges = RangesOf(call.step);
  for (size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].first >= ranges[i].last) return At(i, Invalid("RANGE_INVALID"));
    for (size_t before = 0; before < i; ++before) {
      if (ranges[i].Overlaps(ranges[before])) return At(i, Invalid("RANGE_OVERLAP"));
    }
  }
  const std::vector<IovaRange> reserved = state.Reserved(name);
  for (size_t i = 0; i < ranges.size(); ++i) {
    if (Meets(reserved, ranges[i])) return At(i, Precondition("IOVA_CONFLICT"));
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const IovaRange& a, const IovaRange& b) { return a.first < b.first; });
  state.spaces[name].allowed = ranges;
  state.ChangeSpace(name);
  state.changed = true;
  return Showing(call, state, name);
}

Answer AskAllow(const Call& call, Engine& engine) {
  const ObjectRef ref = call.Ref(call[0], Sort::kIoas);
  const auto now = engine.GetIoas(call.context, ref);
  const std::string etag = EtagOf(call[1], now.ok() ? now->object.etag : "gone");
  return Told(call, engine.SetAllowedIovaRanges(call.context, ref, RangesOf(call.step), etag));
}

std::string CurrentEtag(const Call& call, Engine& engine) {
  const auto now = engine.GetIoas(call.context, call.Ref(call[0], Sort::kIoas));
  return EtagOf(call[1], now.ok() ? now->object.etag : "gone");
}

// ---- large_pages (3.9) ----

std::vector<uint64_t> InventLarge(Dice& dice, const State& state, Caller caller) {
  return {InventName(dice, state, caller, Sort::kIoas), InventEtag(dice), dice.Below(2)};
}

bool IsWhole(const Mapped& area) {
  return ((area.range.first | area.range.size_bytes() | area.offset) & 0xfff) == 0;
}

Answer ReferLarge(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(FindSpace(call, state, call[0], &name));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  Space& space = state.spaces[name];
  const bool large = call[2] != 0;
  if (space.large_pages == large) return Showing(call, state, name);
  if (large && space.mode == IoasMode::kVfioType1) return Precondition("LARGE_PAGES_NOT_ALLOWED");
  if (!large && !space.areas.empty() && !state.DomainsOver(name).empty()) {
    return Precondition("LARGE_PAGES_IN_USE");
  }
  for (const auto& [iova, area] : space.areas) {
    if (!large && !IsWhole(area)) return Precondition("IOVA_CONFLICT");
  }
  space.large_pages = large;
  state.ChangeSpace(name);
  state.changed = true;
  return Showing(call, state, name);
}

Answer AskLarge(const Call& call, Engine& engine) {
  const std::string etag = CurrentEtag(call, engine);
  return Told(
      call, engine.SetLargePages(call.context, call.Ref(call[0], Sort::kIoas), call[2] != 0, etag));
}

// ---- load_regions, unload_regions ----

std::vector<uint64_t> InventLoad(Dice& dice, const State& state, Caller caller) {
  return {InventName(dice, state, caller, Sort::kIoas), InventEtag(dice),
          InventDevice(dice, state)};
}

Answer FindBoth(const Call& call, const State& state, Name* name, size_t* device) {
  REFUSE_UNLESS(FindSpace(call, state, call[0], name));
  REFUSE_UNLESS(FindDevice(state, call[2], device));
  return call[1] == kOldEtag ? Aborted("ETAG_MISMATCH") : Answer();
}

Answer ReferLoad(const Call& call, State& state) {
  Name name;
  size_t device = 0;
  REFUSE_UNLESS(FindBoth(call, state, &name, &device));
  Space& space = state.spaces[name];
  if (space.loaded.count(device) != 0) return Showing(call, state, name);
  for (const IovaRange& range : EnforcedRegions(state.hardware->topology.devices[device])) {
    if (Meets(space.areas, range) || Meets(space.allowed, range)) {
      return Precondition("IOVA_CONFLICT");
    }
  }
  space.loaded.insert(device);
  state.ChangeSpace(name);
  state.changed = true;
  return Showing(call, state, name);
}

Answer ReferUnload(const Call& call, State& state) {
  Name name;
  size_t device = 0;
  REFUSE_UNLESS(FindBoth(call, state, &name, &device));
  if (state.spaces[name].loaded.erase(device) != 0) {
    state.ChangeSpace(name);
    state.changed = true;
  }
  return Showing(call, state, name);
}

Answer AskLoad(const Call& call, Engine& engine) {
  const std::string etag = CurrentEtag(call, engine);
  return Told(call, engine.LoadReservedRegions(call.context, call.Ref(call[0], Sort::kIoas),
                                               Call::DeviceId(call[2]), etag));
}

Answer AskUnload(const Call& call, Engine& engine) {
  const std::string etag = CurrentEtag(call, engine);
  return Told(call, engine.UnloadReservedRegions(call.context, call.Ref(call[0], Sort::kIoas),
                                                 Call::DeviceId(call[2]), etag));
}

}  // namespace

absl::Span<const Verb> IoasVerbs() {
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"create_ioas", {{"ioas", Sort::kIoas}, {"mode"}, {"large_pages"}}, {}},
       5,
       InventCreate,
       ReferCreate,
       AskCreate},
      {{"delete_ioas", {{"ioas", Sort::kIoas}, {"etag"}}, {}},
       3,
       InventDelete,
       ReferDelete,
       AskDelete},
      {{"allow_ranges", {{"ioas", Sort::kIoas}, {"etag"}}, {{"first"}, {"last"}}},
       4,
       InventAllow,
       ReferAllow,
       AskAllow},
      {{"large_pages", {{"ioas", Sort::kIoas}, {"etag"}, {"large"}}, {}},
       3,
       InventLarge,
       ReferLarge,
       AskLarge},
      {{"load_regions", {{"ioas", Sort::kIoas}, {"etag"}, {"device", Sort::kDevice}}, {}},
       2,
       InventLoad,
       ReferLoad,
       AskLoad},
      {{"unload_regions", {{"ioas", Sort::kIoas}, {"etag"}, {"device", Sort::kDevice}}, {}},
       2,
       InventLoad,
       ReferUnload,
       AskUnload},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
