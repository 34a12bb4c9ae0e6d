// The command queue: order, wrapping, completion, errors and injected faults.
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
using testing::IsEmpty;

constexpr uint64_t kSync = 0x46;
constexpr uint64_t kSid = uint64_t{World::kStream} << 32;

// A sync that writes `data` to `address`.
void SubmitSync(World& world, uint64_t address, uint64_t data) {
  world.Submit(kSync | 1 << 12 | data << 32, address);
}

TEST(SmmuCommandQueueTest, ConsumesInOrderAndWraps) {
  World world;
  const uint64_t status = world.Page();
  for (uint64_t i = 1; i <= 600; ++i) {
    SubmitSync(world, status + 4 * (i % 2), i);
    ASSERT_EQ(world.model->Read32(0x9c), world.model->Read32(0x98)) << i;
    ASSERT_EQ(world.model->Read32(0x9c), i % 512);
  }
  EXPECT_EQ(world.Load(status), 600u | 599ull << 32);
  EXPECT_EQ(world.model->counters().commands[0x46], 600u);
}

TEST(SmmuCommandQueueTest, ConsumesEverythingUpToTheProducerAtOnce) {
  World world;
  world.model->HangCommandQueueAfter(0);
  for (int i = 0; i < 100; ++i) world.Submit(kSync);
  EXPECT_EQ(world.model->Read32(0x9c), 0u);
  world.model->HangCommandQueueAfter(30);
  EXPECT_EQ(world.model->Read32(0x9c), 30u);
  world.Submit(kSync);
  EXPECT_EQ(world.model->Read32(0x9c), 30u);
  world.model->HangCommandQueueAfter(std::nullopt);
  EXPECT_EQ(world.model->Read32(0x9c), 101u);
}

// Full: the indices differ in the wrap flag alone.
TEST(SmmuCommandQueueTest, TellsFullFromEmpty) {
  World world;
  world.model->HangCommandQueueAfter(0);
  for (int i = 0; i < 256; ++i) world.Submit(kSync);
  EXPECT_EQ(world.model->Read32(0x98) ^ world.model->Read32(0x9c), 256u);
  world.model->HangCommandQueueAfter(std::nullopt);
  EXPECT_EQ(world.model->Read32(0x9c), 256u);
  EXPECT_EQ(world.model->counters().commands[0x46], 256u);
}

TEST(SmmuCommandQueueTest, RaisesInterruptsWhereASyncAsksForThem) {
  World world;
  std::vector<Interrupt> raised;
  world.model->SetInterruptHandler([&](Interrupt interrupt) { raised.push_back(interrupt); });
  world.Submit(kSync);
  world.Submit(kSync | 2 << 12);  // SEV
  EXPECT_THAT(raised, IsEmpty());
  world.Submit(kSync | 1 << 12);
  EXPECT_THAT(raised, ElementsAre(Interrupt::kCommandSync));
  SubmitSync(world, world.Page(), 1);
  EXPECT_EQ(raised.size(), 1u);
}

TEST(SmmuCommandQueueTest, WritesNoMessagesWithoutThem) {
  SmmuModel::Spec spec;
  spec.msi = false;
  World world(Stages::kFirst, spec);
  std::vector<Interrupt> raised;
  world.model->SetInterruptHandler([&](Interrupt interrupt) { raised.push_back(interrupt); });
  const uint64_t status = world.Page();
  SubmitSync(world, status, 7);
  EXPECT_EQ(world.Load(status), 0u);
  EXPECT_THAT(raised, ElementsAre(Interrupt::kCommandSync));
}

TEST(SmmuCommandQueueTest, ReportsAMessageThatNoMemoryTakes) {
  World world;
  SubmitSync(world, 0x3000000000, 1);
  EXPECT_EQ(world.model->Read32(0x60), 1u << 4);
  EXPECT_EQ(world.model->Read32(0x9c), 1u);
  world.AcknowledgeErrors();
  EXPECT_EQ(world.model->Read32(0x64), 1u << 4);
}

TEST(SmmuCommandQueueTest, StopsAtIllegalCommandsUntilAcknowledged) {
  const auto terminate_only = [](SmmuModel::Spec& spec) {
    spec.stall_model = smmu::StallModel::kTerminateOnly;
  };
  const struct {
    const char* name;
    uint64_t word0, word1;
    void (*restrict)(SmmuModel::Spec&);
  } kCases[] = {
      {"opcode 0", 0, 0, nullptr},
      {"unknown opcode", 0xff, 0, nullptr},
      {"opcode of the secure state", 0x50, 0, nullptr},
      {"secure stream", 0x03 | 1 << 10, 0, nullptr},
      {"sync signal reserved", kSync | 3 << 12, 0, nullptr},
      {"granule without range or level", 0x12, 1 << 10, nullptr},
      {"page response reserved", 0x41, 3 << 12, nullptr},
      {"ATC_INV without ATS", 0x40, 52, [](auto& s) { s.ats = false; }},
      {"PRI_RESP without PRI", 0x41, 0, [](auto& s) { s.pri = false; }},
      {"RESUME without stalls", 0x44, 0, terminate_only},
      {"STALL_TERM without stalls", 0x45, 0, terminate_only},
      {"CFGI_CD without stage 1", 0x05, 0, [](auto& s) { s.stage1 = false; }},
      {"NH_ALL without stage 1", 0x10, 0, [](auto& s) { s.stage1 = false; }},
      {"EL2_ALL without EL2", 0x20, 0, [](auto& s) { s.el2 = false; }},
      {"S12_VMALL without stage 2", 0x28, 0, [](auto& s) { s.stage2 = false; }},
      {"S2_IPA without stage 2", 0x2a, 0, [](auto& s) { s.stage2 = false; }},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    SmmuModel::Spec spec;
    if (c.restrict != nullptr) c.restrict(spec);
    World world(Stages::kFirst, spec);
    std::vector<Interrupt> raised;
    world.model->SetInterruptHandler([&](Interrupt interrupt) { raised.push_back(interrupt); });
    world.Submit(kSync);
    world.Submit(c.word0, c.word1);
    world.Submit(kSync);
    EXPECT_EQ(world.model->Read32(0x60), 1u);
    EXPECT_EQ(world.model->Read32(0x9c), 1u | 1u << 24);
    EXPECT_THAT(raised, ElementsAre(Interrupt::kGlobalError));
    // Software puts a harmless command in its place.
    world.Store(world.commands + 16, kSync);
    world.AcknowledgeErrors();
    EXPECT_EQ(world.model->Read32(0x9c) & 0xfffff, 3u);
    EXPECT_FALSE(world.CommandError());
    EXPECT_EQ(world.model->counters().command_errors, 1u);
  }
}

TEST(SmmuCommandQueueTest, StopsAgainAtTheSameIllegalCommand) {
  World world;
  world.Submit(0xff);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(world.CommandError());
    world.AcknowledgeErrors();
  }
  EXPECT_TRUE(world.CommandError());
  EXPECT_EQ(world.model->counters().command_errors, 4u);
}

TEST(SmmuCommandQueueTest, StopsWhereItCannotReadAndReadsAgain) {
  World world;
  const uint64_t status = world.Page();
  world.model->AbortNextCommandFetch();
  SubmitSync(world, status, 5);
  EXPECT_TRUE(world.CommandError());
  EXPECT_EQ(world.CommandErrorCode(), 2u);
  EXPECT_EQ(world.Load(status), 0u);
  world.AcknowledgeErrors();
  EXPECT_FALSE(world.CommandError());
  EXPECT_EQ(world.Load(status), 5u);
  world.model->Write32(0x20, 0x7);
  world.model->Write64(0x90, 0x3000000000 | 8);
  world.model->Write32(0x20, 0xf);
  world.Submit(kSync);
  EXPECT_TRUE(world.CommandError());
  EXPECT_EQ(world.CommandErrorCode(), 2u);
}

TEST(SmmuCommandQueueTest, SaysInASyncThatADeviceDidNotAnswer) {
  World world;
  const uint64_t status = world.Page();
  world.model->SetDeviceTlb(World::kStream, true);
  world.model->SetDeviceTlbAnswers(World::kStream, false);
  world.Submit(0x40 | kSid, 52);
  EXPECT_FALSE(world.CommandError());
  SubmitSync(world, status, 5);
  EXPECT_TRUE(world.CommandError());
  EXPECT_EQ(world.CommandErrorCode(), 3u);
  EXPECT_EQ(world.model->Read32(0x9c) & 0xfffff, 1u);  // On the sync.
  EXPECT_EQ(world.Load(status), 0u);
  // The same sync succeeds, and so do others.
  world.AcknowledgeErrors();
  EXPECT_EQ(world.Load(status), 5u);
  world.model->SetDeviceTlbAnswers(World::kStream, true);
  world.Submit(0x40 | kSid, 52);
  SubmitSync(world, status, 6);
  EXPECT_EQ(world.Load(status), 6u);
  EXPECT_FALSE(world.CommandError());
}

TEST(SmmuCommandQueueTest, DoesNothingWhileItIsOff) {
  World world;
  world.model->Write32(0x20, 0x7);
  world.Submit(kSync);
  EXPECT_EQ(world.model->Read32(0x9c), 0u);
  world.model->Write32(0x20, 0xf);
  EXPECT_EQ(world.model->Read32(0x9c), 1u);
}

TEST(SmmuCommandQueueTest, KeepsItsPlaceWhileItIsOn) {
  World world;
  world.model->Write64(0x90, 0x3000000000);
  world.model->Write32(0x9c, 77);
  EXPECT_EQ(world.model->Read64(0x90), world.commands | 8);
  EXPECT_EQ(world.model->Read32(0x9c), 0u);
  world.model->Write32(0x20, 0x7);
  world.model->Write32(0x98, 77);
  world.model->Write32(0x9c, 77);
  world.model->Write32(0x20, 0xf);
  world.Submit(kSync);
  EXPECT_EQ(world.model->Read32(0x9c), 78u);
}

}  // namespace
}  // namespace viommu::hardware
