// clients/demo/http_get.h -- Fetches one page over plain HTTP from this host.
#ifndef VIOMMU_CLIENTS_DEMO_HTTP_GET_H_
#define VIOMMU_CLIENTS_DEMO_HTTP_GET_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace viommu {

// The body of http://`address``path`; `address` is "IPV4:PORT", `path` starts with a slash.
// kInvalidArgument: `address` is something else.
// kUnavailable: nobody answers, or not with 200.
// kDeadlineExceeded: the whole page is not there within `timeout`.
absl::StatusOr<std::string> HttpGet(const std::string& address, const std::string& path,
                                    absl::Duration timeout = absl::Seconds(10));

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_HTTP_GET_H_
