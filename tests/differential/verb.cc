#include "tests/differential/verb.h"

#include <iterator>

namespace viommu::differential {
namespace {

constexpr uint64_t kIds = 4;  // Of a kind and an owner.
constexpr uint64_t kPageBytes = 4096;

std::string ChildId(const std::string& viommu, uint64_t id, Sort sort) {
  return viommu + (sort == Sort::kVdevice ? "/vdevices/" : "/eventQueues/") + IdOf(id, sort, "");
}

// Where something begins or ends: nothing, the reserved regions of the devices, the interrupt
// window, the apertures, everything.
constexpr Iova kEdges[] = {0,          0x20000,       0x24000,       0x30000,       0xfee00000,
                           0xfef00000, Iova{1} << 39, Iova{1} << 47, Iova{1} << 48, Iova{1} << 56,
                           0x28000,    0x2c000,       ~Iova{0xfff},  ~Iova{0x1fff}};

// Stands for no object.
constexpr uint64_t kNobodysId = kIds;

// Whose object a name means.
std::string OwnerOf(const Naming& naming, Caller caller) {
  return PrincipalOf(naming.owner == 0 ? caller : static_cast<Caller>(naming.owner - 1));
}

}  // namespace

ObjectRef Call::Ref(uint64_t argument, Sort sort) const {
  const Naming naming = Naming::Of(argument);
  ObjectRef ref;
  ref.id = IdOf(naming.id, sort, latest);
  if (naming.owner != 0) ref.owner = PrincipalOf(static_cast<Caller>(naming.owner - 1));
  return ref;
}

ObjectRef Call::ChildRef(uint64_t viommu, uint64_t argument, Sort sort) const {
  ObjectRef ref = Ref(viommu, Sort::kViommu);
  ref.id = ChildId(ref.id, argument, sort);
  return ref;
}

Name Call::Made(uint64_t argument, Sort sort, const std::string& owner) const {
  const std::string id = NewId(argument, sort);
  return {owner, id.empty() ? made_up : id};
}

std::string Call::DeviceId(uint64_t argument) { return IdOf(argument, Sort::kDevice, ""); }

uint64_t InventEtag(Dice& dice) {
  if (!dice.OneIn(4)) return kNoEtag;
  return dice.OneIn(3) ? kOldEtag : kCurrentEtag;
}

std::string EtagOf(uint64_t argument, const std::string& current) {
  if (argument == kNoEtag) return "";
  return argument == kCurrentEtag ? current : "0-0";
}

uint64_t InventName(Dice& dice, const State& state, Caller caller, Sort sort) {
  Naming naming;
  // An operator works for others half the time; a tenant seldom tries to.
  if (dice.OneIn(caller == Caller::kRoot ? 2 : 16)) naming.owner = 1 + dice.Below(kCallers);
  naming.id = dice.OneIn(10) ? kLatestId : dice.Below(kIds);
  // What has a name that was made up can be named only while it is the latest.
  if (naming.id == kLatestId || dice.OneIn(10)) return naming.argument();
  const std::string owner = OwnerOf(naming, caller);
  std::vector<uint64_t> there;
  for (uint64_t id = 0; id < kIds; ++id) {
    if (state.Has(sort, {owner, IdOf(id, sort, "")})) there.push_back(id);
  }
  if (!there.empty()) naming.id = dice.Any(there);
  return naming.argument();
}

uint64_t InventQueueFor(Dice& dice, const State& state, Caller caller, uint64_t base) {
  const uint64_t owner = Naming::Of(base).owner;
  std::vector<uint64_t> there;
  for (uint64_t id = 0; id < kIds; ++id) {
    const Naming naming{owner, id};
    const Name name{OwnerOf(naming, caller), IdOf(id, Sort::kFaultQueue, "")};
    if (state.Has(Sort::kFaultQueue, name)) there.push_back(naming.argument());
  }
  if (there.empty() || dice.OneIn(8)) return InventName(dice, state, caller, Sort::kFaultQueue);
  return dice.Any(there);
}

uint64_t InventChild(Dice& dice, const State& state, Caller caller, uint64_t viommu, Sort sort) {
  const Naming naming = Naming::Of(viommu);
  const std::string of = IdOf(naming.id, Sort::kViommu, "");
  std::vector<uint64_t> there;
  for (uint64_t id = 0; id < kIds; ++id) {
    if (state.Has(sort, {OwnerOf(naming, caller), ChildId(of, id, sort)})) there.push_back(id);
  }
  return there.empty() || dice.OneIn(6) ? dice.Below(kIds) : dice.Any(there);
}

uint64_t InventDomain(Dice& dice, const State& state, Caller caller, bool (*fits)(const Domain&)) {
  std::vector<uint64_t> fitting;
  for (uint64_t owner = 0; owner <= kCallers; ++owner) {
    const bool own = owner == 0 || owner - 1 == static_cast<uint64_t>(caller);
    if (!own && caller != Caller::kRoot) continue;
    for (uint64_t id = 0; id < kIds; ++id) {
      const Naming naming{owner, id};
      const auto it = state.domains.find({OwnerOf(naming, caller), IdOf(id, Sort::kDomain, "")});
      if (it != state.domains.end() && fits(it->second)) fitting.push_back(naming.argument());
    }
  }
  if (fitting.empty() || dice.OneIn(6)) return InventName(dice, state, caller, Sort::kDomain);
  return dice.Any(fitting);
}

uint64_t InventNewName(Dice& dice) { return dice.OneIn(40) ? kMadeUpId : dice.Below(kIds); }

uint64_t InventDevice(Dice& dice, const State& state) {
  return dice.OneIn(50) ? 99 : dice.Below(state.devices.size());
}

uint64_t InventPasid(Dice& dice) {
  if (dice.OneIn(12)) return dice.Below(2) * 0xfffff;
  return 1 + dice.Below(dice.OneIn(8) ? 8 : 2);
}

uint64_t InventIova(Dice& dice, const Areas& areas) {
  const uint64_t nudge = dice.OneIn(24) ? dice.Below(64) * 0x80 : 0;
  if (!areas.empty() && dice.OneIn(3)) {
    const IovaRange& range = dice.Any(areas).second.range;
    return dice.OneIn(2) ? range.first : range.last + 1;  // Behind the very last: 0.
  }
  if (dice.OneIn(6)) return dice.Any(kEdges) - kPageBytes * dice.Below(3) + nudge;
  return kPageBytes * dice.Below(64) + nudge;
}

uint64_t InventLength(Dice& dice) {
  if (dice.OneIn(100)) return 0;
  if (dice.OneIn(100)) return kMaxAddress - dice.Below(3) * kPageBytes;
  if (dice.OneIn(24)) return 1 + dice.Below(0x3000);
  if (dice.OneIn(24)) return uint64_t{2} << 20;
  return kPageBytes * (1 + dice.Below(8));
}

uint64_t InventOffset(Dice& dice) {
  if (dice.OneIn(24)) return dice.Below(0x4000);
  if (dice.OneIn(60)) return 0 - dice.Below(4) * kPageBytes;
  if (dice.OneIn(16)) return (uint64_t{2} << 20) * dice.Below(4);
  return kPageBytes * dice.Below(64);
}

uint64_t InventPermission(Dice& dice) {
  return dice.OneIn(60) ? 4 * dice.Below(2) : 1 + dice.Below(3);
}

const Areas& AreasOf(const State& state, Caller caller, uint64_t ioas) {
  static const Areas* const none = new Areas();
  const Naming naming = Naming::Of(ioas);
  const auto it = state.spaces.find({OwnerOf(naming, caller), IdOf(naming.id, Sort::kIoas, "")});
  return it == state.spaces.end() ? *none : it->second.areas;
}

uint64_t InventHeldDevice(Dice& dice, const State& state, Caller caller) {
  return InventUser(dice, state, caller, kNobodysId);
}

uint64_t InventUser(Dice& dice, const State& state, Caller caller, uint64_t ioas_or_domain) {
  const Naming naming = Naming::Of(ioas_or_domain);
  const std::string owner = OwnerOf(naming, caller);
  const auto domain = state.domains.find({owner, IdOf(naming.id, Sort::kDomain, "")});
  std::vector<uint64_t> users;
  for (size_t device = 0; device < state.devices.size(); ++device) {
    if (!state.devices[device].present || state.GroupOf(device).claimed_by != owner) continue;
    const bool may =
        domain == state.domains.end() || state.hardware->Compatible(device, domain->second.making);
    if (may) users.push_back(device);
  }
  if (users.empty() || dice.OneIn(8)) return InventDevice(dice, state);
  return dice.Any(users);
}

Answer MayName(const Call& call, const ObjectRef& ref, Name* named) {
  const std::string& me = call.context.principal;
  if (ref.owner.has_value() && *ref.owner != me && !call.context.is_operator) {
    return Forbidden("NOT_OPERATOR");
  }
  *named = {ref.owner.value_or(me), ref.id};
  return {};
}

Answer FindRegion(const Call& call, const State& state, uint64_t argument, Name* found) {
  return Find(call, argument, Sort::kRegion, "MEMORY_REGION", state.regions, found);
}

Answer FindSpace(const Call& call, const State& state, uint64_t argument, Name* found) {
  return Find(call, argument, Sort::kIoas, "IOAS", state.spaces, found);
}

Answer FindDomain(const Call& call, const State& state, uint64_t argument, Name* found) {
  return Find(call, argument, Sort::kDomain, "DOMAIN", state.domains, found);
}

Answer FindQueue(const Call& call, const State& state, uint64_t argument, Name* found) {
  return Find(call, argument, Sort::kFaultQueue, "FAULT_QUEUE", state.queues, found);
}

Answer FindViommu(const Call& call, const State& state, uint64_t argument, Name* found) {
  return Find(call, argument, Sort::kViommu, "VIOMMU", state.viommus, found);
}

Answer FindDevice(const State& state, uint64_t argument, size_t* found) {
  *found = argument;
  const bool there = argument < state.devices.size() && state.devices[argument].present;
  return there ? Answer() : Missing("DEVICE_NOT_FOUND");
}

Answer CheckClaimed(const State& state, size_t device, const std::string& principal) {
  if (state.GroupOf(device).claimed_by == principal) return {};
  return Precondition("DEVICE_NOT_CLAIMED");
}

void TouchMapping(State& state, const Name& ioas, const Name& region) {
  state.touched.spaces.push_back(ioas);
  state.touched.regions.push_back(region);
}

std::string Shown(const char* collection, const Name& name, const std::string& viewer) {
  const std::string own = std::string(collection) + "/" + name.id;
  return name.owner == viewer ? own : "owners/" + name.owner + "/" + own;
}

}  // namespace viommu::differential
