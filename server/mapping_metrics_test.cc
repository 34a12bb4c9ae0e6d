#include "server/mapping_metrics.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;

class MappingMetricsTest : public ::testing::Test {
 protected:
  std::string Scrape() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

  prometheus::Registry registry_;
  MappingMetrics metrics_{&registry_};
};

TEST_F(MappingMetricsTest, HasEverySeriesAtZeroFromTheStart) {
  for (const char* verb : {"map", "unmap"}) {
    for (const char* what : {"entries", "seconds"}) {
      for (const char* path : {"unary", "stream"}) {
        EXPECT_THAT(Scrape(), HasSubstr(absl::StrCat("viommu_", verb, "_batch_", what,
                                                     "_count{path=\"", path, "\"} 0\n")));
      }
    }
  }
}

TEST_F(MappingMetricsTest, PutsABatchIntoTheSeriesOfItsVerbAndPath) {
  metrics_.ObserveMap(MappingMetrics::Path::kUnary, 3, absl::Microseconds(30));
  metrics_.ObserveUnmap(MappingMetrics::Path::kStream, 16384, absl::Milliseconds(2));
  const std::string text = Scrape();
  for (const char* line : {
           "viommu_map_batch_entries_bucket{path=\"unary\",le=\"2\"} 0\n",
           "viommu_map_batch_entries_bucket{path=\"unary\",le=\"4\"} 1\n",
           "viommu_map_batch_entries_count{path=\"stream\"} 0\n",
           "viommu_map_batch_seconds_bucket{path=\"unary\",le=\"2.5e-05\"} 0\n",
           "viommu_map_batch_seconds_bucket{path=\"unary\",le=\"5e-05\"} 1\n",
           "viommu_unmap_batch_entries_bucket{path=\"stream\",le=\"16384\"} 1\n",
           "viommu_unmap_batch_entries_count{path=\"unary\"} 0\n",
           "viommu_unmap_batch_seconds_sum{path=\"stream\"} 0.002\n",
       }) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

}  // namespace
}  // namespace viommu
