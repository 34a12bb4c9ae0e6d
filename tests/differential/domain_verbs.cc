#include "tests/differential/domain_verbs.h"

#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

// ---- create_domain (iommufd-semantics.md 4.2, 4.3, 3.13) ----

std::vector<uint64_t> InventCreate(Dice& dice, const State& state, Caller caller) {
  uint64_t id = InventNewName(dice);
  if (dice.OneIn(60)) id = dice.OneIn(2) ? kIdentityId : kBlockedId;
  return {id, InventName(dice, state, caller, Sort::kIoas), InventHeldDevice(dice, state, caller)};
}

bool AllAligned(const Areas& areas, uint64_t alignment) {
  for (const auto& [iova, area] : areas) {
    if (iova % alignment != 0 || area.range.size_bytes() % alignment != 0 ||
        area.offset % alignment != 0) {
      return false;
    }
  }
  return true;
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
  if (state.domains.count(name) != 0) return Exists("DOMAIN_EXISTS");
  if (state.UsedBy(ioas.owner).domains + 1 > state.limits.max_domains) {
    return Exhausted("OBJECT_LIMIT");
  }
  const Space& space = state.spaces.at(ioas);
  const IovaRange outside{uint64_t{1} << state.hardware->WidthBits(device), kMaxAddress};
  if (!AllAligned(space.areas, 0x1000) || Meets(space.areas, outside) ||
      Meets(space.allowed, outside)) {
    return Precondition("IOVA_CONFLICT");
  }
  state.domains[name] = {ioas, device, 0};
  state.ChangeDomain(name);
  state.ChangeSpace(ioas);
  state.changed = true;
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowDomain(answer.said, state, name, call.context.principal);
  return answer;
}

Answer AskCreate(const Call& call, Engine& engine) {
  PagingDomainRequest request;
  request.ioas = call.Ref(call[1], Sort::kIoas);
  request.device = Call::DeviceId(call[2]);
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
  if (!in_use.in_the_way.empty()) return Ordered(std::move(in_use));
  const Name ioas = state.domains[name].ioas;
  state.domains.erase(name);
  state.touched.domains.push_back(name);
  state.ChangeSpace(ioas);
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
        {{"domain", Sort::kDomain}, {"ioas", Sort::kIoas}, {"device", Sort::kDevice}},
        {}},
       9,
       InventCreate,
       ReferCreate,
       AskCreate},
      {{"delete_domain", {{"domain", Sort::kDomain}, {"etag"}}, {}},
       4,
       InventDelete,
       ReferDelete,
       AskDelete,
       DeleteAtTheDoor},
  };
  return *kVerbs;
}

}  // namespace viommu::differential
