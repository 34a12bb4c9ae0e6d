// server/program.h -- What viommud and the daemons beside it have in common as programs.
#ifndef VIOMMU_SERVER_PROGRAM_H_
#define VIOMMU_SERVER_PROGRAM_H_

#include "absl/strings/string_view.h"
#include "server/text_file.h"

namespace viommu {

// They are released together.
inline constexpr char kVersion[] = "0.1.0";

// Exit codes besides 0, for one that stopped when it was told to.
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUnusableSettings = 2;

// Says on standard error what is wrong with the settings of `program`; returns the exit code.
int RefuseSettings(absl::string_view program, const Problems& problems);

// What holds for the whole process, before its first thread: gRPC writes no lines of its own, and
// what is made from here on is open to nobody else.
void PrepareProcess();

}  // namespace viommu

#endif  // VIOMMU_SERVER_PROGRAM_H_
