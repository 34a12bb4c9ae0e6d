#include "engine/pagetable/page_table.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/errors.h"
#include "engine/pagetable/page_table_kinds.h"
#include "engine/pagetable/page_table_testing.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

std::string ReasonOf(const absl::Status& status) {
  const auto detail = DetailOf(status);
  return detail.has_value() ? detail->reason : "";
}

// Number of leaves of the lowest three levels.
std::vector<uint64_t> LeavesOf(const PageTable& table) {
  const TableCounts counts = table.Count();
  return {counts.leaves[0], counts.leaves[1], counts.leaves[2]};
}

template <typename Kind>
class PageTableTest : public ::testing::Test {
 protected:
  static PageTable Make(TableArena* arena, uint64_t page_sizes = kAllSizesOf<Kind>) {
    return *PageTable::Create(Kind::MakeFormat(page_sizes), PlainStore(), arena);
  }

  // Unmaps as a caller does whose devices cache nothing.
  uint64_t Unmap(Iova iova, uint64_t size_bytes) {
    PageList freed;
    const uint64_t bytes = table_.Unmap(iova, size_bytes, &freed);
    arena()->Free(&freed);
    return bytes;
  }

  Seen Look(Iova iova) { return Kind::Look(memory_, table_.root().value, iova); }
  TableArena* arena() { return memory_.arena(); }

  static constexpr uint64_t kPage = kPageOf<Kind>;
  static constexpr uint64_t kBlock = kBlockOf<Kind>;
  static constexpr uint64_t kLargest = kLargestOf<Kind>;  // May be kBlock.
  static constexpr uint64_t kRootPages = kRootPagesOf<Kind>;
  static constexpr Iova kTop = Iova{1} << Kind::kInputBits;

  // Room for two roots, at a base that is no multiple of a block.
  TableMemory memory_{PagesFor<Kind>(64) + 3 * kRootPages};
  PageTable table_ = Make(memory_.arena());
};

TYPED_TEST_SUITE(PageTableTest, PageTableKinds);

TYPED_TEST(PageTableTest, StatesItsShape) {
  EXPECT_EQ(this->table_.levels(), TypeParam::kLevels);
  EXPECT_EQ(this->table_.aperture(), (IovaRange{0, this->kTop - 1}));
  EXPECT_EQ(this->table_.page_sizes(), kAllSizesOf<TypeParam>);
  EXPECT_EQ(this->table_.write_implies_read(), TypeParam::kWriteImpliesRead);
  EXPECT_EQ(this->table_.EntrySpan(0), this->kPage);
  EXPECT_EQ(this->table_.EntrySpan(1), this->kBlock);
  EXPECT_EQ(this->arena()->pages_in_use(), this->kRootPages);
  EXPECT_EQ(this->table_.Count().tables[TypeParam::kLevels - 1], 1u << TypeParam::kRootTablesLog2);
}

TYPED_TEST(PageTableTest, LiesAtMultiplesOfItsTables) {
  EXPECT_TRUE(IsAligned(this->table_.root().value, this->kRootPages * 4096));
  ASSERT_TRUE(this->table_.Map(this->kTop - this->kPage, PhysAddr{0}, this->kPage, kReadOnly).ok());
  const std::vector<TableEntry> path = this->table_.PathTo(this->kTop - 1);
  ASSERT_EQ(path.size(), static_cast<size_t>(TypeParam::kLevels));
  const uint64_t table_bytes = kTablePagesOf<TypeParam> * 4096;
  EXPECT_LT(path[0].address.value - this->table_.root().value, this->kRootPages * 4096);
  for (size_t i = 1; i < path.size(); ++i) {
    EXPECT_EQ(path[i].address.value % table_bytes, table_bytes - 8) << "the last entry";
  }
}

TYPED_TEST(PageTableTest, MapsEveryLeafSizeAtEveryEdge) {
  const Iova top = this->kTop;
  for (int level = 0; level < TypeParam::kLeafLevels; ++level) {
    const uint64_t size = SpanOf<TypeParam>(level);
    const uint64_t table = SpanOf<TypeParam>(level + 1);
    // What the last table of a root's tables begins with, where there are several.
    const Iova last_root_table = top - std::min(top, SpanOf<TypeParam>(TypeParam::kLevels));
    for (const Iova iova : {Iova{0}, size, table - size, table, top / 2 - size, top / 2,
                            last_root_table, last_root_table - size, top - 2 * size, top - size}) {
      for (const PageAccess permission : {kReadOnly, kWriteOnly, kReadWrite}) {
        if (iova >= top) continue;
        SCOPED_TRACE(Hex(size) + " at " + Hex(iova));
        const PhysAddr to{7 * kGiB};
        const PageAccess granted = Granted<TypeParam>(permission);
        ASSERT_TRUE(this->table_.Map(iova, to, size, permission).ok());
        for (const uint64_t offset : {uint64_t{0}, uint64_t{0x123}, size - 1}) {
          const Seen want{true, to.value + offset, size, granted.read, granted.write};
          EXPECT_EQ(this->Look(iova + offset), want);
          const auto translation = this->table_.Translate(iova + offset);
          ASSERT_TRUE(translation.has_value());
          EXPECT_EQ(translation->address, to + offset);
          EXPECT_EQ(translation->leaf_bytes, size);
          EXPECT_EQ(translation->permission, granted);
        }
        EXPECT_FALSE(iova > 0 && this->Look(iova - 1).mapped);
        EXPECT_FALSE(iova + size < top && this->Look(iova + size).mapped);
        EXPECT_EQ(this->Unmap(iova, size), size);
        EXPECT_FALSE(this->Look(iova).mapped);
        EXPECT_EQ(this->arena()->pages_in_use(), this->kRootPages);
      }
    }
  }
}

TYPED_TEST(PageTableTest, ChoosesTheLargestLeavesThatFit) {
  constexpr uint64_t kPage = TestFixture::kPage, kBlock = TestFixture::kBlock;
  constexpr uint64_t kAllSizes = kAllSizesOf<TypeParam>;
  struct Case {
    const char* name;
    Iova iova;
    uint64_t to, size, page_sizes;
    std::vector<uint64_t> want;  // Leaves by level.
  };
  std::vector<Case> cases = {
      {"IOVA and physical address unlike",
       4 * kBlock,
       4 * kBlock + kPage,
       kBlock,
       kAllSizes,
       {kEntriesOf<TypeParam>, 0, 0}},
      {"head, middle, tail",
       kBlock - 2 * kPage,
       5 * kBlock - 2 * kPage,
       kBlock + 3 * kPage,
       kAllSizes,
       {3, 1, 0}},
      {"pages only", 4 * kBlock, 4 * kBlock, 2 * kBlock, kPage, {2 * kEntriesOf<TypeParam>, 0, 0}},
      {"over a table boundary",
       8 * kBlock - 16 * kPage,
       5 * kBlock + 13 * kPage,
       32 * kPage,
       kAllSizes,
       {32, 0, 0}},
      {"the end of the aperture",
       this->kTop - 3 * kBlock - kPage,
       4 * kBlock - kPage,
       3 * kBlock + kPage,
       kAllSizes,
       {1, 3, 0}},
  };
  // The first and the last are the kernel's own cases, of tables of 4 KiB.
  const std::vector<Case> three_sizes = {
      {"mixed, re-evaluated at each boundary",
       0x3fe400000,
       0x3fe400000,
       0x4c0600000 - 0x3fe400000,
       kAllSizes,
       {0, 17, 3}},
      {"alike only to 2 MiB", kGiB, 2 * kMiB, kGiB, kAllSizes, {0, 512, 0}},
      {"no 1 GiB leaves", kGiB, kGiB, kGiB, kPage | kBlock, {0, 512, 0}},
      {"no 2 MiB leaves",
       kGiB - 2 * kMiB,
       kGiB - 2 * kMiB,
       kGiB + 2 * kMiB,
       kPage | kGiB,
       {512, 0, 1}},
      {"the end of the aperture in GiB",
       this->kTop - 3 * kGiB - 4 * kKiB,
       4 * kGiB - 4 * kKiB,
       3 * kGiB + 4 * kKiB,
       kAllSizes,
       {1, 0, 3}},
      {"the boundary case", 0xfef80000, 0x208b95d000, 0x20000, kAllSizes, {32, 0, 0}},
  };
  if (TypeParam::kPageShift == 12)
    cases.insert(cases.end(), three_sizes.begin(), three_sizes.end());
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    PageTable table = this->Make(this->arena(), c.page_sizes);
    const auto look = [&](Iova iova) {
      return TypeParam::Look(this->memory_, table.root().value, iova);
    };
    ASSERT_TRUE(table.Map(c.iova, PhysAddr{c.to}, c.size, kReadWrite).ok());
    EXPECT_EQ(LeavesOf(table), c.want);
    for (uint64_t offset = 0; offset < c.size; offset += kPage) {
      ASSERT_EQ(look(c.iova + offset).physical, c.to + offset) << Hex(offset);
    }
    EXPECT_FALSE(look(c.iova - 1).mapped);
    EXPECT_FALSE(c.iova + c.size < this->kTop && look(c.iova + c.size).mapped);
    PageList freed;
    EXPECT_EQ(table.Unmap(c.iova, c.size, &freed), c.size);
    this->arena()->Free(&freed);
    EXPECT_EQ(this->arena()->pages_in_use(), 2 * this->kRootPages);
  }
}

TYPED_TEST(PageTableTest, RefusesBadRangesAndSaysWhy) {
  constexpr Iova kTop = TestFixture::kTop;
  constexpr uint64_t kPage = TestFixture::kPage;
  constexpr uint64_t kWide = uint64_t{1} << TypeParam::kOutputBits;
  const struct {
    const char* name;
    Iova iova;
    uint64_t to, size;
    PageAccess permission;
    absl::StatusCode code;
    const char* reason;
  } kCases[] = {
      {"no size", 0, 0, 0, kReadWrite, absl::StatusCode::kInvalidArgument, "INVALID_SIZE"},
      {"IOVA", 1, 0, kPage, kReadWrite, absl::StatusCode::kInvalidArgument, "UNALIGNED"},
      {"physical", 0, 0x800, kPage, kReadWrite, absl::StatusCode::kInvalidArgument, "UNALIGNED"},
      {"half a page", 0, 0, kPage / 2, kReadWrite, absl::StatusCode::kInvalidArgument, "UNALIGNED"},
      {"size", 0, 0, kPage + 8, kReadWrite, absl::StatusCode::kInvalidArgument, "UNALIGNED"},
      {"nothing", 0, 0, kPage, {}, absl::StatusCode::kInvalidArgument, "PERMISSION_NONE"},
      {"behind", kTop, 0, kPage, kReadWrite, absl::StatusCode::kOutOfRange, "IOVA_OUT_OF_APERTURE"},
      {"across", kTop - kPage, 0, 2 * kPage, kReadWrite, absl::StatusCode::kOutOfRange,
       "IOVA_OUT_OF_APERTURE"},
      {"to 2^64", -kPage, 0, kPage, kReadWrite, absl::StatusCode::kOutOfRange,
       "IOVA_OUT_OF_APERTURE"},
      {"wraps", kPage, 0, -kPage, kReadWrite, absl::StatusCode::kOutOfRange,
       "IOVA_OUT_OF_APERTURE"},
      {"wide", 0, kWide, kPage, kReadWrite, absl::StatusCode::kOutOfRange,
       "PHYSICAL_ADDRESS_TOO_WIDE"},
      {"widens", 0, kWide - kPage, 2 * kPage, kReadWrite, absl::StatusCode::kOutOfRange,
       "PHYSICAL_ADDRESS_TOO_WIDE"},
      {"physical wraps", 0, -kPage, 2 * kPage, kReadWrite, absl::StatusCode::kOutOfRange,
       "PHYSICAL_ADDRESS_TOO_WIDE"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const absl::Status status = this->table_.Map(c.iova, PhysAddr{c.to}, c.size, c.permission);
    EXPECT_EQ(status.code(), c.code) << status;
    EXPECT_EQ(ReasonOf(status), c.reason);
    EXPECT_EQ(this->arena()->pages_in_use(), this->kRootPages);
  }
}

TYPED_TEST(PageTableTest, MapsTheLastPhysicalPage) {
  const uint64_t last_page = (uint64_t{1} << TypeParam::kOutputBits) - this->kPage;
  ASSERT_TRUE(this->table_.Map(0, PhysAddr{last_page}, this->kPage, kReadOnly).ok());
  EXPECT_EQ(this->Look(0xfff).physical, last_page + 0xfff);
  EXPECT_FALSE(this->Look(0xfff).write);
}

TYPED_TEST(PageTableTest, RefusesToMapOverAnyLeafAndNamesTheFirst) {
  constexpr uint64_t kPage = TestFixture::kPage, kBlock = TestFixture::kBlock,
                     kLargest = TestFixture::kLargest;
  const struct {
    const char* name;
    Iova mapped;
    uint64_t mapped_size;
    Iova iova;
    uint64_t size;
    Iova want;
  } kCases[] = {
      {"the same page", 5 * kPage, kPage, 5 * kPage, kPage, 5 * kPage},
      {"at the end", 5 * kPage, kPage, 3 * kPage, 3 * kPage, 5 * kPage},
      {"at the start", 5 * kPage, 2 * kPage, 6 * kPage, 3 * kPage, 6 * kPage},
      {"a page under a block", kBlock + 5 * kPage, kPage, kBlock, kBlock, kBlock + 5 * kPage},
      {"a page under the second of two", 2 * kBlock + 5 * kPage, kPage, kBlock, 2 * kBlock,
       2 * kBlock + 5 * kPage},
      {"a page under the largest leaf", 2 * kLargest - kPage, kPage, kLargest, kLargest,
       2 * kLargest - kPage},
      {"a page inside a block", kBlock, kBlock, kBlock + kBlock / 2, kPage, kBlock + kBlock / 2},
      {"a page inside the largest leaf", kLargest, kLargest, 2 * kLargest - kPage, 2 * kPage,
       2 * kLargest - kPage},
      {"far behind", 5 * kLargest + 5 * kPage, kPage, kLargest, 5 * kLargest,
       5 * kLargest + 5 * kPage},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    ASSERT_TRUE(this->table_.Map(c.mapped, PhysAddr{c.mapped}, c.mapped_size, kReadOnly).ok());
    const uint64_t pages = this->arena()->pages_in_use();
    const absl::Status status = this->table_.Map(c.iova, PhysAddr{c.iova}, c.size, kReadWrite);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
    EXPECT_EQ(ReasonOf(status), "IOVA_CONFLICT");
    EXPECT_EQ(DetailOf(status)->metadata["iova"], Hex(c.want));
    EXPECT_EQ(this->arena()->pages_in_use(), pages);
    EXPECT_EQ(this->Unmap(0, this->kTop), c.mapped_size);
    EXPECT_EQ(this->arena()->pages_in_use(), this->kRootPages);
  }
}

TYPED_TEST(PageTableTest, UnmapsOnlyLeavesThatLieWhollyInTheRange) {
  constexpr uint64_t kPage = TestFixture::kPage, kBlock = TestFixture::kBlock,
                     kLargest = TestFixture::kLargest;
  const auto map = [&](Iova iova, uint64_t size) {
    ASSERT_TRUE(this->table_.Map(iova, PhysAddr{iova}, size, kReadWrite).ok());
  };
  map(kLargest, kLargest);
  map(2 * kLargest, kBlock);
  map(2 * kLargest + kBlock, kPage);
  EXPECT_EQ(this->Unmap(kLargest + kPage, kLargest - kPage), 0u) << "the end of a leaf";
  EXPECT_EQ(this->Unmap(kLargest, kLargest - kPage), 0u) << "the start of a leaf";
  EXPECT_EQ(this->Unmap(2 * kLargest + kBlock / 2, kBlock / 2 + kBlock), kPage)
      << "the middle of a leaf onwards";
  const Iova pages = 4 * kLargest;
  map(pages, 2 * kPage);
  EXPECT_EQ(this->Unmap(pages + 8, 2 * kPage - 16), 0u) << "the inner parts of two pages";
  EXPECT_EQ(this->Unmap(pages + 8, 2 * kPage - 8), kPage) << "the second one wholly";
  EXPECT_EQ(this->Unmap(pages, kPage + 8), kPage) << "the first one wholly";
  EXPECT_EQ(this->Unmap(0, 0), 0u) << "nothing";
  EXPECT_EQ(this->Unmap(this->kTop, kPage), 0u) << "outside";
  EXPECT_EQ(this->Unmap(kLargest, ~uint64_t{0}), kLargest + kBlock) << "far beyond the aperture";
  EXPECT_EQ(this->arena()->pages_in_use(), this->kRootPages);
}

TYPED_TEST(PageTableTest, FreesATableWithItsLastEntryAndNotBefore) {
  constexpr uint64_t kPage = TestFixture::kPage, kBlock = TestFixture::kBlock;
  ASSERT_TRUE(this->table_.Map(kBlock, PhysAddr{0}, 2 * kPage, kReadWrite).ok());
  const uint64_t full = this->arena()->pages_in_use();
  EXPECT_EQ(full, PagesFor<TypeParam>(TypeParam::kLevels));
  EXPECT_EQ(this->Unmap(kBlock, kPage), kPage);
  EXPECT_EQ(this->arena()->pages_in_use(), full);
  EXPECT_EQ(this->Unmap(kBlock + kPage, kPage), kPage);
  EXPECT_EQ(this->arena()->pages_in_use(), this->kRootPages);
}

TYPED_TEST(PageTableTest, PutsALargeLeafWhereATableWasEmptied) {
  constexpr uint64_t kPage = TestFixture::kPage, kLargest = TestFixture::kLargest;
  ASSERT_TRUE(this->table_.Map(kLargest, PhysAddr{kLargest}, kPage, kReadWrite).ok());
  EXPECT_EQ(this->Unmap(kLargest, kPage), kPage);
  ASSERT_TRUE(this->table_.Map(kLargest, PhysAddr{kLargest}, kLargest, kReadWrite).ok());
  std::vector<uint64_t> want(3);
  want[TypeParam::kLeafLevels - 1] = 1;
  EXPECT_EQ(LeavesOf(this->table_), want);
}

// Case 6 of the reliability list: a device's walk caches may lead into a freed table until they
// are flushed.
TYPED_TEST(PageTableTest, KeepsFreedTablesOutOfUseUntilTheyAreGivenBack) {
  constexpr uint64_t kPage = TestFixture::kPage, kBlock = TestFixture::kBlock,
                     kLargest = TestFixture::kLargest;
  ASSERT_TRUE(this->table_.Map(kLargest, PhysAddr{kLargest + kPage}, 2 * kBlock, kReadWrite).ok());
  const uint64_t in_use = this->arena()->pages_in_use();
  PageList freed;
  EXPECT_EQ(this->table_.Unmap(kLargest, 2 * kBlock, &freed), 2 * kBlock);
  EXPECT_EQ(PagesFor<TypeParam>(1 + freed.size()), in_use);
  EXPECT_EQ(this->arena()->pages_in_use(), in_use);
  EXPECT_FALSE(this->Look(kLargest).mapped);
  this->arena()->Free(&freed);
  EXPECT_TRUE(freed.empty());
  EXPECT_EQ(this->arena()->pages_in_use(), this->kRootPages);
}

TYPED_TEST(PageTableTest, ShowsThePathOfEntries) {
  constexpr uint64_t kPage = TestFixture::kPage, kLargest = TestFixture::kLargest;
  ASSERT_TRUE(this->table_.Map(kLargest + 5 * kPage, PhysAddr{7 * kPage}, kPage, kReadWrite).ok());
  const std::vector<TableEntry> path = this->table_.PathTo(kLargest + 5 * kPage + 0x123);
  ASSERT_EQ(path.size(), static_cast<size_t>(TypeParam::kLevels));
  for (size_t i = 0; i < path.size(); ++i) {
    EXPECT_EQ(path[i].level, TypeParam::kLevels - 1 - static_cast<int>(i));
    EXPECT_EQ(this->memory_.Read(path[i].address.value), path[i].value);
  }
  EXPECT_EQ(path.back().address.value % (kTablePagesOf<TypeParam> * 4096), 5u * 8);
  EXPECT_EQ(this->table_.PathTo(kLargest + 6 * kPage).back().value, 0u);
  // The largest leaves' table is there, and its first entry is empty.
  EXPECT_EQ(this->table_.PathTo(0).size(), TypeParam::kLevels - TypeParam::kLeafLevels + 1u);
  EXPECT_TRUE(this->table_.PathTo(this->kTop).empty());
  EXPECT_FALSE(this->table_.Translate(this->kTop).has_value());
}

TYPED_TEST(PageTableTest, WritesWhatKindOfMemoryItLeadsTo) {
  constexpr uint64_t kPage = TestFixture::kPage, kBlock = TestFixture::kBlock;
  const auto format = TypeParam::MakeFormat(kAllSizesOf<TypeParam>);
  for (const MemoryType memory : {MemoryType::kNormal, MemoryType::kDevice}) {
    // A page and a block in new tables, then pages in a table that is there.
    const struct {
      Iova iova;
      uint64_t size;
    } kMaps[] = {{kBlock - kPage, kPage + kBlock}, {kBlock - 3 * kPage, 2 * kPage}};
    for (const auto& m : kMaps) {
      ASSERT_TRUE(
          this->table_.Map(m.iova, PhysAddr{4 * kBlock + m.iova}, m.size, kReadWrite, memory).ok());
    }
    for (const Iova iova : {kBlock - 3 * kPage, kBlock - 2 * kPage, kBlock - kPage, kBlock}) {
      const int level = iova == kBlock ? 1 : 0;
      EXPECT_EQ(this->table_.PathTo(iova).back().value,
                format.LeafEntry(PhysAddr{4 * kBlock + iova}, level, kReadWrite, memory));
    }
    EXPECT_EQ(this->Unmap(0, this->kTop), 3 * kPage + kBlock);
  }
}

TYPED_TEST(PageTableTest, FreesEverythingWhenDestroyed) {
  {
    PageTable table = this->Make(this->arena());
    ASSERT_TRUE(table.Map(0, PhysAddr{this->kPage}, 2 * this->kBlock, kReadWrite).ok());
    const Iova end = this->kTop - this->kLargest;
    ASSERT_TRUE(table.Map(end, PhysAddr{0}, this->kLargest, kReadWrite).ok());
    const PageTable moved = std::move(table);
    EXPECT_GE(this->arena()->pages_in_use(), this->kRootPages + PagesFor<TypeParam>(3));
  }
  EXPECT_EQ(this->arena()->pages_in_use(), this->kRootPages);
}

TEST(PageTableCreateTest, IsRefusedWithoutAPageForTheRoot) {
  TableMemory memory(1);
  const auto format = VtdSecondStageKind<4>::MakeFormat(4 * kKiB);
  const auto first = PageTable::Create(format, PlainStore(), memory.arena());
  ASSERT_TRUE(first.ok());
  const auto second = PageTable::Create(format, PlainStore(), memory.arena());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(PageTableCreateTest, IsRefusedWithoutAnAlignedBlockForARootOfSeveralTables) {
  using Kind = ArmStage2Kind<14, 40, 2, 4>;
  const auto format = Kind::MakeFormat(kPageOf<Kind>);
  TableMemory odd(kRootPagesOf<Kind>);
  EXPECT_EQ(PageTable::Create(format, PlainStore(), odd.arena()).status().code(),
            absl::StatusCode::kResourceExhausted);
  TableMemory aligned(kRootPagesOf<Kind>, TableMemory::kAlignedBase);
  EXPECT_TRUE(PageTable::Create(format, PlainStore(), aligned.arena()).ok());
  EXPECT_EQ(aligned.arena()->pages_in_use(), 0u) << "the table is gone again";
}

}  // namespace
}  // namespace viommu
