// What the unit remembers is used until a command covers it: which command takes what.
#include <cstdint>
#include <functional>

#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using smmu::Request;
using smmu::Translation;
using World = SmmuTestWorld;

constexpr uint64_t kSid = uint64_t{World::kStream} << 32;
constexpr uint64_t kAsid = World::kAsid << 48, kOtherAsid = 8ull << 48;
constexpr uint64_t kVmid = World::kVmid << 32, kOtherVmid = 10ull << 32;
constexpr uint64_t kLeaf = 1;

// A command, and whether it takes each kind of thing away: for requests of the device's stream
// without substream, to the first pages of kIova4K and kIpaBase.
struct CommandCase {
  const char* name;
  uint64_t word0, word1;
  bool stream, context;
  bool leaf, global, table;  // Of stage 1, alone or combined.
  bool second_leaf, second_table;
};

constexpr uint64_t kVa = World::kIova4K, kIpa = World::kIpaBase;
constexpr CommandCase kCommands[] = {
    {"PREFETCH_CFG", 0x01 | kSid, 0, false, false, false, false, false, false, false},
    {"CFGI_STE", 0x03 | kSid, kLeaf, true, true, false, false, false, false, false},
    {"CFGI_STE other", 0x03 | 6ull << 32, 0, false, false, false, false, false, false, false},
    {"CFGI_STE_RANGE", 0x04, 2, true, true, false, false, false, false, false},
    {"CFGI_STE_RANGE other", 0x04 | 8ull << 32, 2, false, false, false, false, false, false, false},
    {"CFGI_ALL", 0x04, 31, true, true, false, false, false, false, false},
    {"CFGI_CD", 0x05 | kSid, kLeaf, false, true, false, false, false, false, false},
    {"CFGI_CD other", 0x05 | kSid | 3 << 12, 0, false, false, false, false, false, false, false},
    {"CFGI_CD_ALL", 0x06 | kSid, 0, false, true, false, false, false, false, false},
    {"CFGI_CD_ALL other", 0x06 | 6ull << 32, 0, false, false, false, false, false, false, false},
    {"NH_ALL", 0x10 | kVmid, 0, false, false, true, true, true, false, false},
    {"NH_ALL other VM", 0x10 | kOtherVmid, 0, false, false, false, false, false, false, false},
    {"NH_ASID", 0x11 | kVmid | kAsid, 0, false, false, true, false, true, false, false},
    {"NH_ASID other", 0x11 | kVmid | kOtherAsid, 0, false, false, false, false, false, false,
     false},
    {"NH_ASID other VM", 0x11 | kOtherVmid | kAsid, 0, false, false, false, false, false, false,
     false},
    {"NH_VA", 0x12 | kVmid | kAsid, kVa, false, false, true, true, true, false, false},
    {"NH_VA leaf", 0x12 | kVmid | kAsid, kVa | kLeaf, false, false, true, true, false, false,
     false},
    {"NH_VA other page", 0x12 | kVmid | kAsid, kVa + 0x1000, false, false, false, false, true,
     false, false},
    {"NH_VA far away", 0x12 | kVmid | kAsid, kVa + 0x200000, false, false, false, false, false,
     false, false},
    {"NH_VA other ASID", 0x12 | kVmid | kOtherAsid, kVa, false, false, false, true, false, false,
     false},
    {"NH_VA other VM", 0x12 | kOtherVmid | kAsid, kVa, false, false, false, false, false, false,
     false},
    {"NH_VAA", 0x13 | kVmid, kVa, false, false, true, true, true, false, false},
    {"NH_VAA leaf", 0x13 | kVmid, kVa | kLeaf, false, false, true, true, false, false, false},
    {"EL2_ALL", 0x20, 0, false, false, false, false, false, false, false},
    {"EL2_VA", 0x22 | kAsid, kVa, false, false, false, false, false, false, false},
    {"S12_VMALL", 0x28 | kVmid, 0, false, false, true, true, true, true, true},
    {"S12_VMALL other", 0x28 | kOtherVmid, 0, false, false, false, false, false, false, false},
    {"S2_IPA", 0x2a | kVmid, kIpa, false, false, false, false, false, true, true},
    {"S2_IPA leaf", 0x2a | kVmid, kIpa | kLeaf, false, false, false, false, false, true, false},
    {"S2_IPA other page", 0x2a | kVmid, kIpa + 0x1000, false, false, false, false, false, false,
     true},
    {"S2_IPA other VM", 0x2a | kOtherVmid, kIpa, false, false, false, false, false, false, false},
    {"NSNH_ALL", 0x30, 0, false, false, true, true, true, true, true},
    {"ATC_INV", 0x40 | kSid, 52, false, false, false, false, false, false, false},
    {"SYNC", 0x46, 0, false, false, false, false, false, false, false},
};

using Step = std::function<void(World&)>;

bool Same(const Translation& a, const Translation& b) {
  return a.ok() == b.ok() && a.physical == b.physical;
}

// Remembers the answer to `first`, changes memory and submits. Whether `second` still is answered
// from before.
bool StaysStale(const CommandCase& c, Stages stages, const Step& prepare, const Step& change,
                const Request& first, const Request& second) {
  World world(stages);
  if (prepare != nullptr) prepare(world);
  const Translation before = world.model->Probe(second);
  EXPECT_TRUE(world.Translate(first).ok());
  change(world);
  EXPECT_FALSE(Same(world.model->Probe(second), before));
  {
    // No command yet: always stale.
    World other(stages);
    if (prepare != nullptr) prepare(other);
    other.Translate(first);
    change(other);
    EXPECT_TRUE(Same(other.Translate(second), before));
  }
  world.Submit(c.word0, c.word1);
  EXPECT_FALSE(world.CommandError());
  return Same(world.Translate(second), before);
}

TEST(SmmuCacheTest, KeepsStreamTableEntriesUntilACommandCoversThem) {
  for (const CommandCase& c : kCommands) {
    SCOPED_TRACE(c.name);
    const Step change = [](World& w) { w.Flip(w.stream_entry, 1); };
    const Request request = World::Read(kVa);
    EXPECT_EQ(StaysStale(c, Stages::kFirst, nullptr, change, request, request), !c.stream);
  }
}

TEST(SmmuCacheTest, KeepsContextDescriptorsUntilACommandCoversThem) {
  for (const CommandCase& c : kCommands) {
    SCOPED_TRACE(c.name);
    const Step change = [](World& w) { w.Flip(w.context0, 1ull << 31); };
    const Request request = World::Read(kVa);
    EXPECT_EQ(StaysStale(c, Stages::kFirst, nullptr, change, request, request), !c.context);
  }
}

TEST(SmmuCacheTest, KeepsLeavesOfStage1UntilACommandCoversThem) {
  for (const Stages stages : {Stages::kFirst, Stages::kNested}) {
    for (const CommandCase& c : kCommands) {
      SCOPED_TRACE(c.name);
      const Step change = [](World& w) { w.Flip(w.leaf_4k, 1); };
      const Request request = World::Read(kVa);
      EXPECT_EQ(StaysStale(c, stages, nullptr, change, request, request), !c.leaf);
    }
  }
}

TEST(SmmuCacheTest, KeepsGlobalLeavesUntilACommandCoversThem) {
  for (const CommandCase& c : kCommands) {
    SCOPED_TRACE(c.name);
    const Step global = [](World& w) { w.Flip(w.leaf_4k, 1 << 11); };
    const Step change = [](World& w) { w.Flip(w.leaf_4k, 1); };
    const Request request = World::Read(kVa);
    EXPECT_EQ(StaysStale(c, Stages::kFirst, global, change, request, request), !c.global);
  }
}

// A table that software has freed: its entry in the parent is gone, its contents are still there.
TEST(SmmuCacheTest, KeepsTablesOfStage1UntilACommandCoversThem) {
  for (const Stages stages : {Stages::kFirst, Stages::kNested}) {
    for (const CommandCase& c : kCommands) {
      SCOPED_TRACE(c.name);
      const Step second_page = [](World& w) { w.Store(w.leaf_4k + 8, w.Load(w.leaf_4k)); };
      const Step change = [](World& w) {
        for (const uint64_t entry : {w.entry0, w.entry1, w.entry2}) w.Store(entry, 0);
      };
      EXPECT_EQ(
          StaysStale(c, stages, second_page, change, World::Read(kVa), World::Read(kVa + 0x1000)),
          !c.table);
    }
  }
}

TEST(SmmuCacheTest, KeepsLeavesOfStage2UntilACommandCoversThem) {
  for (const CommandCase& c : kCommands) {
    SCOPED_TRACE(c.name);
    const Step change = [](World& w) { w.Store(w.SecondEntryOf(w.streams), 0); };
    const Request request = World::Read(kIpa);
    EXPECT_EQ(StaysStale(c, Stages::kSecond, nullptr, change, request, request), !c.second_leaf);
  }
}

TEST(SmmuCacheTest, KeepsTablesOfStage2UntilACommandCoversThem) {
  for (const CommandCase& c : kCommands) {
    SCOPED_TRACE(c.name);
    const Step change = [](World& w) {
      w.Store(w.second_entry1, 0);
      w.Store(w.second_entry2, 0);
    };
    EXPECT_EQ(StaysStale(c, Stages::kSecond, nullptr, change, World::Read(kIpa),
                         World::Read(kIpa + 0x1000)),
              !c.second_table);
  }
}

// An invalidation by IPA does not reach what both stages were combined to, and one by VA not what
// stage 2 is remembered by: it takes both, in any order.
TEST(SmmuCacheTest, KeepsCombinedLeavesUntilBothStagesAreInvalidated) {
  World world(Stages::kNested);
  const uint64_t other = world.Page();
  EXPECT_EQ(world.Where(kVa), world.data);
  world.Store(world.second_data, other | World::kSecondLeaf | 3);
  const uint64_t by_ipa = world.IpaOf(world.data) | kLeaf;
  world.Submit(0x2a | kVmid, by_ipa);
  EXPECT_EQ(world.Where(kVa), world.data);
  world.Submit(0x12 | kVmid | kAsid, kVa | kLeaf);
  EXPECT_EQ(world.Where(kVa), other);
  world.Store(world.second_data, world.data | World::kSecondLeaf | 3);
  world.Submit(0x10 | kVmid);
  EXPECT_EQ(world.Where(kVa), other);
  world.Submit(0x2a | kVmid, by_ipa);
  world.Submit(0x10 | kVmid);
  EXPECT_EQ(world.Where(kVa), world.data);
}

TEST(SmmuCacheTest, TakesEveryPartOfABlockThatStage2BreaksUp) {
  World world(Stages::kNested);
  world.Store(world.leaf_2m, World::kIpaBase | World::kFirstLeaf | 1);
  const uint64_t address = World::kIova2M + 0x3000;
  const uint64_t before = world.Where(address);
  ASSERT_NE(before, 0u);
  world.Store(world.leaf_2m, 0);
  EXPECT_EQ(world.Where(address), before);
  world.Submit(0x12 | kVmid | kAsid, World::kIova2M + 0x1f0000 + kLeaf);
  EXPECT_EQ(world.Where(address), 0u);
}

TEST(SmmuCacheTest, TellsAddressSpacesAndVirtualMachinesApart) {
  World world;
  EXPECT_EQ(world.Where(kVa, 3), world.data);
  world.Flip(world.leaf_4k, 1);
  // The other context has the same ASID: the same address space.
  EXPECT_EQ(world.Where(kVa), world.data);
  world.Store(world.context0, (World::kContext0 & ~(0xffffull << 48)) | kOtherAsid);
  world.Submit(0x05 | kSid, 1);
  EXPECT_EQ(world.Where(kVa), 0u);
  EXPECT_EQ(world.Where(kVa, 3), world.data);
  world.Store(world.stream_entry + 16, 10);
  world.Submit(0x03 | kSid, 1);
  EXPECT_EQ(world.Where(kVa, 3), 0u);
}

TEST(SmmuCacheTest, SharesGlobalLeavesAmongAllAddressSpaces) {
  World world;
  world.Flip(world.leaf_4k, 1 << 11);
  EXPECT_EQ(world.Where(kVa, 3), world.data);
  world.Store(world.context0, (World::kContext0 & ~(0xffffull << 48)) | kOtherAsid);
  world.Store(world.context0 + 8, world.Page());
  EXPECT_EQ(world.Where(kVa), world.data);
  world.Submit(0x12 | kVmid | 99ull << 48, kVa | kLeaf);
  EXPECT_EQ(world.Where(kVa), 0u);
}

TEST(SmmuCacheTest, RemembersWhatIsNotValidToo) {
  World world;
  world.Flip(world.stream_entry, 1);
  EXPECT_EQ(world.Where(kVa), 0u);
  world.Flip(world.stream_entry, 1);
  EXPECT_EQ(world.Where(kVa), 0u);
  world.Submit(0x03 | kSid, 1);
  EXPECT_EQ(world.Where(kVa), world.data);
}

TEST(SmmuCacheTest, NeverRemembersWhatIsNotMapped) {
  World world;
  world.Flip(world.leaf_4k, 1);
  EXPECT_EQ(world.Where(kVa), 0u);
  world.Flip(world.leaf_4k, 1 | 1 << 10);
  EXPECT_EQ(world.Where(kVa), 0u);  // Nor what is not accessed yet.
  world.Flip(world.leaf_4k, 1 << 10);
  EXPECT_EQ(world.Where(kVa), world.data);
}

TEST(SmmuCacheTest, RemembersPermissionsThatRefuse) {
  World world;
  world.Flip(world.leaf_4k, 1 << 7);
  EXPECT_FALSE(world.Translate(World::Write(kVa)).ok());
  world.Flip(world.leaf_4k, 1 << 7);
  EXPECT_FALSE(world.Translate(World::Write(kVa)).ok());
  world.Submit(0x12 | kVmid | kAsid, kVa | kLeaf);
  EXPECT_TRUE(world.Translate(World::Write(kVa)).ok());
}

TEST(SmmuCacheTest, UsesWhatItRemembersOfAHalfThatWasSwitchedOff) {
  World world;
  EXPECT_EQ(world.Where(kVa), world.data);
  world.Flip(world.context0, 1 << 14);  // EPD0
  world.Submit(0x05 | kSid, 1);
  EXPECT_EQ(world.Where(kVa), world.data);
  world.Submit(0x11 | kVmid | kAsid);
  EXPECT_EQ(world.Where(kVa), 0u);
}

// First-level descriptors of both kinds of tables are for the commands without LEAF.
TEST(SmmuCacheTest, KeepsFirstLevelDescriptorsFromLeafInvalidations) {
  World world(Stages::kFirst, {}, /*enable=*/false);
  const uint64_t streams = world.Page(), contexts = world.Page();
  const uint64_t second = world.Page(16), other = world.Page(16);
  world.Store(streams, world.streams | 7);
  for (const uint64_t table : {second, other}) {
    world.Store(table + 8, world.level0);
    world.Store(table, World::kContext0);
  }
  world.Store(contexts, second | 1);
  world.Store(world.stream_entry, 1 | 5 << 1 | 2 << 4 | contexts | 12ull << 59);
  world.Enable();
  world.model->Write32(0x20, 0xe);
  world.model->Write64(0x80, streams);
  world.model->Write32(0x88, 10 | 8 << 6 | 1 << 16);
  world.model->Write32(0x20, 0xf);
  EXPECT_EQ(world.Where(kVa), world.data);
  // The contexts move to another table, where theirs is not valid.
  world.Store(other, 0);
  world.Store(contexts, other | 1);
  world.Submit(0x05 | kSid, kLeaf);
  EXPECT_EQ(world.Where(kVa), world.data);
  world.Submit(0x05 | kSid, 0);
  EXPECT_EQ(world.Where(kVa), 0u);
  world.Store(other, World::kContext0);
  // The stream table loses the part that the device is in.
  world.Store(streams, 0);
  world.Submit(0x03 | kSid, kLeaf);
  EXPECT_EQ(world.Where(kVa), world.data);
  world.Submit(0x03 | kSid, 0);
  EXPECT_EQ(world.Translate(World::Read(kVa)).fault.id, smmu::kBadStreamId);
}

// NUM, SCALE, TTL and TG of a TLBI by address: which leaves of stage 1 it reaches.
TEST(SmmuCacheTest, TakesWhatARangeCovers) {
  const struct {
    const char* name;
    uint64_t word0, word1;
    bool page, block;  // kIova4K, at level 3; kIova2M behind it, at level 2.
  } kCases[] = {
      {"one page", 0, kVa | 1 << 10 | 3 << 8, true, false},
      {"one page of no given level", 1 << 12, kVa | 1 << 10, true, false},
      {"next page", 0, (kVa + 0x1000) | 1 << 10 | 3 << 8, false, false},
      {"512 pages", 31 << 12 | 4 << 20, kVa | 1 << 10, true, false},
      {"513 pages reach the block", 1 << 12 | 8 << 20, (kVa + 0x1000) | 1 << 10, false, true},
      {"1024 pages", 1 << 12 | 9 << 20, kVa | 1 << 10, true, true},
      {"1024 pages of level 3", 1 << 12 | 9 << 20, kVa | 1 << 10 | 3 << 8, true, false},
      {"1024 pages of level 2", 1 << 12 | 9 << 20, kVa | 1 << 10 | 2 << 8, false, true},
      {"another granule", 1 << 12 | 9 << 20, kVa | 2 << 10, false, false},
      {"everything", 31 << 12 | 31 << 20, 1 << 10, true, true},
      {"without a granule there is no range", 31 << 12 | 31 << 20, kVa, true, false},
  };
  for (const bool by_asid : {true, false}) {
    for (const auto& c : kCases) {
      SCOPED_TRACE(c.name);
      World world;
      EXPECT_EQ(world.Where(kVa), world.data);
      EXPECT_EQ(world.Where(World::kIova2M), World::kPhys2M);
      world.Store(world.leaf_4k, 0);
      world.Store(world.leaf_2m, 0);
      world.Submit((by_asid ? 0x12 | kAsid : 0x13) | kVmid | c.word0, c.word1 | kLeaf);
      ASSERT_FALSE(world.CommandError());
      EXPECT_EQ(world.Where(kVa) == 0, c.page);
      EXPECT_EQ(world.Where(World::kIova2M) == 0, c.block);
    }
  }
}

TEST(SmmuCacheTest, TakesWhatARangeOfStage2Covers) {
  World world(Stages::kSecond);
  EXPECT_NE(world.Where(kIpa + 0x2000), 0u);
  EXPECT_NE(world.Where(kIpa + 0x4000), 0u);
  for (uint64_t page = 0; page < 64; ++page) world.Store(world.second3 + 8 * page, 0);
  world.Submit(0x2a | kVmid | 3 << 12, kIpa | 1 << 10 | 3 << 8 | kLeaf);
  EXPECT_EQ(world.Where(kIpa + 0x2000), 0u);
  EXPECT_NE(world.Where(kIpa + 0x4000), 0u);
}

TEST(SmmuCacheTest, KnowsNoRangesWithoutRil) {
  SmmuModel::Spec spec;
  spec.range_invalidation = false;
  World world(Stages::kFirst, spec);
  EXPECT_EQ(world.Where(World::kIova2M), World::kPhys2M);
  world.Store(world.leaf_2m, 0);
  world.Submit(0x12 | kVmid | kAsid | 31 << 12 | 9 << 20, kVa | 1 << 10 | kLeaf);
  EXPECT_EQ(world.Where(World::kIova2M), World::kPhys2M);
  world.Submit(0x12 | kVmid | kAsid, World::kIova2M + 0x1000 + kLeaf);
  EXPECT_EQ(world.Where(World::kIova2M), 0u);
}

// EL2: streams of its own world, whose translations have an ASID only with E2H.
TEST(SmmuCacheTest, KeepsTheWorldsApart) {
  const struct {
    const char* name;
    bool e2h;
    uint64_t word0, word1;
    bool taken;
  } kCases[] = {
      {"NH_ALL", false, 0x10 | kVmid, 0, false},
      {"NSNH_ALL", true, 0x30, 0, false},
      {"S12_VMALL", false, 0x28 | kVmid, 0, false},
      {"EL2_ALL", false, 0x20, 0, true},
      {"EL2_ASID without E2H", false, 0x21 | kAsid, 0, false},
      {"EL2_ASID", true, 0x21 | kAsid, 0, true},
      {"EL2_ASID other", true, 0x21 | kOtherAsid, 0, false},
      {"EL2_VA without E2H has no ASID", false, 0x22 | kOtherAsid, kVa | kLeaf, true},
      {"EL2_VA", true, 0x22 | kAsid, kVa | kLeaf, true},
      {"EL2_VA other", true, 0x22 | kOtherAsid, kVa | kLeaf, false},
      {"EL2_VAA", true, 0x23, kVa | kLeaf, true},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    World world;
    world.Flip(world.stream_entry + 8, 2ull << 30);  // STRW
    world.model->Write32(0x20, 0xe);
    world.model->Write32(0x2c, 1 << 1 | (c.e2h ? 1 : 0));
    world.model->Write32(0x20, 0xf);
    EXPECT_EQ(world.Where(kVa), world.data);
    world.Flip(world.leaf_4k, 1);
    world.Submit(c.word0, c.word1);
    EXPECT_FALSE(world.CommandError());
    EXPECT_EQ(world.Where(kVa) == 0, c.taken);
  }
}

TEST(SmmuCacheTest, TakesTablesOfEl2WhateverTheAsidWithoutE2h) {
  World world;
  world.Flip(world.stream_entry + 8, 2ull << 30);
  world.Store(world.leaf_4k + 8, world.Load(world.leaf_4k));
  EXPECT_EQ(world.Where(kVa), world.data);
  world.Store(world.entry0, 0);
  EXPECT_EQ(world.Where(kVa + 0x1000), world.data);
  world.Submit(0x22 | kOtherAsid, kVa);
  EXPECT_EQ(world.Where(kVa), 0u);
}

// Speculation: what is invalidated before memory is changed comes back as it was.
TEST(SmmuCacheTest, ReadsAgainAtOnceWhatItForgotIfItIsAskedTo) {
  for (const bool refills : {false, true}) {
    World world;
    world.model->SetRefills(refills);
    EXPECT_EQ(world.Where(kVa), world.data);
    world.Submit(0x12 | kVmid | kAsid, kVa);
    world.Flip(world.leaf_4k, 1);
    EXPECT_EQ(world.Where(kVa), refills ? world.data : 0u);
    world.Submit(0x12 | kVmid | kAsid, kVa);
    EXPECT_EQ(world.Where(kVa), 0u);
    EXPECT_EQ(world.EventCount(), refills ? 1u : 2u);
  }
}

TEST(SmmuCacheTest, ForgetsEverythingWhenToldTo) {
  World world(Stages::kNested);
  EXPECT_EQ(world.Where(kVa), world.data);
  world.Flip(world.leaf_4k, 1);
  world.model->ForgetCaches();
  EXPECT_EQ(world.Where(kVa), 0u);
  world.Flip(world.stream_entry, 1);
  world.model->ForgetCaches();
  EXPECT_EQ(world.Translate(World::Read(kVa)).fault.id, smmu::kBadSte);
}

}  // namespace
}  // namespace viommu::hardware
