// tests/differential/region_verbs.h -- The verbs of memory regions.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_REGION_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_REGION_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> RegionVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_REGION_VERBS_H_
