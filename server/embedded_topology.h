// server/embedded_topology.h -- The topology that is built into the binary.
#ifndef VIOMMU_SERVER_EMBEDDED_TOPOLOGY_H_
#define VIOMMU_SERVER_EMBEDDED_TOPOLOGY_H_

#include "absl/strings/string_view.h"

namespace viommu {

// Where it comes from; stands in front of its problems.
inline constexpr absl::string_view kEmbeddedTopologyName = "deploy/topologies/default.textproto";

// Its text.
absl::string_view EmbeddedTopology();

}  // namespace viommu

#endif  // VIOMMU_SERVER_EMBEDDED_TOPOLOGY_H_
