// clients/device_plugin/preferred.h -- Which of the free devices a container had best get.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_PREFERRED_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_PREFERRED_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace viommu {

// What matters of a device for the choice.
struct Placement {
  std::optional<int> numa_node;  // None: not known.
  std::string group;             // Of its IOMMU; empty: it is alone.
  // Another allocation has a device of the group, so that this one could not be given away.
  bool sibling_taken = false;
};

// Chooses `size` of `available`, all of `must_include` that are among them first. Devices of one
// group stay together, whole groups are preferred to parts of others, and everything to one NUMA
// node: the one with the fewest free devices that has enough. Devices with a sibling that is taken
// come last. Unknown ids count as alone and near to no node. There is always an answer; it is
// shorter when there are fewer devices. The same question has the same answer.
std::vector<std::string> ChoosePreferred(const std::map<std::string, Placement>& placements,
                                         const std::vector<std::string>& available,
                                         const std::vector<std::string>& must_include, size_t size);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_PREFERRED_H_
