#include "tests/differential/pasid_verbs.h"

#include <utility>

#include "tests/differential/attaching.h"
#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

std::string LabelOf(uint64_t bytes) { return std::string(bytes, 'x'); }

uint64_t InventLabel(Dice& dice) {
  if (dice.OneIn(30)) return kMaxPasidLabelBytes + dice.Below(2);
  return dice.Below(3);
}

// What a step takes: the first free one of a range.
struct Range {
  std::optional<uint32_t> first;
  std::optional<uint32_t> last;
  Taken as;
};

// The checks of both, and the taking.
Answer Take(const Call& call, State& state, size_t device, const Range& range,
            const Answer& none_free) {
  REFUSE_UNLESS(CheckHeld(call, state, device));
  if (range.as.label.size() > kMaxPasidLabelBytes) return Invalid("LABEL_TOO_LONG");
  Isolation& group = state.GroupOf(device);
  const uint32_t first = range.first.value_or(1);
  REFUSE_UNLESS(CheckPasid(state, device, first));
  const uint32_t last = range.last.value_or(state.hardware->HighestPasid(group.members));
  REFUSE_UNLESS(CheckPasid(state, device, last));
  if (first > last) return Invalid("RANGE_INVALID");
  uint32_t pasid = first;
  while (pasid <= last && group.pasids.count(pasid) != 0) ++pasid;
  if (pasid > last) return none_free;
  if (state.UsedBy(call.context.principal).pasids + 1 > state.limits.max_pasids) {
    return Exhausted("PASID_LIMIT");
  }
  group.pasids[pasid] = range.as;
  group.pasids[pasid].owner = call.context.principal;
  TouchPasids(state, device);
  state.changed = true;
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowPasid(answer.said, state, device, pasid, call.context.principal);
  return answer;
}

Answer Told(const Call& call, const absl::StatusOr<PasidView>& view) {
  Answer answer = FromStatus(view.status());
  if (!view.ok()) return answer;
  answer.said = Sheet(call.in_words);
  Show(answer.said, *view);
  return answer;
}

// ---- allocate_pasid ----

enum AllocateAt { kAllocateDevice, kHasMin, kMin, kHasMax, kMax, kAllocateLabel };

std::vector<uint64_t> InventAllocate(Dice& dice, const State& state, Caller caller) {
  const uint64_t has_min = dice.OneIn(3) ? 1 : 0, has_max = dice.OneIn(3) ? 1 : 0;
  return {InventHeldDevice(dice, state, caller), has_min,
          has_min * InventPasid(dice),           has_max,
          has_max * InventPasid(dice),           InventLabel(dice)};
}

std::optional<uint32_t> BoundOf(const Call& call, size_t has, size_t value) {
  if (call[has] == 0) return std::nullopt;
  return static_cast<uint32_t>(call[value]);
}

Answer ReferAllocate(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[kAllocateDevice], &device));
  const Taken as{Taken::How::kAllocated, "", LabelOf(call[kAllocateLabel])};
  return Take(call, state, device, {BoundOf(call, kHasMin, kMin), BoundOf(call, kHasMax, kMax), as},
              Exhausted("PASIDS_EXHAUSTED"));
}

Answer AskAllocate(const Call& call, Engine& engine) {
  const PasidRequest request{BoundOf(call, kHasMin, kMin), BoundOf(call, kHasMax, kMax),
                             LabelOf(call[kAllocateLabel])};
  return Told(call, engine.AllocatePasid(call.context, Call::DeviceId(call[0]), request));
}

// ---- reserve_pasid ----

std::vector<uint64_t> InventReserve(Dice& dice, const State& state, Caller caller) {
  return {InventHeldDevice(dice, state, caller), InventPasid(dice), InventLabel(dice)};
}

Answer ReferReserve(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  const auto pasid = static_cast<uint32_t>(call[1]);
  const Taken as{Taken::How::kReserved, "", LabelOf(call[2])};
  return Take(call, state, device, {pasid, pasid, as}, Exists("PASID_EXISTS"));
}

Answer AskReserve(const Call& call, Engine& engine) {
  return Told(call, engine.ReservePasid(call.context, Call::DeviceId(call[0]),
                                        static_cast<uint32_t>(call[1]), LabelOf(call[2])));
}

// ---- free_pasid ----

std::vector<uint64_t> InventFree(Dice& dice, const State& state, Caller caller) {
  const uint64_t device = InventHeldDevice(dice, state, caller);
  if (device < state.devices.size() && !state.GroupOf(device).pasids.empty() && !dice.OneIn(6)) {
    return {device, dice.Any(state.GroupOf(device).pasids).first};
  }
  return {device, InventPasid(dice)};
}

Answer ReferFree(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  REFUSE_UNLESS(CheckHeld(call, state, device));
  const auto pasid = static_cast<uint32_t>(call[1]);
  Isolation& group = state.GroupOf(device);
  const auto taken = group.pasids.find(pasid);
  if (taken == group.pasids.end()) return Missing("PASID_NOT_FOUND");
  if (!call.context.is_operator && taken->second.owner != call.context.principal) {
    return Precondition("PASID_TAKEN");
  }
  Answer in_use = Precondition("IN_USE");
  for (const size_t member : state.AttachedAt(device, pasid)) {
    in_use.in_the_way.push_back("detach " + NameAt(member, pasid));
  }
  if (!in_use.in_the_way.empty()) return Ordered(std::move(in_use));
  group.pasids.erase(taken);
  TouchPasids(state, device);
  state.changed = true;
  return {};
}

Answer AskFree(const Call& call, Engine& engine) {
  return FromStatus(
      engine.FreePasid(call.context, Call::DeviceId(call[0]), static_cast<uint32_t>(call[1])));
}

}  // namespace

absl::Span<const Verb> PasidVerbs() {
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"allocate_pasid",
        {{"device", Sort::kDevice}, {"has_min"}, {"min"}, {"has_max"}, {"max"}, {"label"}},
        {}},
       3,
       InventAllocate,
       ReferAllocate,
       AskAllocate},
      {{"reserve_pasid", {{"device", Sort::kDevice}, {"pasid"}, {"label"}}, {}},
       3,
       InventReserve,
       ReferReserve,
       AskReserve},
      {{"free_pasid", {{"device", Sort::kDevice}, {"pasid"}}, {}},
       3,
       InventFree,
       ReferFree,
       AskFree},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
