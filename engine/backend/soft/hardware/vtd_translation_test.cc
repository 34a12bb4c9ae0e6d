// Translation without faults: every depth, every page size, pass-through, no translation at all.
#include <optional>
#include <string>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/hardware/vtd_test_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = VtdTestWorld;

void ExpectLeads(World& world, const Request& request, uint64_t physical, uint64_t size_bytes) {
  for (const Translation& t : {world.model->Probe(request), world.model->Translate(request),
                               world.model->Translate(request)}) {
    EXPECT_EQ(t.fault_reason, kNoFault);
    EXPECT_FALSE(t.is_interrupt);
    EXPECT_EQ(t.physical.value, physical);
    EXPECT_EQ(t.size_bytes, size_bytes);
  }
}

TEST(VtdTranslationTest, FindsEveryPageSizeAtEveryDepthWithAndWithoutPasid) {
  for (const int levels : {3, 4, 5}) {
    for (const std::optional<uint32_t> pasid : {std::optional<uint32_t>(), {World::kPasid}}) {
      SCOPED_TRACE(testing::Message() << levels << " levels, PASID " << pasid.value_or(0));
      World world(kTestCap, kTestEcap, levels);
      ExpectLeads(world, World::Read(World::kIova4K + 0x123, pasid), world.data + 0x123,
                  0x1000 - 0x123);
      ExpectLeads(world, World::Write(World::kIova2M + 0x1f0001, pasid), World::kPhys2M + 0x1f0001,
                  0x200000 - 0x1f0001);
      ExpectLeads(world, World::Write(World::kIova1G + 0x20000000, pasid),
                  World::kPhys1G + 0x20000000, 0x20000000);
    }
  }
}

TEST(VtdTranslationTest, UsesTheIndexBitsOfEveryLevel) {
  World world(kTestCap, kTestEcap, 5);
  // Index 0x101 at level 5, 0x102 at level 4, ... each in a table of its own.
  uint64_t table = world.top;
  uint64_t address = 0;
  for (int level = 5; level >= 1; --level) {
    const uint64_t index = 0x106 - level;
    const uint64_t next = world.Page();
    world.Store(table + index * 8, next | 3);
    address |= index << (12 + 9 * (level - 1));
    table = next;
  }
  ExpectLeads(world, World::Write(address + 0xff8), table + 0xff8, 8);
}

TEST(VtdTranslationTest, IgnoresTheBitsThatTheFormatGivesToSoftware) {
  World world;
  const uint64_t ignored = 0x3ffull << 52 | 1ull << 63 | 7ull << 8 | 0x1full << 2;
  for (const uint64_t entry : {world.level4_entry, world.level3_entry, world.level2_entry}) {
    world.Flip(entry, ignored & ~(1ull << 7));
  }
  world.Flip(world.leaf_4k, ignored | 1ull << 7);  // PS means nothing in the last level.
  world.Flip(world.leaf_4k, 1ull << 11);           // SNP, with snoop control.
  ExpectLeads(world, World::Read(World::kIova4K), world.data, 0x1000);
}

TEST(VtdTranslationTest, FindsFunctionsOfTheUpperHalfThroughTheSecondRootPointer) {
  World world;
  const uint64_t upper = world.Page();
  world.Store(world.root_entry + 8, upper | 1);
  world.Store(upper + 0x7f * 32, world.directory | 1);
  const Request request{0x03ff, std::nullopt, World::kIova4K, false};
  EXPECT_EQ(world.model->Probe(request).physical.value, world.data);
}

TEST(VtdTranslationTest, FindsPasidsThroughEveryDirectoryEntry) {
  World world;
  const uint32_t last = 8191;  // PDTS 0: 128 directory entries of 64.
  const uint64_t table = world.Page();
  world.Store(world.directory + 127 * 8, table | 1);
  world.Store(table + 63 * 64 + 8, 9);
  world.Store(table + 63 * 64, world.level4 | 2 << 6 | 2 << 2 | 1);
  ExpectLeads(world, World::Read(World::kIova4K, last), world.data, 0x1000);
}

TEST(VtdTranslationTest, TakesRidPasidFromTheContextEntry) {
  World world;
  world.Store(world.rid_pasid_entry, 0);
  EXPECT_EQ(world.model->Probe(World::Read(World::kIova4K)).fault_reason, kPasidEntryNotPresent);
  world.Store(world.context_entry + 8, World::kPasid);
  ExpectLeads(world, World::Read(World::kIova4K), world.data, 0x1000);
}

TEST(VtdTranslationTest, PassesAddressesThroughUnchanged) {
  World world;
  world.Store(world.rid_pasid_entry + 8, 1);
  // A second-stage pointer, even a senseless one, is not looked at.
  world.Store(world.rid_pasid_entry, 0x3ffull << 50 | 4 << 6 | 3 << 2 | 1);
  ExpectLeads(world, World::Read(0x12345678), 0x12345678, 0x988);
}

TEST(VtdTranslationTest, PassesEverythingUntranslatedWhileDisabled) {
  World world(kTestCap, kTestEcap, 4, /*enable=*/false);
  ExpectLeads(world, World::Write(world.data + 0x10), world.data + 0x10, 0xff0);
  EXPECT_EQ(world.model->Read32(0x1c), 0u);
}

TEST(VtdTranslationTest, KeepsTheLatchedRootTableUntilToldToSetIt) {
  World world;
  world.model->Write64(0x20, world.Page() | 1 << 10);
  ExpectLeads(world, World::Read(World::kIova4K), world.data, 0x1000);
  world.model->Write32(0x18, 1u << 30 | 1u << 26 | 1u << 31);
  EXPECT_EQ(world.model->Probe(World::Read(World::kIova4K)).fault_reason, kRootNotPresent);
}

TEST(VtdTranslationTest, CutsTranslationsWhereTheInterruptRangeBegins) {
  World world;
  world.Store(world.level3 + 8 * 3, 0xc0000000ull | 1 << 7 | 3);  // Identity, 1 GiB.
  ExpectLeads(world, World::Read(0xfe000000), 0xfe000000, 0xe00000);
  ExpectLeads(world, World::Read(0xfef00000), 0xfef00000, 0x1100000);
  // An input address in the range is ordinary for a request with PASID.
  World fresh;
  fresh.Store(fresh.level3 + 8 * 3, World::kPhys1G | 1 << 7 | 3);
  ExpectLeads(fresh, World::Read(0xfee00000, World::kPasid), World::kPhys1G + 0x3ee00000,
              0x1200000);
  EXPECT_EQ(fresh.model->Probe(World::Read(0xfe000000)).size_bytes, 0xe00000u);
}

TEST(VtdTranslationTest, TakesWritesToTheInterruptRangeAsMessages) {
  World world;
  char message[4] = {};
  const auto outcome = world.model->Access(World::Write(0xfee00000), absl::MakeSpan(message));
  EXPECT_EQ(outcome.fault_reason, kNoFault);
  EXPECT_TRUE(outcome.is_interrupt);
  EXPECT_EQ(outcome.bytes_done, 4u);
  EXPECT_EQ(world.model->counters().interrupt_messages, 1u);
  EXPECT_TRUE(world.model->Probe(World::Write(0xfeefffff)).is_interrupt);
}

TEST(VtdAccessTest, MovesBytesPageByPageInBothDirections) {
  World world;
  const uint64_t second = world.Page();
  world.Store(world.level1 + 8, second | 3);
  std::string sent(0x1800, 'x');
  for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 7);
  std::string bytes = sent;
  auto outcome = world.model->Access(World::Write(World::kIova4K + 0x400), absl::MakeSpan(bytes));
  EXPECT_EQ(outcome.bytes_done, 0x1800u);
  EXPECT_EQ(outcome.fault_reason, kNoFault);
  std::string at_end(0xc00, 0);
  ASSERT_TRUE(world.memory.Read(PhysAddr{second}, absl::MakeSpan(at_end)));
  EXPECT_EQ(at_end, sent.substr(0xc00));
  std::string back(0x1800, 0);
  outcome = world.model->Access(World::Read(World::kIova4K + 0x400), absl::MakeSpan(back));
  EXPECT_EQ(outcome.bytes_done, 0x1800u);
  EXPECT_EQ(back, sent);
}

TEST(VtdAccessTest, StopsAtTheFirstFaultAndSaysWhere) {
  World world;
  std::string bytes(0x2000, 'x');
  const auto outcome =
      world.model->Access(World::Write(World::kIova4K + 0x800), absl::MakeSpan(bytes));
  EXPECT_EQ(outcome.fault_reason, kPageNotPresent);
  EXPECT_EQ(outcome.fault_address, World::kIova4K + 0x1000);
  EXPECT_EQ(outcome.bytes_done, 0x800u);
}

TEST(VtdAccessTest, SaysWhenNoMemoryAnswers) {
  World world;
  char byte = 0;
  const auto outcome = world.model->Access(World::Read(World::kIova1G), absl::MakeSpan(&byte, 1));
  EXPECT_EQ(outcome.fault_reason, kNoFault);
  EXPECT_TRUE(outcome.memory_missing);
  EXPECT_EQ(outcome.fault_address, World::kIova1G);
  EXPECT_EQ(outcome.bytes_done, 0u);
}

TEST(VtdProbeTest, LeavesNoTrace) {
  World world;
  EXPECT_TRUE(world.model->Probe(World::Read(World::kIova4K)).ok());
  EXPECT_EQ(world.model->Probe(World::Read(0)).fault_reason, kPageNotPresent);
  world.Store(world.leaf_4k, world.level1 | 3);
  EXPECT_EQ(world.model->Translate(World::Read(World::kIova4K)).physical.value, world.level1);
  world.Store(world.leaf_4k, world.data | 3);
  EXPECT_EQ(world.model->Probe(World::Read(World::kIova4K)).physical.value, world.data);
  EXPECT_EQ(world.model->Read32(0x34), 0u);
  const Counters counters = world.model->counters();
  EXPECT_EQ(counters.faults[kPageNotPresent], 0u);
  EXPECT_EQ(counters.context_misses, 1u);
  EXPECT_EQ(counters.iotlb_misses, 1u);
}

TEST(VtdRegisterTest, ReadAsSoftwareExpects) {
  World world(kTestCap, kTestEcap, 4, /*enable=*/false);
  EXPECT_EQ(world.model->Read32(0x00), 0x10u);
  EXPECT_EQ(world.model->Read64(0x08), kTestCap);
  EXPECT_EQ(world.model->Read64(0x10), kTestEcap);
  world.Enable();
  EXPECT_EQ(world.model->Read32(0x1c), 1u << 31 | 1u << 30 | 1u << 26);
  EXPECT_EQ(world.model->Read64(0x20), world.root | 1 << 10);
  EXPECT_EQ(world.model->Read64(0x90), world.ring | 1 << 11);
  EXPECT_EQ(world.model->Read32(0x18), 0u);
}

TEST(VtdRegisterTest, HidesTheFaultRecordsWithoutAnOffsetForThem) {
  World world(kTestCap & ~(0x3ffull << 24));
  world.model->Translate(World::Read(0));
  EXPECT_EQ(world.model->Read32(0x00), 0x10u);
  EXPECT_EQ(world.model->Read32(0x34), 2u);
}

TEST(VtdRegisterTest, NeverShowsAFeatureThatTheModelLacks) {
  World world(~0ull, ~0ull, 4, /*enable=*/false);
  const uint64_t cap = world.model->Read64(0x08), ecap = world.model->Read64(0x10);
  for (const int bit : {3, 7, 57, 59}) EXPECT_FALSE(cap & 1ull << bit) << bit;
  for (const int bit : {3, 4, 25, 30, 41, 44, 50}) {
    EXPECT_FALSE(ecap & 1ull << bit) << bit;
  }
}

}  // namespace
}  // namespace viommu::hardware
