// tests/differential/viommu_verbs.h -- Verbs of Viommus, vdevices and event queues.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_VIOMMU_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_VIOMMU_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> ViommuVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_VIOMMU_VERBS_H_
