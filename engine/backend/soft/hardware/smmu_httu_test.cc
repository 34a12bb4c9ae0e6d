// Access flags and dirty state that the unit keeps in the descriptors.
#include <cstdint>

#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = SmmuTestWorld;

constexpr uint64_t kHa = 1ull << 43, kHd = 1ull << 42;              // Of a CD.
constexpr uint64_t kSecondHa = 1ull << 56, kSecondHd = 1ull << 55;  // Of a third STE word.
constexpr uint64_t kAccessed = 1 << 10, kReadOnly = 1 << 7, kModifier = 1ull << 51;
constexpr uint64_t kSecondWritable = 1 << 7;

TEST(SmmuHttuTest, SetsAccessFlagsOfPagesAndBlocks) {
  World world;
  world.Flip(world.context0, kHa);
  for (const uint64_t leaf : {world.leaf_4k, world.leaf_2m, world.leaf_1g}) {
    world.Flip(leaf, kAccessed);
  }
  EXPECT_TRUE(world.model->Probe(World::Read(World::kIova4K)).ok());
  EXPECT_EQ(world.Load(world.leaf_4k) & kAccessed, 0u);
  for (const uint64_t address : {World::kIova4K, World::kIova2M, World::kIova1G}) {
    EXPECT_TRUE(world.Translate(World::Read(address)).ok());
  }
  for (const uint64_t leaf : {world.leaf_4k, world.leaf_2m, world.leaf_1g}) {
    EXPECT_NE(world.Load(leaf) & kAccessed, 0u);
  }
  EXPECT_EQ(world.model->counters().entries_marked, 3u);
}

TEST(SmmuHttuTest, FaultsWithoutItAndDoesNotWhereFaultsAreOff) {
  World world;
  world.Flip(world.leaf_4k, kAccessed);
  EXPECT_EQ(world.Translate(World::Read(World::kIova4K)).fault.id, smmu::kAccessFault);
  world.Flip(world.context0, 1ull << 35);  // AFFD
  world.Submit(0x05 | uint64_t{World::kStream} << 32, 1);
  EXPECT_EQ(world.Where(World::kIova4K), world.data);
  EXPECT_EQ(world.Load(world.leaf_4k) & kAccessed, 0u);
}

// Writable and clean: DBM and read-only. The first write makes it dirty, also when a read is
// remembered.
TEST(SmmuHttuTest, MarksDirtyWhatIsWritten) {
  for (const bool read_before : {false, true}) {
    World world;
    world.Flip(world.context0, kHa | kHd);
    world.Flip(world.leaf_4k, kReadOnly | kModifier);
    if (read_before) {
      EXPECT_TRUE(world.Translate(World::Read(World::kIova4K)).ok());
      EXPECT_NE(world.Load(world.leaf_4k) & kReadOnly, 0u);
    }
    EXPECT_TRUE(world.model->Probe(World::Write(World::kIova4K)).ok());
    EXPECT_NE(world.Load(world.leaf_4k) & kReadOnly, 0u);
    EXPECT_TRUE(world.Translate(World::Write(World::kIova4K)).ok());
    EXPECT_EQ(world.Load(world.leaf_4k) & kReadOnly, 0u);
    EXPECT_NE(world.Load(world.leaf_4k) & kModifier, 0u);
    // Software cleans it: writes go unmarked until it invalidates.
    world.Flip(world.leaf_4k, kReadOnly);
    EXPECT_TRUE(world.Translate(World::Write(World::kIova4K)).ok());
    EXPECT_NE(world.Load(world.leaf_4k) & kReadOnly, 0u);
    world.Submit(0x10 | World::kVmid << 32);
    EXPECT_TRUE(world.Translate(World::Write(World::kIova4K)).ok());
    EXPECT_EQ(world.Load(world.leaf_4k) & kReadOnly, 0u);
  }
}

TEST(SmmuHttuTest, RefusesWritesToWhatOnlyLooksClean) {
  const struct {
    const char* name;
    uint64_t context, leaf, table;
  } kCases[] = {
      {"no DBM", kHa | kHd, kReadOnly, 0},
      {"no HD", kHa, kReadOnly | kModifier, 0},
      {"HD without HA", kHd, kReadOnly | kModifier, 0},
      {"read-only by its table", kHa | kHd, kReadOnly | kModifier, 1ull << 62},
      {"not for users", kHa | kHd, kReadOnly | kModifier | 1 << 6, 0},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    World world;
    world.Flip(world.context0, c.context);
    world.Flip(world.leaf_4k, c.leaf);
    world.Flip(world.entry2, c.table);
    const uint64_t before = world.Load(world.leaf_4k);
    EXPECT_EQ(world.Translate(World::Write(World::kIova4K)).fault.id, smmu::kPermissionFault);
    EXPECT_EQ(world.Load(world.leaf_4k), before);
  }
}

TEST(SmmuHttuTest, KeepsTheMarksOfStage2) {
  for (const Stages stages : {Stages::kSecond, Stages::kNested}) {
    World world(stages);
    world.Flip(world.stream_entry + 16, kSecondHa | kSecondHd);
    world.Flip(world.second_data, kAccessed | kSecondWritable | kModifier);
    EXPECT_TRUE(world.Translate(World::Read(world.DataAddress())).ok());
    EXPECT_NE(world.Load(world.second_data) & kAccessed, 0u);
    EXPECT_EQ(world.Load(world.second_data) & kSecondWritable, 0u);
    EXPECT_TRUE(world.Translate(World::Write(world.DataAddress())).ok());
    EXPECT_NE(world.Load(world.second_data) & kSecondWritable, 0u);
  }
}

// Both stages mark, each its own; the first stage's descriptor is itself written through the
// second, which then is dirty too.
TEST(SmmuHttuTest, MarksBothStages) {
  World world(Stages::kNested);
  world.Flip(world.context0, kHa | kHd);
  world.Flip(world.leaf_4k, kAccessed | kReadOnly | kModifier);
  world.Flip(world.stream_entry + 16, kSecondHa | kSecondHd);
  const uint64_t table = world.SecondEntryOf(world.level3);
  for (const uint64_t entry : {world.second_data, table}) {
    world.Flip(entry, kAccessed | kSecondWritable | kModifier);
  }
  EXPECT_TRUE(world.Translate(World::Write(World::kIova4K)).ok());
  EXPECT_EQ(world.Load(world.leaf_4k) & (kAccessed | kReadOnly), kAccessed);
  for (const uint64_t entry : {world.second_data, table}) {
    EXPECT_EQ(world.Load(entry) & (kAccessed | kSecondWritable), kAccessed | kSecondWritable);
  }
}

TEST(SmmuHttuTest, RefusesToMarkDescriptorsThatStage2Protects) {
  World world(Stages::kNested);
  world.Flip(world.context0, kHa);
  world.Flip(world.leaf_4k, kAccessed);
  world.Flip(world.SecondEntryOf(world.level3), kSecondWritable);
  const auto refused = world.Translate(World::Read(World::kIova4K));
  EXPECT_EQ(refused.fault.id, smmu::kPermissionFault);
  EXPECT_TRUE(refused.fault.stage2);
  EXPECT_EQ(refused.fault.event_class, smmu::EventClass::kTable);
  EXPECT_FALSE(refused.fault.table_read);
  EXPECT_EQ(world.Load(world.leaf_4k) & kAccessed, 0u);
}

TEST(SmmuHttuTest, MarksNothingThatTheOtherStageRefuses) {
  World world(Stages::kNested);
  world.Flip(world.context0, kHa | kHd);
  world.Flip(world.leaf_4k, kAccessed | kReadOnly | kModifier);
  world.Flip(world.second_data, 1);
  const uint64_t before = world.Load(world.leaf_4k);
  EXPECT_FALSE(world.Translate(World::Write(World::kIova4K)).ok());
  EXPECT_EQ(world.Load(world.leaf_4k), before);
}

TEST(SmmuHttuTest, SpeculatesWithoutMarking) {
  World world;
  world.Flip(world.context0, kHa);
  world.model->SetRefills(true);
  EXPECT_TRUE(world.Translate(World::Read(World::kIova4K)).ok());
  world.Flip(world.leaf_4k, kAccessed);
  world.Submit(0x10 | World::kVmid << 32);
  EXPECT_EQ(world.Load(world.leaf_4k) & kAccessed, 0u);
}

}  // namespace
}  // namespace viommu::hardware
