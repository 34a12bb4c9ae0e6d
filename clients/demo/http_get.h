// clients/demo/http_get.h -- Fetches one page over plain HTTP from this host.
#ifndef VIOMMU_CLIENTS_DEMO_HTTP_GET_H_
#define VIOMMU_CLIENTS_DEMO_HTTP_GET_H_

#include <string>

#include "absl/status/statusor.h"

namespace viommu {

// The body of http://`address``path`; `address` is "IPV4:PORT", `path` starts with a slash.
// kInvalidArgument: `address` is something else. kUnavailable: nobody answers, or not with 200.
absl::StatusOr<std::string> HttpGet(const std::string& address, const std::string& path);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_HTTP_GET_H_
