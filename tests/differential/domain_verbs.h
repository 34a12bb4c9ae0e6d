// tests/differential/domain_verbs.h -- The verbs of PAGING domains.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_DOMAIN_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_DOMAIN_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> DomainVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_DOMAIN_VERBS_H_
