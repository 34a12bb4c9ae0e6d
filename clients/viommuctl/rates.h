// clients/viommuctl/rates.h -- What a daemon did between two looks at its metrics.
#ifndef VIOMMU_CLIENTS_VIOMMUCTL_RATES_H_
#define VIOMMU_CLIENTS_VIOMMUCTL_RATES_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "clients/demo/metrics_diff.h"

namespace viommu {

// Two scrapes of the same daemon, `between` apart.
struct TwoScrapes {
  Samples before;
  Samples after;
  absl::Duration between;
};

// The value of `label` in "name{label=\"value\",...}"; empty when it has none.
std::string LabelOf(absl::string_view series, absl::string_view label);

// By how much per second the sum over the series of `metric` has risen. A daemon that was started
// anew meanwhile counts from 0.
double RateOf(const TwoScrapes& scrapes, absl::string_view metric);

// The same over those series whose `label` has `value`.
double RateOf(const TwoScrapes& scrapes, absl::string_view metric, absl::string_view label,
              absl::string_view value);

// The page that `top` shows.
std::string TopPage(const TwoScrapes& scrapes, absl::string_view address);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_VIOMMUCTL_RATES_H_
