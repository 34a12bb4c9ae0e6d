// clients/viommuctl/exit_code.h -- What a script learns from the exit code.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_EXIT_CODE_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_EXIT_CODE_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace viommu {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,
  kExitUsage = 2,
  kExitNotFound = 3,
  kExitRefused = 4,
  kExitPermission = 5,
  kExitExhausted = 6,
  kExitUnavailable = 7,
  kExitExists = 8,
  kExitUnimplemented = 9,
  kExitFault = 10,
};

struct ExitCodeMeaning {
  ExitCode code;
  absl::string_view meaning;
};

// All of them, ascending, for the reference.
absl::Span<const ExitCodeMeaning> ExitCodes();

// The exit code of a command that ends with `status`.
ExitCode ExitCodeOf(const absl::Status& status);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_EXIT_CODE_H_
