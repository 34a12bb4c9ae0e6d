#include "engine/base/dirty_bitmap.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 0x1000;

TEST(DirtyBitmapTest, CountsPagesFromTheFirstAddressOfItsRange) {
  DirtyBitmap bitmap({0x7000, 0x7000 + 70 * kPage - 1}, kPage);
  EXPECT_EQ(bitmap.page_count(), 70u);
  EXPECT_EQ(bitmap.words(), (std::vector<uint64_t>{0, 0}));
  bitmap.Mark({0x7000, 0x7fff});
  bitmap.Mark({0x7000 + 64 * kPage, 0x7000 + 66 * kPage - 1});
  EXPECT_EQ(bitmap.words(), (std::vector<uint64_t>{1, 3}));
  EXPECT_EQ(bitmap.dirty_count(), 3u);
  EXPECT_TRUE(bitmap.IsDirty(64));
  EXPECT_FALSE(bitmap.IsDirty(66));
}

TEST(DirtyBitmapTest, MarksAllPagesThatALargerOneCovers) {
  DirtyBitmap bitmap({0x200000, 0x3fffff}, kPage);
  bitmap.Mark({0, 0x1fffffff});
  EXPECT_EQ(bitmap.words(), std::vector<uint64_t>(8, ~uint64_t{0}));
  EXPECT_EQ(bitmap.dirty_count(), 512u);
}

TEST(DirtyBitmapTest, MarksTheOnePageThatASmallerOneLiesIn) {
  DirtyBitmap bitmap({0x400000, 0xffffff}, 0x200000);
  bitmap.Mark({0x603000, 0x603fff});
  EXPECT_EQ(bitmap.words(), (std::vector<uint64_t>{2}));
  EXPECT_TRUE(bitmap.AnyIn({0x7ff000, 0x7fffff})) << "in the same page";
  EXPECT_FALSE(bitmap.AnyIn({0x400000, 0x5fffff}));
}

TEST(DirtyBitmapTest, LeavesOutWhatLiesOutsideItsRange) {
  DirtyBitmap bitmap({0x5000, 0x8fff}, kPage);
  bitmap.Mark({0, 0x4fff});
  bitmap.Mark({0x9000, kMaxAddress});
  EXPECT_EQ(bitmap.dirty_count(), 0u);
  EXPECT_FALSE(bitmap.AnyIn({0x9000, kMaxAddress}));
  bitmap.Mark({0x8000, kMaxAddress});
  EXPECT_EQ(bitmap.words(), (std::vector<uint64_t>{8}));
}

TEST(DirtyBitmapTest, ReachesTheLastAddress) {
  DirtyBitmap bitmap({kMaxAddress - 3 * kPage + 1, kMaxAddress}, kPage);
  bitmap.Mark({kMaxAddress, kMaxAddress});
  EXPECT_EQ(bitmap.words(), (std::vector<uint64_t>{4}));
}

TEST(DirtyBitmapTest, AgreesWithOneFlagAPage) {
  const unsigned seed = std::random_device()();
  std::mt19937_64 random(seed);
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  for (int round = 0; round < 200; ++round) {
    const uint64_t page = uint64_t{1} << random() % 14;
    const uint64_t pages = 1 + random() % 200;
    const Iova first = random() % 1000 * page;
    const IovaRange range{first, first + pages * page - 1};
    DirtyBitmap bitmap(range, page);
    std::vector<bool> want(pages);
    for (int i = 0; i < 5; ++i) {
      const Iova begin = random() % (range.last + 5000);
      const IovaRange written{begin, begin + random() % 20000};
      bool any = false;
      for (uint64_t p = 0; p < pages; ++p) {
        if (written.Overlaps({first + p * page, first + p * page + page - 1})) {
          any = any || want[p];
        }
      }
      EXPECT_EQ(bitmap.AnyIn(written), any);
      bitmap.Mark(written);
      for (uint64_t p = 0; p < pages; ++p) {
        if (written.Overlaps({first + p * page, first + p * page + page - 1})) want[p] = true;
      }
    }
    for (uint64_t p = 0; p < pages; ++p) ASSERT_EQ(bitmap.IsDirty(p), want[p]) << p;
  }
}

}  // namespace
}  // namespace viommu
