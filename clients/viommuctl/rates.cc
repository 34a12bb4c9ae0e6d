#include "clients/viommuctl/rates.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "clients/viommuctl/table.h"
#include "clients/viommuctl/values.h"

namespace viommu {
namespace {

constexpr size_t kBusiestRpcs = 10;
constexpr int kIndent = 2;

bool IsOf(absl::string_view series, absl::string_view metric) {
  return series == metric || absl::StartsWith(series, absl::StrCat(metric, "{"));
}

double Sum(const Samples& samples, absl::string_view metric, absl::string_view label,
           absl::string_view value) {
  double sum = 0;
  for (const auto& [series, sample] : samples) {
    if (IsOf(series, metric) && (label.empty() || LabelOf(series, label) == value)) sum += sample;
  }
  return sum;
}

std::set<std::string> ValuesOf(const Samples& samples, absl::string_view metric,
                               absl::string_view label) {
  std::set<std::string> values;
  for (const auto& [series, sample] : samples) {
    if (IsOf(series, metric)) values.insert(LabelOf(series, label));
  }
  return values;
}

std::string Number(double value) { return absl::StrFormat("%.1f", value); }
std::string Whole(double value) { return absl::StrFormat("%.0f", value); }

double FailureRate(const TwoScrapes& scrapes, absl::string_view label, absl::string_view value) {
  constexpr absl::string_view kHandled = "grpc_server_handled_total";
  double sum = 0;
  for (const auto& [series, after] : scrapes.after) {
    if (!IsOf(series, kHandled) || LabelOf(series, "grpc_code") == "OK") continue;
    if (!label.empty() && LabelOf(series, label) != value) continue;
    const auto before = scrapes.before.find(series);
    sum += std::max(0.0, after - (before == scrapes.before.end() ? 0 : before->second));
  }
  return sum / absl::ToDoubleSeconds(scrapes.between);
}

std::string MeanMilliseconds(double seconds_rate, double call_rate) {
  return call_rate == 0 ? "" : absl::StrFormat("%.3f", 1000 * seconds_rate / call_rate);
}

// What there is.
std::string Objects(const Samples& now) {
  std::string out;
  for (const std::string& kind : ValuesOf(now, "viommu_objects", "kind")) {
    absl::StrAppend(&out, kind, " ", Whole(Sum(now, "viommu_objects", "kind", kind)), "  ");
  }
  absl::StrAppend(&out, "claimed ", Whole(SumOf(now, "viommu_claimed_devices")), "  attached ",
                  Whole(SumOf(now, "viommu_attached_devices")), "\nmappings ",
                  Whole(SumOf(now, "viommu_mappings")), " (",
                  FormatSize(static_cast<uint64_t>(SumOf(now, "viommu_mapped_bytes"))),
                  ")  table pages ", Whole(SumOf(now, "viommu_table_pages")), "\n");
  return out;
}

// One line for each thing that is counted.
std::string Totals(const TwoScrapes& scrapes) {
  Table table({"PER SECOND", "RATE"});
  table.Add({"RPCs", Number(RateOf(scrapes, "grpc_server_handled_total"))});
  table.Add({"RPCs that failed", Number(FailureRate(scrapes, "", ""))});
  table.Add({"map batches", Number(RateOf(scrapes, "viommu_map_batch_entries_count"))});
  table.Add({"mappings made", Number(RateOf(scrapes, "viommu_map_batch_entries_sum"))});
  table.Add({"unmap batches", Number(RateOf(scrapes, "viommu_unmap_batch_entries_count"))});
  table.Add({"ranges unmapped", Number(RateOf(scrapes, "viommu_unmap_batch_entries_sum"))});
  table.Add({"changes of domain", Number(RateOf(scrapes, "viommu_attach_transitions_total"))});
  table.Add({"invalidations", Number(RateOf(scrapes, "viommu_invalidations_total"))});
  table.Add({"DMA faults", Number(RateOf(scrapes, "viommu_dma_faults_total"))});
  return table.Format(/*with_headings=*/true, kIndent);
}

// The values of `label` whose series of `metric` moved, with their rates.
std::string Moved(const TwoScrapes& scrapes, absl::string_view title, absl::string_view metric,
                  absl::string_view label) {
  Table table({std::string(title), "RATE"});
  for (const std::string& value : ValuesOf(scrapes.after, metric, label)) {
    const double rate = RateOf(scrapes, metric, label, value);
    if (rate != 0) table.Add({value, Number(rate)});
  }
  return table.empty() ? "" : "\n" + table.Format(/*with_headings=*/true, kIndent);
}

std::string Queues(const TwoScrapes& scrapes) {
  constexpr absl::string_view kDepth = "viommu_invalidation_queue_depth";
  Table table({"QUEUE", "DEPTH", "WAITS", "ERRORS"});
  for (const std::string& iommu : ValuesOf(scrapes.after, kDepth, "iommu")) {
    table.Add({iommu, Whole(Sum(scrapes.after, kDepth, "iommu", iommu)),
               Number(RateOf(scrapes, "viommu_invalidation_waits_total", "iommu", iommu)),
               Number(RateOf(scrapes, "viommu_invalidation_errors_total", "iommu", iommu))});
  }
  return "\n" + table.Format(/*with_headings=*/true, kIndent);
}

std::string BusiestRpcs(const TwoScrapes& scrapes) {
  constexpr absl::string_view kLabel = "grpc_method";
  std::vector<std::pair<double, std::string>> by_rate;
  for (const std::string& method : ValuesOf(scrapes.after, "grpc_server_handled_total", kLabel)) {
    const double rate = RateOf(scrapes, "grpc_server_handled_total", kLabel, method);
    if (rate != 0) by_rate.emplace_back(-rate, method);
  }
  if (by_rate.empty()) return "";
  std::sort(by_rate.begin(), by_rate.end());
  by_rate.resize(std::min(by_rate.size(), kBusiestRpcs));
  Table table({"RPC", "RATE", "FAILED", "MEAN-MS"});
  for (const auto& [negative_rate, method] : by_rate) {
    const double seconds = RateOf(scrapes, "grpc_server_handling_seconds_sum", kLabel, method);
    table.Add({method, Number(-negative_rate), Number(FailureRate(scrapes, kLabel, method)),
               MeanMilliseconds(seconds, -negative_rate)});
  }
  return "\n" + table.Format(/*with_headings=*/true, kIndent);
}

}  // namespace

std::string LabelOf(absl::string_view series, absl::string_view label) {
  for (const char before : {'{', ','}) {
    const std::string key = absl::StrCat(absl::string_view(&before, 1), label, "=\"");
    const size_t start = series.find(key);
    if (start == absl::string_view::npos) continue;
    const absl::string_view rest = series.substr(start + key.size());
    return std::string(rest.substr(0, rest.find('"')));
  }
  return "";
}

double RateOf(const TwoScrapes& scrapes, absl::string_view metric) {
  return RateOf(scrapes, metric, "", "");
}

double RateOf(const TwoScrapes& scrapes, absl::string_view metric, absl::string_view label,
              absl::string_view value) {
  const double before = Sum(scrapes.before, metric, label, value);
  const double after = Sum(scrapes.after, metric, label, value);
  return (after < before ? after : after - before) / absl::ToDoubleSeconds(scrapes.between);
}

std::string TopPage(const TwoScrapes& scrapes, absl::string_view address) {
  return absl::StrCat("viommud at ", address, ", counted for ",
                      absl::FormatDuration(absl::Trunc(scrapes.between, absl::Milliseconds(1))),
                      "\n", Objects(scrapes.after), "\n", Totals(scrapes), Queues(scrapes),
                      Moved(scrapes, "INVALIDATION", "viommu_invalidations_total", "kind"),
                      Moved(scrapes, "DMA FAULT", "viommu_dma_faults_total", "reason"),
                      BusiestRpcs(scrapes));
}

}  // namespace viommu
