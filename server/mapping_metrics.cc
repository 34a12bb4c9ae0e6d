#include "server/mapping_metrics.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace viommu {
namespace {

using ::prometheus::Histogram;

constexpr absl::string_view kPathNames[] = {"unary", "stream"};  // By MappingMetrics::Path.

// A batch has at most kMaxBatchEntries = 16384 entries.
const Histogram::BucketBoundaries& EntriesBounds() {
  static const auto* bounds =
      new Histogram::BucketBoundaries{1, 2, 4, 16, 64, 256, 1024, 4096, 16384};
  return *bounds;
}

const Histogram::BucketBoundaries& SecondsBounds() {
  static const auto* bounds = new Histogram::BucketBoundaries{
      0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025,
      0.005,   0.01,     0.025,   0.05,   0.1,     0.25,   1,     5};
  return *bounds;
}

prometheus::Family<Histogram>& Family(absl::string_view verb, absl::string_view what,
                                      absl::string_view help, prometheus::Registry* registry) {
  return prometheus::BuildHistogram()
      .Name(absl::StrCat("viommu_", verb, "_batch_", what))
      .Help(absl::StrCat(help, " ", verb, " batch."))
      .Register(*registry);
}

}  // namespace

MappingMetrics::MappingMetrics(prometheus::Registry* registry) {
  const auto add = [registry](absl::string_view verb, Series* series) {
    auto& entries = Family(verb, "entries", "Entries of one", registry);
    auto& seconds = Family(verb, "seconds", "Seconds until the answer to one", registry);
    for (size_t path = 0; path < std::size(kPathNames); ++path) {
      const prometheus::Labels labels = {{"path", std::string(kPathNames[path])}};
      series[path].entries = &entries.Add(labels, EntriesBounds());
      series[path].seconds = &seconds.Add(labels, SecondsBounds());
    }
  };
  add("map", map_);
  add("unmap", unmap_);
}

}  // namespace viommu
