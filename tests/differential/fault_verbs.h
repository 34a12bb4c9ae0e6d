// tests/differential/fault_verbs.h -- Verbs of fault queues and page faults.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_FAULT_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_FAULT_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> FaultVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_FAULT_VERBS_H_
