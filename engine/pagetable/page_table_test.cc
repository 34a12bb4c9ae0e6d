#include "engine/pagetable/page_table.h"

#include <string>
#include <vector>

#include "engine/base/errors.h"
#include "engine/pagetable/page_table_testing.h"
#include "engine/pagetable/store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kPage = 4 * kKiB;
constexpr uint64_t kAllSizes = kPage | 2 * kMiB | kGiB;

std::string ReasonOf(const absl::Status& status) {
  const auto detail = DetailOf(status);
  return detail.has_value() ? detail->reason : "";
}

// Number of leaves of 4 KiB, 2 MiB, 1 GiB.
std::vector<uint64_t> LeavesOf(const PageTable& table) {
  const TableCounts counts = table.Count();
  return {counts.leaves[0], counts.leaves[1], counts.leaves[2]};
}

template <typename Kind>
class PageTableTest : public ::testing::Test {
 protected:
  static PageTable Make(TableArena* arena, uint64_t page_sizes = kAllSizes) {
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

  static constexpr Iova kTop = Iova{1} << Kind::kInputBits;
  TableMemory memory_{4096};
  PageTable table_ = Make(memory_.arena());
};

using Kinds = ::testing::Types<VtdSecondStageKind<3>, VtdSecondStageKind<4>, VtdSecondStageKind<5>,
                               X86FirstStageKind<4>, X86FirstStageKind<5>>;
TYPED_TEST_SUITE(PageTableTest, Kinds);

TYPED_TEST(PageTableTest, StatesItsShape) {
  EXPECT_EQ(this->table_.levels(), TypeParam::kLevels);
  EXPECT_EQ(this->table_.aperture(), (IovaRange{0, this->kTop - 1}));
  EXPECT_EQ(this->table_.page_sizes(), kAllSizes);
  EXPECT_EQ(this->table_.write_implies_read(), TypeParam::kWriteImpliesRead);
  EXPECT_EQ(this->arena()->pages_in_use(), 1u);
}

TYPED_TEST(PageTableTest, MapsEveryLeafSizeAtEveryEdge) {
  const Iova top = this->kTop;
  for (const uint64_t size : {4 * kKiB, 2 * kMiB, kGiB}) {
    for (const Iova iova : {Iova{0}, size, 511 * size, 512 * size, top / 2 - size, top / 2,
                            top - 2 * size, top - size}) {
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
        EXPECT_EQ(this->arena()->pages_in_use(), 1u);
      }
    }
  }
}

TYPED_TEST(PageTableTest, ChoosesTheLargestLeavesThatFit) {
  const struct {
    const char* name;
    Iova iova;
    uint64_t to, size, page_sizes;
    std::vector<uint64_t> want;  // Leaves of 4 KiB, 2 MiB, 1 GiB.
  } kCases[] = {
      {"mixed, re-evaluated at each boundary",
       0x3fe400000,
       0x3fe400000,
       0x4c0600000 - 0x3fe400000,
       kAllSizes,
       {0, 17, 3}},
      {"IOVA and physical address unlike", kGiB, kGiB + 4 * kKiB, 2 * kMiB, kAllSizes, {512, 0, 0}},
      {"alike only to 2 MiB", kGiB, 2 * kMiB, kGiB, kAllSizes, {0, 512, 0}},
      {"head, middle, tail",
       2 * kMiB - 8 * kKiB,
       kGiB + 2 * kMiB - 8 * kKiB,
       2 * kMiB + 12 * kKiB,
       kAllSizes,
       {3, 1, 0}},
      {"no 1 GiB leaves", kGiB, kGiB, kGiB, 4 * kKiB | 2 * kMiB, {0, 512, 0}},
      {"no 2 MiB leaves",
       kGiB - 2 * kMiB,
       kGiB - 2 * kMiB,
       kGiB + 2 * kMiB,
       4 * kKiB | kGiB,
       {512, 0, 1}},
      {"4 KiB only", kGiB, kGiB, 4 * kMiB, 4 * kKiB, {1024, 0, 0}},
      {"over a table boundary", 0xfef80000, 0x208b95d000, 0x20000, kAllSizes, {32, 0, 0}},
      {"the end of the aperture",
       this->kTop - 3 * kGiB - 4 * kKiB,
       4 * kGiB - 4 * kKiB,
       3 * kGiB + 4 * kKiB,
       kAllSizes,
       {1, 0, 3}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    PageTable table = this->Make(this->arena(), c.page_sizes);
    const auto look = [&](Iova iova) {
      return TypeParam::Look(this->memory_, table.root().value, iova);
    };
    ASSERT_TRUE(table.Map(c.iova, PhysAddr{c.to}, c.size, kReadWrite).ok());
    EXPECT_EQ(LeavesOf(table), c.want);
    for (uint64_t offset = 0; offset < c.size; offset += 4 * kKiB) {
      ASSERT_EQ(look(c.iova + offset).physical, c.to + offset) << Hex(offset);
    }
    EXPECT_FALSE(look(c.iova - 1).mapped);
    EXPECT_FALSE(c.iova + c.size < this->kTop && look(c.iova + c.size).mapped);
    PageList freed;
    EXPECT_EQ(table.Unmap(c.iova, c.size, &freed), c.size);
    this->arena()->Free(&freed);
    EXPECT_EQ(this->arena()->pages_in_use(), 2u) << "the two roots";
  }
}

TYPED_TEST(PageTableTest, RefusesBadRangesAndSaysWhy) {
  constexpr Iova kTop = Iova{1} << TypeParam::kInputBits;
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
      {"size", 0, 0, kPage + 8, kReadWrite, absl::StatusCode::kInvalidArgument, "UNALIGNED"},
      {"nothing", 0, 0, kPage, {}, absl::StatusCode::kInvalidArgument, "PERMISSION_NONE"},
      {"behind", kTop, 0, kPage, kReadWrite, absl::StatusCode::kOutOfRange, "IOVA_OUT_OF_APERTURE"},
      {"across", kTop - kPage, 0, 2 * kPage, kReadWrite, absl::StatusCode::kOutOfRange,
       "IOVA_OUT_OF_APERTURE"},
      {"to 2^64", -kPage, 0, kPage, kReadWrite, absl::StatusCode::kOutOfRange,
       "IOVA_OUT_OF_APERTURE"},
      {"wraps", kPage, 0, -kPage, kReadWrite, absl::StatusCode::kOutOfRange,
       "IOVA_OUT_OF_APERTURE"},
      {"wide", 0, uint64_t{1} << 52, kPage, kReadWrite, absl::StatusCode::kOutOfRange,
       "PHYSICAL_ADDRESS_TOO_WIDE"},
      {"widens", 0, (uint64_t{1} << 52) - kPage, 2 * kPage, kReadWrite,
       absl::StatusCode::kOutOfRange, "PHYSICAL_ADDRESS_TOO_WIDE"},
      {"physical wraps", 0, -kPage, 2 * kPage, kReadWrite, absl::StatusCode::kOutOfRange,
       "PHYSICAL_ADDRESS_TOO_WIDE"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const absl::Status status = this->table_.Map(c.iova, PhysAddr{c.to}, c.size, c.permission);
    EXPECT_EQ(status.code(), c.code) << status;
    EXPECT_EQ(ReasonOf(status), c.reason);
    EXPECT_EQ(this->arena()->pages_in_use(), 1u);
  }
}

TYPED_TEST(PageTableTest, MapsTheLastPhysicalPage) {
  const uint64_t last_page = (uint64_t{1} << 52) - 4 * kKiB;
  ASSERT_TRUE(this->table_.Map(0, PhysAddr{last_page}, 4 * kKiB, kReadOnly).ok());
  EXPECT_EQ(this->Look(0xfff).physical, last_page + 0xfff);
  EXPECT_FALSE(this->Look(0xfff).write);
}

TYPED_TEST(PageTableTest, RefusesToMapOverAnyLeafAndNamesTheFirst) {
  const struct {
    const char* name;
    Iova mapped;
    uint64_t mapped_size;
    Iova iova;
    uint64_t size;
    Iova want;
  } kCases[] = {
      {"the same page", 0x5000, 0x1000, 0x5000, 0x1000, 0x5000},
      {"at the end", 0x5000, 0x1000, 0x3000, 0x3000, 0x5000},
      {"at the start", 0x5000, 0x2000, 0x6000, 0x3000, 0x6000},
      {"a page under a 2 MiB leaf", 2 * kMiB + 0x5000, 0x1000, 2 * kMiB, 2 * kMiB,
       2 * kMiB + 0x5000},
      {"a page under the second of two", 4 * kMiB + 0x5000, 0x1000, 2 * kMiB, 4 * kMiB,
       4 * kMiB + 0x5000},
      {"a page under a 1 GiB leaf", 2 * kGiB - 0x1000, 0x1000, kGiB, kGiB, 2 * kGiB - 0x1000},
      {"a page inside a 2 MiB leaf", 2 * kMiB, 2 * kMiB, 3 * kMiB, 0x1000, 3 * kMiB},
      {"a page inside a 1 GiB leaf", kGiB, kGiB, 2 * kGiB - 0x1000, 0x2000, 2 * kGiB - 0x1000},
      {"far behind", 5 * kGiB + 0x5000, 0x1000, kGiB, 5 * kGiB, 5 * kGiB + 0x5000},
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
    EXPECT_EQ(this->arena()->pages_in_use(), 1u);
  }
}

TYPED_TEST(PageTableTest, UnmapsOnlyLeavesThatLieWhollyInTheRange) {
  const auto map = [&](Iova iova, uint64_t size) {
    ASSERT_TRUE(this->table_.Map(iova, PhysAddr{iova}, size, kReadWrite).ok());
  };
  map(kGiB, kGiB);
  map(2 * kGiB, 2 * kMiB);
  map(2 * kGiB + 2 * kMiB, 4 * kKiB);
  EXPECT_EQ(this->Unmap(kGiB + 4 * kKiB, kGiB - 4 * kKiB), 0u) << "the end of a leaf";
  EXPECT_EQ(this->Unmap(kGiB, kGiB - 4 * kKiB), 0u) << "the start of a leaf";
  EXPECT_EQ(this->Unmap(2 * kGiB + kMiB, 3 * kMiB), 4 * kKiB) << "the middle of a leaf onwards";
  map(3 * kGiB, 2 * kPage);
  EXPECT_EQ(this->Unmap(3 * kGiB + 8, 2 * kPage - 16), 0u) << "the inner parts of two pages";
  EXPECT_EQ(this->Unmap(3 * kGiB + 8, 2 * kPage - 8), kPage) << "the second one wholly";
  EXPECT_EQ(this->Unmap(3 * kGiB, kPage + 8), kPage) << "the first one wholly";
  EXPECT_EQ(this->Unmap(0, 0), 0u) << "nothing";
  EXPECT_EQ(this->Unmap(this->kTop, 4 * kKiB), 0u) << "outside";
  EXPECT_EQ(this->Unmap(kGiB, ~uint64_t{0}), kGiB + 2 * kMiB) << "far beyond the aperture";
  EXPECT_EQ(this->arena()->pages_in_use(), 1u);
}

TYPED_TEST(PageTableTest, FreesATableWithItsLastEntryAndNotBefore) {
  ASSERT_TRUE(this->table_.Map(2 * kMiB, PhysAddr{0}, 8 * kKiB, kReadWrite).ok());
  const uint64_t full = this->arena()->pages_in_use();
  EXPECT_EQ(full, static_cast<uint64_t>(TypeParam::kLevels));
  EXPECT_EQ(this->Unmap(2 * kMiB, 4 * kKiB), 4 * kKiB);
  EXPECT_EQ(this->arena()->pages_in_use(), full);
  EXPECT_EQ(this->Unmap(2 * kMiB + 4 * kKiB, 4 * kKiB), 4 * kKiB);
  EXPECT_EQ(this->arena()->pages_in_use(), 1u);
}

TYPED_TEST(PageTableTest, PutsALargeLeafWhereATableWasEmptied) {
  ASSERT_TRUE(this->table_.Map(kGiB, PhysAddr{kGiB}, 4 * kKiB, kReadWrite).ok());
  EXPECT_EQ(this->Unmap(kGiB, 4 * kKiB), 4 * kKiB);
  ASSERT_TRUE(this->table_.Map(kGiB, PhysAddr{kGiB}, kGiB, kReadWrite).ok());
  EXPECT_THAT(LeavesOf(this->table_), ElementsAre(0, 0, 1));
}

// Case 6 of the reliability list: a device's walk caches may lead into a freed table until they
// are flushed.
TYPED_TEST(PageTableTest, KeepsFreedTablesOutOfUseUntilTheyAreGivenBack) {
  ASSERT_TRUE(this->table_.Map(kGiB, PhysAddr{kGiB + 4 * kKiB}, 4 * kMiB, kReadWrite).ok());
  const uint64_t in_use = this->arena()->pages_in_use();
  PageList freed;
  EXPECT_EQ(this->table_.Unmap(kGiB, 4 * kMiB, &freed), 4 * kMiB);
  EXPECT_EQ(freed.size(), in_use - 1);
  EXPECT_EQ(this->arena()->pages_in_use(), in_use);
  EXPECT_FALSE(this->Look(kGiB).mapped);
  this->arena()->Free(&freed);
  EXPECT_TRUE(freed.empty());
  EXPECT_EQ(this->arena()->pages_in_use(), 1u);
}

TYPED_TEST(PageTableTest, ShowsThePathOfEntries) {
  ASSERT_TRUE(this->table_.Map(kGiB + 0x5000, PhysAddr{0x7000}, 0x1000, kReadWrite).ok());
  const std::vector<TableEntry> path = this->table_.PathTo(kGiB + 0x5123);
  ASSERT_EQ(path.size(), static_cast<size_t>(TypeParam::kLevels));
  for (size_t i = 0; i < path.size(); ++i) {
    EXPECT_EQ(path[i].level, TypeParam::kLevels - 1 - static_cast<int>(i));
    EXPECT_EQ(this->memory_.Read(path[i].address.value), path[i].value);
  }
  EXPECT_EQ(path.back().address.value % 4096, 5u * 8);
  EXPECT_EQ(this->table_.PathTo(kGiB + 0x6000).back().value, 0u);
  EXPECT_EQ(this->table_.PathTo(0).size(), TypeParam::kLevels == 3 ? 1u : TypeParam::kLevels - 2u);
  EXPECT_TRUE(this->table_.PathTo(this->kTop).empty());
  EXPECT_FALSE(this->table_.Translate(this->kTop).has_value());
}

TYPED_TEST(PageTableTest, FreesEverythingWhenDestroyed) {
  {
    PageTable table = this->Make(this->arena());
    ASSERT_TRUE(table.Map(0, PhysAddr{0x1000}, 4 * kMiB, kReadWrite).ok());
    ASSERT_TRUE(table.Map(this->kTop - kGiB, PhysAddr{0}, kGiB, kReadWrite).ok());
    const PageTable moved = std::move(table);
    EXPECT_GT(this->arena()->pages_in_use(), 4u);
  }
  EXPECT_EQ(this->arena()->pages_in_use(), 1u);
}

TEST(PageTableCreateTest, IsRefusedWithoutAPageForTheRoot) {
  TableMemory memory(1);
  const auto format = VtdSecondStageKind<4>::MakeFormat(kAllSizes);
  const auto first = PageTable::Create(format, PlainStore(), memory.arena());
  ASSERT_TRUE(first.ok());
  const auto second = PageTable::Create(format, PlainStore(), memory.arena());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace viommu
