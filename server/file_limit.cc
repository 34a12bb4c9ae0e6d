#include "server/file_limit.h"

#include <sys/resource.h>

#include <algorithm>

namespace viommu {

namespace {

uint64_t OtherFiles(int listeners) {
  return kOtherFiles + kFilesPerListener * static_cast<uint64_t>(listeners);
}

}  // namespace

int ConnectionsWithin(uint64_t files, int wanted, int listeners) {
  const uint64_t others = OtherFiles(listeners);
  const uint64_t free = files < others ? 0 : files - others;
  const uint64_t room = std::max<uint64_t>(free / kFilesPerConnection, kLeastConnections);
  return static_cast<int>(std::min<uint64_t>(room, static_cast<uint64_t>(wanted)));
}

int MakeRoomForConnections(int wanted, int listeners) {
  rlimit limit = {};
  // It fails for no reason that could apply here; the limit of connections holds in any case.
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  const uint64_t needed =
      OtherFiles(listeners) + kFilesPerConnection * static_cast<uint64_t>(wanted);
  if (limit.rlim_cur < needed) {
    rlimit raised = limit;
    raised.rlim_cur = std::min<rlim_t>(needed, limit.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return ConnectionsWithin(limit.rlim_cur, wanted);
}

}  // namespace viommu
