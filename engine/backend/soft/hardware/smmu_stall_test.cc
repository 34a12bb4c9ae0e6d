// Requests that are held until software says what becomes of them.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using smmu::ResumeAnswer;
using World = SmmuTestWorld;

constexpr uint64_t kSid = uint64_t{World::kStream} << 32;
constexpr uint64_t kStall = 1ull << 31;
constexpr uint64_t kRetry = 1 << 12, kAbort = 2 << 12;
constexpr absl::Duration kNow = absl::ZeroDuration();

// A world whose page is missing, and whose faults stall.
struct StallWorld : World {
  explicit StallWorld(Stages stages = Stages::kFirst, SmmuModel::Spec spec = {})
      : World(stages, spec) {
    if (stages == Stages::kSecond) {
      Flip(stream_entry + 16, 1ull << 57);
      Flip(second_data, 1);
    } else {
      Flip(context0, 1ull << 44);
      Flip(leaf_4k, 1);
    }
  }
  SmmuModel::Outcome Touch() {
    char byte = 0;
    return model->Access(Read(DataAddress()), absl::MakeSpan(&byte, 1));
  }
  void Resume(uint64_t tag, uint64_t answer, uint64_t sid = kSid) {
    Submit(0x44 | sid | answer, tag);
  }
};

TEST(SmmuStallTest, HoldsARequestUntilItIsResumed) {
  for (const Stages stages : {Stages::kFirst, Stages::kSecond, Stages::kNested}) {
    StallWorld world(stages);
    const auto outcome = world.Touch();
    ASSERT_TRUE(outcome.fault.stalled);
    ASSERT_NE(outcome.stall_id, 0u);
    EXPECT_EQ(outcome.bytes_done, 0u);
    const auto record = world.NextEvent();
    EXPECT_EQ(record[0], 0x10 | kSid);
    EXPECT_EQ(record[1] & kStall, kStall);
    EXPECT_EQ(record[1] & 0xffff, outcome.fault.stall_tag);
    EXPECT_EQ(world.model->AwaitResume(outcome.stall_id, kNow), std::nullopt);
    world.Flip(stages == Stages::kSecond ? world.second_data : world.leaf_4k, 1);
    world.Resume(record[1] & 0xffff, kRetry);
    EXPECT_EQ(world.model->AwaitResume(outcome.stall_id, kNow), ResumeAnswer::kRetry);
    EXPECT_TRUE(world.Touch().fault.none());
    EXPECT_EQ(world.model->counters().stalls, 1u);
  }
}

TEST(SmmuStallTest, TellsWhatSoftwareAnswered) {
  const struct {
    uint64_t command;
    ResumeAnswer want;
  } kCases[] = {{0, ResumeAnswer::kTerminate},
                {kRetry, ResumeAnswer::kRetry},
                {kAbort, ResumeAnswer::kAbort},
                {kRetry | kAbort, ResumeAnswer::kRetry}};
  StallWorld world;
  for (const auto& c : kCases) {
    const auto outcome = world.Touch();
    world.Resume(outcome.fault.stall_tag, c.command);
    EXPECT_EQ(world.model->AwaitResume(outcome.stall_id, kNow), c.want);
    // It is given once.
    EXPECT_EQ(world.model->AwaitResume(outcome.stall_id, kNow), ResumeAnswer::kAbort);
  }
  EXPECT_EQ(world.model->AwaitResume(12345, kNow), ResumeAnswer::kAbort);
}

TEST(SmmuStallTest, ResumesOnlyTheStreamAndTagThatAreNamed) {
  StallWorld world;
  const auto first = world.Touch();
  const auto second = world.Touch();
  EXPECT_NE(first.fault.stall_tag, second.fault.stall_tag);
  EXPECT_NE(first.stall_id, second.stall_id);
  world.Resume(first.fault.stall_tag, kRetry, 6ull << 32);
  world.Resume(77, kRetry);
  EXPECT_EQ(world.model->AwaitResume(first.stall_id, kNow), std::nullopt);
  world.Resume(second.fault.stall_tag, kRetry);
  EXPECT_EQ(world.model->AwaitResume(first.stall_id, kNow), std::nullopt);
  EXPECT_EQ(world.model->AwaitResume(second.stall_id, kNow), ResumeAnswer::kRetry);
}

TEST(SmmuStallTest, TouchesWithoutMovingAnything) {
  StallWorld world;
  const auto held = world.model->Touch(world.Read(world.DataAddress()));
  ASSERT_TRUE(held.fault.stalled);
  EXPECT_EQ(world.NextEvent()[1] & 0xffff, held.fault.stall_tag);
  world.Flip(world.leaf_4k, 1);
  world.Resume(held.fault.stall_tag, kRetry);
  EXPECT_EQ(world.model->AwaitResume(held.stall_id, kNow), ResumeAnswer::kRetry);
  const auto passed = world.model->Touch(world.Read(world.DataAddress()));
  EXPECT_TRUE(passed.fault.none());
  EXPECT_EQ(passed.stall_id, 0u);
  EXPECT_EQ(passed.bytes_done, 0u);
}

TEST(SmmuStallTest, RemembersWhatTheLatestRequestsWereAnswered) {
  StallWorld world;
  EXPECT_TRUE(world.model->Resumed(World::kStream).empty());
  uint16_t last = 0;
  for (int i = 0; i < 70; ++i) {
    last = world.Touch().fault.stall_tag;
    world.NextEvent();
    EXPECT_EQ(world.model->Resumed(World::kStream).size(), std::min<size_t>(i, 64));
    world.Resume(last, i == 69 ? kAbort : kRetry);
  }
  const auto told = world.model->Resumed(World::kStream);
  ASSERT_EQ(told.size(), 64u);
  EXPECT_EQ(told.front().answer, ResumeAnswer::kRetry);
  EXPECT_EQ(told.back().answer, ResumeAnswer::kAbort);
  EXPECT_EQ(told.back().tag, last);
  EXPECT_EQ(told.back().substream_id, std::nullopt);
  EXPECT_TRUE(world.model->Resumed(World::kStream + 1).empty());
}

TEST(SmmuStallTest, WakesTheDeviceThatWaits) {
  StallWorld world;
  const auto outcome = world.Touch();
  std::optional<ResumeAnswer> answer;
  std::thread device(
      [&] { answer = world.model->AwaitResume(outcome.stall_id, absl::Seconds(60)); });
  world.Resume(outcome.fault.stall_tag, kRetry);
  device.join();
  EXPECT_EQ(answer, ResumeAnswer::kRetry);
}

TEST(SmmuStallTest, HoldsNoMoreThanItHasRoomFor) {
  SmmuModel::Spec spec;
  spec.stall_max = 2;
  StallWorld world(Stages::kFirst, spec);
  const auto first = world.Touch();
  EXPECT_TRUE(world.Touch().fault.stalled);
  const auto third = world.Touch();
  EXPECT_FALSE(third.fault.stalled);
  EXPECT_EQ(third.stall_id, 0u);
  EXPECT_EQ(third.fault.id, smmu::kTranslationFault);
  world.NextEvent();
  world.NextEvent();
  EXPECT_EQ(world.NextEvent()[1] & kStall, 0u);
  world.Resume(first.fault.stall_tag, kRetry);
  const auto fourth = world.Touch();
  EXPECT_TRUE(fourth.fault.stalled);
  EXPECT_EQ(fourth.fault.stall_tag, first.fault.stall_tag);
}

TEST(SmmuStallTest, AbortsAStreamsRequestsAndAllWhenItIsSwitchedOff) {
  StallWorld world;
  const auto first = world.Touch();
  world.Submit(0x45 | 6ull << 32);
  EXPECT_EQ(world.model->AwaitResume(first.stall_id, kNow), std::nullopt);
  world.Submit(0x45 | kSid);
  EXPECT_EQ(world.model->AwaitResume(first.stall_id, kNow), ResumeAnswer::kAbort);
  const auto second = world.Touch();
  world.model->Write32(0x20, 0xe);
  EXPECT_EQ(world.model->AwaitResume(second.stall_id, kNow), ResumeAnswer::kAbort);
}

TEST(SmmuStallTest, RecordsStallsWhateverTheContextSaysOfRecords) {
  StallWorld world;
  world.Flip(world.context0, 1ull << 45);  // R
  EXPECT_TRUE(world.Touch().fault.stalled);
  EXPECT_EQ(world.EventCount(), 1u);
}

TEST(SmmuStallTest, StallsOnlyFaultsOfTranslations) {
  StallWorld world;
  EXPECT_FALSE(world.Translate(World::Read(World::kIova4K)).fault.stalled);
  EXPECT_EQ(world.NextEvent()[1] & kStall, 0u);
  world.Store(world.context0 + 8, 0x3000000000);
  world.Submit(0x05 | kSid, 1);
  world.Submit(0x30);
  const auto outcome = world.Touch();
  EXPECT_EQ(outcome.fault.id, smmu::kWalkAbort);
  EXPECT_FALSE(outcome.fault.stalled);
  EXPECT_EQ(world.model->counters().stalls, 0u);
}

// What cannot be recorded is held, and retried when the queue has room again.
TEST(SmmuStallTest, RetriesWhatItCouldNotRecord) {
  StallWorld world;
  for (int i = 0; i < 128; ++i) world.Translate(World::Read(World::kIova4K));
  const auto outcome = world.Touch();
  ASSERT_TRUE(outcome.fault.stalled);
  EXPECT_EQ(world.EventCount(), 128u);
  EXPECT_EQ(world.model->AwaitResume(outcome.stall_id, kNow), std::nullopt);
  world.NextEvent();
  EXPECT_EQ(world.model->AwaitResume(outcome.stall_id, kNow), ResumeAnswer::kRetry);
  const auto again = world.Touch();
  EXPECT_TRUE(again.fault.stalled);
  EXPECT_EQ(world.EventCount(), 128u);
}

TEST(SmmuStallTest, TellsHowFarItCameBeforeItStalled) {
  StallWorld world;
  world.Flip(world.leaf_4k, 1);
  std::string bytes(0x1000, 'x');
  const auto outcome =
      world.model->Access(World::Write(World::kIova4K + 0x400), absl::MakeSpan(bytes));
  EXPECT_TRUE(outcome.fault.stalled);
  EXPECT_EQ(outcome.bytes_done, 0xc00u);
  EXPECT_EQ(outcome.fault_address, World::kIova4K + 0x1000);
}

}  // namespace
}  // namespace viommu::hardware
