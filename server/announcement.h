// server/announcement.h -- Tells people and programs where a daemon listens.
#ifndef VIOMMU_SERVER_ANNOUNCEMENT_H_
#define VIOMMU_SERVER_ANNOUNCEMENT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace viommu {

// The file in the state folder that holds EndpointsJson() while the daemon serves.
inline constexpr absl::string_view kEndpointsFile = "endpoints.json";

// Addresses in use, with the ports that were chosen.
struct Endpoints {
  std::string unix_socket;      // Absolute path.
  std::string tcp_address;      // "host:port"; empty: none.
  std::string metrics_address;  // Likewise.
  std::string health_address;   // Likewise.
};

// One JSON object with the fields of Endpoints that are not empty, and the process id.
std::string EndpointsJson(const Endpoints& endpoints, int process_id);

// What is printed when the daemon is ready: the endpoints, and lines to paste into a shell.
// `grpcurl` is the command that they begin with.
std::string Greeting(const Endpoints& endpoints, absl::string_view grpcurl);

}  // namespace viommu

#endif  // VIOMMU_SERVER_ANNOUNCEMENT_H_
