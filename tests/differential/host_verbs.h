// tests/differential/host_verbs.h -- The verbs of the host's own mappings.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_HOST_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_HOST_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> HostVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_HOST_VERBS_H_
