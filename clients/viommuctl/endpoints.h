// clients/viommuctl/endpoints.h -- Where a daemon of this host is expected to be.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_ENDPOINTS_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_ENDPOINTS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace viommu {

// The target that `flag` (--target) or else the environment (VIOMMU_TARGET) names, or the socket
// that viommud makes by default, in the folder .state of the working directory.
std::string TargetFrom(absl::string_view flag);

// Where the daemon at `target` serves its metrics, "IPV4:PORT": as it says in endpoints.json beside
// its socket. A daemon that was killed leaves that behind: believe it only if the target answers.
// kInvalidArgument: the target is no socket, so that there is nothing to look at.
// kUnavailable: there is no such file, or it is malformed, or it says that no metrics are served.
absl::StatusOr<std::string> MetricsAddressAt(absl::string_view target);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_ENDPOINTS_H_
