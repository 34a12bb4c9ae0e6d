// The event queue: records, wrapping, overflow, memory that does not take them.
#include <cstdint>
#include <vector>

#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = SmmuTestWorld;
using Interrupt = SmmuModel::Interrupt;
using testing::ElementsAre;

constexpr uint64_t kUnmapped = World::kIova4K + 0x10000;
constexpr uint32_t kOverflow = 1u << 31;

void Fault(World& world, int times = 1, uint64_t address = kUnmapped) {
  for (int i = 0; i < times; ++i) world.Translate(World::Read(address));
}

TEST(SmmuEventQueueTest, WritesOneRecordAfterTheOtherAndWraps) {
  World world;
  for (uint64_t i = 0; i < 300; ++i) {
    Fault(world, 1, kUnmapped + i);
    ASSERT_EQ(world.EventCount(), 1u);
    ASSERT_EQ(world.NextEvent()[2], kUnmapped + i);
  }
  EXPECT_EQ(world.model->Read32(0x100a8), 300u % 256);
  EXPECT_EQ(world.model->counters().events_recorded, 300u);
  EXPECT_EQ(world.model->counters().events[0x10], 300u);
}

TEST(SmmuEventQueueTest, RaisesOneInterruptWhenItIsNoLongerEmpty) {
  World world;
  std::vector<Interrupt> raised;
  world.model->SetInterruptHandler([&](Interrupt interrupt) { raised.push_back(interrupt); });
  Fault(world, 3);
  EXPECT_THAT(raised, ElementsAre(Interrupt::kEventQueue));
  while (world.EventCount() > 0) world.NextEvent();
  Fault(world);
  EXPECT_EQ(raised.size(), 2u);
  world.NextEvent();
  world.model->Write32(0x50, 3);
  Fault(world);
  EXPECT_EQ(raised.size(), 2u);
}

TEST(SmmuEventQueueTest, FlagsAnOverflowOnceUntilItIsAcknowledged) {
  World world;
  Fault(world, 128);
  EXPECT_EQ(world.model->Read32(0x100a8), 128u);
  Fault(world, 2);
  EXPECT_EQ(world.model->Read32(0x100a8), 128u | kOverflow);
  EXPECT_EQ(world.model->counters().events_lost, 2u);
  // There is room again, which is used also before the acknowledgement.
  world.NextEvent();
  Fault(world);
  EXPECT_EQ(world.model->Read32(0x100a8), 129u | kOverflow);
  world.model->Write32(0x100ac, 1 | kOverflow);
  Fault(world);
  EXPECT_EQ(world.model->Read32(0x100a8), 129u);
}

TEST(SmmuEventQueueTest, ReportsMemoryThatDoesNotTakeARecord) {
  World world;
  std::vector<Interrupt> raised;
  world.model->SetInterruptHandler([&](Interrupt interrupt) { raised.push_back(interrupt); });
  world.model->Write32(0x20, 0xb);
  world.model->Write64(0xa0, 0x3000000000 | 7);
  world.model->Write32(0x20, 0xf);
  Fault(world, 2);
  EXPECT_EQ(world.model->Read32(0x60), 1u << 2);
  EXPECT_THAT(raised, ElementsAre(Interrupt::kGlobalError));
  EXPECT_EQ(world.EventCount(), 0u);
  EXPECT_EQ(world.model->counters().events_lost, 2u);
  world.model->Write32(0x20, 0xb);
  world.model->Write64(0xa0, world.events | 7);
  world.model->Write32(0x20, 0xf);
  Fault(world);
  EXPECT_EQ(world.EventCount(), 0u);  // Not before the error is acknowledged.
  world.AcknowledgeErrors();
  Fault(world);
  EXPECT_EQ(world.EventCount(), 1u);
}

TEST(SmmuEventQueueTest, LosesEverythingWhileItIsOff) {
  World world;
  world.model->Write32(0x20, 0xb);
  Fault(world);
  EXPECT_EQ(world.EventCount(), 0u);
  EXPECT_EQ(world.model->counters().events_lost, 1u);
  EXPECT_EQ(world.model->Read32(0x100a8), 0u);
  world.model->Write32(0x100a8, 5);
  world.model->Write32(0x100ac, 5);
  world.model->Write32(0x20, 0xf);
  world.model->Write32(0x100a8, 9);
  Fault(world);
  EXPECT_EQ(world.model->Read32(0x100a8), 6u);
  EXPECT_EQ(world.NextEvent()[0], 0x10 | uint64_t{World::kStream} << 32);
}

}  // namespace
}  // namespace viommu::hardware
