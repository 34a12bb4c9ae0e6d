#include "clients/client/entry_ranges.h"

#include <vector>

#include "gtest/gtest.h"

namespace viommu {
namespace {

TEST(EntryRangesTest, JoinsWhatTouches) {
  EntryRanges ranges;
  ranges.Append({0, 255});
  ranges.Append({256, 300});
  ranges.Append({302, 302});
  ranges.Append({303, 303});
  EXPECT_EQ(ranges.ranges(), (std::vector<EntryRange>{{0, 300}, {302, 303}}));
  EXPECT_EQ(ranges.ranges()[0].count(), 301u);
}

TEST(EntryRangesTest, DescribesThem) {
  EXPECT_EQ(Describe({}), "none");
  EXPECT_EQ(Describe({{0, 255}, {512, 512}}), "0 to 255, 512");
}

TEST(EntryRangesTest, CountsWhatItDoesNotShow) {
  std::vector<EntryRange> many;
  for (uint64_t i = 0; i < 10; ++i) many.push_back({10 * i, 10 * i + 4});
  EXPECT_EQ(Describe(many),
            "0 to 4, 10 to 14, 20 to 24, 30 to 34, 40 to 44, 50 to 54, 60 to 64, 70 to 74 and 10 "
            "more");
}

}  // namespace
}  // namespace viommu
