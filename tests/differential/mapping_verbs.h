// tests/differential/mapping_verbs.h -- The verbs of areas: map, unmap, copy.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_MAPPING_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_MAPPING_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> MappingVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_MAPPING_VERBS_H_
