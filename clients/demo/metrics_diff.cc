#include "clients/demo/metrics_diff.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
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

bool IsShown(absl::string_view series, const std::vector<std::string>& prefixes) {
  const absl::string_view name = NameOf(series);
  if (absl::EndsWith(name, "_bucket") || absl::EndsWith(name, "_seconds_sum")) return false;
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& prefix) { return absl::StartsWith(name, prefix); });
}

bool Moved(const std::string& series, const std::vector<Samples>& scrapes) {
  return std::any_of(scrapes.begin(), scrapes.end(), [&](const Samples& samples) {
    return ValueIn(samples, series) != ValueIn(scrapes.front(), series);
  });
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

std::vector<std::string> MovedSeries(const std::vector<Samples>& scrapes,
                                     const std::vector<std::string>& prefixes) {
  std::set<std::string> moved;
  for (const Samples& samples : scrapes) {
    for (const auto& [series, value] : samples) {
      if (IsShown(series, prefixes) && Moved(series, scrapes)) moved.insert(series);
    }
  }
  return {moved.begin(), moved.end()};
}

std::string FormatSeries(const std::vector<std::string>& series,
                         const std::vector<Samples>& scrapes,
                         const std::vector<std::string>& headings) {
  size_t widest = 0;
  for (const std::string& name : series) widest = std::max(widest, name.size());
  std::string table(widest, ' ');
  for (const std::string& heading : headings) {
    absl::StrAppendFormat(&table, "%*s", kValueColumns, heading);
  }
  table += '\n';
  for (const std::string& name : series) {
    absl::StrAppendFormat(&table, "%-*s", static_cast<int>(widest), name);
    for (const Samples& samples : scrapes) {
      absl::StrAppendFormat(&table, "%*.15g", kValueColumns, ValueIn(samples, name));
    }
    table += '\n';
  }
  return table;
}

}  // namespace viommu
