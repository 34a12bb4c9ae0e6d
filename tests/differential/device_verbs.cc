#include "tests/differential/device_verbs.h"

#include <utility>

#include "tests/differential/attaching.h"
#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

const std::vector<size_t>& MembersOf(const State& state, size_t device) {
  return state.GroupOf(device).members;
}

Answer ShowingDevice(const Call& call, const State& state, size_t device) {
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowDevice(answer.said, state, device, call.context);
  return answer;
}

Answer ToldDevice(const Call& call, const absl::StatusOr<DeviceView>& view) {
  Answer answer = FromStatus(view.status());
  if (!view.ok()) return answer;
  answer.said = Sheet(call.in_words);
  Show(answer.said, *view);
  return answer;
}

std::string CurrentEtag(const Call& call, Engine& engine) {
  const auto now = engine.GetDevice(call.context, Call::DeviceId(call[0]));
  return EtagOf(call[1], now.ok() ? now->etag : "gone");
}

// ---- claim, release (5.1, 5.2) ----

std::vector<uint64_t> InventClaim(Dice& dice, const State& state, Caller) {
  std::vector<uint64_t> free;
  for (size_t device = 0; device < state.devices.size(); ++device) {
    const bool claimed = !state.GroupOf(device).claimed_by.empty();
    const Function& function = state.devices[device];
    if (function.present && function.healthy && !claimed) free.push_back(device);
  }
  if (free.empty() || dice.OneIn(6)) return {InventDevice(dice, state), InventEtag(dice)};
  return {dice.Any(free), InventEtag(dice)};
}

std::vector<uint64_t> InventRelease(Dice& dice, const State& state, Caller caller) {
  return {InventHeldDevice(dice, state, caller), InventEtag(dice)};
}

Answer CheckClaimable(const State& state, size_t device) {
  for (const size_t member : MembersOf(state, device)) {
    if (!state.devices[member].healthy) return Precondition("DEVICE_UNHEALTHY");
    for (const ReservedRegion& region : state.hardware->topology.devices[member].reserved_regions) {
      if (region.type == ReservedRegionType::kDirect) return Precondition("DIRECT_REGION");
    }
  }
  return {};
}

Answer ReferClaim(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  Isolation& group = state.GroupOf(device);
  if (group.claimed_by == call.context.principal) return ShowingDevice(call, state, device);
  if (!group.claimed_by.empty()) return Precondition("DEVICE_CLAIMED");
  REFUSE_UNLESS(CheckClaimable(state, device));
  if (!group.host_areas.empty()) return Precondition("HOST_MAPPINGS");
  state.Flush(group);
  group.claimed_by = call.context.principal;
  ChangeMembers(state, device);
  state.changed = true;
  return ShowingDevice(call, state, device);
}

Answer AskClaim(const Call& call, Engine& engine) {
  const std::string etag = CurrentEtag(call, engine);
  return ToldDevice(call, engine.ClaimDevice(call.context, Call::DeviceId(call[0]), etag));
}

// Refused when any member of the group is attached anywhere.
Answer CheckNothingAttached(const State& state, size_t device, const char* reason) {
  Answer attached = Precondition(reason);
  for (const size_t member : MembersOf(state, device)) {
    for (const Spot at : state.devices[member].attached) {
      attached.in_the_way.push_back(NameAt(member, at));
    }
  }
  return attached.in_the_way.empty() ? Answer() : Ordered(std::move(attached));
}

Answer ReferRelease(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  Isolation& group = state.GroupOf(device);
  REFUSE_UNLESS(CheckHeld(call, state, device));
  REFUSE_UNLESS(CheckNothingAttached(state, device, "STILL_ATTACHED"));
  group.claimed_by.clear();
  group.pasids.clear();
  ChangeMembers(state, device);
  state.changed = true;
  return ShowingDevice(call, state, device);
}

Answer AskRelease(const Call& call, Engine& engine) {
  const std::string etag = CurrentEtag(call, engine);
  return ToldDevice(call, engine.ReleaseDevice(call.context, Call::DeviceId(call[0]), etag));
}

// ---- move_claim: from one owner to another, each 0 + the Caller that is meant ----

std::vector<uint64_t> InventMove(Dice& dice, const State& state, Caller) {
  const uint64_t device = InventDevice(dice, state);
  const uint64_t to = dice.Below(kCallers);
  uint64_t from = dice.Below(kCallers);
  for (uint64_t holder = 0; holder < kCallers && !dice.OneIn(8); ++holder) {
    const std::string name = PrincipalOf(static_cast<Caller>(holder));
    if (state.GroupOf(device % state.devices.size()).claimed_by == name) from = holder;
  }
  return {device, InventEtag(dice), to, from};
}

Answer ReferMove(const Call& call, State& state) {
  const std::string to = PrincipalOf(static_cast<Caller>(call[2]));
  const std::string from = PrincipalOf(static_cast<Caller>(call[3]));
  const std::string& me = call.context.principal;
  if (!call.context.is_operator && (to != me || from != me)) return Forbidden("NOT_OPERATOR");
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  Isolation& group = state.GroupOf(device);
  if (group.claimed_by == to) return ShowingDevice(call, state, device);
  if (group.claimed_by.empty()) return Precondition("DEVICE_NOT_CLAIMED");
  if (group.claimed_by != from) return Precondition("DEVICE_CLAIMED");
  REFUSE_UNLESS(CheckNothingAttached(state, device, "IN_USE"));
  for (const size_t member : group.members) {
    if (to != me && !state.devices[member].healthy) return Precondition("DEVICE_UNHEALTHY");
  }
  group.claimed_by = to;
  group.pasids.clear();
  ChangeMembers(state, device);
  state.changed = true;
  return ShowingDevice(call, state, device);
}

Answer AskMove(const Call& call, Engine& engine) {
  const ClaimOptions move = {PrincipalOf(static_cast<Caller>(call[2])),
                             PrincipalOf(static_cast<Caller>(call[3]))};
  const std::string etag = CurrentEtag(call, engine);
  return ToldDevice(call, engine.ClaimDevice(call.context, Call::DeviceId(call[0]), etag, move));
}

// ---- reset (5.9) ----

std::vector<uint64_t> InventHeld(Dice& dice, const State& state, Caller caller) {
  return {InventHeldDevice(dice, state, caller)};
}

Answer ReferReset(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  // An operator may reset what the host has.
  if (!call.context.is_operator) {
    REFUSE_UNLESS(CheckClaimed(state, device, call.context.principal));
  }
  state.ChangeDevice(device);
  state.changed = true;
  return ShowingDevice(call, state, device);
}

Answer AskReset(const Call& call, Engine& engine) {
  return ToldDevice(call, engine.ResetDevice(call.context, Call::DeviceId(call[0])));
}

// ---- set_default (section 15) ----

std::vector<uint64_t> InventDefault(Dice& dice, const State& state, Caller) {
  return {InventDevice(dice, state), dice.Below(3)};
}

Answer ReferDefault(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  if (!call.context.is_operator) return Forbidden("NOT_OPERATOR");
  Isolation& group = state.GroupOf(device);
  if (!group.claimed_by.empty()) return Precondition("DEVICE_CLAIMED");
  Fallback fallback = Fallback::kNone;
  const DefaultDomainType type =
      state.DefaultFor(group, static_cast<DefaultDomainType>(call[1]), &fallback);
  const bool identity = type == DefaultDomainType::kIdentity;
  const bool was_identity = group.default_domain == DefaultDomainType::kIdentity;
  // What the host maps would lead elsewhere.
  if (identity != was_identity && !group.host_areas.empty()) return Precondition("HOST_MAPPINGS");
  if (identity) REFUSE_UNLESS(CheckIdentity(call, state, device));
  if (group.default_domain != type || group.fallback != fallback) {
    if (type != DefaultDomainType::kDmaFq) state.Flush(group);
    group.default_domain = type;
    group.fallback = fallback;
    ChangeMembers(state, device);
    state.changed = true;
  }
  return ShowingDevice(call, state, device);
}

Answer AskDefault(const Call& call, Engine& engine) {
  return ToldDevice(call, engine.SetDefaultDomain(call.context, Call::DeviceId(call[0]),
                                                  static_cast<DefaultDomainType>(call[1])));
}

// ---- set_health ----

std::vector<uint64_t> InventHealth(Dice& dice, const State& state, Caller) {
  return {InventDevice(dice, state), dice.OneIn(6) ? 1u : 0u};
}

Answer ReferHealth(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  if (!call.context.is_operator) return Forbidden("NOT_OPERATOR");
  Function& function = state.devices[device];
  function.healthy = call[1] == 0;
  function.health_reason = function.healthy ? "" : "worn out";
  state.ChangeDevice(device);
  state.changed = true;
  return ShowingDevice(call, state, device);
}

Answer AskHealth(const Call& call, Engine& engine) {
  const auto health = call[1] == 0 ? DeviceHealth::kHealthy : DeviceHealth::kUnhealthy;
  return ToldDevice(
      call, engine.SetDeviceHealth(call.context, Call::DeviceId(call[0]), health, "worn out"));
}

// ---- plug, unplug ----

// Members show who else is in their group.
void ChangeOthers(State& state, size_t device) {
  for (const size_t member : MembersOf(state, device)) {
    if (member != device && state.devices[member].present) state.ChangeDevice(member);
  }
}

Answer ReferUnplug(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  if (!call.context.is_operator) return Forbidden("NOT_OPERATOR");
  Isolation& group = state.GroupOf(device);
  Function& function = state.devices[device];
  bool last = true;
  for (const size_t member : group.members) {
    last = last && (member == device || !state.devices[member].present);
  }
  if (last && !group.host_areas.empty()) return Precondition("HOST_MAPPINGS");
  const std::set<Spot> attached = function.attached;
  for (const Spot at : attached) Leave(state, device, at);
  if (last) {
    group.claimed_by.clear();
    group.pasids.clear();
  }
  function.present = false;
  function.healthy = true;
  function.health_reason.clear();
  state.ChangeDevice(device);
  ChangeOthers(state, device);
  state.changed = true;
  return {};
}

Answer AskUnplug(const Call& call, Engine& engine) {
  return FromStatus(engine.UnplugDevice(call.context, Call::DeviceId(call[0])));
}

std::vector<uint64_t> InventPlug(Dice& dice, const State& state, Caller) {
  std::vector<uint64_t> out;
  for (size_t device = 0; device < state.devices.size(); ++device) {
    if (!state.devices[device].present) out.push_back(device);
  }
  if (out.empty() || dice.OneIn(6)) return {InventDevice(dice, state)};
  return {dice.Any(out)};
}

Answer ReferPlug(const Call& call, State& state) {
  const uint64_t device = call[0];
  if (device >= state.devices.size()) return Missing("DEVICE_NOT_FOUND");
  if (!call.context.is_operator) return Forbidden("NOT_OPERATOR");
  if (state.devices[device].present) return Exists("DEVICE_PRESENT");
  state.devices[device].present = true;
  state.ChangeDevice(device);
  ChangeOthers(state, device);
  state.changed = true;
  return ShowingDevice(call, state, device);
}

Answer AskPlug(const Call& call, Engine& engine) {
  return ToldDevice(call, engine.PlugDevice(call.context, Call::DeviceId(call[0])));
}

}  // namespace

absl::Span<const Verb> DeviceVerbs() {
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"claim", {{"device", Sort::kDevice}, {"etag"}}, {}}, 7, InventClaim, ReferClaim, AskClaim},
      {{"release", {{"device", Sort::kDevice}, {"etag"}}, {}},
       2,
       InventRelease,
       ReferRelease,
       AskRelease},
      {{"move_claim", {{"device", Sort::kDevice}, {"etag"}, {"to"}, {"from"}}, {}},
       3,
       InventMove,
       ReferMove,
       AskMove},
      {{"reset", {{"device", Sort::kDevice}}, {}}, 2, InventHeld, ReferReset, AskReset},
      {{"set_default", {{"device", Sort::kDevice}, {"type"}}, {}},
       3,
       InventDefault,
       ReferDefault,
       AskDefault},
      {{"set_health", {{"device", Sort::kDevice}, {"unhealthy"}}, {}},
       2,
       InventHealth,
       ReferHealth,
       AskHealth},
      {{"unplug", {{"device", Sort::kDevice}}, {}}, 1, InventHeld, ReferUnplug, AskUnplug},
      {{"plug", {{"device", Sort::kDevice}}, {}}, 4, InventPlug, ReferPlug, AskPlug},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
