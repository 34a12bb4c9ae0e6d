#include "tests/differential/faults.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace viommu::differential {
namespace {

// Requests with PASID 0 are served with those without.
Spot PlaceOf(Spot pasid) { return pasid == 0u ? std::nullopt : pasid; }

// Which attachment takes the requests of the device with that PASID. Where there is none for it, a
// guest's SMMUv3 may own the table of its PASIDs.
Spot ServedAt(const State& state, size_t device, Spot pasid) {
  const Isolation& group = state.GroupOf(device);
  const Spot place = PlaceOf(pasid);
  if (group.targets.count(place) != 0) return place;
  const Target whole = State::TargetAt(group, std::nullopt);
  const bool guest =
      whole.kind == Target::Kind::kDomain && state.domains.at(whole.domain).viommu.has_value();
  return guest ? std::nullopt : place;
}

}  // namespace

void Tell(State& state, size_t device, Spot pasid, uint32_t group, PageResponse code) {
  // A request that stalls is either tried again or given up.
  const bool gives_up = state.hardware->Stalls() && code == PageResponse::kFailure;
  std::deque<Told>& told = state.devices[device].told;
  told.push_back({pasid, group, gives_up ? PageResponse::kInvalid : code});
  if (told.size() > Simulation::kKeptPageResponses) told.pop_front();
  state.touched.devices.push_back(device);
  state.stirred = true;
}

void Deliver(State& state, size_t device, Spot pasid, uint32_t group,
             std::vector<FaultedPage> pages) {
  const Spot at = ServedAt(state, device, pasid);
  const Target target = State::TargetAt(state.GroupOf(device), at);
  const bool taken =
      target.kind == Target::Kind::kDomain && state.domains.at(target.domain).queue.has_value();
  if (!taken) return Tell(state, device, pasid, group, PageResponse::kInvalid);
  const Name name = *state.domains.at(target.domain).queue;
  Faults& queue = state.queues.at(name);
  ++queue.groups;
  state.touched.queues.push_back(name);
  state.stirred = true;
  if (queue.waiting.size() == queue.depth) {
    ++queue.lost;
    return Tell(state, device, pasid, group, PageResponse::kFailure);
  }
  queue.waiting[queue.groups] = {++queue.cookies, device,          pasid, group, at,
                                 target.domain,   std::move(pages)};
}

void Withdraw(State& state, const std::vector<size_t>& members, Spot at, const Target& from) {
  // All PASIDs are the guest's there.
  const bool guest =
      from.kind == Target::Kind::kDomain && state.domains.at(from.domain).viommu.has_value();
  for (const size_t member : members) {
    auto& asked = state.devices[member].asked;
    for (auto it = asked.begin(); it != asked.end();) {
      const bool meant = PlaceOf(it->first.first) == at || guest;
      it = meant ? asked.erase(it) : std::next(it);
    }
  }
  if (from.kind != Target::Kind::kDomain || state.wrong == WrongRule::kDetachKeepsFaults) return;
  const std::optional<Name> name = state.domains.at(from.domain).queue;
  if (!name.has_value()) return;
  auto& waiting = state.queues.at(*name).waiting;
  for (auto it = waiting.begin(); it != waiting.end();) {
    const Waiting& group = it->second;
    const bool meant = group.domain == from.domain && group.at == at &&
                       std::count(members.begin(), members.end(), group.device) != 0;
    if (!meant) {
      ++it;
      continue;
    }
    Tell(state, group.device, group.pasid, group.group, PageResponse::kInvalid);
    it = waiting.erase(it);
  }
  state.touched.queues.push_back(*name);
}

void WithdrawAll(State& state, size_t device) {
  for (const auto& [at, target] : state.GroupOf(device).targets) {
    Withdraw(state, {device}, at, target);
  }
  state.devices[device].asked.clear();
}

}  // namespace viommu::differential
