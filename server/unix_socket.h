// server/unix_socket.h -- Makes way for a unix socket, without taking it from a live daemon.
#ifndef VIOMMU_SERVER_UNIX_SOCKET_H_
#define VIOMMU_SERVER_UNIX_SOCKET_H_

#include <string>

#include "absl/status/status.h"

namespace viommu {

// Removes the socket at `path` that a daemon left when it died; nothing there is fine.
// kUnavailable SOCKET_IN_USE: somebody accepts connections on it.
// kFailedPrecondition SOCKET_UNUSABLE: something else is at `path`, or it can not be looked at or
//   removed.
absl::Status RemoveStaleSocket(const std::string& path);

}  // namespace viommu

#endif  // VIOMMU_SERVER_UNIX_SOCKET_H_
