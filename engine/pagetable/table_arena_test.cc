#include "engine/pagetable/table_arena.h"

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

#include "engine/base/errors.h"
#include "engine/pagetable/page_table_testing.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = TableArena::kPageBytes;

bool IsZero(const TableArena& arena, PhysAddr address, uint64_t size_bytes) {
  const uint64_t* words = arena.WordsAt(address);
  return std::all_of(words, words + size_bytes / 8, [](uint64_t w) { return w == 0; });
}

void Scribble(const TableArena& arena, PhysAddr address, uint64_t size_bytes) {
  std::fill_n(arena.WordsAt(address), size_bytes / 8, 0xa5a5a5a5a5a5a5a5);
}

TEST(TableArenaTest, PhysicalAddressAndPointerDifferByAConstant) {
  TableMemory memory(4);
  const PhysAddr page = *memory.arena()->AllocateZeroed();
  uint64_t* words = memory.arena()->WordsAt(page);
  EXPECT_EQ(memory.arena()->WordsAt(page + 8), words + 1);
  EXPECT_EQ(memory.arena()->AddressOf(words + 1), page + 8);
  words[1] = 77;
  EXPECT_EQ(memory.Read(page.value + 8), 77u);
}

TEST(TableArenaTest, HandsOutEveryPageOnceAndThenRefuses) {
  TableMemory memory(8);
  std::set<PhysAddr> pages;
  for (int i = 0; i < 8; ++i) pages.insert(*memory.arena()->AllocateZeroed());
  EXPECT_EQ(pages.size(), 8u);
  EXPECT_EQ(pages.begin()->value, TableMemory::kBase.value);
  EXPECT_EQ(pages.rbegin()->value, TableMemory::kBase.value + 7 * kPage);
  const auto none = memory.arena()->AllocateZeroed();
  EXPECT_EQ(none.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailOf(none.status())->reason, "TABLE_MEMORY_EXHAUSTED");
  EXPECT_EQ(memory.arena()->pages_in_use(), 8u);
  EXPECT_EQ(memory.arena()->pages_total(), 8u);
}

TEST(TableArenaTest, ZeroesWhatWasUsedBefore) {
  TableMemory memory(8);
  TableArena& arena = *memory.arena();
  const PhysAddr page = *arena.AllocateZeroed();
  Scribble(arena, page, kPage);
  arena.Free(page);
  const PhysAddr again = *arena.AllocateZeroed();
  EXPECT_EQ(again, page) << "what was freed last is taken first";
  EXPECT_TRUE(IsZero(arena, again, kPage));
  const PhysAddr block = *arena.AllocateBlock(2);
  Scribble(arena, block, 4 * kPage);
  arena.FreeBlock(block, 2);
  EXPECT_TRUE(IsZero(arena, *arena.AllocateBlock(2), 4 * kPage));
}

TEST(TableArenaTest, AlignsBlocksPhysicallyAndLosesNoPageToIt) {
  TableMemory memory(64);  // The base is an odd page.
  TableArena& arena = *memory.arena();
  std::set<uint64_t> seen;
  uint64_t pages = 0;
  for (const int log2 : {0, 3, 1, 2, 0, 3}) {
    const PhysAddr block = *arena.AllocateBlock(log2);
    EXPECT_TRUE(IsAligned(block.value, kPage << log2)) << log2;
    for (uint64_t i = 0; i < uint64_t{1} << log2; ++i) {
      EXPECT_TRUE(seen.insert(block.value + i * kPage).second);
    }
    pages += uint64_t{1} << log2;
  }
  EXPECT_EQ(arena.pages_in_use(), pages);
  PageList rest;
  EXPECT_TRUE(arena.TakeUninitialized(64 - pages, 0, &rest));
  while (!rest.empty()) EXPECT_TRUE(seen.insert(arena.PopFront(&rest).value).second);
  EXPECT_EQ(seen.size(), 64u);
}

TEST(TableArenaTest, RefusesBlocksThatCannotBe) {
  TableMemory memory(8);
  for (const int log2 : {-1, TableArena::kMaxBlockLog2 + 1}) {
    const auto block = memory.arena()->AllocateBlock(log2);
    EXPECT_EQ(block.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DetailOf(block.status())->reason, "INVALID_BLOCK_SIZE");
  }
  const auto block = memory.arena()->AllocateBlock(4);
  EXPECT_EQ(block.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(memory.arena()->pages_in_use(), 0u);
}

TEST(TableArenaTest, CutsAFreedBlockIntoSmallerOnes) {
  TableMemory memory(16);
  TableArena& arena = *memory.arena();
  const PhysAddr block = *arena.AllocateBlock(3);
  PageList rest;
  ASSERT_TRUE(arena.TakeUninitialized(8, 0, &rest));
  arena.FreeBlock(block, 3);
  std::set<uint64_t> seen;
  for (const int log2 : {2, 0, 1, 0}) {
    const PhysAddr part = *arena.AllocateBlock(log2);
    EXPECT_TRUE(IsAligned(part.value, kPage << log2));
    for (uint64_t i = 0; i < uint64_t{1} << log2; ++i) seen.insert(part.value + i * kPage);
  }
  EXPECT_EQ(seen.size(), 8u);
  EXPECT_EQ(*seen.begin(), block.value);
  EXPECT_EQ(*seen.rbegin(), block.value + 7 * kPage);
  arena.Free(&rest);
}

TEST(TableArenaTest, TakesAllPagesOrNone) {
  TableMemory memory(8);
  TableArena& arena = *memory.arena();
  PageList pages;
  EXPECT_FALSE(arena.TakeUninitialized(9, 0, &pages));
  EXPECT_TRUE(pages.empty());
  EXPECT_TRUE(arena.TakeUninitialized(5, 0, &pages));
  EXPECT_FALSE(arena.TakeUninitialized(4, 0, &pages));
  EXPECT_EQ(pages.size(), 5u);
  EXPECT_EQ(arena.pages_in_use(), 5u);
  EXPECT_TRUE(arena.TakeUninitialized(0, 0, &pages));
  EXPECT_TRUE(arena.TakeUninitialized(3, 0, &pages));
  arena.Free(&pages);
  EXPECT_TRUE(pages.empty());
  EXPECT_EQ(arena.pages_in_use(), 0u);
  EXPECT_TRUE(arena.TakeUninitialized(8, 0, &pages));
  arena.Free(&pages);
}

TEST(TableArenaTest, ListsKeepTheirOrderThroughMoves) {
  TableMemory memory(8);
  TableArena& arena = *memory.arena();
  std::vector<PhysAddr> pages;
  PageList list;
  for (int i = 0; i < 4; ++i) {
    pages.push_back(*arena.AllocateZeroed());
    arena.PushBack(pages.back(), 0, &list);
  }
  PageList moved = std::move(list);
  for (const PhysAddr page : pages) EXPECT_EQ(arena.PopFront(&moved), page);
  EXPECT_TRUE(moved.empty());
}

TEST(TableArenaTest, TakesAllBlocksOrNone) {
  TableMemory memory(32);  // The base is an odd page: 7 aligned blocks of 4 pages, and 4 pages.
  TableArena& arena = *memory.arena();
  PageList blocks;
  EXPECT_FALSE(arena.TakeUninitialized(8, 2, &blocks)) << "enough pages, but not side by side";
  EXPECT_TRUE(blocks.empty());
  EXPECT_EQ(arena.pages_in_use(), 0u);
  ASSERT_TRUE(arena.TakeUninitialized(5, 2, &blocks));
  ASSERT_TRUE(arena.TakeUninitialized(2, 2, &blocks));
  EXPECT_EQ(blocks.size(), 7u);
  EXPECT_EQ(arena.pages_in_use(), 28u);
  EXPECT_FALSE(arena.TakeUninitialized(1, 2, &blocks));
  std::set<PhysAddr> seen;
  PageList rest;
  while (!blocks.empty()) {
    const PhysAddr block = arena.PopFront(&blocks);
    EXPECT_TRUE(IsAligned(block.value, 4 * kPage));
    EXPECT_TRUE(seen.insert(block).second);
    arena.PushBack(block, 2, &rest);
  }
  arena.Free(&rest);
  EXPECT_TRUE(rest.empty());
  EXPECT_EQ(arena.pages_in_use(), 0u);
  EXPECT_TRUE(arena.TakeUninitialized(32, 0, &rest)) << "every page, one by one";
  arena.Free(&rest);
}

TEST(TableArenaTest, PutsFreePagesTogetherWhenABlockIsNotToBeHadOtherwise) {
  TableMemory memory(64, TableMemory::kAlignedBase);
  TableArena& arena = *memory.arena();
  PageList pages;
  ASSERT_TRUE(arena.TakeUninitialized(64, 0, &pages));
  std::set<PhysAddr> kept;
  PageList back;
  while (!pages.empty()) {
    const PhysAddr page = arena.PopFront(&pages);
    // One page in each half of the memory stays, so that there is no block of 32 pages.
    if (page == memory.base() + 5 * kPage || page == memory.base() + 40 * kPage) {
      kept.insert(page);
    } else {
      arena.PushBack(page, 0, &back);
    }
  }
  arena.Free(&back);
  EXPECT_EQ(arena.AllocateBlock(5).status().code(), absl::StatusCode::kResourceExhausted);
  PageList blocks;
  ASSERT_TRUE(arena.TakeUninitialized(2, 4, &blocks));
  EXPECT_FALSE(arena.TakeUninitialized(1, 4, &blocks));
  while (!blocks.empty()) {
    const PhysAddr block = arena.PopFront(&blocks);
    EXPECT_TRUE(IsAligned(block.value, 16 * kPage));
    for (uint64_t i = 0; i < 16; ++i) EXPECT_EQ(kept.count(block + i * kPage), 0u);
    arena.FreeBlock(block, 4);
  }
  for (const PhysAddr page : kept) arena.Free(page);
  EXPECT_TRUE(arena.AllocateBlock(6).ok()) << "all of it";
  EXPECT_EQ(arena.pages_in_use(), 64u);
}

TEST(TableArenaTest, PutsWhatWasNeverUsedTogetherWithWhatWasFreed) {
  TableMemory memory(16, TableMemory::kAlignedBase);
  TableArena& arena = *memory.arena();
  const PhysAddr page = *arena.AllocateZeroed();
  const PhysAddr block = *arena.AllocateBlock(3);  // Leaves pages 1 to 7 behind.
  EXPECT_EQ(block, memory.base() + 8 * kPage);
  arena.Free(page);
  EXPECT_EQ(*arena.AllocateBlock(3), memory.base());
  arena.FreeBlock(block, 3);
  arena.FreeBlock(memory.base(), 3);
  EXPECT_TRUE(arena.AllocateBlock(4).ok());
}

TEST(TableArenaTest, ServesManyThreadsAtOnce) {
  TableMemory memory(256);
  TableArena& arena = *memory.arena();
  std::vector<std::thread> threads;
  for (uint64_t id = 1; id <= 4; ++id) {
    threads.emplace_back([&arena, id] {
      for (int round = 0; round < 500; ++round) {
        PageList pages;
        ASSERT_TRUE(arena.TakeUninitialized(id * 8, 0, &pages));
        const PhysAddr page = *arena.AllocateZeroed();
        ASSERT_TRUE(IsZero(arena, page, kPage));
        Scribble(arena, page, kPage);
        arena.LiveEntries(page) = static_cast<uint32_t>(id);
        arena.PushBack(page, 0, &pages);
        arena.Free(&pages);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(arena.pages_in_use(), 0u);
}

}  // namespace
}  // namespace viommu
