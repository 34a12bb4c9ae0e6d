#include "engine/pagetable/leaf_count.h"

#include <random>

#include "engine/pagetable/page_table.h"
#include "engine/pagetable/page_table_testing.h"
#include "engine/pagetable/store.h"
#include "engine/pagetable/vtd_second_stage.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t k4K2M1G = 4 * kKiB | 2 * kMiB | kGiB;

// iommufd-semantics.md section 19, the kernel's KUnit case.
TEST(LeafCountTest, CountsTheMixedExampleOfTheReference) {
  const LeafCounts counts =
      CountLeaves(k4K2M1G, 0x3fe400000, PhysAddr{0x3fe400000}, 0x4c0600000 - 0x3fe400000);
  EXPECT_EQ(counts[12], 0u);
  EXPECT_EQ(counts[21], 14u + 3u);
  EXPECT_EQ(counts[30], 3u);
}

TEST(LeafCountTest, TakesTheSmallestWhereTheAddressesDoNotFitTogether) {
  EXPECT_EQ(CountLeaves(k4K2M1G, 0, PhysAddr{0x1000}, kGiB)[12], kGiB / 4096);
  EXPECT_EQ(CountLeaves(k4K2M1G, 0x40000000, PhysAddr{0x200000}, kGiB)[21], 512u);
  EXPECT_EQ(CountLeaves(4 * kKiB, 0, PhysAddr{0}, kGiB)[12], kGiB / 4096);
}

TEST(LeafCountTest, CountsUpToTheEndOfTheAddressSpace) {
  EXPECT_EQ(CountLeaves(k4K2M1G, kMaxAddress - 0xfff, PhysAddr{0x1000}, 4096)[12], 1u);
  EXPECT_EQ(CountLeaves(k4K2M1G, -kGiB, PhysAddr{0}, kGiB)[30], 1u);
}

TEST(LeafCountTest, CountsTheLeavesThatAPageTableMakes) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  TableMemory memory(4096);
  for (const uint64_t sizes : {4 * kKiB, 4 * kKiB | 2 * kMiB, k4K2M1G}) {
    VtdSecondStage::Options options;
    options.page_sizes = sizes;
    for (int round = 0; round < 200; ++round) {
      auto table =
          PageTable::Create(*VtdSecondStage::Create(options), PlainStore(), memory.arena());
      ASSERT_TRUE(table.ok());
      // Close to borders of all sizes; with 4 KiB leaves only not more than some tables.
      const auto near_border = [&] {
        const uint64_t border = kGiB * (1 + random() % 4) + 2 * kMiB * (random() % 3);
        return random() % 2 == 0 ? border : border - 4096 * (random() % 700);
      };
      const Iova iova = near_border();
      const PhysAddr to{random() % 2 == 0 ? iova : near_border()};
      uint64_t size = 4096 * (1 + random() % 2000);
      if (sizes == k4K2M1G && iova == to.value) size += 2 * kGiB;
      ASSERT_TRUE(table->Map(iova, to, size, kReadWrite).ok());
      const LeafCounts counts = CountLeaves(sizes, iova, to, size);
      const TableCounts made = table->Count();
      EXPECT_EQ(counts[12], made.leaves[0]);
      EXPECT_EQ(counts[21], made.leaves[1]);
      EXPECT_EQ(counts[30], made.leaves[2]);
    }
  }
}

// The same for formats whose smallest leaf is not 4 KiB.
template <typename Kind>
void CompareWithTables(std::mt19937_64* random) {
  constexpr uint64_t kPage = kPageOf<Kind>, kBlock = kBlockOf<Kind>;
  TableMemory memory(PagesFor<Kind>(16) + kRootPagesOf<Kind>);
  for (int round = 0; round < 100; ++round) {
    auto table =
        PageTable::Create(Kind::MakeFormat(kAllSizesOf<Kind>), PlainStore(), memory.arena());
    ASSERT_TRUE(table.ok());
    const Iova iova = kBlock * (2 + (*random)() % 4) - kPage * ((*random)() % 50);
    const bool alike = (*random)() % 2 == 0;
    const PhysAddr to{alike ? iova + 8 * kBlock : kPage * ((*random)() % 1000)};
    const uint64_t size = kPage * (1 + (*random)() % 100) + (alike ? 2 * kBlock : 0);
    ASSERT_TRUE(table->Map(iova, to, size, kReadWrite).ok());
    const LeafCounts counts = CountLeaves(table->page_sizes(), iova, to, size);
    const TableCounts made = table->Count();
    EXPECT_EQ(counts[Kind::kPageShift], made.leaves[0]);
    EXPECT_EQ(counts[Kind::kPageShift + Kind::kEntriesLog2], made.leaves[1]);
  }
}

TEST(LeafCountTest, CountsTheLeavesOfLargerGranules) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  CompareWithTables<ArmStage1Kind<14, 48, 4>>(&random);
  CompareWithTables<ArmStage2Kind<16, 46, 2, 4>>(&random);
}

}  // namespace
}  // namespace viommu
