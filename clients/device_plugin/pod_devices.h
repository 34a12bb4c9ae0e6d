// clients/device_plugin/pod_devices.h -- Which devices the pods of the node have, as the kubelet's
// pod-resources API says.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_POD_DEVICES_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_POD_DEVICES_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "clients/device_plugin/plugin_config.h"

namespace viommu {

// Ids of devices that containers have.
struct PodDevices {
  std::set<std::string> offered;  // Of these resources.
  // Of any, these among them: what was offered under another name before is still in use.
  std::set<std::string> all;
};

// `socket` is that of the API.
// The call's error, kUnavailable above all: nobody answers there.
absl::StatusOr<PodDevices> DevicesOfPods(const std::string& socket,
                                         const std::vector<OfferedResource>& resources);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_POD_DEVICES_H_
