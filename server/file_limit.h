// server/file_limit.h -- How many connections the process's limit of open files has room for.
#ifndef VIOMMU_SERVER_FILE_LIMIT_H_
#define VIOMMU_SERVER_FILE_LIMIT_H_

#include <cstdint>

namespace viommu {

// A connection has two descriptors: gRPC's, and the one by which its end is seen.
inline constexpr uint64_t kFilesPerConnection = 2;
// A tenant's listener has its socket, and what its thread waits with.
inline constexpr uint64_t kFilesPerListener = 4;
// What all else needs: libraries' own files, operators' sockets, metrics, the state folder.
inline constexpr uint64_t kOtherFiles = 64;
// Fewer connections are no service.
inline constexpr int kLeastConnections = 8;

// How many of `wanted` connections fit into `files` open files beside `listeners` of tenants.
int ConnectionsWithin(uint64_t files, int wanted, int listeners = 0);

// Raises the soft limit of open files as far as `wanted` connections and `listeners` need and the
// hard limit lets; answers how many connections fit then.
int MakeRoomForConnections(int wanted, int listeners = 0);

}  // namespace viommu

#endif  // VIOMMU_SERVER_FILE_LIMIT_H_
