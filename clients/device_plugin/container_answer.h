// clients/device_plugin/container_answer.h -- What the kubelet puts into a container that has been
// given devices.
//
//   VIOMMU_{RESOURCE}_SOCKET      path of the socket of its allocation, in the container
//   VIOMMU_{RESOURCE}_DEVICES     "devices/0000:01:00.0,...", names of its devices
//   VIOMMU_{RESOURCE}_IOAS        "ioas/main"
//   VIOMMU_{RESOURCE}_DOMAINS     "domains/main0,...", what the devices are attached to
//   VIOMMU_{RESOURCE}_ALLOCATION  its name, for logs
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_CONTAINER_ANSWER_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_CONTAINER_ANSWER_H_

#include "absl/status/statusor.h"
#include "clients/device_plugin/allocator.h"
#include "clients/device_plugin/plugin_config.h"
#include "kubelet/deviceplugin/v1beta1/deviceplugin.pb.h"

namespace viommu {

// The answer for one container.
// kFailedPrecondition NO_VFIO_NODE: device nodes are wanted, and a device has none
absl::StatusOr<::v1beta1::ContainerAllocateResponse> ContainerAnswer(
    const PluginConfig& config, const OfferedResource& resource, const Allocation& allocation);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_CONTAINER_ANSWER_H_
