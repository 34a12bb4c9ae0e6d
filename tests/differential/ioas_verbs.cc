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

std::vector<uint64_t> InventCreate(Dice& dice, const State&, Caller) {
  return {InventNewName(dice)};
}

Answer ReferCreate(const Call& call, State& state) {
  const std::string& owner = call.context.principal;
  const Name name = call.Made(call[0], Sort::kIoas, owner);
  if (state.spaces.count(name) != 0) return Exists("IOAS_EXISTS");
  if (state.UsedBy(owner).spaces + 1 > state.limits.max_ioas) return Exhausted("OBJECT_LIMIT");
  state.ChangeSpace(name);
  state.changed = true;
  return Showing(call, state, name);
}

Answer AskCreate(const Call& call, Engine& engine) {
  return Told(call, engine.CreateIoas(call.context, call.NewId(call[0], Sort::kIoas)));
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

}  // namespace

absl::Span<const Verb> IoasVerbs() {
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"create_ioas", {{"ioas", Sort::kIoas}}, {}}, 5, InventCreate, ReferCreate, AskCreate},
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
  };
  return *kVerbs;
}

}  // namespace viommu::differential
