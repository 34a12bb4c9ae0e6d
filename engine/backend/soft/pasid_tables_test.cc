#include "engine/backend/soft/pasid_tables.h"

#include <cstring>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/base/address.h"
#include "engine/entries/vtd_entries.h"
#include "engine/pagetable/table_arena.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;

class PasidTablesTest : public testing::Test {
 protected:
  PasidTablesTest() {
    const auto window = *memory_.AddWindow(64 * kPage, 32 * kPage);
    std::memset(window.data, 0xff, window.size_bytes);  // A page of the arena looks used.
    arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
  }
  uint64_t DirectoryWord(const PasidTables& tables, uint32_t pasid) {
    return *memory_.Load64(tables.directory() + (pasid >> 6) * uint64_t{8});
  }

  PhysicalMemory memory_{PhysAddr{kPage}, 40};
  std::unique_ptr<TableArena> arena_;
};

TEST_F(PasidTablesTest, CoversTheWidthWithADirectoryOfThatSize) {
  const struct {
    int pasid_bits, pdts;
    uint64_t pages;  // The directory and one table.
  } kCases[] = {{0, 0, 2}, {13, 0, 2}, {16, 3, 3}, {20, 7, 33}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.pasid_bits);
    {
      const PasidTables tables = *PasidTables::Create(c.pasid_bits, arena_.get());
      EXPECT_EQ(tables.pdts(), c.pdts);
      EXPECT_EQ(arena_->pages_in_use(), c.pages);
      const uint32_t end = uint32_t{1} << c.pasid_bits;
      EXPECT_TRUE(tables.Covers(end - 1));
      EXPECT_FALSE(tables.Covers(end));
      EXPECT_EQ(DirectoryWord(tables, 0) & 1, 1u);
      for (uint32_t pasid = 64; pasid < end; pasid += 64) {
        ASSERT_EQ(DirectoryWord(tables, pasid), 0u) << pasid;
      }
    }
    EXPECT_EQ(arena_->pages_in_use(), 0u);
  }
}

TEST_F(PasidTablesTest, MakesATableForEvery64PasidsWhenItIsNeeded) {
  PasidTables tables = *PasidTables::Create(20, arena_.get());
  const uint64_t pages = arena_->pages_in_use();
  EXPECT_NE(tables.Words(63), nullptr);
  EXPECT_EQ(tables.Words(64), nullptr);
  EXPECT_EQ(tables.Read(64), vtd::MakeBlockedEntry());
  ASSERT_TRUE(tables.Prepare(0xfffff).ok());
  ASSERT_TRUE(tables.Prepare(0xfffc0).ok());
  EXPECT_EQ(arena_->pages_in_use(), pages + 1);
  EXPECT_EQ(tables.Words(0xfffff) - tables.Words(0xfffc0), 63 * 8);
  EXPECT_EQ(tables.Words(0xfffbf), nullptr);
  EXPECT_EQ(DirectoryWord(tables, 0xfffff),
            arena_->AddressOf(tables.Words(0xfffc0)).value | vtd::kPresent);
  tables.Words(0xfffff)[1] = 7;
  EXPECT_EQ(tables.Read(0xfffff)[1], 7u);
}

TEST_F(PasidTablesTest, GivesATableBackOnceAllItsEntriesAreBlocked) {
  PasidTables tables = *PasidTables::Create(20, arena_.get());
  const uint64_t pages = arena_->pages_in_use();
  ASSERT_TRUE(tables.Prepare(130).ok());
  tables.Words(191)[0] = vtd::kPresent;
  EXPECT_EQ(tables.Unlink(130), nullptr) << "another entry of the table is in use";
  EXPECT_NE(DirectoryWord(tables, 130), 0u);
  tables.Words(191)[0] = 0;
  auto table = tables.Unlink(130);
  ASSERT_NE(table, nullptr);
  EXPECT_EQ(DirectoryWord(tables, 130), 0u);
  EXPECT_EQ(tables.Words(130), nullptr);
  EXPECT_EQ(tables.Read(191), vtd::MakeBlockedEntry());
  EXPECT_EQ(arena_->pages_in_use(), pages + 1) << "hardware may read it still";
  table.reset();
  EXPECT_EQ(arena_->pages_in_use(), pages);
  EXPECT_EQ(tables.Unlink(130), nullptr) << "there is none";
  EXPECT_EQ(tables.Unlink(7), nullptr) << "requests without PASID need it";
  EXPECT_NE(tables.Words(7), nullptr);
}

TEST_F(PasidTablesTest, BelongsToOneObjectAtATime) {
  {
    PasidTables first = *PasidTables::Create(8, arena_.get());
    ASSERT_TRUE(first.Prepare(200).ok());
    const PasidTables second = std::move(first);
    EXPECT_NE(second.Words(200), nullptr);
  }
  EXPECT_EQ(arena_->pages_in_use(), 0u);
}

TEST_F(PasidTablesTest, RunsOutOfTableMemoryWithoutALeak) {
  const auto window = *memory_.AddWindow(2 * kPage, 2 * kPage);
  TableArena small(window.data, window.base, window.size_bytes);
  EXPECT_EQ(PasidTables::Create(20, &small).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(PasidTables::Create(16, &small).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(small.pages_in_use(), 0u);
  PasidTables tables = *PasidTables::Create(8, &small);
  EXPECT_EQ(tables.Prepare(64).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(tables.Words(64), nullptr);
}

}  // namespace
}  // namespace viommu
