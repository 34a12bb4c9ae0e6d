#include "tests/differential/device_verbs.h"

#include <algorithm>
#include <utility>

#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

const std::vector<size_t>& MembersOf(const State& state, size_t device) {
  return state.GroupOf(device).members;
}

std::vector<size_t> AttachedMembers(const State& state, size_t device) {
  std::vector<size_t> attached;
  for (const size_t member : MembersOf(state, device)) {
    if (state.devices[member].attached) attached.push_back(member);
  }
  return attached;
}

void ChangeMembers(State& state, size_t device) {
  for (const size_t member : MembersOf(state, device)) state.ChangeDevice(member);
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

// R1: only an operator, and only when every member of the group may have it and could.
Answer CheckIdentity(const Call& call, const State& state, size_t device) {
  if (!call.context.is_operator) return Forbidden("IDENTITY_NOT_ALLOWED");
  for (const size_t member : MembersOf(state, device)) {
    const DeviceSpec& spec = state.hardware->topology.devices[member];
    if (spec.untrusted || !spec.allow_identity) return Forbidden("IDENTITY_NOT_ALLOWED");
  }
  for (const size_t member : MembersOf(state, device)) {
    if (!state.hardware->HasPassThrough(member)) return Unimplemented("IDENTITY_UNAVAILABLE");
  }
  return {};
}

std::string CurrentEtag(const Call& call, Engine& engine) {
  const auto now = engine.GetDevice(call.context, Call::DeviceId(call[0]));
  return EtagOf(call[1], now.ok() ? now->etag : "gone");
}

// ---- claim, release (5.1, 5.2) ----

std::vector<uint64_t> InventClaim(Dice& dice, const State& state, Caller) {
  return {InventDevice(dice, state), InventEtag(dice)};
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
  group.target = Target();
  ChangeMembers(state, device);
  state.changed = true;
  return ShowingDevice(call, state, device);
}

Answer AskClaim(const Call& call, Engine& engine) {
  const std::string etag = CurrentEtag(call, engine);
  return ToldDevice(call, engine.ClaimDevice(call.context, Call::DeviceId(call[0]), etag));
}

Answer ReferRelease(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  Isolation& group = state.GroupOf(device);
  // An operator may give back what anybody holds.
  const bool held = !group.claimed_by.empty();
  const bool may = call.context.is_operator || group.claimed_by == call.context.principal;
  if (!held || !may) return Precondition("DEVICE_NOT_CLAIMED");
  Answer attached = Precondition("STILL_ATTACHED");
  for (const size_t member : AttachedMembers(state, device)) {
    attached.in_the_way.push_back("devices/" + Call::DeviceId(member));
  }
  if (!attached.in_the_way.empty()) return Ordered(std::move(attached));
  group.claimed_by.clear();
  ChangeMembers(state, device);
  state.changed = true;
  return ShowingDevice(call, state, device);
}

Answer AskRelease(const Call& call, Engine& engine) {
  const std::string etag = CurrentEtag(call, engine);
  return ToldDevice(call, engine.ReleaseDevice(call.context, Call::DeviceId(call[0]), etag));
}

// ---- attach, replace (5.3, 5.4) ----

std::vector<uint64_t> InventTo(Dice& dice, const State& state, Caller caller) {
  uint64_t domain = InventName(dice, state, caller, Sort::kDomain);
  if (dice.OneIn(6)) domain = dice.OneIn(2) ? kIdentityId : kBlockedId;
  return {InventHeldDevice(dice, state, caller), domain};
}

// What is the same for both: who may put the device where.
Answer ResolveTarget(const Call& call, const State& state, size_t* device, Target* target) {
  REFUSE_UNLESS(FindDevice(state, call[0], device));
  if (call[1] == kIdentityId) {
    REFUSE_UNLESS(CheckIdentity(call, state, *device));
    target->kind = Target::Kind::kIdentity;
  } else if (call[1] != kBlockedId) {
    REFUSE_UNLESS(FindDomain(call, state, call[1], &target->domain));
    target->kind = Target::Kind::kDomain;
  }
  return CheckClaimed(state, *device, call.context.principal);
}

// A domain serves its owner's devices.
Answer CheckOwner(const State& state, size_t device, const Target& target) {
  if (target.kind != Target::Kind::kDomain) return {};
  return CheckClaimed(state, device, target.domain.owner);
}

// Those of a group can use it all or none.
Answer CheckUsable(const State& state, size_t device, const Target& target) {
  if (target.kind != Target::Kind::kDomain) return {};
  for (const size_t member : MembersOf(state, device)) {
    if (!state.hardware->Compatible(member, state.domains.at(target.domain).device)) {
      return Precondition("INCOMPATIBLE_DOMAIN");
    }
  }
  return {};
}

// What the devices reserve must be free in the address space (section 7).
Answer CheckRegions(const State& state, const std::vector<size_t>& devices, const Target& target) {
  if (target.kind != Target::Kind::kDomain) return {};
  const Space& space = state.spaces.at(state.domains.at(target.domain).ioas);
  for (const size_t device : devices) {
    for (const IovaRange& range : EnforcedRegions(state.hardware->topology.devices[device])) {
      if (Meets(space.areas, range) || Meets(space.allowed, range)) {
        return Precondition("IOVA_CONFLICT");
      }
    }
  }
  return {};
}

// A domain shows who is attached, its address space what is reserved.
void ChangeTarget(State& state, const Target& target) {
  if (target.kind != Target::Kind::kDomain) return;
  state.ChangeDomain(target.domain);
  state.touched.spaces.push_back(state.domains[target.domain].ioas);
}

Answer ShowingAttachment(const Call& call, const State& state, size_t device) {
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowAttachment(answer.said, state, device, call.context.principal);
  return answer;
}

Answer ToldAttachment(const Call& call, const absl::StatusOr<AttachAnswer>& told) {
  Answer answer = FromStatus(told.status());
  if (!told.ok()) return answer;
  answer.said = Sheet(call.in_words);
  Show(answer.said, told->attachment);
  return answer;
}

Answer ReferAttach(const Call& call, State& state) {
  size_t device = 0;
  Target target;
  REFUSE_UNLESS(ResolveTarget(call, state, &device, &target));
  Isolation& group = state.GroupOf(device);
  if (state.devices[device].attached) return Precondition("ALREADY_ATTACHED");
  const bool joins = !AttachedMembers(state, device).empty();
  if (joins && !(group.target == target)) return Precondition("GROUP_MISMATCH");
  REFUSE_UNLESS(CheckOwner(state, device, target));
  REFUSE_UNLESS(CheckRegions(state, {device}, target));
  REFUSE_UNLESS(CheckUsable(state, device, target));
  state.devices[device].attached = true;
  group.target = target;
  // Who joins changes nothing for the others.
  if (joins) state.ChangeDevice(device);
  if (!joins) ChangeMembers(state, device);
  ChangeTarget(state, target);
  state.changed = true;
  return ShowingAttachment(call, state, device);
}

Answer AskAttach(const Call& call, Engine& engine) {
  return ToldAttachment(call, engine.AttachDevice(call.context, Call::DeviceId(call[0]),
                                                  call.Ref(call[1], Sort::kDomain)));
}

Answer ReferReplace(const Call& call, State& state) {
  size_t device = 0;
  Target target;
  REFUSE_UNLESS(ResolveTarget(call, state, &device, &target));
  Isolation& group = state.GroupOf(device);
  if (!state.devices[device].attached) return Precondition("NOT_ATTACHED");
  if (group.target == target) return ShowingAttachment(call, state, device);
  REFUSE_UNLESS(CheckOwner(state, device, target));
  const std::optional<Name> old = state.PagingDomainOf(group);
  const bool same_space = old.has_value() && target.kind == Target::Kind::kDomain &&
                          state.domains[*old].ioas == state.domains[target.domain].ioas;
  if (!same_space && state.wrong != WrongRule::kReplaceIgnoresRegions) {
    REFUSE_UNLESS(CheckRegions(state, AttachedMembers(state, device), target));
  }
  REFUSE_UNLESS(CheckUsable(state, device, target));
  const Target left = std::exchange(group.target, target);
  ChangeMembers(state, device);
  ChangeTarget(state, left);
  ChangeTarget(state, target);
  state.changed = true;
  return ShowingAttachment(call, state, device);
}

Answer AskReplace(const Call& call, Engine& engine) {
  return ToldAttachment(call, engine.ReplaceAttachment(call.context, Call::DeviceId(call[0]),
                                                       call.Ref(call[1], Sort::kDomain)));
}

// ---- detach (5.5) ----

std::vector<uint64_t> InventDetach(Dice& dice, const State& state, Caller caller) {
  return {InventHeldDevice(dice, state, caller)};
}

Answer ReferDetach(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  Isolation& group = state.GroupOf(device);
  // An operator may take a device off whoever holds it.
  if (!call.context.is_operator || group.claimed_by.empty()) {
    REFUSE_UNLESS(CheckClaimed(state, device, call.context.principal));
  }
  if (!state.devices[device].attached) return {};
  state.devices[device].attached = false;
  ChangeTarget(state, group.target);
  state.ChangeDevice(device);
  state.changed = true;
  if (!AttachedMembers(state, device).empty()) return {};
  group.target = Target();
  ChangeMembers(state, device);
  return {};
}

Answer AskDetach(const Call& call, Engine& engine) {
  return FromStatus(engine.DetachDevice(call.context, Call::DeviceId(call[0])).status());
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
  if (function.attached) {
    function.attached = false;
    ChangeTarget(state, group.target);
    if (AttachedMembers(state, device).empty()) group.target = Target();
  }
  if (last) group.claimed_by.clear();
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
      {{"attach", {{"device", Sort::kDevice}, {"domain", Sort::kDomain}}, {}},
       10,
       InventTo,
       ReferAttach,
       AskAttach},
      {{"replace", {{"device", Sort::kDevice}, {"domain", Sort::kDomain}}, {}},
       10,
       InventTo,
       ReferReplace,
       AskReplace},
      {{"detach", {{"device", Sort::kDevice}}, {}}, 3, InventDetach, ReferDetach, AskDetach},
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
      {{"unplug", {{"device", Sort::kDevice}}, {}}, 3, InventDetach, ReferUnplug, AskUnplug},
      {{"plug", {{"device", Sort::kDevice}}, {}}, 4, InventPlug, ReferPlug, AskPlug},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
