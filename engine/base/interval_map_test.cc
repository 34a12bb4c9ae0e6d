#include "engine/base/interval_map.h"

#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "engine/base/address.h"
#include "engine/base/interval_map_invariants.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using Map = IntervalMap<int>;

std::string Broken(const Map& map) { return IntervalMapInvariants<int>::FirstBroken(map); }

Map MapOf(const std::vector<IovaRange>& ranges) {
  Map map;
  int value = 0;
  for (const IovaRange& range : ranges) EXPECT_TRUE(map.Insert(range, ++value));
  return map;
}

std::vector<IovaRange> RangesOf(const Map& map) {
  std::vector<IovaRange> ranges;
  for (const auto& entry : map) ranges.push_back(entry.range);
  return ranges;
}

TEST(IntervalMapTest, AnEmptyMapHasNothing) {
  Map map;
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.size(), 0u);
  EXPECT_EQ(map.MemoryBytes(), 0u);
  EXPECT_EQ(map.begin(), map.end());
  EXPECT_EQ(map.Find(0), map.end());
  EXPECT_EQ(map.LowerBound(0), map.end());
  EXPECT_FALSE(map.Overlaps({0, kMaxAddress}));
  EXPECT_FALSE(map.Erase(0));
  EXPECT_EQ(map.FindGap({0, kMaxAddress}, kMaxAddress, 1), 0u);
  map.Clear();
  EXPECT_EQ(Broken(map), "");
}

TEST(IntervalMapTest, RefusesWhatOverlapsAndKeepsTheRest) {
  const struct {
    const char* name;
    IovaRange range;
    bool want;
  } kCases[] = {
      {"the same", {0x1000, 0x1fff}, false},
      {"inside", {0x1400, 0x14ff}, false},
      {"around", {0xfff, 0x2000}, false},
      {"its first byte", {0x800, 0x1000}, false},
      {"its last byte", {0x1fff, 0x2fff}, false},
      {"around both", {0, kMaxAddress}, false},
      {"the last address", {kMaxAddress, kMaxAddress}, false},
      {"touching below", {0, 0xfff}, true},
      {"touching above", {0x2000, 0x2000}, true},
      {"touching both", {0x2000, kMaxAddress - 1}, true},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    Map map = MapOf({{0x1000, 0x1fff}, {kMaxAddress, kMaxAddress}});
    EXPECT_EQ(map.Overlaps(c.range), !c.want);
    EXPECT_EQ(map.Insert(c.range, 9), c.want);
    EXPECT_EQ(map.size(), c.want ? 3u : 2u);
    EXPECT_EQ(map.Find(0x1000).value(), 1);
    EXPECT_EQ(map.Find(kMaxAddress).value(), 2);
    EXPECT_EQ(Broken(map), "");
  }
}

TEST(IntervalMapTest, FindsByAnyAddressOfAnEntry) {
  Map map = MapOf({{0, 0}, {0x1000, 0x1fff}, {kMaxAddress - 1, kMaxAddress}});
  EXPECT_EQ(map.Find(0).value(), 1);
  EXPECT_EQ(map.Find(1), map.end());
  EXPECT_EQ(map.Find(0xfff), map.end());
  EXPECT_EQ(map.Find(0x1000).value(), 2);
  EXPECT_EQ(map.Find(0x1fff).range(), (IovaRange{0x1000, 0x1fff}));
  EXPECT_EQ(map.Find(0x2000), map.end());
  EXPECT_EQ(map.Find(kMaxAddress).value(), 3);
  EXPECT_EQ(map.LowerBound(1).value(), 2);
  EXPECT_EQ(map.LowerBound(0x1fff).value(), 2);
  EXPECT_EQ(map.LowerBound(0x2000).value(), 3);
}

TEST(IntervalMapTest, ValuesCanBeChangedInPlace) {
  Map map = MapOf({{1, 1}, {2, 2}});
  map.Find(1).value() = 70;
  for (auto entry : map) ++entry.value;
  const Map& view = map;
  EXPECT_EQ(view.Find(1).value(), 71);
  EXPECT_EQ(view.Find(2).value(), 3);
  const Map::const_iterator converted = map.begin();
  EXPECT_EQ(converted, view.begin());
}

TEST(IntervalMapTest, ErasesByFirstAddressOnly) {
  Map map = MapOf({{0x1000, 0x1fff}, {0x3000, 0x3fff}});
  EXPECT_FALSE(map.Erase(0x1001));
  EXPECT_FALSE(map.Erase(0xfff));
  EXPECT_TRUE(map.Erase(0x1000));
  EXPECT_FALSE(map.Erase(0x1000));
  EXPECT_THAT(RangesOf(map), ElementsAre(IovaRange{0x3000, 0x3fff}));
  map.Erase(map.Find(0x3abc));
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.MemoryBytes(), 0u);
}

TEST(IntervalMapTest, LetsGoOfAnErasedValueAtOnce) {
  IntervalMap<std::shared_ptr<int>> map;
  auto value = std::make_shared<int>(1);
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(map.Insert({i, i}, value));
  EXPECT_EQ(value.use_count(), 101);
  for (uint64_t i = 0; i < 100; i += 2) ASSERT_TRUE(map.Erase(i));
  EXPECT_EQ(value.use_count(), 51);
  map.Clear();
  EXPECT_EQ(value.use_count(), 1);
}

TEST(IntervalMapTest, MovingTakesTheEntriesAlong) {
  Map from = MapOf({{1, 1}, {5, 9}});
  Map to = MapOf({{7, 7}});
  to = std::move(from);
  EXPECT_THAT(RangesOf(to), ElementsAre(IovaRange{1, 1}, IovaRange{5, 9}));
  const Map third(std::move(to));
  EXPECT_EQ(third.size(), 2u);
}

TEST(IntervalMapTest, FindGapAnswersTheLowestThatFits) {
  constexpr IovaRange kAll{0, kMaxAddress};
  const struct {
    const char* name;
    std::vector<IovaRange> taken;
    IovaRange window;
    uint64_t size, alignment, remainder;
    std::optional<uint64_t> want;
  } kCases[] = {
      {"size zero", {}, kAll, 0, 1, 0, std::nullopt},
      {"alignment zero", {}, kAll, 1, 0, 0, std::nullopt},
      {"alignment not a power of two", {}, kAll, 1, 3, 0, std::nullopt},
      {"remainder as large as the alignment", {}, kAll, 1, 4, 4, std::nullopt},
      {"nothing taken", {}, kAll, 1, 1, 0, 0},
      {"all but one address", {}, kAll, kMaxAddress, 1, 0, 0},
      {"all but one address, upper end", {{0, 0}}, kAll, kMaxAddress, 1, 0, 1},
      {"a byte too much", {{0, 1}}, kAll, kMaxAddress, 1, 0, std::nullopt},
      {"all taken", {kAll}, kAll, 1, 1, 0, std::nullopt},
      {"only the last address free", {{0, kMaxAddress - 1}}, kAll, 1, 1, 0, kMaxAddress},
      {"only the first address free", {{1, kMaxAddress}}, kAll, 1, 1, 0, 0},
      {"last address taken", {{0, 9}, {kMaxAddress, kMaxAddress}}, kAll, 1, 1, 0, 10},
      {"between two", {{0, 9}, {20, 29}}, kAll, 10, 1, 0, 10},
      {"not between two", {{0, 9}, {20, 29}}, kAll, 11, 1, 0, 30},
      {"alignment skips", {{0, 0}}, kAll, 0x1000, 0x1000, 0, 0x1000},
      {"a remainder", {{0, 0x3000}}, kAll, 0x1000, 0x1000, 0x123, 0x3123},
      {"a remainder already met", {{0, 0x3122}}, kAll, 0x1000, 0x1000, 0x123, 0x3123},
      {"a remainder just missed", {{0, 0x3123}}, kAll, 0x1000, 0x1000, 0x123, 0x4123},
      {"aligning would wrap", {{0, kMaxAddress - 5}}, kAll, 1, 0x1000, 0, std::nullopt},
      {"the window begins inside an entry", {{0, 99}}, {50, 199}, 100, 1, 0, 100},
      {"the window ends too early", {{0, 99}}, {50, 198}, 100, 1, 0, std::nullopt},
      {"the window begins inside a gap", {{0, 9}, {30, 39}}, {15, 99}, 20, 1, 0, 40},
      {"the window is one free byte", {{0, 9}, {11, 39}}, {10, 10}, 1, 1, 0, 10},
      {"the window is one taken byte", {{0, 9}}, {9, 9}, 1, 1, 0, std::nullopt},
      {"the window is the last byte", {{0, 9}}, {kMaxAddress, kMaxAddress}, 1, 1, 0, kMaxAddress},
      {"size and alignment overflow", {{0, 0}}, kAll, kMaxAddress - 1, 4, 0, std::nullopt},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(MapOf(c.taken).FindGap(c.window, c.size, c.alignment, c.remainder), c.want);
  }
}

// Gaps of exactly one page that begin in the middle of a page: large enough, never aligned.
Map UnalignedGaps(unsigned gaps) {
  Map map;
  EXPECT_TRUE(map.Insert({0, 0x17ff}, 0));
  for (uint64_t i = 1; i <= gaps; ++i) {
    EXPECT_TRUE(map.Insert({i * 0x2000 + 0x800, i * 0x2000 + 0x17ff}, 0));
  }
  return map;
}

TEST(IntervalMapTest, FindGapGivesUpTightGapsForRoomyOnesAndReturnsToThem) {
  constexpr unsigned kGaps = Map::kTightProbes * 3;
  const IovaRange window{0, (kGaps + 1) * 0x2000};
  Map map = UnalignedGaps(kGaps);
  EXPECT_EQ(map.FindGap(window, 0x1000, 0x1000), std::nullopt);

  // One tight gap that does fit, behind more misfits than are probed. It is found...
  const uint64_t tight = 0x2000 * (kGaps - 1);
  ASSERT_TRUE(map.Erase(tight + 0x800));
  ASSERT_TRUE(map.Erase(tight - 0x2000 + 0x800));
  ASSERT_TRUE(map.Insert({tight - 0x2000 + 0x800, tight - 1}, 0));
  ASSERT_TRUE(map.Insert({tight + 0x1000, tight + 0x17ff}, 0));
  EXPECT_EQ(map.FindGap(window, 0x1000, 0x1000), tight);
  // ... but not before a roomy one has been looked for.
  EXPECT_EQ(map.FindGap({0, kMaxAddress}, 0x1000, 0x1000), window.last);
  EXPECT_EQ(Broken(map), "");
}

TEST(IntervalMapTest, AppendingAndPrependingFillTheLeaves) {
  constexpr uint64_t kEntries = 10000;
  const double densest = sizeof(interval_map_internal::Leaf<int>) / 32.0;
  Map up, down;
  for (uint64_t i = 0; i < kEntries; ++i) {
    ASSERT_TRUE(up.Insert({i * 4, i * 4 + 2}, 0));
    ASSERT_TRUE(down.Insert({(kEntries - i) * 4, (kEntries - i) * 4 + 2}, 0));
  }
  EXPECT_LT(up.MemoryBytes() / kEntries, densest * 1.1);
  EXPECT_LT(down.MemoryBytes() / kEntries, densest * 1.1);
  EXPECT_EQ(Broken(up), "");
  EXPECT_EQ(Broken(down), "");
}

TEST(IntervalMapTest, GivesMemoryBackWhileEntriesGo) {
  constexpr uint64_t kEntries = 10000;
  Map map;
  for (uint64_t i = 0; i < kEntries; ++i) ASSERT_TRUE(map.Insert({i, i}, 0));
  const size_t full = map.MemoryBytes();
  for (uint64_t i = 0; i < kEntries; ++i) {
    if (i % 10 != 0) {
      ASSERT_TRUE(map.Erase(i));
    }
  }
  EXPECT_EQ(Broken(map), "");
  EXPECT_LT(map.MemoryBytes(), full * 4 / 10);
}

}  // namespace
}  // namespace viommu
