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

// One line of a table: a value for each scrape.
struct MetricRow {
  std::string name;
  std::vector<double> values;
};

// The series that do not have the same value in all `scrapes`, of metrics whose names begin with
// `prefix`; by name. Without histogram buckets and sums of seconds: too many, and always different.
std::vector<MetricRow> MovedSeries(const std::vector<Samples>& scrapes, absl::string_view prefix);

// The sum over all series of one metric.
MetricRow SumRow(const std::vector<Samples>& scrapes, absl::string_view name);

// With a line of headings, one for each scrape.
std::string FormatTable(const std::vector<MetricRow>& rows,
                        const std::vector<std::string>& headings);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_METRICS_DIFF_H_
