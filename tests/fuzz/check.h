// tests/fuzz/check.h -- Ends the process when a fuzz target finds an invariant broken.
#ifndef VIOMMU_TESTS_FUZZ_CHECK_H_
#define VIOMMU_TESTS_FUZZ_CHECK_H_

#include <cstdio>
#include <cstdlib>

#include "absl/strings/string_view.h"

namespace viommu::fuzz {

// libFuzzer keeps the input of a process that aborts; so does the replay.
inline void Check(bool holds, absl::string_view what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %.*s\n", static_cast<int>(what.size()), what.data());
  std::abort();
}

}  // namespace viommu::fuzz

#endif  // VIOMMU_TESTS_FUZZ_CHECK_H_
