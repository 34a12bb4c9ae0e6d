#include "tests/differential/domain_verbs.h"

#include <optional>
#include <utility>

#include "tests/differential/making.h"
#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

// ---- create_domain (iommufd-semantics.md 4.2, 4.3, 3.13) ----

// Options.
constexpr uint64_t kNestParent = 1, kPasid = 2, kDirtyTracking = 4, kFaultQueue = 8;

std::vector<uint64_t> InventCreate(Dice& dice, const State& state, Caller caller) {
  uint64_t id = InventNewName(dice);
  if (dice.OneIn(60)) id = dice.OneIn(2) ? kIdentityId : kBlockedId;
  uint64_t options = 0;
  for (const uint64_t often : {kNestParent, kPasid}) options |= dice.OneIn(2) ? often : 0;
  for (const uint64_t seldom : {kDirtyTracking, kFaultQueue})
    options |= dice.OneIn(40) ? seldom : 0;
  const uint64_t ioas = InventName(dice, state, caller, Sort::kIoas);
  const uint64_t device = InventUser(dice, state, caller, ioas);
  const uint64_t queue = InventQueueFor(dice, state, caller, ioas);
  if (device < state.devices.size() && state.hardware->HasPageFaults(device) && !dice.OneIn(3)) {
    options = (options | kFaultQueue) & ~(dice.OneIn(12) ? 0 : kNestParent);
  }
  return {id, ioas, device, options, queue};
}

Answer CheckOptions(const Hardware& hardware, size_t device, uint64_t options) {
  const bool nest_parent = (options & kNestParent) != 0;
  if ((options & kDirtyTracking) != 0) return Unimplemented("DIRTY_TRACKING_UNAVAILABLE");
  if ((options & kFaultQueue) != 0) {
    if (nest_parent) return Unimplemented("FAULT_QUEUE_ON_NEST_PARENT");
    if (!hardware.HasPageFaults(device)) return Unimplemented("FAULT_QUEUE_UNAVAILABLE");
  }
  if (nest_parent && !hardware.Nests(device)) return Unimplemented("NESTING_UNAVAILABLE");
  const bool second_stage = nest_parent || !hardware.HasFirstStage(device);
  if (hardware.kind == BackendKind::kSoftSmmu && (options & kPasid) != 0 && second_stage) {
    return Unimplemented("PASID_DOMAIN_UNSUPPORTED");
  }
  return {};
}

Answer ReferCreate(const Call& call, State& state) {
  Name ioas;
  size_t device = 0;
  REFUSE_UNLESS(FindDevice(state, call[2], &device));
  REFUSE_UNLESS(FindSpace(call, state, call[1], &ioas));
  REFUSE_UNLESS(CheckClaimed(state, device, ioas.owner));
  // A domain belongs to whom its address space belongs to, whoever makes it.
  const Name name = call.Made(call[0], Sort::kDomain, ioas.owner);
  if (name.id == "identity" || name.id == "blocked") return Exists("DOMAIN_EXISTS");
  REFUSE_UNLESS(CheckOptions(*state.hardware, device, call[3]));
  Domain made;
  made.ioas = ioas;
  made.making.device = device;
  made.making.nest_parent = (call[3] & kNestParent) != 0;
  made.making.pasid = (call[3] & kPasid) != 0;
  REFUSE_UNLESS(AddPaging(state, name, made));
  const bool with_queue = (call[3] & kFaultQueue) != 0;
  Answer answer = EndMaking(call, state, name, with_queue ? std::optional(call[4]) : std::nullopt);
  if (answer.ok()) state.ChangeSpace(ioas);
  return answer;
}

Answer AskCreate(const Call& call, Engine& engine) {
  PagingDomainRequest request;
  request.ioas = call.Ref(call[1], Sort::kIoas);
  request.device = Call::DeviceId(call[2]);
  request.nest_parent = (call[3] & kNestParent) != 0;
  request.pasid = (call[3] & kPasid) != 0;
  request.dirty_tracking = (call[3] & kDirtyTracking) != 0;
  if ((call[3] & kFaultQueue) != 0) {
    request.fault_queue = call.Ref(call[4], Sort::kFaultQueue);
  }
  const auto view = engine.CreateDomain(call.context, call.NewId(call[0], Sort::kDomain), request);
  Answer answer = FromStatus(view.status());
  if (!view.ok()) return answer;
  answer.said = Sheet(call.in_words);
  answer.made_up = call.MadeUp(call[0], view->object.id);
  Show(answer.said, *view);
  return answer;
}

// ---- delete_domain ----

std::vector<uint64_t> InventDelete(Dice& dice, const State& state, Caller caller) {
  uint64_t name = InventName(dice, state, caller, Sort::kDomain);
  if (dice.OneIn(60)) name = dice.OneIn(2) ? kIdentityId : kBlockedId;
  return {name, InventEtag(dice)};
}

Answer DeleteAtTheDoor(const Call& call) {
  const bool is_static = call[0] == kIdentityId || call[0] == kBlockedId;  // And no owner said.
  return is_static ? Invalid("STATIC_DOMAIN") : Answer();
}

Answer ReferDelete(const Call& call, State& state) {
  Name name;
  REFUSE_UNLESS(FindDomain(call, state, call[0], &name));
  if (call[1] == kOldEtag) return Aborted("ETAG_MISMATCH");
  Answer in_use = Precondition("IN_USE");
  for (const size_t device : state.AttachedTo({Target::Kind::kDomain, name})) {
    in_use.in_the_way.push_back("devices/" + Call::DeviceId(device));
  }
  for (const Name& child : state.DomainsOn(name)) {
    if (state.wrong == WrongRule::kDeleteForgetsChildren) break;
    in_use.in_the_way.push_back(Shown("domains", child, call.context.principal));
  }
  for (const Name& viommu : state.ViommusOn(name)) {
    in_use.in_the_way.push_back(Shown("viommus", viommu, call.context.principal));
  }
  if (!in_use.in_the_way.empty()) return Ordered(std::move(in_use));
  const Domain gone = state.domains[name];
  state.domains.erase(name);
  state.touched.domains.push_back(name);
  if (gone.queue.has_value()) state.ChangeQueue(*gone.queue);
  if (gone.viommu.has_value()) {
    state.ChangeViommu(*gone.viommu);
  } else if (gone.parent.has_value()) {
    state.ChangeDomain(*gone.parent);
  } else {
    state.ChangeSpace(gone.ioas);
  }
  state.changed = true;
  return {};
}

Answer AskDelete(const Call& call, Engine& engine) {
  const ObjectRef ref = call.Ref(call[0], Sort::kDomain);
  const auto now = engine.GetDomain(call.context, ref);
  const std::string etag = EtagOf(call[1], now.ok() ? now->object.etag : "gone");
  return FromStatus(engine.DeleteDomain(call.context, ref, etag));
}

}  // namespace

absl::Span<const Verb> DomainVerbs() {
  static const auto* const kVerbs = new std::vector<Verb>{
      {{"create_domain",
        {{"domain", Sort::kDomain},
         {"ioas", Sort::kIoas},
         {"device", Sort::kDevice},
         {"options"},
         {"queue", Sort::kFaultQueue}},
        {}},
       11,
       InventCreate,
       ReferCreate,
       AskCreate},
      {{"delete_domain", {{"domain", Sort::kDomain}, {"etag"}}, {}},
       6,
       InventDelete,
       ReferDelete,
       AskDelete,
       DeleteAtTheDoor},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
