// Where requests lead to, with each stage and with both.
#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = SmmuTestWorld;
using smmu::Translation;

TEST(SmmuTranslationTest, LeadsThroughStage1ToPagesAndBlocksOfEverySize) {
  World world;
  const struct {
    uint64_t address, physical, rest;
  } kCases[] = {
      {World::kIova4K + 0x123, world.data + 0x123, 0x1000 - 0x123},
      {World::kIova2M + 0x12345, World::kPhys2M + 0x12345, 0x200000 - 0x12345},
      {World::kIova1G + 0x1234567, World::kPhys1G + 0x1234567, 0x40000000 - 0x1234567},
  };
  for (const auto& c : kCases) {
    for (const auto& request : {World::Read(c.address), World::Write(c.address, 3)}) {
      const Translation probed = world.model->Probe(request);
      ASSERT_TRUE(probed.ok()) << smmu::EventName(probed.fault.id);
      EXPECT_EQ(probed.physical.value, c.physical);
      const Translation walked = world.Translate(request);
      ASSERT_TRUE(walked.ok());
      EXPECT_EQ(walked.physical.value, c.physical);
      EXPECT_EQ(walked.size_bytes, c.rest);
      EXPECT_EQ(world.Translate(request).physical.value, c.physical);
    }
  }
  EXPECT_EQ(world.model->counters().tlb_misses, 3u);
  EXPECT_EQ(world.model->counters().tlb_hits, 9u);
}

TEST(SmmuTranslationTest, LeadsThroughStage2AloneAndThroughBoth) {
  for (const Stages stages : {Stages::kSecond, Stages::kNested}) {
    World world(stages);
    EXPECT_EQ(world.Where(world.DataAddress() + 8), world.data + 8);
    EXPECT_EQ(world.Where(world.BlockAddress() + 0x123456), World::kPhys1G + 0x123456);
    EXPECT_EQ(world.model->Probe(World::Read(world.DataAddress())).physical.value, world.data);
  }
}

TEST(SmmuTranslationTest, CombinesTheSmallerOfBothStagesBlocks) {
  World world(Stages::kNested);
  const Translation block = world.Translate(World::Read(World::kIova2M + 0x1234));
  ASSERT_TRUE(block.ok());
  EXPECT_EQ(block.physical.value, World::kPhys1G + 0x1234);
  EXPECT_EQ(block.page_shift, 21);
  // 2 MiB of stage 1 over 4 KiB pages of stage 2.
  world.Store(world.leaf_2m, World::kIpaBase | World::kFirstLeaf | 1);
  const uint64_t address = World::kIova2M + (world.data & 0x1ff000);
  world.Submit(0x30);
  const Translation page = world.Translate(World::Read(address + 0x10));
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(page.page_shift, 12);
  EXPECT_EQ(page.physical.value, world.data + 0x10);
}

TEST(SmmuTranslationTest, MovesBytesAcrossPagesThatLieApart) {
  World world;
  const uint64_t other = world.Page();
  world.Store(world.leaf_4k + 8, other | World::kFirstLeaf | 3);
  std::string written = "0123456789abcdef";
  const uint64_t address = World::kIova4K + 0x1000 - 8;
  const auto wrote = world.model->Access(World::Write(address), absl::MakeSpan(written));
  EXPECT_EQ(wrote.bytes_done, 16u);
  EXPECT_TRUE(wrote.fault.none());
  std::string there(8, '\0');
  ASSERT_TRUE(world.memory.Read(PhysAddr{other}, absl::MakeSpan(there)));
  EXPECT_EQ(there, "89abcdef");
  std::string read(16, '\0');
  EXPECT_EQ(world.model->Access(World::Read(address), absl::MakeSpan(read)).bytes_done, 16u);
  EXPECT_EQ(read, written);
}

TEST(SmmuTranslationTest, PassesOrAbortsEverythingWhileItIsOff) {
  World world(Stages::kFirst, {}, /*enable=*/false);
  EXPECT_EQ(world.Where(0x1234), 0x1234u);
  EXPECT_TRUE(world.Translate(World::Read(1ull << 48)).fault.terminated);
  world.model->Write32(0x44, 1u << 20);  // Without UPDATE nothing changes.
  EXPECT_EQ(world.Where(0x1234), 0x1234u);
  world.model->Write32(0x44, 1u << 31 | 1u << 20);
  EXPECT_EQ(world.model->Read32(0x44), 1u << 20);
  EXPECT_TRUE(world.Translate(World::Read(0x1234)).fault.terminated);
  EXPECT_EQ(world.model->counters().terminated, 2u);
}

TEST(SmmuTranslationTest, BypassesAndAbortsAsTheStreamTableEntrySays) {
  World world;
  world.Store(world.stream_entry, 1 | 4 << 1);
  EXPECT_EQ(world.Where(0x777000), 0x777000u);
  const Translation large = world.Translate(World::Read(1ull << 48));
  EXPECT_EQ(large.fault.id, smmu::kAddressSizeFault);
  EXPECT_FALSE(large.fault.stage2);
  for (const uint64_t config : {0, 1, 2, 3}) {
    world.Store(world.stream_entry, 1 | config << 1);
    world.Submit(0x03 | uint64_t{World::kStream} << 32, 1);
    const Translation aborted = world.Translate(World::Read(World::kIova4K));
    EXPECT_TRUE(aborted.fault.terminated);
    EXPECT_EQ(aborted.fault.id, smmu::kNoEvent);
  }
  EXPECT_EQ(world.EventCount(), 1u);
}

TEST(SmmuTranslationTest, FindsEntriesOfTwoLevelStreamTables) {
  World world(Stages::kFirst, {}, /*enable=*/false);
  const uint64_t first = world.Page();
  // Streams from 256 on: 2^7 entries of a table of its own, 4 pages before they end.
  const uint64_t second = world.Page(4);
  world.Store(first + 8, second | 8);
  for (int word = 0; word < 4; ++word) {
    world.Store(second + 64 * 5 + 8 * word, world.Load(world.stream_entry + 8 * word));
  }
  world.Enable();
  world.model->Write32(0x20, 0xe);  // The stream table is fixed while translation is on.
  world.model->Write64(0x80, first);
  world.model->Write32(0x88, 10 | 8 << 6 | 1 << 16);
  world.model->Write32(0x20, 0xf);
  smmu::Request request = World::Read(World::kIova4K);
  request.stream_id = 256 + 5;
  EXPECT_EQ(world.Translate(request).physical.value, world.data);
  for (const uint32_t stream : {5u, 256u + 128, 512u, 1024u}) {
    request.stream_id = stream;
    EXPECT_EQ(world.Translate(request).fault.id, smmu::kBadStreamId) << stream;
  }
  request.stream_id = 256 + 4;
  EXPECT_EQ(world.Translate(request).fault.id, smmu::kBadSte);
}

TEST(SmmuTranslationTest, FindsContextsInTwoLevelTables) {
  for (const Stages stages : {Stages::kFirst, Stages::kNested}) {
    for (const uint64_t format : {1, 2}) {
      World world(stages);
      const int split = format == 1 ? 6 : 10;
      const uint64_t first = world.Page(), second = world.Page(format == 1 ? 1 : 16);
      world.Store(first + 8, world.Inner(second) | 1);
      const uint64_t substream = (1ull << split) + 2;
      world.Store(second + 64 * 2 + 8, world.Inner(world.level0));
      world.Store(second + 64 * 2, World::kContext0);
      const uint64_t config = world.Load(world.stream_entry) & 0xf;
      world.Store(world.stream_entry, config | format << 4 | world.Inner(first) | 12ull << 59);
      EXPECT_EQ(world.Where(World::kIova4K, substream), world.data);
      EXPECT_EQ(world.Translate(World::Read(World::kIova4K, 3)).fault.id, smmu::kBadSubstreamId);
      EXPECT_EQ(world.Translate(World::Read(World::kIova4K, substream + 1)).fault.id, smmu::kBadCd);
    }
  }
}

TEST(SmmuTranslationTest, DecidesAboutRequestsWithoutSubstreamByS1dss) {
  const struct {
    uint64_t selection;
    smmu::EventId without, with_zero;
    uint64_t physical;
  } kCases[] = {
      {0, smmu::kStreamDisabled, smmu::kNoEvent, 0},
      {1, smmu::kNoEvent, smmu::kNoEvent, World::kIova4K},
      {2, smmu::kNoEvent, smmu::kStreamDisabled, 1},
      {3, smmu::kStreamDisabled, smmu::kNoEvent, 0},
  };
  for (const auto& c : kCases) {
    World world;
    world.Store(world.stream_entry + 8, c.selection);
    const Translation without = world.Translate(World::Read(World::kIova4K));
    EXPECT_EQ(without.fault.id, c.without);
    if (without.ok()) {
      EXPECT_EQ(without.physical.value, c.physical == 1 ? world.data : c.physical);
    }
    EXPECT_EQ(world.Translate(World::Read(World::kIova4K, 0)).fault.id, c.with_zero);
    EXPECT_EQ(world.Where(World::kIova4K, 3), world.data);
  }
}

TEST(SmmuTranslationTest, TranslatesTheUpperHalfThroughTtb1) {
  World world;
  const uint64_t context = (World::kContext0 & ~(1ull << 30)) | 16 << 16 | 2 << 22;
  world.Store(world.context0 + 16, world.level0);
  world.Store(world.context0, context);
  EXPECT_EQ(world.Where(0xffff000000000000 | World::kIova4K), world.data);
  EXPECT_EQ(world.Where(World::kIova4K), world.data);
  EXPECT_EQ(world.Translate(World::Read(0xfffe000000000000)).fault.id, smmu::kTranslationFault);
}

TEST(SmmuTranslationTest, IgnoresTheTopByteWhereTheContextSaysSo) {
  World world;
  const uint64_t tagged = 0xabull << 56 | World::kIova4K;
  EXPECT_EQ(world.Translate(World::Read(tagged)).fault.id, smmu::kTranslationFault);
  world.Store(world.context0, World::kContext0 | 1ull << 38);
  world.Submit(0x05 | uint64_t{World::kStream} << 32, 1);
  EXPECT_EQ(world.Where(tagged), world.data);
}

// Each granule, with its pages, its blocks and where its tables start.
TEST(SmmuTranslationTest, WalksTablesOfEveryGranule) {
  const struct {
    uint64_t granule;  // TG0
    int shift, start_level;
    uint64_t size, start_index, block_shift;
  } kCases[] = {{0, 12, 1, 25, 1, 21}, {2, 14, 2, 28, 1, 25}, {1, 16, 2, 25, 1, 29}};
  for (const auto& c : kCases) {
    World world;
    const uint64_t pages = 1ull << (c.shift - 12);
    const int stride = c.shift - 3;
    uint64_t tables[4] = {};
    for (int level = c.start_level; level <= 3; ++level) tables[level] = world.Page(pages);
    const uint64_t data = world.Page(pages);
    const uint64_t address = 1ull << (c.shift + stride * (3 - c.start_level));
    for (int level = c.start_level; level < 3; ++level) {
      world.Store(tables[level] + (level == c.start_level ? 8 : 0), tables[level + 1] | 3);
    }
    world.Store(tables[3], data | World::kFirstLeaf | 3);
    // The second entry of level 2, unless that is where the tables start: then the third.
    const uint64_t index = c.start_level == 2 ? 2 : 1;
    world.Store(tables[2] + 8 * index, World::kPhys1G | World::kFirstLeaf | 1);
    world.Store(world.context0 + 8, tables[c.start_level]);
    world.Store(world.context0, (World::kContext0 & ~0xffull) | c.size | c.granule << 6);
    const Translation page = world.Translate(World::Read(address + 0x44));
    ASSERT_TRUE(page.ok()) << c.shift << smmu::EventName(page.fault.id);
    EXPECT_EQ(page.physical.value, data + 0x44);
    EXPECT_EQ(page.page_shift, c.shift);
    const uint64_t block = (c.start_level == 2 ? 0 : address) + (index << c.block_shift) + 0x12344;
    const Translation found = world.Translate(World::Read(block));
    ASSERT_TRUE(found.ok()) << c.shift << smmu::EventName(found.fault.id);
    EXPECT_EQ(found.physical.value, World::kPhys1G + 0x12344);
    EXPECT_EQ(found.page_shift, static_cast<int>(c.block_shift));
  }
}

// Sixteen tables of stage 2 side by side, entered at level 2.
TEST(SmmuTranslationTest, WalksRootsOfStage2ThatLieSideBySide) {
  World world(Stages::kSecond);
  const uint64_t roots = world.Page(16);
  const uint64_t table = 13;
  world.Store(roots + 4096 * table + 8 * 5, World::kPhys2M | World::kSecondLeaf | 1);
  // T0SZ 30: 34 bits; SL0 0: level 2.
  world.Store(world.stream_entry + 16, (World::kStream2 & ~(0xffull << 32)) | 30ull << 32);
  world.Store(world.stream_entry + 24, roots);
  EXPECT_EQ(world.Where(table << 30 | 5ull << 21 | 0x321), World::kPhys2M + 0x321);
  EXPECT_EQ(world.Where(5ull << 21), 0u);
}

TEST(SmmuTranslationTest, WalksTablesOfStage2OfEveryGranule) {
  // S2TG, T0SZ; SL0 1: level 1 of 4 KiB tables, level 2 of others.
  const struct {
    uint64_t granule, size;
    int shift, start_level;
  } kCases[] = {{0, 28, 12, 1}, {2, 30, 14, 2}, {1, 25, 16, 2}};
  for (const auto& c : kCases) {
    World world(Stages::kSecond);
    const uint64_t pages = 1ull << (c.shift - 12);
    const int stride = c.shift - 3;
    const uint64_t data = world.Page(pages);
    uint64_t table = world.Page(pages);
    world.Store(world.stream_entry + 16,
                (World::kStream2 & ~(0x3full << 32)) | c.size << 32 | c.granule << 46);
    world.Store(world.stream_entry + 24, table);
    for (int level = c.start_level; level < 3; ++level) {
      const uint64_t next = world.Page(pages);
      world.Store(table + 8 * 5, next | 3);
      table = next;
    }
    world.Store(table + 8 * 5, data | World::kSecondLeaf | 3);
    uint64_t address = 0;
    for (int level = c.start_level; level <= 3; ++level) {
      address |= 5ull << (c.shift + stride * (3 - level));
    }
    const Translation page = world.Translate(World::Read(address + 0x68));
    ASSERT_TRUE(page.ok()) << c.shift << smmu::EventName(page.fault.id);
    EXPECT_EQ(page.physical.value, data + 0x68);
    EXPECT_EQ(page.page_shift, c.shift);
  }
}

// 52 bits in and out: 64 KiB tables alone, whose descriptors hold the top bits further down.
TEST(SmmuTranslationTest, LeadsToAddressesOf52Bits) {
  SmmuModel::Spec spec;
  spec.output_address_bits = 52;
  spec.wide_input = true;
  World world(Stages::kFirst, spec);
  const uint64_t top = world.Page(2);
  world.Store(top + 8 * 700, 0xaull << 12 | 5ull << 42 | World::kFirstLeaf | 1);
  world.Store(world.context0 + 8, top);
  world.Store(world.context0,
              (World::kContext0 & ~0xffull & ~(7ull << 32)) | 6ull << 32 | 12 | 1 << 6);
  const Translation block = world.Translate(World::Read(700ull << 42 | 0x12345));
  ASSERT_TRUE(block.ok()) << smmu::EventName(block.fault.id);
  EXPECT_EQ(block.physical.value, 0xaull << 48 | 5ull << 42 | 0x12345);
  EXPECT_EQ(block.page_shift, 42);
  // The same with fewer bits out: then it is too large a block.
  world.Store(world.context0, (World::kContext0 & ~0xffull) | 12 | 1 << 6);
  world.Submit(0x04, 31);
  world.Submit(0x30);
  EXPECT_EQ(world.Translate(World::Read(700ull << 42)).fault.id, smmu::kAddressSizeFault);
}

// In EL2 without E2H there are no users: AP[1] says nothing, and XN all.
TEST(SmmuTranslationTest, KnowsOnePrivilegeInEl2) {
  World world;
  world.Flip(world.stream_entry + 8, 2ull << 30);  // STRW
  world.Flip(world.leaf_4k, 1 << 6 | 1ull << 54);
  EXPECT_EQ(world.Where(World::kIova4K), world.data);
  smmu::Request request = World::Read(World::kIova4K);
  request.instruction = true;
  EXPECT_EQ(world.Translate(request).fault.id, smmu::kPermissionFault);
  world.model->Write32(0x20, 0xe);
  world.model->Write32(0x2c, 3);  // E2H
  world.model->Write32(0x20, 0xf);
  world.Submit(0x20);
  EXPECT_EQ(world.Translate(World::Read(World::kIova4K)).fault.id, smmu::kPermissionFault);
}

TEST(SmmuTranslationTest, ReadsConfigurationAheadWhenToldTo) {
  World world;
  world.Submit(0x01 | uint64_t{World::kStream} << 32);
  EXPECT_EQ(world.model->counters().ste_misses, 1u);
  world.Flip(world.stream_entry, 1);
  EXPECT_EQ(world.Where(World::kIova4K), world.data);
}

TEST(SmmuTranslationTest, SaysInItsRegistersWhatItCanDo) {
  SmmuModel::Spec spec;
  World world(Stages::kFirst, spec);
  EXPECT_EQ(world.model->Read32(0x00), 0x084d3e9bu);
  EXPECT_EQ(world.model->Read32(0x04), 19u << 21 | 19 << 16 | 19 << 11 | 20 << 6 | 16);
  EXPECT_EQ(world.model->Read32(0x0c), 1u << 8 | 1 << 10);
  EXPECT_EQ(world.model->Read32(0x14), 64u << 16 | 7 << 4 | 5);
  EXPECT_EQ(world.model->Read32(0x24), 0xfu);
  EXPECT_EQ(world.model->Read64(0x80), world.streams);
  spec = {};
  spec.ats = spec.stage2 = spec.two_level_stream_table = spec.msi = false;
  spec.httu = 0;
  spec.stall_model = smmu::StallModel::kTerminateOnly;
  World other(Stages::kFirst, spec);
  EXPECT_EQ(other.model->Read32(0x00), 1u << 1 | 2 << 2 | 1 << 4 | 1 << 9 | 1 << 11 | 1 << 12 |
                                           1 << 18 | 1 << 19 | 2 << 21 | 1 << 24);
}

}  // namespace
}  // namespace viommu::hardware
