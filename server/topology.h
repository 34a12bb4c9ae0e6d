// server/topology.h -- From the text of viommu.config.v1.Topology to the engine's plain values.
#ifndef VIOMMU_SERVER_TOPOLOGY_H_
#define VIOMMU_SERVER_TOPOLOGY_H_

#include <string>

#include "absl/strings/string_view.h"
#include "engine/backend/topology.h"
#include "server/text_file.h"

namespace viommu {

// Reads a topology. Every problem is appended, as "name:line:column: field: what is wrong"; the
// answer can be used only when there was none.
Topology ParseTopology(absl::string_view name, absl::string_view text, Problems* problems);

// The topology in the file `path`; the one built in when `path` is empty.
Topology LoadTopology(const std::string& path, Problems* problems);

}  // namespace viommu

#endif  // VIOMMU_SERVER_TOPOLOGY_H_
