// tests/differential/pasid_verbs.h -- Taking PASIDs and freeing them.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_PASID_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_PASID_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> PasidVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_PASID_VERBS_H_
