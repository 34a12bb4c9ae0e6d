#include "tests/differential/viommu_verbs.h"

#include <algorithm>
#include <utility>

#include "tests/differential/attaching.h"
#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

constexpr uint64_t kHighestStream = 0xffffffff;
constexpr uint64_t kMostEvents = uint64_t{1} << 19;

bool IsNestParent(const Domain& domain) { return domain.making.nest_parent; }

// Whether the devices behind the unit of this one can be a guest's, with an IOMMU of its own.
bool HasViommus(const Hardware& hardware, size_t device) {
  return hardware.IsSmmu() && hardware.Nests(device);
}

// Of whom a name speaks.
std::string OwnerNamed(uint64_t argument, Caller caller) {
  const Naming naming = Naming::Of(argument);
  return PrincipalOf(naming.owner == 0 ? caller : static_cast<Caller>(naming.owner - 1));
}

// ---- create_viommu (iommufd-semantics.md 12.1) ----

enum ViommuAt { kViommu, kDevice, kType, kParent };

std::vector<uint64_t> InventCreate(Dice& dice, const State& state, Caller caller) {
  uint64_t parent = InventDomain(dice, state, caller, IsNestParent);
  if (dice.OneIn(40)) parent = dice.OneIn(2) ? kIdentityId : kBlockedId;
  return {InventNewName(dice), InventUser(dice, state, caller, parent), dice.OneIn(30) ? 1u : 0u,
          parent};
}

Answer FindParent(const Call& call, const State& state, size_t device, Name* parent) {
  const bool is_static = call[kParent] == kIdentityId || call[kParent] == kBlockedId;
  REFUSE_UNLESS(MayName(call, call.Ref(call[kParent], Sort::kDomain), parent));
  REFUSE_UNLESS(CheckClaimed(state, device, parent->owner));
  if (!HasViommus(*state.hardware, device)) return Unimplemented("VIOMMU_UNAVAILABLE");
  if (call[kType] != static_cast<uint64_t>(ViommuType::kArmSmmuV3)) {
    return Unimplemented("VIOMMU_TYPE_UNAVAILABLE");
  }
  if (is_static) return Precondition("NOT_NEST_PARENT");
  REFUSE_UNLESS(FindDomain(call, state, call[kParent], parent));
  if (!IsNestParent(state.domains.at(*parent))) return Precondition("NOT_NEST_PARENT");
  return {};
}

Answer ReferCreate(const Call& call, State& state) {
  size_t device = 0;
  Name parent;
  REFUSE_UNLESS(FindDevice(state, call[kDevice], &device));
  REFUSE_UNLESS(FindParent(call, state, device, &parent));
  const Hardware& hardware = *state.hardware;
  if (!hardware.Compatible(device, state.domains.at(parent).making)) {
    return Precondition("INCOMPATIBLE_DOMAIN");
  }
  const std::string& unit = hardware.UnitOf(device).id;
  for (const Name& other : state.ViommusOn(parent)) {
    if (state.viommus.at(other).unit == unit) return Precondition("VIOMMU_EXISTS");
  }
  const Name name = call.Made(call[kViommu], Sort::kViommu, parent.owner);
  if (state.viommus.count(name) != 0) return Exists("VIOMMU_EXISTS");
  if (state.UsedBy(name.owner).viommus + 1 > state.limits.max_viommus) {
    return Exhausted("OBJECT_LIMIT");
  }
  Guest& made = state.viommus[name];
  made.unit = unit;
  made.parent = parent;
  state.ChangeViommu(name);
  state.changed = true;
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowViommu(answer.said, state, name, call.context.principal);
  return answer;
}

Answer AskCreate(const Call& call, Engine& engine) {
  ViommuRequest request;
  request.device = Call::DeviceId(call[kDevice]);
  request.type = static_cast<ViommuType>(call[kType]);
  request.parent = call.Ref(call[kParent], Sort::kDomain);
  const auto view =
      engine.CreateViommu(call.context, call.NewId(call[kViommu], Sort::kViommu), request);
  Answer answer = FromStatus(view.status());
  if (!view.ok()) return answer;
  answer.said = Sheet(call.in_words);
  answer.made_up = call.MadeUp(call[kViommu], view->object.id);
  Show(answer.said, *view);
  return answer;
}

// ---- delete_viommu ----

std::vector<uint64_t> InventDelete(Dice& dice, const State& state, Caller caller) {
  return {InventName(dice, state, caller, Sort::kViommu), InventEtag(dice)};
}

Answer ReferDelete(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(FindViommu(call, state, call[0], &name));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  const std::string& me = call.context.principal;
  Answer in_use = Precondition("IN_USE");
  std::vector<std::string>& users = in_use.in_the_way;
  for (const Name& domain : state.DomainsOfViommu(name)) {
    users.push_back(Shown("domains", domain, me));
  }
  for (const Name& vdevice : state.VdevicesOf(name)) users.push_back(Shown("viommus", vdevice, me));
  for (const Name& queue : state.EventQueuesOf(name)) users.push_back(Shown("viommus", queue, me));
  if (!users.empty()) return Ordered(std::move(in_use));
  state.viommus.erase(name);
  state.touched.viommus.push_back(name);
  state.changed = true;
  return {};
}

Answer AskDelete(const Call& call, Engine& engine) {
  const ObjectRef ref = call.Ref(call[0], Sort::kViommu);
  const auto now = engine.GetViommu(call.context, ref);
  const std::string etag = EtagOf(call[1], now.ok() ? now->object.etag : "gone");
  return FromStatus(engine.DeleteViommu(call.context, ref, etag));
}

// ---- create_vdevice (12.2) ----

std::vector<uint64_t> InventVdevice(Dice& dice, const State& state, Caller caller) {
  const uint64_t viommu = InventName(dice, state, caller, Sort::kViommu);
  std::vector<uint64_t> held;
  for (size_t device = 0; device < state.devices.size(); ++device) {
    const bool mine = state.GroupOf(device).claimed_by == OwnerNamed(viommu, caller);
    if (mine && !state.VdeviceOf(device).has_value()) held.push_back(device);
  }
  const bool any = held.empty() || dice.OneIn(6);
  const uint64_t device = any ? InventDevice(dice, state) : dice.Any(held);
  const uint64_t virtual_id = dice.OneIn(30) ? kHighestStream + dice.Below(2) : dice.Below(6);
  return {viommu, dice.Below(4), device, virtual_id};
}

Answer ReferVdevice(const Call& call, State& state) {
  if (call[3] > kHighestStream) return Invalid("INVALID_VIRTUAL_ID");
  Name viommu;
  size_t device = 0;
  REFUSE_UNLESS(FindViommu(call, state, call[0], &viommu));
  REFUSE_UNLESS(FindDevice(state, call[2], &device));
  REFUSE_UNLESS(CheckClaimed(state, device, viommu.owner));
  if (state.hardware->UnitOf(device).id != state.viommus.at(viommu).unit) {
    return Precondition("IOMMU_MISMATCH");
  }
  if (state.VdeviceOf(device).has_value()) return Exists("DEVICE_HAS_VDEVICE");
  for (const Name& other : state.VdevicesOf(viommu)) {
    if (state.vdevices.at(other).virtual_id == call[3]) return Exists("VIRTUAL_ID_TAKEN");
  }
  const Name name{viommu.owner, call.ChildRef(call[0], call[1], Sort::kVdevice).id};
  if (state.vdevices.count(name) != 0) return Exists("VDEVICE_EXISTS");
  state.vdevices[name] = {viommu, device, call[3], state.NextVersion()};
  state.touched.vdevices.push_back(name);
  state.ChangeViommu(viommu);
  state.changed = true;
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowVdevice(answer.said, state, name, call.context.principal);
  return answer;
}

Answer AskVdevice(const Call& call, Engine& engine) {
  const auto view =
      engine.CreateVdevice(call.context, call.Ref(call[0], Sort::kViommu),
                           IdOf(call[1], Sort::kVdevice, ""), Call::DeviceId(call[2]), call[3]);
  Answer answer = FromStatus(view.status());
  if (!view.ok()) return answer;
  answer.said = Sheet(call.in_words);
  Show(answer.said, *view);
  return answer;
}

// ---- delete_vdevice ----

std::vector<uint64_t> InventDeleteVdevice(Dice& dice, const State& state, Caller caller) {
  const uint64_t viommu = InventName(dice, state, caller, Sort::kViommu);
  return {viommu, InventChild(dice, state, caller, viommu, Sort::kVdevice), InventEtag(dice)};
}

// Where the group of the device is on a stage of the guest's, in which it is known by this name.
std::vector<std::string> Translating(const Call& call, const State& state,
                                     const GuestDevice& vdevice) {
  std::vector<std::string> where;
  const Isolation& group = state.GroupOf(vdevice.device);
  for (const size_t member : group.members) {
    for (const Spot at : state.devices[member].attached) {
      const Target target = State::TargetAt(group, at);
      if (target.kind != Target::Kind::kDomain) continue;
      const Domain& domain = state.domains.at(target.domain);
      if (!domain.translates || *domain.viommu != vdevice.viommu) continue;
      where.push_back(NameAt(member, at) + " on " +
                      Shown("domains", target.domain, call.context.principal));
    }
  }
  return where;
}

Answer ReferDeleteVdevice(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(Find(call, call.ChildRef(call[0], call[1], Sort::kVdevice), "VDEVICE",
                     state.vdevices, &name));
  if (call[2] == kOldEtag) return Aborted("ETAG_MISMATCH");
  const GuestDevice gone = state.vdevices.at(name);
  Answer in_use = Precondition("IN_USE");
  in_use.in_the_way = Translating(call, state, gone);
  if (!in_use.in_the_way.empty()) return Ordered(std::move(in_use));
  state.vdevices.erase(name);
  state.touched.vdevices.push_back(name);
  state.ChangeViommu(gone.viommu);
  state.changed = true;
  return {};
}

Answer AskDeleteVdevice(const Call& call, Engine& engine) {
  const ObjectRef ref = call.ChildRef(call[0], call[1], Sort::kVdevice);
  const auto now = engine.GetVdevice(call.context, ref);
  const std::string etag = EtagOf(call[2], now.ok() ? now->object.etag : "gone");
  return FromStatus(engine.DeleteVdevice(call.context, ref, etag));
}

// ---- create_event_queue (12.3) ----

std::vector<uint64_t> InventQueue(Dice& dice, const State& state, Caller caller) {
  uint64_t depth = 1 + dice.Below(3);
  if (dice.OneIn(20)) depth = dice.OneIn(2) ? 0 : kMostEvents + dice.Below(2);
  return {InventName(dice, state, caller, Sort::kViommu), dice.Below(4), dice.OneIn(20) ? 1u : 0u,
          depth};
}

Answer ReferQueue(const Call& call, State& state) {
  if (call[3] == 0 || call[3] > kMostEvents) return Invalid("INVALID_DEPTH");
  Name viommu;
  REFUSE_UNLESS(FindViommu(call, state, call[0], &viommu));
  // A Viommu has the events of its own type (Q10), and one queue for each.
  if (call[2] != static_cast<uint64_t>(ViommuEventType::kArmSmmuV3)) {
    return Unimplemented("EVENT_TYPE_UNAVAILABLE");
  }
  if (!state.EventQueuesOf(viommu).empty()) return Exists("EVENT_QUEUE_EXISTS");
  const Name name{viommu.owner, call.ChildRef(call[0], call[1], Sort::kEventQueue).id};
  if (state.UsedBy(name.owner).queued_events + call[3] > state.limits.max_queued_events) {
    return Exhausted("EVENT_LIMIT");
  }
  GuestEvents& made = state.event_queues[name];
  made.viommu = viommu;
  made.depth = static_cast<uint32_t>(call[3]);
  made.version = state.NextVersion();
  state.touched.event_queues.push_back(name);
  state.ChangeViommu(viommu);
  state.changed = true;
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowEventQueue(answer.said, state, name, call.context.principal);
  return answer;
}

Answer AskQueue(const Call& call, Engine& engine) {
  const auto view = engine.CreateEventQueue(
      call.context, call.Ref(call[0], Sort::kViommu), IdOf(call[1], Sort::kEventQueue, ""),
      static_cast<ViommuEventType>(call[2]), static_cast<uint32_t>(call[3]));
  Answer answer = FromStatus(view.status());
  if (!view.ok()) return answer;
  answer.said = Sheet(call.in_words);
  Show(answer.said, *view);
  return answer;
}

// ---- delete_event_queue ----

std::vector<uint64_t> InventDeleteQueue(Dice& dice, const State& state, Caller caller) {
  const uint64_t viommu = InventName(dice, state, caller, Sort::kViommu);
  return {viommu, InventChild(dice, state, caller, viommu, Sort::kEventQueue), InventEtag(dice)};
}

Answer ReferDeleteQueue(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(Find(call, call.ChildRef(call[0], call[1], Sort::kEventQueue), "EVENT_QUEUE",
                     state.event_queues, &name));
  if (call[2] == kOldEtag) return Aborted("ETAG_MISMATCH");
  state.ChangeViommu(state.event_queues.at(name).viommu);
  state.event_queues.erase(name);
  state.touched.event_queues.push_back(name);
  state.changed = true;
  return {};
}

Answer AskDeleteQueue(const Call& call, Engine& engine) {
  const ObjectRef ref = call.ChildRef(call[0], call[1], Sort::kEventQueue);
  const auto now = engine.GetEventQueue(call.context, ref);
  const std::string etag = EtagOf(call[2], now.ok() ? now->object.etag : "gone");
  return FromStatus(engine.DeleteEventQueue(call.context, ref, etag));
}

}  // namespace

absl::Span<const Verb> ViommuVerbs() {
  const Parameter viommu{"viommu", Sort::kViommu};
  const Parameter vdevice{"vdevice", Sort::kVdevice};
  const Parameter queue{"queue", Sort::kEventQueue};
  const Parameter device{"device", Sort::kDevice};
  const Parameter etag{"etag"};
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"create_viommu", {viommu, device, {"type"}, {"parent", Sort::kDomain}}, {}},
       9,
       InventCreate,
       ReferCreate,
       AskCreate},
      {{"delete_viommu", {viommu, etag}, {}}, 2, InventDelete, ReferDelete, AskDelete},
      {{"create_vdevice", {viommu, vdevice, device, {"virtual_id"}}, {}},
       6,
       InventVdevice,
       ReferVdevice,
       AskVdevice},
      {{"delete_vdevice", {viommu, vdevice, etag}, {}},
       2,
       InventDeleteVdevice,
       ReferDeleteVdevice,
       AskDeleteVdevice},
      {{"create_event_queue", {viommu, queue, {"type"}, {"depth"}}, {}},
       4,
       InventQueue,
       ReferQueue,
       AskQueue},
      {{"delete_event_queue", {viommu, queue, etag}, {}},
       1,
       InventDeleteQueue,
       ReferDeleteQueue,
       AskDeleteQueue},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
