#include "clients/device_plugin/roster.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/device_plugin/selector.h"
#include "viommu/v1/device.pb.h"

namespace viommu {
namespace {

constexpr char kHealthy[] = "Healthy";
constexpr char kUnhealthy[] = "Unhealthy";

struct Ailment {
  std::string reason;  // Empty: none.
  std::string detail;
};

Ailment AilmentOf(const std::string& id, const v1::Device& device, const InventoryState& state) {
  if (!state.present) return {"VIOMMUD_AWAY", state.absence};
  if (state.lost.count(id) != 0) {
    return {"STATE_LOST", "viommud was started anew; what its container had is gone"};
  }
  if (device.health() != v1::DEVICE_HEALTH_HEALTHY) {
    return {"DEVICE_UNHEALTHY", device.health_reason()};
  }
  if (device.ownership() == v1::DEVICE_OWNERSHIP_HOST) {
    return {"NOT_CLAIMED", "the host still has it"};
  }
  if (device.claimed_by() != kIdleOwner && !IsAllocation(device.claimed_by())) {
    return {"CLAIMED_ELSEWHERE", absl::StrCat(device.claimed_by(), " has it")};
  }
  // To the kubelet it is free by this name: it would take it from the pod.
  if (state.renamed.count(id) != 0) {
    return {"OTHER_RESOURCE", "a pod has it by the name of another resource"};
  }
  return {};
}

}  // namespace

std::vector<RosterEntry> RosterOf(const std::vector<OfferedResource>& resources,
                                  const OfferedResource& resource, const InventoryState& state) {
  std::vector<RosterEntry> roster;
  for (const auto& [id, known] : state.devices) {
    if (ResourceOf(resources, known.device, known.hardware) != &resource) continue;
    RosterEntry entry;
    entry.id = id;
    if (known.device.has_numa_node()) entry.numa_node = known.device.numa_node();
    Ailment ailment = AilmentOf(id, known.device, state);
    entry.reason = std::move(ailment.reason);
    entry.detail = std::move(ailment.detail);
    entry.allocated = IsAllocation(known.device.claimed_by());
    roster.push_back(std::move(entry));
  }
  return roster;
}

::v1beta1::ListAndWatchResponse ListOf(const std::vector<RosterEntry>& roster) {
  ::v1beta1::ListAndWatchResponse list;
  for (const RosterEntry& entry : roster) {
    ::v1beta1::Device& device = *list.add_devices();
    device.set_id(entry.id);
    device.set_health(entry.reason.empty() ? kHealthy : kUnhealthy);
    if (entry.numa_node.has_value()) {
      device.mutable_topology()->add_nodes()->set_id(*entry.numa_node);
    }
  }
  return list;
}

std::map<std::string, Placement> PlacementsOf(const InventoryState& state) {
  std::map<std::string, Placement> placements;
  for (const auto& [id, known] : state.devices) {
    Placement& placement = placements[id];
    if (known.device.has_numa_node()) placement.numa_node = known.device.numa_node();
    placement.group = known.device.group();
    // The kubelet asks for what is free: whoever holds its group has got a sibling.
    placement.sibling_taken =
        !known.device.group_members().empty() && IsAllocation(known.device.claimed_by());
  }
  return placements;
}

}  // namespace viommu
