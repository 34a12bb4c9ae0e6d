// tests/differential/guest_verbs.h -- Verbs of what guests do with their Viommus: stages, commands,
// events.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_GUEST_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_GUEST_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> GuestVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_GUEST_VERBS_H_
