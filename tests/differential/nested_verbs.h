// tests/differential/nested_verbs.h -- NESTED domains and the invalidation of what they cache.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_NESTED_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_NESTED_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> NestedVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_NESTED_VERBS_H_
