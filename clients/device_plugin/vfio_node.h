// clients/device_plugin/vfio_node.h -- Which /dev/vfio/devices/vfioN a PCI device is.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_VFIO_NODE_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_VFIO_NODE_H_

#include <string>

#include "absl/status/statusor.h"

namespace viommu {

// "vfio3", as {sysfs_dir}/bus/pci/devices/{pci_address}/vfio-dev/ says.
// kFailedPrecondition NO_VFIO_NODE: it has none, because no VFIO driver has it, or the kernel has
// no
//   character devices of VFIO.
absl::StatusOr<std::string> VfioNode(const std::string& sysfs_dir, const std::string& pci_address);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_VFIO_NODE_H_
