#include "tests/differential/making.h"

#include "tests/differential/show.h"

namespace viommu::differential {
namespace {

constexpr uint64_t kAlignment = 0x1000;

bool IsAligned(const Mapped& area) {
  return ((area.range.first | area.range.size_bytes() | area.offset) & (kAlignment - 1)) == 0;
}

Answer TakeQueue(const Call& call, State& state, uint64_t argument, const Name& domain) {
  Name queue;
  REFUSE_UNLESS(FindQueue(call, state, argument, &queue));
  if (queue.owner != domain.owner) return Precondition("FAULT_QUEUE_OWNER");
  state.domains.at(domain).queue = queue;
  state.ChangeQueue(queue);
  return {};
}

}  // namespace

Answer CheckNewDomain(const State& state, const Name& name) {
  if (state.domains.count(name) != 0) return Exists("DOMAIN_EXISTS");
  const bool full = state.UsedBy(name.owner).domains + 1 > state.limits.max_domains;
  return full ? Exhausted("OBJECT_LIMIT") : Answer();
}

Answer AddPaging(State& state, const Name& name, const Domain& domain) {
  Answer refusal = CheckNewDomain(state, name);
  if (!refusal.ok()) return refusal;
  const Space& space = state.spaces.at(domain.ioas);
  for (const auto& [iova, area] : space.areas) {
    if (!IsAligned(area)) return Precondition("IOVA_CONFLICT");
  }
  const Hardware& hardware = *state.hardware;
  const IovaRange outside{uint64_t{1} << hardware.WidthBits(domain.making), kMaxAddress};
  if (Meets(space.areas, outside) || Meets(space.allowed, outside)) {
    return Precondition("IOVA_CONFLICT");
  }
  // What is out of force is not put into the tables.
  for (const auto& [iova, area] : space.areas) {
    if (area.suspended || hardware.Holds(domain.making, area.permission)) continue;
    return Precondition("PERMISSION_UNAVAILABLE");
  }
  Domain& made = state.domains[name] = domain;
  made.made = state.NextVersion();
  return {};
}

Answer EndMaking(const Call& call, State& state, const Name& domain,
                 std::optional<uint64_t> queue) {
  if (queue.has_value()) {
    const Answer refusal = TakeQueue(call, state, *queue, domain);
    if (!refusal.ok()) {
      state.domains.erase(domain);
      return refusal;
    }
  }
  state.ChangeDomain(domain);
  state.changed = true;
  Answer answer;
  answer.said = Sheet(call.in_words);
  ShowDomain(answer.said, state, domain, call.context.principal);
  return answer;
}

void DropIfUnused(State& state, const Target& target) {
  if (target.kind != Target::Kind::kDomain || state.wrong == WrongRule::kAutoDomainsStay) return;
  const Domain& domain = state.domains.at(target.domain);
  if (!domain.automatic || !state.AttachedTo(target).empty()) return;
  const Name ioas = domain.ioas;
  state.domains.erase(target.domain);
  state.touched.domains.push_back(target.domain);
  state.ChangeSpace(ioas);
}

}  // namespace viommu::differential
