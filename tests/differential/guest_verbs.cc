#include "tests/differential/guest_verbs.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "tests/differential/making.h"
#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

constexpr uint64_t kPageBytes = 4096;

// Whom a Viommu that is named belongs to.
std::string OwnerNamed(uint64_t argument, Caller caller) {
  const Naming naming = Naming::Of(argument);
  return PrincipalOf(naming.owner == 0 ? caller : static_cast<Caller>(naming.owner - 1));
}

const Guest* GuestNamed(const State& state, Caller caller, uint64_t argument) {
  const std::string id = IdOf(Naming::Of(argument).id, Sort::kViommu, "");
  const auto it = state.viommus.find({OwnerNamed(argument, caller), id});
  return it == state.viommus.end() ? nullptr : &it->second;
}

// ---- create_guest: a guest's stage on its Viommu (iommufd-semantics.md 12.2, 17.3) ----

enum GuestAt { kDomain, kViommu, kDevice, kOptions, kSte0, kSte1, kQueue };
// Options.
constexpr uint64_t kPasid = 1, kFaultQueue = 2, kVtd = 4;

// A stream table entry: word 0 has V 0, Config 3:1, S1Fmt 5:4, S1ContextPtr 51:6, S1CDMax 63:59;
// word 1 S1DSS, S1CIR, S1COR and S1CSH in 7:0, S1STALLD 27, EATS 29:28.
constexpr uint64_t kValid = 1;
constexpr uint64_t kAbort = 0, kBypass = 4, kStage1 = 5;
constexpr uint64_t kNotTheGuests0 = uint64_t{0x7f} << 52;
constexpr uint64_t kTheGuests1 = 0xff | uint64_t{7} << 27;

uint64_t ConfigOf(uint64_t ste_0) { return ste_0 >> 1 & 7; }

std::vector<uint64_t> InventGuest(Dice& dice, const State& state, Caller caller) {
  const uint64_t viommu = InventName(dice, state, caller, Sort::kViommu);
  const Guest* const guest = GuestNamed(state, caller, viommu);
  std::vector<uint64_t> fitting;
  for (size_t device = 0; device < state.devices.size(); ++device) {
    const bool mine = state.GroupOf(device).claimed_by == OwnerNamed(viommu, caller);
    const bool there = guest != nullptr && state.hardware->UnitOf(device).id == guest->unit && mine;
    if (there && state.devices[device].present) fitting.push_back(device);
  }
  const bool any = fitting.empty() || dice.OneIn(8);
  const uint64_t device = any ? InventDevice(dice, state) : dice.Any(fitting);
  uint64_t options = dice.OneIn(20) ? kPasid : 0;
  options |= dice.OneIn(30) ? kVtd : 0;
  options |= dice.OneIn(4) ? kFaultQueue : 0;
  constexpr uint64_t kConfigs[] = {kAbort, kBypass, kStage1, kStage1};
  const uint64_t config = dice.OneIn(16) ? dice.Below(8) : dice.Any(kConfigs);
  uint64_t ste_0 = config << 1 | (dice.OneIn(16) ? 0 : kValid) | kPageBytes * dice.Below(16);
  if (dice.OneIn(20)) ste_0 |= uint64_t{1} << dice.Below(64);
  uint64_t ste_1 = dice.OneIn(3) ? dice.Below(256) : 0;
  if (dice.OneIn(12)) ste_1 |= dice.Below(4) << 28;
  if (dice.OneIn(20)) ste_1 |= uint64_t{1} << dice.Below(64);
  uint64_t id = InventNewName(dice);
  if (dice.OneIn(60)) id = dice.OneIn(2) ? kIdentityId : kBlockedId;
  return {id, viommu, device, options, ste_0, ste_1, InventQueueFor(dice, state, caller, viommu)};
}

// What is not valid aborts, whatever else it says.
Answer CheckVste(uint64_t ste_0, uint64_t ste_1) {
  if ((ste_0 & kValid) == 0) return {};
  const uint64_t config = ConfigOf(ste_0);
  const bool known = config == kAbort || config == kBypass || config == kStage1;
  const bool full_ats_at_most = (ste_1 >> 28 & 3) <= 1;
  const bool allowed = (ste_0 & kNotTheGuests0) == 0 && (ste_1 & ~kTheGuests1) == 0;
  return known && full_ats_at_most && allowed ? Answer() : Invalid("INVALID_VSTE");
}

Answer CheckGuest(const Call& call, const State& state, size_t device, const Guest& guest) {
  if (state.hardware->UnitOf(device).id != guest.unit) return Precondition("IOMMU_MISMATCH");
  const uint64_t options = call[kOptions];
  if ((options & kFaultQueue) != 0 && !state.hardware->HasPageFaults(device)) {
    return Unimplemented("FAULT_QUEUE_UNAVAILABLE");
  }
  if ((options & kPasid) != 0) return Unimplemented("PASID_UNAVAILABLE");
  if ((options & kVtd) != 0) return Unimplemented("STAGE1_UNAVAILABLE");
  return CheckVste(call[kSte0], call[kSte1]);
}

Answer ReferGuest(const Call& call, State& state) {
  size_t device = 0;
  Name viommu;
  REFUSE_UNLESS(FindDevice(state, call[kDevice], &device));
  REFUSE_UNLESS(FindViommu(call, state, call[kViommu], &viommu));
  REFUSE_UNLESS(CheckClaimed(state, device, viommu.owner));
  const Name name = call.Made(call[kDomain], Sort::kDomain, viommu.owner);
  if (name.id == "identity" || name.id == "blocked") return Exists("DOMAIN_EXISTS");
  const Guest& guest = state.viommus.at(viommu);
  REFUSE_UNLESS(CheckGuest(call, state, device, guest));
  REFUSE_UNLESS(CheckNewDomain(state, name));
  Domain made;
  made.ioas = state.domains.at(guest.parent).ioas;
  made.making.device = device;
  made.making.guest = true;
  made.parent = guest.parent;
  made.viommu = viommu;
  made.vste = {{call[kSte0], call[kSte1]}};
  made.translates = (call[kSte0] & kValid) != 0 && ConfigOf(call[kSte0]) == kStage1;
  state.domains[name] = made;
  const bool with_queue = (call[kOptions] & kFaultQueue) != 0;
  Answer answer =
      EndMaking(call, state, name, with_queue ? std::optional(call[kQueue]) : std::nullopt);
  if (answer.ok()) state.ChangeViommu(viommu);
  return answer;
}

Answer AskGuest(const Call& call, Engine& engine) {
  const uint64_t options = call[kOptions];
  NestedDomainRequest request;
  request.device = Call::DeviceId(call[kDevice]);
  request.viommu = call.Ref(call[kViommu], Sort::kViommu);
  request.stage1 = ArmSmmuV3Stage1{{call[kSte0], call[kSte1]}};
  if ((options & kVtd) != 0) request.stage1 = VtdStage1();
  request.pasid = (options & kPasid) != 0;
  if ((options & kFaultQueue) != 0) {
    request.fault_queue = call.Ref(call[kQueue], Sort::kFaultQueue);
  }
  const auto view =
      engine.CreateDomain(call.context, call.NewId(call[kDomain], Sort::kDomain), request);
  Answer answer = FromStatus(view.status());
  if (!view.ok()) return answer;
  answer.said = Sheet(call.in_words);
  answer.made_up = call.MadeUp(call[kDomain], view->object.id);
  Show(answer.said, *view);
  return answer;
}

// ---- invalidate_viommu (section 10; 17.8) ----

enum CommandAt { kOpcode, kStream, kAsid, kAddress, kLeaf };

std::vector<uint64_t> InventInvalidate(Dice& dice, const State& state, Caller caller) {
  const uint64_t viommu = InventName(dice, state, caller, Sort::kViommu);
  std::vector<uint64_t> arguments{viommu, dice.OneIn(30) ? 1u : 0u};
  for (uint64_t entries = dice.Below(4); entries > 0; --entries) {
    const auto opcode = static_cast<ArmSmmuV3Opcode>(dice.OneIn(20) ? 0 : 1 + dice.Below(7));
    const bool asid = opcode == ArmSmmuV3Opcode::kTlbiAsid || opcode == ArmSmmuV3Opcode::kTlbiVa;
    const bool address = opcode == ArmSmmuV3Opcode::kTlbiVa || opcode == ArmSmmuV3Opcode::kTlbiVaa;
    const bool stream = opcode >= ArmSmmuV3Opcode::kAtcInv;
    const auto wanted = [&](bool has) { return has != dice.OneIn(24); };
    arguments.push_back(static_cast<uint64_t>(opcode));
    arguments.push_back(wanted(stream) ? dice.Below(6) : 0);
    arguments.push_back(wanted(asid) ? dice.Below(dice.OneIn(16) ? 0x20000 : 8) : 0);
    arguments.push_back(wanted(address) ? kPageBytes * dice.Below(64) + dice.OneIn(20) : 0);
    arguments.push_back(wanted(address) ? dice.Below(2) : 0);
  }
  return arguments;
}

ArmSmmuV3Opcode OpcodeOf(const Call& call, size_t entry) {
  return static_cast<ArmSmmuV3Opcode>(call.step.OfEntry(entry, kOpcode));
}

bool IsOneOf(ArmSmmuV3Opcode opcode, std::initializer_list<ArmSmmuV3Opcode> opcodes) {
  return std::find(opcodes.begin(), opcodes.end(), opcode) != opcodes.end();
}

// First what the command does not have, then what of it is beyond its bounds, then whom it means.
Answer CheckCommand(const Call& call, const State& state, const Name& viommu, size_t entry) {
  using Op = ArmSmmuV3Opcode;
  const Op opcode = OpcodeOf(call, entry);
  const uint64_t stream = call.step.OfEntry(entry, kStream);
  const uint64_t asid = call.step.OfEntry(entry, kAsid);
  const uint64_t address = call.step.OfEntry(entry, kAddress);
  const bool leaf = call.step.OfEntry(entry, kLeaf) != 0;
  const bool names_device = IsOneOf(opcode, {Op::kAtcInv, Op::kCfgiCd, Op::kCfgiCdAll});
  const bool has_asid = IsOneOf(opcode, {Op::kTlbiAsid, Op::kTlbiVa});
  const bool has_address = IsOneOf(opcode, {Op::kTlbiVa, Op::kTlbiVaa, Op::kAtcInv});
  const bool has_leaf = IsOneOf(opcode, {Op::kTlbiVa, Op::kTlbiVaa, Op::kCfgiCd});
  const bool excess = (stream != 0 && !names_device) || (asid != 0 && !has_asid) ||
                      (address != 0 && !has_address) || (leaf && !has_leaf);
  if (opcode == Op::kNone || excess) return Invalid("INVALID_COMMAND");
  if (asid > 0xffff || address % kPageBytes != 0) return Invalid("INVALID_COMMAND");
  if (!names_device) return {};
  for (const Name& vdevice : state.VdevicesOf(viommu)) {
    if (state.vdevices.at(vdevice).virtual_id == stream) return {};
  }
  return Invalid("UNKNOWN_STREAM_ID");
}

Answer ReferInvalidate(const Call& call, State& state) {
  Name viommu;
  REFUSE_UNLESS(FindViommu(call, state, call[0], &viommu));
  uint64_t handled = 0;
  Answer first_error;
  if (call[1] != 0) {  // VT-d's, of which none may be.
    if (call.step.entries() != 0) return Unimplemented("COMMANDS_UNAVAILABLE");
  } else {
    for (; handled < call.step.entries() && first_error.ok(); ++handled) {
      first_error = CheckCommand(call, state, viommu, handled);
    }
    if (!first_error.ok()) first_error = At(--handled, first_error);
  }
  Answer answer;
  answer.said = Sheet(call.in_words);
  PutOutcome(answer.said, handled, first_error);
  return answer;
}

Answer AskInvalidate(const Call& call, Engine& engine) {
  std::vector<ArmSmmuV3Invalidation> commands(call.step.entries());
  for (size_t i = 0; i < commands.size(); ++i) {
    commands[i].opcode = OpcodeOf(call, i);
    commands[i].stream_id = static_cast<uint32_t>(call.step.OfEntry(i, kStream));
    commands[i].asid = static_cast<uint32_t>(call.step.OfEntry(i, kAsid));
    commands[i].address = call.step.OfEntry(i, kAddress);
    commands[i].leaves_only = call.step.OfEntry(i, kLeaf) != 0;
  }
  InvalidationBatch batch = std::move(commands);
  if (call[1] != 0) batch = std::vector<VtdStage1Invalidation>(call.step.entries());
  const auto told = engine.InvalidateViommu(call.context, call.Ref(call[0], Sort::kViommu), batch);
  Answer answer = FromStatus(told.status());
  if (!told.ok()) return answer;
  answer.said = Sheet(call.in_words);
  PutOutcome(answer.said, told->handled, FromStatus(told->first_error));
  return answer;
}

// ---- raise_event (12.3) ----

enum EventAt { kOfDevice, kEvent, kSubstream, kClass, kAt };
constexpr uint8_t kToldToGuests[] = {0x04, 0x06, 0x08, 0x0a, 0x10, 0x11, 0x12, 0x13};

std::vector<uint64_t> InventEvent(Dice& dice, const State& state, Caller caller) {
  std::vector<uint64_t> named;
  for (const auto& [name, vdevice] : state.vdevices) {
    const bool may = caller == Caller::kRoot || name.owner == PrincipalOf(caller);
    const bool heard = !state.EventQueuesOf(vdevice.viommu).empty();
    if (may) named.insert(named.end(), heard ? 4 : 1, vdevice.device);
  }
  const bool any = named.empty() || dice.OneIn(8);
  const uint64_t device = any ? InventHeldDevice(dice, state, caller) : dice.Any(named);
  uint64_t event = dice.Any(kToldToGuests);
  if (dice.OneIn(20)) event = dice.Below(0x30);
  const uint64_t substream = dice.OneIn(20) ? 0xfffff + dice.Below(2) : dice.Below(4);
  return {device, event, substream, dice.Below(dice.OneIn(12) ? 6 : 3),
          kPageBytes * dice.Below(64)};
}

ArmSmmuV3Event EventOf(const Call& call) {
  ArmSmmuV3Event event;
  event.id = static_cast<uint8_t>(call[kEvent]);
  event.substream_id = static_cast<uint32_t>(call[kSubstream]);
  event.substream_valid = event.substream_id != 0;
  event.access_class = static_cast<uint8_t>(call[kClass]);
  event.address = call[kAt];
  return event;
}

Answer CheckEvent(const ArmSmmuV3Event& event) {
  const bool told = std::find(std::begin(kToldToGuests), std::end(kToldToGuests), event.id) !=
                    std::end(kToldToGuests);
  const bool fits = event.substream_id <= 0xfffff && event.access_class <= 3;
  return told && fits ? Answer() : Invalid("INVALID_EVENT");
}

// Every event takes a number; one that does not fit is lost.
RaiseAnswer Report(GuestEvents& queue, const ArmSmmuV3Event& event) {
  const uint64_t sequence = queue.reported++;
  queue.lost_last = queue.events.size() == queue.depth;
  if (queue.lost_last) {
    ++queue.lost;
    return {RaiseAnswer::Outcome::kLost, static_cast<uint32_t>(sequence)};
  }
  queue.events.push_back({sequence, event});
  return {RaiseAnswer::Outcome::kQueued, static_cast<uint32_t>(sequence)};
}

Answer Telling(const Call& call, const RaiseAnswer& told) {
  Answer answer;
  answer.said = Sheet(call.in_words);
  answer.said.Put("outcome", static_cast<uint64_t>(told.outcome));
  answer.said.Put("sequence", told.sequence);
  return answer;
}

Answer ReferEvent(const Call& call, State& state) {
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[kOfDevice], &device));
  if (!call.context.is_operator) {
    REFUSE_UNLESS(CheckClaimed(state, device, call.context.principal));
  }
  ArmSmmuV3Event event = EventOf(call);
  REFUSE_UNLESS(CheckEvent(event));
  const std::optional<Name> name = state.VdeviceOf(device);
  if (!name.has_value()) return Precondition("VDEVICE_MISSING");
  const GuestDevice& vdevice = state.vdevices.at(*name);
  event.stream_id = static_cast<uint32_t>(vdevice.virtual_id);
  const std::vector<Name> queues = state.EventQueuesOf(vdevice.viommu);
  if (queues.empty()) return Telling(call, {RaiseAnswer::Outcome::kDropped, 0});
  state.touched.event_queues.push_back(queues.front());
  state.stirred = true;
  return Telling(call, Report(state.event_queues.at(queues.front()), event));
}

Answer AskEvent(const Call& call, Engine& engine) {
  const auto told = engine.RaiseEvent(call.context, Call::DeviceId(call[kOfDevice]), EventOf(call));
  return told.ok() ? Telling(call, *told) : FromStatus(told.status());
}

}  // namespace

absl::Span<const Verb> GuestVerbs() {
  const Parameter viommu{"viommu", Sort::kViommu};
  const Parameter device{"device", Sort::kDevice};
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"create_guest",
        {{"domain", Sort::kDomain},
         viommu,
         device,
         {"options"},
         {"ste_0"},
         {"ste_1"},
         {"queue", Sort::kFaultQueue}},
        {}},
       8,
       InventGuest,
       ReferGuest,
       AskGuest},
      {{"invalidate_viommu",
        {viommu, {"vtd"}},
        {{"opcode"}, {"stream"}, {"asid"}, {"address"}, {"leaf"}}},
       3,
       InventInvalidate,
       ReferInvalidate,
       AskInvalidate},
      {{"raise_event", {device, {"event"}, {"substream"}, {"class"}, {"address"}}, {}},
       5,
       InventEvent,
       ReferEvent,
       AskEvent,
       nullptr,
       true},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
