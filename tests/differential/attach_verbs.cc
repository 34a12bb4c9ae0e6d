#include "tests/differential/attach_verbs.h"

#include <algorithm>
#include <utility>

#include "tests/differential/attaching.h"
#include "tests/differential/faults.h"
#include "tests/differential/making.h"
#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

// ---- What a step asks for: {device, target} or {device, PASID, target} ----

Spot AtOf(const Step& step) {
  if (step.syntax->fixed.size() < 2 || step.syntax->fixed[1].sort != Sort::kNumber) return {};
  return static_cast<uint32_t>(step.arguments[1]);
}

bool NamesIoas(const Step& step) { return step.syntax->fixed.back().sort == Sort::kIoas; }

bool IsAny(const Domain&) { return true; }
bool IsForPasids(const Domain& domain) { return domain.making.pasid; }
bool HasQueue(const Domain& domain) { return domain.queue.has_value(); }

uint64_t InventTarget(Dice& dice, const State& state, Caller caller, bool (*fits)(const Domain&)) {
  if (dice.OneIn(6)) return dice.OneIn(2) ? kIdentityId : kBlockedId;
  if (dice.OneIn(3)) return InventDomain(dice, state, caller, HasQueue);
  return InventDomain(dice, state, caller, fits);
}

std::vector<uint64_t> InventTo(Dice& dice, const State& state, Caller caller) {
  const uint64_t domain = InventTarget(dice, state, caller, IsAny);
  return {InventUser(dice, state, caller, domain), domain};
}

std::vector<uint64_t> InventToIoas(Dice& dice, const State& state, Caller caller) {
  return {InventHeldDevice(dice, state, caller), InventName(dice, state, caller, Sort::kIoas)};
}

std::vector<uint64_t> InventPasidTo(Dice& dice, const State& state, Caller caller) {
  const uint64_t domain = InventTarget(dice, state, caller, IsForPasids);
  return {InventUser(dice, state, caller, domain), InventPasid(dice), domain};
}

std::vector<uint64_t> InventPasidToIoas(Dice& dice, const State& state, Caller caller) {
  return {InventHeldDevice(dice, state, caller), InventPasid(dice),
          InventName(dice, state, caller, Sort::kIoas)};
}

// ---- Who may put what where ----

// A device, and what it is to be on: an address space (of which `target` is an auto domain, once it
// is chosen), or a target.
struct Wanted {
  size_t device = 0;
  Spot at;
  std::optional<Name> ioas;
  Target target;
  bool makes = false;  // The auto domain is a new one, and goes when the step is refused.
};

Answer Resolve(const Call& call, const State& state, Wanted* wanted) {
  wanted->at = AtOf(call.step);
  const uint64_t named = call.step.arguments.back();
  REFUSE_UNLESS(FindDevice(state, call[0], &wanted->device));
  if (NamesIoas(call.step)) {
    REFUSE_UNLESS(FindSpace(call, state, named, &wanted->ioas.emplace()));
  } else if (named == kIdentityId) {
    REFUSE_UNLESS(CheckIdentity(call, state, wanted->device));
    wanted->target.kind = Target::Kind::kIdentity;
  } else if (named != kBlockedId) {
    REFUSE_UNLESS(FindDomain(call, state, named, &wanted->target.domain));
    wanted->target.kind = Target::Kind::kDomain;
  }
  return CheckClaimed(state, wanted->device, call.context.principal);
}

bool GroupCompatible(const State& state, size_t device, const Domain& domain) {
  const std::vector<size_t>& members = state.GroupOf(device).members;
  return std::all_of(members.begin(), members.end(), [&](size_t member) {
    return state.hardware->Compatible(member, domain.making);
  });
}

// The auto domains of an address space, in the order in which they were made.
std::vector<Name> AutoDomains(const State& state, const Name& ioas) {
  std::vector<Name> domains;
  for (const Name& name : state.DomainsOver(ioas)) {
    if (state.domains.at(name).automatic) domains.push_back(name);
  }
  std::sort(domains.begin(), domains.end(), [&](const Name& a, const Name& b) {
    return state.domains.at(a).made < state.domains.at(b).made;
  });
  return domains;
}

// 4.6: who joins goes where its group is; else the first that fits, or a new one. `joins`: what the
// group is on.
Answer ChooseAuto(const Call& call, State& state, const std::optional<Target>& joins,
                  Wanted* wanted) {
  if (!wanted->ioas.has_value()) return {};
  const Name& ioas = *wanted->ioas;
  REFUSE_UNLESS(CheckClaimed(state, wanted->device, ioas.owner));
  if (wanted->at.has_value()) return Precondition("PASID_INCOMPATIBLE");  // 5.6
  const std::vector<Name> domains = AutoDomains(state, ioas);
  wanted->target.kind = Target::Kind::kDomain;
  for (const Name& name : domains) {
    wanted->target.domain = name;
    if (joins.has_value() && wanted->target == *joins) return {};
    if (!joins.has_value() && GroupCompatible(state, wanted->device, state.domains[name])) {
      return {};
    }
  }
  if (joins.has_value()) return Precondition("GROUP_MISMATCH");
  wanted->target.domain = {ioas.owner, call.made_up};
  Domain made;
  made.ioas = ioas;
  made.making.device = wanted->device;
  made.automatic = true;
  REFUSE_UNLESS(AddPaging(state, wanted->target.domain, made));
  wanted->makes = true;
  return {};
}

bool ServesPasids(const State& state, const Target& target) {
  return target.kind != Target::Kind::kDomain || state.domains.at(target.domain).making.pasid;
}

// 5.6: a domain that is not for PASIDs is not for one, nor for the RID beside one.
Answer CheckPasidRules(const Call& call, const State& state, const Wanted& wanted) {
  const Isolation& group = state.GroupOf(wanted.device);
  if (wanted.at.has_value()) {
    REFUSE_UNLESS(CheckPasid(state, wanted.device, *wanted.at));
    const auto taken = group.pasids.find(*wanted.at);
    if (taken != group.pasids.end() && taken->second.owner != call.context.principal) {
      return Precondition("PASID_TAKEN");
    }
  }
  bool serves = ServesPasids(state, wanted.target);
  if (wanted.at.has_value()) {
    serves = serves && ServesPasids(state, State::TargetAt(group, std::nullopt));
    return serves ? Answer() : Precondition("PASID_INCOMPATIBLE");
  }
  const bool beside = std::any_of(group.targets.begin(), group.targets.end(),
                                  [](const auto& entry) { return entry.first.has_value(); });
  return serves || !beside ? Answer() : Precondition("PASID_INCOMPATIBLE");
}

// What the devices reserve must be free in the address space (section 7).
Answer CheckRegions(const State& state, const std::vector<size_t>& devices, const Target& target) {
  if (target.kind != Target::Kind::kDomain) return {};
  const Space& space = state.spaces.at(state.domains.at(target.domain).ioas);
  for (const size_t device : devices) {
    for (const IovaRange& range : state.RegionsOn(device, target)) {
      if (Meets(space.areas, range) || Meets(space.allowed, range)) {
        return Precondition("IOVA_CONFLICT");
      }
    }
  }
  return {};
}

// What the domain asks of every device of the group: that its page faults can wait for an answer,
// that the guest has a name for it.
Answer CheckMembers(const State& state, size_t device, const Domain& domain) {
  const std::vector<size_t>& members = state.GroupOf(device).members;
  for (const size_t member : members) {
    if (domain.queue.has_value() && !state.hardware->HasPageFaults(member)) {
      return Precondition("PAGE_REQUESTS_UNAVAILABLE");
    }
  }
  for (const size_t member : members) {
    if (!domain.translates || !state.devices[member].present) continue;
    const std::optional<Name> vdevice = state.VdeviceOf(member);
    if (!vdevice.has_value() || state.vdevices.at(*vdevice).viommu != *domain.viommu) {
      return Precondition("VDEVICE_MISSING");
    }
  }
  return {};
}

// Whether `moving` can come to the target.
Answer CheckMove(const Call& call, const State& state, const Wanted& wanted,
                 const std::vector<size_t>& moving) {
  const bool to_domain = wanted.target.kind == Target::Kind::kDomain;
  // A domain serves its owner's devices. The regions of a RID come next (5.3), then the rest.
  if (to_domain) {
    REFUSE_UNLESS(CheckClaimed(state, wanted.device, wanted.target.domain.owner));
  }
  if (!wanted.at.has_value()) REFUSE_UNLESS(CheckRegions(state, moving, wanted.target));
  REFUSE_UNLESS(CheckPasidRules(call, state, wanted));
  // Those of a group can use it all or none.
  if (to_domain) {
    const Domain& domain = state.domains.at(wanted.target.domain);
    if (!GroupCompatible(state, wanted.device, domain)) return Precondition("INCOMPATIBLE_DOMAIN");
    REFUSE_UNLESS(CheckMembers(state, wanted.device, domain));
  }
  if (!wanted.at.has_value()) return {};
  if (wanted.target.kind == Target::Kind::kIdentity && !state.hardware->PassesPasidsThrough()) {
    return Unimplemented("PASID_DOMAIN_UNSUPPORTED");
  }
  const bool taken = state.GroupOf(wanted.device).pasids.count(*wanted.at) != 0;
  const bool full = state.UsedBy(call.context.principal).pasids + 1 > state.limits.max_pasids;
  return !taken && full ? Exhausted("PASID_LIMIT") : Answer();
}

// ---- Coming there ----

Answer ShowingAttachment(const Call& call, const State& state, const Wanted& wanted) {
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowAttachment(answer.said, state, wanted.device, wanted.at, call.context.principal);
  return answer;
}

// The last part of a resource name.
std::string IdIn(const std::string& name) { return name.substr(name.rfind('/') + 1); }

Answer ToldAttachment(const Call& call, const absl::StatusOr<AttachAnswer>& told) {
  Answer answer = FromStatus(told.status());
  if (!told.ok()) return answer;
  answer.said = Sheet(call.in_words);
  if (NamesIoas(call.step)) answer.made_up = IdIn(told->attachment.domain);
  Show(answer.said, told->attachment);
  return answer;
}

AttachTarget TargetOf(const Call& call) {
  const Sort sort = call.step.syntax->fixed.back().sort;
  ObjectRef ref = call.Ref(call.step.arguments.back(), sort);
  return sort == Sort::kIoas ? AttachTarget::OfIoas(std::move(ref)) : AttachTarget(std::move(ref));
}

void Come(const Call& call, State& state, const Wanted& wanted, const std::vector<size_t>& moving) {
  Isolation& group = state.GroupOf(wanted.device);
  const Target old = State::TargetAt(group, wanted.at);
  // Who joins moves nobody.
  if (!(old == wanted.target) || group.targets.count(wanted.at) == 0) {
    Withdraw(state, group.members, wanted.at, old);
  }
  for (const size_t device : moving) {
    state.devices[device].attached.insert(wanted.at);
    state.ChangeDevice(device);
  }
  group.targets[wanted.at] = wanted.target;
  if (wanted.at.has_value()) {
    // Nothing, when it is taken.
    group.pasids.try_emplace(*wanted.at,
                             Taken{Taken::How::kByAttaching, call.context.principal, ""});
    TouchPasids(state, wanted.device);
  }
  ChangeTarget(state, wanted.target);
  if (wanted.makes) state.ChangeSpace(*wanted.ioas);
  state.changed = true;
}

// Takes a domain back that was made for a step that is refused.
Answer Refused(State& state, const Wanted& wanted, Answer refusal) {
  if (wanted.makes) state.domains.erase(wanted.target.domain);
  return refusal;
}

// ---- attach (5.3) ----

Answer ReferAttach(const Call& call, State& state) {
  Wanted wanted;
  REFUSE_UNLESS(Resolve(call, state, &wanted));
  const size_t device = wanted.device;
  if (state.devices[device].attached.count(wanted.at) != 0) return Precondition("ALREADY_ATTACHED");
  std::optional<Target> joins;
  if (!state.AttachedAt(device, wanted.at).empty()) {
    joins = State::TargetAt(state.GroupOf(device), wanted.at);
  }
  REFUSE_UNLESS(ChooseAuto(call, state, joins, &wanted));
  if (joins.has_value() && !(*joins == wanted.target)) return Precondition("GROUP_MISMATCH");
  const Answer refusal = CheckMove(call, state, wanted, {device});
  if (!refusal.ok()) return Refused(state, wanted, refusal);
  Come(call, state, wanted, {device});
  // Who joins changes nothing for the others.
  if (!joins.has_value() && !wanted.at.has_value()) ChangeMembers(state, device);
  return ShowingAttachment(call, state, wanted);
}

Answer AskAttach(const Call& call, Engine& engine) {
  return ToldAttachment(call, engine.AttachDevice(call.context, Call::DeviceId(call[0]),
                                                  TargetOf(call), AtOf(call.step)));
}

// ---- replace (5.4) ----

Answer ReferReplace(const Call& call, State& state) {
  Wanted wanted;
  REFUSE_UNLESS(Resolve(call, state, &wanted));
  const size_t device = wanted.device;
  if (state.devices[device].attached.count(wanted.at) == 0) return Precondition("NOT_ATTACHED");
  REFUSE_UNLESS(ChooseAuto(call, state, std::nullopt, &wanted));
  const Target left = State::TargetAt(state.GroupOf(device), wanted.at);
  if (left == wanted.target) return ShowingAttachment(call, state, wanted);
  const std::vector<size_t> moving = state.AttachedAt(device, wanted.at);
  const bool looks = state.wrong != WrongRule::kReplaceIgnoresRegions;
  const Answer refusal = CheckMove(call, state, wanted, looks ? moving : std::vector<size_t>());
  if (!refusal.ok()) return Refused(state, wanted, refusal);
  Come(call, state, wanted, moving);
  if (!wanted.at.has_value()) ChangeMembers(state, device);
  ChangeTarget(state, left);
  DropIfUnused(state, left);
  return ShowingAttachment(call, state, wanted);
}

Answer AskReplace(const Call& call, Engine& engine) {
  return ToldAttachment(call, engine.ReplaceAttachment(call.context, Call::DeviceId(call[0]),
                                                       TargetOf(call), AtOf(call.step)));
}

// ---- detach (5.5) ----

std::vector<uint64_t> InventDetach(Dice& dice, const State& state, Caller caller) {
  return {InventHeldDevice(dice, state, caller)};
}

std::vector<uint64_t> InventDetachPasid(Dice& dice, const State& state, Caller caller) {
  return {InventHeldDevice(dice, state, caller), InventPasid(dice)};
}

Answer ReferDetach(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[0], &device));
  REFUSE_UNLESS(CheckHeld(call, state, device));
  const Spot at = AtOf(call.step);
  if (state.devices[device].attached.count(at) == 0) return {};  // Whatever is asked for.
  Leave(state, device, at);
  state.changed = true;
  return {};
}

Answer AskDetach(const Call& call, Engine& engine) {
  return FromStatus(
      engine.DetachDevice(call.context, Call::DeviceId(call[0]), AtOf(call.step)).status());
}

}  // namespace

absl::Span<const Verb> AttachVerbs() {
  const Parameter device{"device", Sort::kDevice};
  const Parameter pasid{"pasid"};
  const Parameter domain{"domain", Sort::kDomain};
  const Parameter ioas{"ioas", Sort::kIoas};
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"attach", {device, domain}, {}}, 10, InventTo, ReferAttach, AskAttach},
      {{"replace", {device, domain}, {}}, 10, InventTo, ReferReplace, AskReplace},
      {{"detach", {device}, {}}, 5, InventDetach, ReferDetach, AskDetach},
      {{"attach_auto", {device, ioas}, {}}, 6, InventToIoas, ReferAttach, AskAttach},
      {{"replace_auto", {device, ioas}, {}}, 5, InventToIoas, ReferReplace, AskReplace},
      {{"attach_pasid", {device, pasid, domain}, {}}, 7, InventPasidTo, ReferAttach, AskAttach},
      {{"replace_pasid", {device, pasid, domain}, {}}, 5, InventPasidTo, ReferReplace, AskReplace},
      {{"detach_pasid", {device, pasid}, {}}, 2, InventDetachPasid, ReferDetach, AskDetach},
      {{"attach_pasid_auto", {device, pasid, ioas}, {}},
       1,
       InventPasidToIoas,
       ReferAttach,
       AskAttach},
      {{"replace_pasid_auto", {device, pasid, ioas}, {}},
       1,
       InventPasidToIoas,
       ReferReplace,
       AskReplace},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
