// tests/differential/attach_verbs.h -- Attaching devices, replacing and detaching: RIDs and PASIDs,
// to domains and to address spaces.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_ATTACH_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_ATTACH_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> AttachVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_ATTACH_VERBS_H_
