#include "tests/differential/attaching.h"

#include "tests/differential/faults.h"
#include "tests/differential/making.h"

namespace viommu::differential {

void ChangeMembers(State& state, size_t device) {
  for (const size_t member : state.GroupOf(device).members) state.ChangeDevice(member);
}

void TouchPasids(State& state, size_t device) {
  for (const size_t member : state.GroupOf(device).members) {
    state.touched.devices.push_back(member);
  }
}

void ChangeTarget(State& state, const Target& target) {
  if (target.kind != Target::Kind::kDomain) return;
  state.ChangeDomain(target.domain);
  state.touched.spaces.push_back(state.domains[target.domain].ioas);
}

void Leave(State& state, size_t device, Spot at) {
  Isolation& group = state.GroupOf(device);
  const Target left = group.targets.at(at);
  if (state.AttachedAt(device, at).size() == 1) Withdraw(state, group.members, at, left);
  state.devices[device].attached.erase(at);
  state.ChangeDevice(device);
  TouchPasids(state, device);
  if (state.AttachedAt(device, at).empty()) {
    group.targets.erase(at);
    if (!at.has_value()) {
      ChangeMembers(state, device);
    } else if (group.pasids.at(*at).how == Taken::How::kByAttaching &&
               state.wrong != WrongRule::kDetachKeepsPasids) {
      group.pasids.erase(*at);
    }
  }
  ChangeTarget(state, left);
  DropIfUnused(state, left);
}

Answer CheckIdentity(const Call& call, const State& state, size_t device) {
  if (!call.context.is_operator) return Forbidden("IDENTITY_NOT_ALLOWED");
  const std::vector<size_t>& members = state.GroupOf(device).members;
  for (const size_t member : members) {
    const DeviceSpec& spec = state.hardware->topology.devices[member];
    if (spec.untrusted || !spec.allow_identity) return Forbidden("IDENTITY_NOT_ALLOWED");
  }
  for (const size_t member : members) {
    if (!state.hardware->HasPassThrough(member)) return Unimplemented("IDENTITY_UNAVAILABLE");
  }
  return {};
}

Answer CheckHeld(const Call& call, const State& state, size_t device) {
  if (call.context.is_operator && !state.GroupOf(device).claimed_by.empty()) return {};
  return CheckClaimed(state, device, call.context.principal);
}

Answer CheckPasid(const State& state, size_t device, uint64_t pasid) {
  if (pasid == 0) return Invalid("INVALID_PASID");
  const uint32_t highest = state.hardware->HighestPasid(state.GroupOf(device).members);
  if (highest == 0) return Unimplemented("PASID_UNAVAILABLE");
  return pasid > highest ? Beyond("PASID_OUT_OF_RANGE") : Answer();
}

std::string NameAt(size_t device, Spot at) {
  const std::string name = "devices/" + Call::DeviceId(device);
  return at.has_value() ? name + " pasid " + std::to_string(*at) : name;
}

}  // namespace viommu::differential
