#include "tests/differential/nested_verbs.h"

#include <optional>
#include <utility>

#include "tests/differential/making.h"
#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

constexpr uint64_t kPageBytes = 4096;

// ---- create_nested (iommufd-semantics.md 4.4) ----

enum NestedAt { kDomain, kParent, kDevice, kOptions, kWidth, kTable, kQueue };
// Options.
constexpr uint64_t kPasid = 1, kFaultQueue = 2, kSmmu = 4, kSupervisor = 8, kWriteProtect = 16,
                   kExtended = 32;

bool IsNestParent(const Domain& domain) { return domain.making.nest_parent; }
bool IsNested(const Domain& domain) { return domain.parent.has_value(); }

std::vector<uint64_t> InventCreate(Dice& dice, const State& state, Caller caller) {
  uint64_t parent = InventDomain(dice, state, caller, IsNestParent);
  if (dice.OneIn(40)) parent = dice.OneIn(2) ? kIdentityId : kBlockedId;
  uint64_t options = dice.Below(2) * kPasid;
  options |= dice.OneIn(30) ? kSmmu : 0;
  options |= dice.OneIn(4) ? kFaultQueue : 0;
  for (const uint64_t often : {kSupervisor, kExtended}) options |= dice.OneIn(4) ? often : 0;
  if (dice.OneIn((options & kSupervisor) != 0 ? 2 : 30)) options |= kWriteProtect;
  uint64_t width = dice.OneIn(4) ? 57 : 48;
  if (dice.OneIn(30)) width = dice.Below(64);
  uint64_t table = kPageBytes * dice.Below(16);
  if (dice.OneIn(30)) table += 1 + dice.Below(kPageBytes - 1);
  if (dice.OneIn(30)) table += Iova{1} << (47 + dice.Below(17));
  uint64_t id = InventNewName(dice);
  if (dice.OneIn(60)) id = dice.OneIn(2) ? kIdentityId : kBlockedId;
  const uint64_t queue = InventQueueFor(dice, state, caller, parent);
  return {id, parent, InventUser(dice, state, caller, parent), options, width, table, queue};
}

VtdStage1 Stage1Of(const Call& call) {
  const uint64_t options = call[kOptions];
  return {call[kTable], static_cast<int>(call[kWidth]), (options & kSupervisor) != 0,
          (options & kWriteProtect) != 0, (options & kExtended) != 0};
}

// What is wrong with the first stage itself, then what the unit lacks for it.
Answer CheckStage1(const VtdStage1& stage1, const IommuSpec& unit, int parent_bits) {
  if (stage1.address_width_bits != 48 && stage1.address_width_bits != 57) {
    return Invalid("INVALID_ADDRESS_WIDTH");
  }
  if (stage1.table_address % kPageBytes != 0) return Invalid("MISALIGNED");
  if (stage1.table_address >> parent_bits != 0) return Beyond("TABLE_OUT_OF_RANGE");
  if (stage1.write_protect && !stage1.supervisor_requests) {
    return Invalid("WRITE_PROTECT_WITHOUT_SUPERVISOR");
  }
  const bool lacks = (stage1.address_width_bits == 57 && !unit.first_stage_levels_5) ||
                     (stage1.supervisor_requests && !unit.supervisor_requests) ||
                     (stage1.extended_accessed && !unit.extended_access);
  return lacks ? Unimplemented("STAGE1_UNAVAILABLE") : Answer();
}

Answer FindParent(const Call& call, const State& state, Name* parent) {
  const bool is_static = call[kParent] == kIdentityId || call[kParent] == kBlockedId;
  if (is_static) return Precondition("NOT_NEST_PARENT");
  return FindDomain(call, state, call[kParent], parent);
}

Answer CheckNested(const Call& call, const State& state, size_t device, const Domain& parent) {
  const uint64_t options = call[kOptions];
  const Hardware& hardware = *state.hardware;
  if ((options & kFaultQueue) != 0 && !hardware.HasPageFaults(device)) {
    return Unimplemented("FAULT_QUEUE_UNAVAILABLE");
  }
  const IommuSpec& unit = hardware.UnitOf(device);
  if (!hardware.Nests(device)) return Unimplemented("NESTING_UNAVAILABLE");
  if (!parent.making.nest_parent) return Precondition("NOT_NEST_PARENT");
  if ((options & kSmmu) != 0) return Unimplemented("STAGE1_UNAVAILABLE");
  // Behind an SMMUv3 a guest's stage is on a Viommu.
  if (hardware.IsSmmu() && hardware.Nests(device)) return Unimplemented("STAGE1_UNAVAILABLE");
  if (!hardware.Compatible(device, parent.making)) return Precondition("INCOMPATIBLE_DOMAIN");
  return CheckStage1(Stage1Of(call), unit, hardware.WidthBits(parent.making));
}

Answer ReferCreate(const Call& call, State& state) {
  Name parent;
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[kDevice], &device));
  REFUSE_UNLESS(FindParent(call, state, &parent));
  REFUSE_UNLESS(CheckClaimed(state, device, parent.owner));
  // It belongs to whom its parent belongs to, whoever makes it.
  const Name name = call.Made(call[kDomain], Sort::kDomain, parent.owner);
  if (name.id == "identity" || name.id == "blocked") return Exists("DOMAIN_EXISTS");
  REFUSE_UNLESS(CheckNested(call, state, device, state.domains.at(parent)));
  REFUSE_UNLESS(CheckNewDomain(state, name));
  Domain& made = state.domains[name];
  made.ioas = state.domains.at(parent).ioas;
  made.making.device = device;
  made.making.pasid = (call[kOptions] & kPasid) != 0;
  made.making.stage1 = Stage1Of(call);
  made.parent = parent;
  const bool with_queue = (call[kOptions] & kFaultQueue) != 0;
  Answer answer =
      EndMaking(call, state, name, with_queue ? std::optional(call[kQueue]) : std::nullopt);
  if (answer.ok()) state.ChangeDomain(parent);
  return answer;
}

Answer AskCreate(const Call& call, Engine& engine) {
  const uint64_t options = call[kOptions];
  NestedDomainRequest request;
  request.parent = call.Ref(call[kParent], Sort::kDomain);
  request.device = Call::DeviceId(call[kDevice]);
  request.stage1 = Stage1Of(call);
  if ((options & kSmmu) != 0) request.stage1 = ArmSmmuV3Stage1();
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

// ---- invalidate (section 10) ----

constexpr uint64_t kAllPages = ~uint64_t{0};

std::vector<uint64_t> InventInvalidate(Dice& dice, const State& state, Caller caller) {
  uint64_t domain = InventDomain(dice, state, caller, IsNested);
  if (dice.OneIn(30)) domain = dice.OneIn(2) ? kIdentityId : kBlockedId;
  std::vector<uint64_t> arguments{domain, dice.OneIn(30) ? 1u : 0u};
  for (uint64_t entries = dice.Below(4); entries > 0; --entries) {
    uint64_t address = kPageBytes * dice.Below(64);
    if (dice.OneIn(8)) address = 0;
    if (dice.OneIn(20)) address += 1 + dice.Below(kPageBytes - 1);
    uint64_t pages = dice.Below(16);
    if (dice.OneIn(6)) pages = kAllPages;
    // About the end of what can be named.
    if (dice.OneIn(10)) {
      address = 0 - kPageBytes * (1 + dice.Below(3));
      pages = dice.Below(4);
    }
    arguments.push_back(address);
    arguments.push_back(pages);
  }
  return arguments;
}

Answer CheckCommand(uint64_t address, uint64_t pages) {
  if (address % kPageBytes != 0) return Invalid("MISALIGNED");
  if (pages == kAllPages) return address == 0 ? Answer() : Invalid("ALL_PAGES_WITH_ADDRESS");
  // The last page that can be covered is 2^52 - 1.
  if (pages > (kMaxAddress / kPageBytes + 1) - address / kPageBytes) {
    return Beyond("ADDRESS_OVERFLOW");
  }
  return {};
}

Answer ReferInvalidate(const Call& call, State& state) {
  if (call[0] == kIdentityId || call[0] == kBlockedId) return Precondition("NOT_NESTED");
  Name name;
  REFUSE_UNLESS(FindDomain(call, state, call[0], &name));
  if (!state.domains.at(name).parent.has_value()) return Precondition("NOT_NESTED");
  // Those of a guest's SMMUv3 its Viommu takes.
  const bool takes_any = !state.domains.at(name).viommu.has_value();
  if (!takes_any || call[1] != 0) return Unimplemented("COMMANDS_UNAVAILABLE");
  uint64_t handled = 0;
  Answer first_error;
  for (; handled < call.step.entries(); ++handled) {
    first_error = CheckCommand(call.step.OfEntry(handled, 0), call.step.OfEntry(handled, 1));
    if (first_error.ok()) continue;
    first_error = At(handled, first_error);
    break;
  }
  Answer answer;
  answer.said = Sheet(call.in_words);
  PutOutcome(answer.said, handled, first_error);
  return answer;
}

Answer AskInvalidate(const Call& call, Engine& engine) {
  std::vector<VtdStage1Invalidation> commands;
  for (size_t i = 0; i < call.step.entries(); ++i) {
    commands.push_back({call.step.OfEntry(i, 0), call.step.OfEntry(i, 1), false});
  }
  InvalidationBatch batch = std::move(commands);
  if (call[1] != 0) batch = std::vector<ArmSmmuV3Invalidation>(1);
  const auto told = engine.Invalidate(call.context, call.Ref(call[0], Sort::kDomain), batch);
  Answer answer = FromStatus(told.status());
  if (!told.ok()) return answer;
  answer.said = Sheet(call.in_words);
  PutOutcome(answer.said, told->handled, FromStatus(told->first_error));
  return answer;
}

}  // namespace

absl::Span<const Verb> NestedVerbs() {
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"create_nested",
        {{"domain", Sort::kDomain},
         {"parent", Sort::kDomain},
         {"device", Sort::kDevice},
         {"options"},
         {"width"},
         {"table"},
         {"queue", Sort::kFaultQueue}},
        {}},
       12,
       InventCreate,
       ReferCreate,
       AskCreate},
      {{"invalidate", {{"domain", Sort::kDomain}, {"smmu"}}, {{"address"}, {"pages"}}},
       4,
       InventInvalidate,
       ReferInvalidate,
       AskInvalidate},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
