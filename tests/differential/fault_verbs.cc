#include "tests/differential/fault_verbs.h"

#include <algorithm>
#include <set>
#include <utility>

#include "tests/differential/faults.h"
#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kMostGroups = 4096;   // Of a queue.
constexpr uint32_t kUsualGroups = 256;   // Of one whose depth nobody said.
constexpr uint64_t kHighestGroup = 511;  // Of a device (PCIe: 9 bits).

// ---- create_fault_queue, delete_fault_queue (iommufd-semantics.md section 11) ----

std::vector<uint64_t> InventCreate(Dice& dice, const State&, Caller) {
  uint64_t depth = 1 + dice.Below(4);
  if (dice.OneIn(12)) depth = dice.OneIn(2) ? 0 : kMostGroups + dice.Below(2);
  return {InventNewName(dice), depth};
}

Answer ReferCreate(const Call& call, State& state) {
  if (call[1] > kMostGroups) return Invalid("INVALID_DEPTH");
  const Name name = call.Made(call[0], Sort::kFaultQueue, call.context.principal);
  if (state.queues.count(name) != 0) return Exists("FAULT_QUEUE_EXISTS");
  const uint32_t depth = call[1] == 0 ? kUsualGroups : static_cast<uint32_t>(call[1]);
  const Used used = state.UsedBy(name.owner);
  if (used.fault_queues + 1 > state.limits.max_fault_queues) return Exhausted("OBJECT_LIMIT");
  if (used.fault_groups + depth > state.limits.max_fault_groups) {
    return Exhausted("FAULT_GROUP_LIMIT");
  }
  state.queues[name].depth = depth;
  state.ChangeQueue(name);
  state.changed = true;
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowQueue(answer.said, state, name, call.context.principal);
  return answer;
}

Answer AskCreate(const Call& call, Engine& engine) {
  const auto view = engine.CreateFaultQueue(call.context, call.NewId(call[0], Sort::kFaultQueue),
                                            static_cast<uint32_t>(call[1]));
  Answer answer = FromStatus(view.status());
  if (!view.ok()) return answer;
  answer.said = Sheet(call.in_words);
  answer.made_up = call.MadeUp(call[0], view->object.id);
  Show(answer.said, *view);
  return answer;
}

std::vector<uint64_t> InventDelete(Dice& dice, const State& state, Caller caller) {
  return {InventName(dice, state, caller, Sort::kFaultQueue), InventEtag(dice)};
}

Answer ReferDelete(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(FindQueue(call, state, call[0], &name));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  Answer in_use = Precondition("IN_USE");
  for (const Name& domain : state.DomainsWith(name)) {
    in_use.in_the_way.push_back(Shown("domains", domain, call.context.principal));
  }
  if (!in_use.in_the_way.empty()) return Ordered(std::move(in_use));
  state.queues.erase(name);
  state.touched.queues.push_back(name);
  state.changed = true;
  return {};
}

Answer AskDelete(const Call& call, Engine& engine) {
  const ObjectRef ref = call.Ref(call[0], Sort::kFaultQueue);
  const auto now = engine.GetFaultQueue(call.context, ref);
  const std::string etag = EtagOf(call[1], now.ok() ? now->object.etag : "gone");
  return FromStatus(engine.DeleteFaultQueue(call.context, ref, etag));
}

// ---- raise_page_fault ----

enum RaiseAt { kDevice, kPasid, kGroup, kOptions, kIova };
constexpr uint64_t kNoPasid = ~uint64_t{0};
// Options.
constexpr uint64_t kMore = 1, kRead = 2, kWrite = 4, kExecute = 8, kPrivileged = 16;

Spot PasidOf(const Call& call) {
  if (call[kPasid] == kNoPasid) return std::nullopt;
  return static_cast<uint32_t>(call[kPasid]);
}

FaultedPage PageOf(const Call& call) {
  const uint64_t options = call[kOptions];
  return {call[kIova], (options & kRead) != 0, (options & kWrite) != 0, (options & kExecute) != 0,
          (options & kPrivileged) != 0};
}

bool HasQueue(const State& state, const Target& target) {
  return target.kind == Target::Kind::kDomain && state.domains.at(target.domain).queue.has_value();
}

// Mostly one that is the caller's, and on something that has a queue.
uint64_t InventFaulting(Dice& dice, const State& state, Caller caller) {
  std::vector<uint64_t> fitting;
  for (size_t device = 0; device < state.devices.size(); ++device) {
    const std::string& holder = state.GroupOf(device).claimed_by;
    const bool may = caller == Caller::kRoot ? !holder.empty() : holder == PrincipalOf(caller);
    const bool fits = may && state.devices[device].present && state.hardware->HasPageFaults(device);
    if (!fits) continue;
    fitting.push_back(device);
    for (const auto& [at, target] : state.GroupOf(device).targets) {
      if (HasQueue(state, target)) fitting.insert(fitting.end(), 16, device);
    }
  }
  if (fitting.empty()) return InventHeldDevice(dice, state, caller);
  return dice.Any(fitting);
}

// Mostly one whose requests reach a queue.
uint64_t InventPlace(Dice& dice, const State& state, uint64_t device, uint64_t lowest) {
  std::vector<uint64_t> places;
  for (const auto& [at, target] : state.GroupOf(device).targets) {
    if (!HasQueue(state, target)) continue;
    places.push_back(at.has_value() ? *at : kNoPasid);
  }
  if (!places.empty() && !dice.OneIn(6)) return dice.Any(places);
  if (!dice.OneIn(3)) return kNoPasid;
  return lowest + dice.Below(dice.OneIn(8) ? 8 : 3);
}

bool IsOnGuest(const State& state, size_t device) {
  const Target target = State::TargetAt(state.GroupOf(device), std::nullopt);
  return target.kind == Target::Kind::kDomain && state.domains.at(target.domain).viommu.has_value();
}

// Whether the page can be accessed so.
bool Maps(const Areas& areas, const FaultedPage& page) {
  const uint64_t needed = page.write ? 2 : 1;
  return std::any_of(areas.begin(), areas.end(), [&](const auto& entry) {
    const Mapped& area = entry.second;
    return area.range.Contains(page.address) && !area.suspended && (area.permission & needed) != 0;
  });
}

// Whether an access of a device behind an SMMUv3 waits: in vain, in a first stage of the host's.
bool Stalls(const State& state, size_t device, Spot pasid, const FaultedPage& page) {
  const Isolation& group = state.GroupOf(device);
  if (group.claimed_by.empty()) {
    const bool translated = group.default_domain != DefaultDomainType::kIdentity;
    return translated && !pasid.has_value() && !Maps(group.host_areas, page);
  }
  const Target target = State::TargetAt(group, pasid);
  if (target.kind != Target::Kind::kDomain) return false;
  const Domain& domain = state.domains.at(target.domain);
  if (domain.making.nest_parent || domain.viommu.has_value()) return false;
  return !Maps(state.spaces.at(domain.ioas).areas, page);
}

// A fault of what stalls is an access, which is judged by what is mapped. Of a guest's stage, which
// is in its memory, and of what the host's caches still hold the reference knows too little.
std::vector<uint64_t> InventStall(Dice& dice, const State& state, uint64_t device) {
  const uint64_t pasid = InventPlace(dice, state, device, 1);
  const uint64_t options = dice.OneIn(2) ? kRead : kWrite;
  Iova iova = kPageBytes * dice.Below(64);
  if (dice.OneIn(12)) iova += dice.OneIn(2) ? 1 : Iova{1} << 48;
  const bool known = !state.GroupOf(device).claimed_by.empty() && !IsOnGuest(state, device);
  if (!known) device = 99;
  return {device, pasid, 0, options, iova};
}

std::vector<uint64_t> InventRaise(Dice& dice, const State& state, Caller caller) {
  uint64_t device = InventFaulting(dice, state, caller);
  if (dice.OneIn(12)) device = InventDevice(dice, state);
  const bool there = device < state.devices.size();
  if (there && state.hardware->Stalls()) return InventStall(dice, state, device);
  uint64_t pasid = kNoPasid;
  if (there) pasid = InventPlace(dice, state, device, 0);
  if (pasid == kNoPasid && dice.OneIn(4)) pasid = 0;  // Served as those without.
  uint64_t group = dice.Below(4);
  if (dice.OneIn(40)) group = kHighestGroup + dice.Below(2);
  uint64_t options = dice.OneIn(3) ? kMore : 0;
  options |= dice.OneIn(30) ? 0 : kRead << dice.Below(2);
  for (const uint64_t seldom : {kRead, kWrite, kExecute, kPrivileged}) {
    options |= dice.OneIn(10) ? seldom : 0;
  }
  Iova iova = kPageBytes * dice.Below(64);
  if (dice.OneIn(30)) iova += 1 + dice.Below(kPageBytes - 1);
  if (dice.OneIn(30)) iova += Iova{1} << (52 + dice.Below(12));
  return {device, pasid, group, options, iova};
}

Answer CheckFault(const Call& call, const State& state, size_t device) {
  if (!state.hardware->HasPageFaults(device)) return Unimplemented("PAGE_REQUESTS_UNAVAILABLE");
  const int bits = state.hardware->topology.devices[device].pasid_bits;
  const Spot pasid = PasidOf(call);
  if (pasid.has_value() && (bits == 0 || *pasid >> bits != 0)) return Beyond("PASID_OUT_OF_RANGE");
  if (call[kGroup] > kHighestGroup) return Beyond("GROUP_OUT_OF_RANGE");
  if (call[kIova] % kPageBytes != 0) return Invalid("MISALIGNED");
  return (call[kOptions] & (kRead | kWrite)) == 0 ? Invalid("INVALID_ACCESS") : Answer();
}

// A device names no group again before it was answered.
bool IsOutstanding(const State& state, size_t device, Spot pasid, uint64_t group) {
  for (const auto& [name, queue] : state.queues) {
    for (const auto& [number, waiting] : queue.waiting) {
      if (waiting.device == device && waiting.pasid == pasid && waiting.group == group) return true;
    }
  }
  return false;
}

// What of a page request VT-d's software takes for a device gone wrong: it is refused.
bool IsMalformed(const FaultedPage& page) {
  const uint64_t upper = page.address >> 56;
  return page.privileged || (page.execute && page.read) || (upper != 0 && upper != 0xff);
}

Answer ReferRaise(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[kDevice], &device));
  if (!call.context.is_operator) {
    REFUSE_UNLESS(CheckClaimed(state, device, call.context.principal));
  }
  REFUSE_UNLESS(CheckFault(call, state, device));
  const Spot pasid = PasidOf(call);
  const auto group = static_cast<uint32_t>(call[kGroup]);
  FaultedPage page = PageOf(call);
  bool last = (call[kOptions] & kMore) == 0;
  if (state.hardware->Stalls()) {
    if (!Stalls(state, device, pasid, page)) return Precondition("NO_PAGE_FAULT");
    last = true;
    page.read = !page.write;
  } else if (IsOutstanding(state, device, pasid, group)) {
    return Precondition("PAGE_GROUP_OUTSTANDING");
  }
  if (state.hardware->kind == BackendKind::kSoft && IsMalformed(page)) {
    if (last) Tell(state, device, pasid, group, PageResponse::kInvalid);
    return {};
  }
  std::vector<FaultedPage>& pages = state.devices[device].asked[{pasid, group}];
  pages.push_back(page);
  if (!last) return {};
  std::vector<FaultedPage> whole = std::move(pages);
  state.devices[device].asked.erase({pasid, group});
  Deliver(state, device, pasid, group, std::move(whole));
  return {};
}

Answer AskRaise(const Call& call, Engine& engine) {
  const FaultedPage page = PageOf(call);
  PageFault fault;
  fault.pasid = PasidOf(call);
  fault.group = static_cast<uint32_t>(call[kGroup]);
  fault.last = (call[kOptions] & kMore) == 0;
  fault.address = page.address;
  fault.read = page.read;
  fault.write = page.write;
  fault.execute = page.execute;
  fault.privileged = page.privileged;
  return FromStatus(engine.RaisePageFault(call.context, Call::DeviceId(call[kDevice]), fault));
}

// ---- respond_fault ----

// A queue of a name's, if there is one.
const Faults* QueueNamed(const State& state, Caller caller, uint64_t argument) {
  const Naming naming = Naming::Of(argument);
  const Caller owner = naming.owner == 0 ? caller : static_cast<Caller>(naming.owner - 1);
  const auto it = state.queues.find({PrincipalOf(owner), IdOf(naming.id, Sort::kFaultQueue, "")});
  return it == state.queues.end() ? nullptr : &it->second;
}

std::vector<uint64_t> InventRespond(Dice& dice, const State& state, Caller caller) {
  uint64_t name = InventName(dice, state, caller, Sort::kFaultQueue);
  // Another one, when nothing waits there.
  for (int tries = 0; tries < 3; ++tries) {
    const Faults* const named = QueueNamed(state, caller, name);
    if (named != nullptr && !named->waiting.empty()) break;
    name = InventName(dice, state, caller, Sort::kFaultQueue);
  }
  std::vector<uint64_t> arguments{name};
  const Faults* const queue = QueueNamed(state, caller, name);
  for (uint64_t entries = dice.OneIn(20) ? 0 : 1 + dice.Below(2); entries > 0; --entries) {
    uint64_t cookie = 1 + dice.Below(8);
    if (queue != nullptr && !queue->waiting.empty() && !dice.OneIn(8)) {
      cookie = dice.Any(queue->waiting).second.cookie;
    }
    arguments.push_back(cookie);
    arguments.push_back(dice.Below(dice.OneIn(8) ? 3 : 2));
  }
  return arguments;
}

PageResponse CodeOf(const Call& call, size_t entry) {
  return static_cast<PageResponse>(call.step.OfEntry(entry, 1));
}

std::map<uint64_t, Waiting>::iterator WaitingWith(Faults& queue, uint64_t cookie) {
  auto it = queue.waiting.begin();
  while (it != queue.waiting.end() && it->second.cookie != cookie) ++it;
  return it;
}

Answer CheckResponses(const Call& call, Faults& queue) {
  if (call.step.entries() == 0) return Invalid("EMPTY_BATCH");
  std::set<uint64_t> answered;
  for (size_t i = 0; i < call.step.entries(); ++i) {
    const uint64_t cookie = call.step.OfEntry(i, 0);
    // The code comes first; FAILURE is not a caller's to give.
    if (CodeOf(call, i) == PageResponse::kFailure) return At(i, Invalid("INVALID_RESPONSE"));
    if (!answered.insert(cookie).second) return At(i, Invalid("DUPLICATE_COOKIE"));
    if (WaitingWith(queue, cookie) == queue.waiting.end()) return At(i, Missing("FAULT_NOT_FOUND"));
  }
  return {};
}

Answer ReferRespond(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(FindQueue(call, state, call[0], &name));
  Faults& queue = state.queues.at(name);
  REFUSE_UNLESS(CheckResponses(call, queue));
  for (size_t i = 0; i < call.step.entries(); ++i) {
    const auto it = WaitingWith(queue, call.step.OfEntry(i, 0));
    const Waiting group = it->second;
    queue.waiting.erase(it);
    Tell(state, group.device, group.pasid, group.group, CodeOf(call, i));
  }
  state.touched.queues.push_back(name);
  return {};
}

Answer AskRespond(const Call& call, Engine& engine) {
  std::vector<FaultResponse> responses;
  for (size_t i = 0; i < call.step.entries(); ++i) {
    responses.push_back({static_cast<uint32_t>(call.step.OfEntry(i, 0)), CodeOf(call, i)});
  }
  return FromStatus(engine.RespondFault(call.context, call.Ref(call[0], Sort::kFaultQueue),
                                        std::move(responses)));
}

}  // namespace

absl::Span<const Verb> FaultVerbs() {
  const Parameter queue{"queue", Sort::kFaultQueue};
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"create_fault_queue", {queue, {"depth"}}, {}}, 5, InventCreate, ReferCreate, AskCreate},
      {{"delete_fault_queue", {queue, {"etag"}}, {}}, 1, InventDelete, ReferDelete, AskDelete},
      {{"raise_page_fault",
        {{"device", Sort::kDevice}, {"pasid"}, {"group"}, {"options"}, {"iova"}},
        {}},
       14,
       InventRaise,
       ReferRaise,
       AskRaise,
       nullptr,
       true},
      {{"respond_fault", {queue}, {{"cookie"}, {"code"}}},
       6,
       InventRespond,
       ReferRespond,
       AskRespond},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
