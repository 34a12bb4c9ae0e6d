// clients/demo/metrics_diff.h -- Which metrics moved between several scrapes.
#ifndef VIOMMU_CLIENTS_DEMO_METRICS_DIFF_H_
#define VIOMMU_CLIENTS_DEMO_METRICS_DIFF_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace viommu {

// Values by series, "name{label=\"value\"}", of one scrape in Prometheus's text format. What is no
// sample is left out.
using Samples = std::map<std::string, double>;
Samples ParseSamples(absl::string_view text);

// Sum over the series of metric `name`; 0 when there is none.
double SumOf(const Samples& samples, absl::string_view name);

// Series that do not have the same value in all `scrapes`, of metrics whose name begins with one of
// `prefixes`; without histogram buckets, and without sums of seconds: those always differ.
std::vector<std::string> MovedSeries(const std::vector<Samples>& scrapes,
                                     const std::vector<std::string>& prefixes);

// A table: one line for each of `series`, one column for each scrape.
std::string FormatSeries(const std::vector<std::string>& series,
                         const std::vector<Samples>& scrapes,
                         const std::vector<std::string>& headings);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_METRICS_DIFF_H_
