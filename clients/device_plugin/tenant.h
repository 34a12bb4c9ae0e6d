// clients/device_plugin/tenant.h -- What a container finds when it first looks: an IO address
// space, domains on it, and its devices, as new, attached.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_TENANT_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_TENANT_H_

#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "viommu/config/v1/device_plugin.pb.h"

namespace viommu {

struct Furnishing {
  std::string ioas;                  // Its name.
  std::vector<std::string> domains;  // The names of the domains, as many as the IOMMUs need.
};

// Makes it, through the socket of the tenant's listener and so as the tenant. The devices must be
// claimed for it; they are reset before any is attached, and so is all that their groups bring
// along. What was made stays when that fails.
// As Client::Connect and Client::Call.
absl::StatusOr<Furnishing> Furnish(const std::string& socket, const std::set<std::string>& devices,
                                   const config::v1::AllocationDomain& domain);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_TENANT_H_
