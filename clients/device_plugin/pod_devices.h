// clients/device_plugin/pod_devices.h -- Which devices the pods of the node have, as the kubelet's
// pod-resources API says.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_POD_DEVICES_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_POD_DEVICES_H_

#include <map>
#include <set>
#include <string>

#include "absl/status/statusor.h"

namespace viommu {

// Devices that containers have, by id: names of the resources that the kubelet counts each for.
// Others than those that are offered, too: what was offered by another name before is still in use.
using PodDevices = std::map<std::string, std::set<std::string>>;

// `socket` is that of the API; `own_pod`, "namespace/name", is a pod that runs, or empty.
// kUnavailable PODS_NOT_KNOWN: the kubelet does not tell of that pod, and so may not know of others
//   either. It learns of all pods of the API server at once (kubelet, config/apiserver.go: SET),
//   and tells of each, whether it has devices or not (podresources/server_v1.go: List).
// The call's error, kUnavailable above all: nobody answers there.
absl::StatusOr<PodDevices> DevicesOfPods(const std::string& socket, const std::string& own_pod);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_POD_DEVICES_H_
