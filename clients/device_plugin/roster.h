// clients/device_plugin/roster.h -- What the kubelet is told of the devices of a resource.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_ROSTER_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_ROSTER_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clients/device_plugin/inventory.h"
#include "clients/device_plugin/plugin_config.h"
#include "clients/device_plugin/preferred.h"
#include "kubelet/deviceplugin/v1beta1/deviceplugin.pb.h"

namespace viommu {

// One device of a resource. Healthy, it can be given to a container, or one has it.
struct RosterEntry {
  std::string id;
  std::optional<int> numa_node;  // None: not known.
  // Why it is unhealthy, empty when it is healthy: VIOMMUD_AWAY; STATE_LOST: viommud was started
  // anew while a container had it, and still has; DEVICE_UNHEALTHY; NOT_CLAIMED: the host still has
  // it; CLAIMED_ELSEWHERE: somebody else has it; OTHER_RESOURCE: a pod has it by the name of
  // another resource.
  std::string reason;
  std::string detail;
  bool allocated = false;

  // Whether the kubelet is told the same of both, for the same reason.
  friend bool operator==(const RosterEntry& a, const RosterEntry& b) {
    return a.id == b.id && a.numa_node == b.numa_node && a.reason == b.reason;
  }
};

// The devices of the resource, by id. `resource` is one of `resources`.
std::vector<RosterEntry> RosterOf(const std::vector<OfferedResource>& resources,
                                  const OfferedResource& resource, const InventoryState& state);

// As the kubelet wants it.
::v1beta1::ListAndWatchResponse ListOf(const std::vector<RosterEntry>& roster);

// What the choice of devices depends on, for all devices that there are.
std::map<std::string, Placement> PlacementsOf(const InventoryState& state);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_ROSTER_H_
