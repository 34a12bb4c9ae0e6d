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

// Ids of the devices of these resources that containers have. `socket` is that of the API.
// The call's error, kUnavailable above all: nobody answers there.
absl::StatusOr<std::set<std::string>> DevicesOfPods(const std::string& socket,
                                                    const std::vector<OfferedResource>& resources);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_POD_DEVICES_H_
