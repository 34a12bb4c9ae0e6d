// tests/conformance/check.h -- Whether a call was refused as its row says.
#ifndef VIOMMU_TESTS_CONFORMANCE_CHECK_H_
#define VIOMMU_TESTS_CONFORMANCE_CHECK_H_

#include <string>

#include "absl/status/status.h"
#include "tests/conformance/case.h"

namespace viommu::conformance {

// One line for each thing that is not as expected; empty: all is.
std::string CompareRefusal(const Refusal& expected, const absl::Status& status);

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_CHECK_H_
