// tests/differential/ioas_verbs.h -- The verbs of IO address spaces.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_IOAS_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_IOAS_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> IoasVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_IOAS_VERBS_H_
