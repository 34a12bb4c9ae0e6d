// tests/differential/device_verbs.h -- The verbs of devices: claims, attachments, default domains,
// health.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_DEVICE_VERBS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_DEVICE_VERBS_H_

#include "absl/types/span.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

absl::Span<const Verb> DeviceVerbs();

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_DEVICE_VERBS_H_
