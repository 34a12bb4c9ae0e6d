#include "clients/demo/metrics_diff.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> NamesOf(const std::vector<MetricRow>& rows) {
  std::vector<std::string> names;
  names.reserve(rows.size());
  for (const MetricRow& row : rows) names.push_back(row.name);
  return names;
}

TEST(MetricsDiffTest, ReadsSamplesAndNothingElse) {
  const Samples samples = ParseSamples(
      "# HELP a Counts 1\n# TYPE a counter\na{b=\"x y\"} 3\n\nc 1.5\nd +Inf\nbroken\ne word\n");
  EXPECT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples.at("a{b=\"x y\"}"), 3);
  EXPECT_EQ(samples.at("c"), 1.5);
  EXPECT_EQ(samples.count("d"), 1u);
}

TEST(MetricsDiffTest, AddsUpTheSeriesOfOneMetric) {
  const Samples samples = {{"a", 1}, {"a{x=\"1\"}", 2}, {"a{x=\"2\"}", 4}, {"ab", 8}};
  EXPECT_EQ(SumOf(samples, "a"), 7);
  EXPECT_EQ(SumOf(samples, "b"), 0);
  EXPECT_THAT(SumRow({{}, samples}, "a").values, ElementsAre(0, 7));
}

TEST(MetricsDiffTest, ShowsOnlyWhatMoved) {
  const std::vector<Samples> scrapes = {{{"v_a", 1}, {"v_b", 1}, {"v_c", 0}, {"w", 1}},
                                        {{"v_a", 1}, {"v_b", 2}, {"v_c", 5}, {"w", 2}},
                                        {{"v_a", 1}, {"v_b", 2}, {"v_c", 0}, {"v_new", 1}}};
  const std::vector<MetricRow> rows = MovedSeries(scrapes, "v_");
  ASSERT_THAT(NamesOf(rows), ElementsAre("v_b", "v_c", "v_new"));
  EXPECT_THAT(rows[1].values, ElementsAre(0, 5, 0)) << "back where it was, but it did move";
  EXPECT_THAT(rows[2].values, ElementsAre(0, 0, 1)) << "a series that appears was 0";
}

TEST(MetricsDiffTest, LeavesOutBucketsAndTimes) {
  const Samples moved = {{"v_bucket{le=\"1\"}", 1}, {"v_seconds_sum", 1}, {"v_count{m=\"x\"}", 1}};
  EXPECT_THAT(NamesOf(MovedSeries({{}, moved}, "v_")), ElementsAre("v_count{m=\"x\"}"));
}

TEST(MetricsDiffTest, AlignsItsColumns) {
  EXPECT_EQ(FormatTable({{"short", {1, 2147483648}}, {"longer_name", {0.5, 0}}}, {"first", "last"}),
            "                  first        last\n"
            "short                 1  2147483648\n"
            "longer_name         0.5           0\n");
}

}  // namespace
}  // namespace viommu
