#include "server/program.h"

#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "grpc/grpc.h"

namespace viommu {

int RefuseSettings(absl::string_view program, const Problems& problems) {
  const std::string text =
      absl::StrCat(program, ": unusable settings:\n  ", absl::StrJoin(problems, "\n  "), "\n");
  std::fputs(text.c_str(), stderr);
  return kExitUnusableSettings;
}

void PrepareProcess() {
  // gRPC would write lines of its own between ours; what matters in them comes back as a Status.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  // Held until the process ends: giving gRPC up waits for its poller, for up to ten seconds.
  grpc_init();
  // Debian builds absl so that every Lock checks the order of locks; that is for tests, which do.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  // Nobody else may open what is made from here on, not even for a moment.
  umask(0077);
}

}  // namespace viommu
