#include "clients/demo/metrics_diff.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace viommu {
namespace {

constexpr int kValueColumns = 12;

absl::string_view NameOf(absl::string_view series) { return series.substr(0, series.find('{')); }

double ValueIn(const Samples& samples, const std::string& series) {
  const auto found = samples.find(series);
  return found == samples.end() ? 0 : found->second;
}

bool IsShown(absl::string_view series, absl::string_view prefix) {
  const absl::string_view name = NameOf(series);
  return absl::StartsWith(name, prefix) && !absl::EndsWith(name, "_bucket") &&
         !absl::EndsWith(name, "_seconds_sum");
}

MetricRow RowOf(const std::vector<Samples>& scrapes, const std::string& series) {
  MetricRow row = {series, {}};
  for (const Samples& samples : scrapes) row.values.push_back(ValueIn(samples, series));
  return row;
}

bool Moved(const MetricRow& row) {
  return std::adjacent_find(row.values.begin(), row.values.end(), std::not_equal_to<>()) !=
         row.values.end();
}

}  // namespace

Samples ParseSamples(absl::string_view text) {
  Samples samples;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    // The value stands behind the last space: label values may hold spaces, and we write no time.
    const size_t space = line.rfind(' ');
    double value = 0;
    if (line[0] == '#' || space == absl::string_view::npos ||
        !absl::SimpleAtod(line.substr(space + 1), &value)) {
      continue;
    }
    samples.emplace(std::string(line.substr(0, space)), value);
  }
  return samples;
}

double SumOf(const Samples& samples, absl::string_view name) {
  double sum = 0;
  for (const auto& [series, value] : samples) {
    if (NameOf(series) == name) sum += value;
  }
  return sum;
}

std::vector<MetricRow> MovedSeries(const std::vector<Samples>& scrapes, absl::string_view prefix) {
  std::set<std::string> names;
  for (const Samples& samples : scrapes) {
    for (const auto& [series, value] : samples) {
      if (IsShown(series, prefix)) names.insert(series);
    }
  }
  std::vector<MetricRow> rows;
  for (const std::string& name : names) {
    MetricRow row = RowOf(scrapes, name);
    if (Moved(row)) rows.push_back(std::move(row));
  }
  return rows;
}

MetricRow SumRow(const std::vector<Samples>& scrapes, absl::string_view name) {
  MetricRow row = {std::string(name), {}};
  for (const Samples& samples : scrapes) row.values.push_back(SumOf(samples, name));
  return row;
}

std::string FormatTable(const std::vector<MetricRow>& rows,
                        const std::vector<std::string>& headings) {
  size_t widest = 0;
  for (const MetricRow& row : rows) widest = std::max(widest, row.name.size());
  std::string table(widest, ' ');
  for (const std::string& heading : headings) {
    absl::StrAppendFormat(&table, "%*s", kValueColumns, heading);
  }
  table += '\n';
  for (const MetricRow& row : rows) {
    absl::StrAppendFormat(&table, "%-*s", static_cast<int>(widest), row.name);
    for (const double value : row.values) {
      absl::StrAppendFormat(&table, "%*.15g", kValueColumns, value);
    }
    table += '\n';
  }
  return table;
}

}  // namespace viommu
