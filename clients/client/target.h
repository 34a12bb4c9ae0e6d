// clients/client/target.h -- Where a server listens, as people write it and as gRPC wants it.
#ifndef VIOMMU_CLIENTS_CLIENT_TARGET_H_
#define VIOMMU_CLIENTS_CLIENT_TARGET_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace viommu {

// Where a server listens.
struct Target {
  std::string grpc;         // For grpc::CreateChannel.
  std::string socket_path;  // Of a unix socket; empty for TCP.
};

// Understands "unix:PATH", "unix:///PATH" (absolute), anything else with a '/' as the path of a
// unix socket, and "HOST:PORT", where an IPv6 address stands in brackets. kInvalidArgument: none of
// these; a path that is empty or longer than a socket's may be; a port
//   that is not 1 to 65535.
absl::StatusOr<Target> ParseTarget(absl::string_view text);

// Whether somebody listens at a unix socket, however long they take to answer. Does not wait.
bool IsListenedAt(const std::string& socket_path);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_CLIENT_TARGET_H_
