// Page requests of devices: their records, their answers, and what happens without room for them.
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using smmu::PageAnswer;
using smmu::PageRequest;
using World = SmmuTestWorld;
using Interrupt = SmmuModel::Interrupt;
using testing::ElementsAre;

constexpr uint64_t kSid = uint64_t{World::kStream} << 32;
constexpr uint32_t kOverflow = 1u << 31;
constexpr absl::Duration kNow = absl::ZeroDuration();

PageRequest RequestOf(uint16_t group, bool last = true) {
  PageRequest request;
  request.stream_id = World::kStream;
  request.address = 0x12345678;
  request.read = true;
  request.last = last;
  request.group = group;
  return request;
}

std::optional<PageAnswer> AnswerTo(World& world, uint16_t group) {
  return world.model->AwaitPageAnswer(World::kStream, group, kNow);
}

TEST(SmmuPageRequestTest, WritesRecordsAndDeliversTheAnswer) {
  World world;
  PageRequest request = RequestOf(0x101, false);
  request.privileged = request.execute = true;
  EXPECT_TRUE(world.model->RequestPages(request));
  EXPECT_EQ(world.Load(world.pages), World::kStream | 1ull << 60);
  EXPECT_EQ(world.Load(world.pages + 8), 0x12345000u | 0x101);
  request.substream_id = 0x30003;
  request.write = request.last = true;
  EXPECT_TRUE(world.model->RequestPages(request));
  EXPECT_EQ(world.Load(world.pages + 16), World::kStream | 0x30003ull << 32 | 0x3full << 58);
  EXPECT_EQ(world.model->Read32(0x100c8), 2u);
  EXPECT_EQ(AnswerTo(world, 0x101), std::nullopt);
  world.Submit(0x41 | kSid, 0x100 | 2 << 12);  // No such group.
  world.Submit(0x41 | 6ull << 32, 0x101 | 2 << 12);
  EXPECT_EQ(AnswerTo(world, 0x101), std::nullopt);
  world.Submit(0x41 | kSid, 0x101 | 2 << 12);
  EXPECT_EQ(AnswerTo(world, 0x101), PageAnswer::kSuccess);
  EXPECT_EQ(AnswerTo(world, 0x101), std::nullopt);
  // It is answered; another answer is to nothing.
  world.Submit(0x41 | kSid, 0x101);
  EXPECT_EQ(AnswerTo(world, 0x101), std::nullopt);
}

TEST(SmmuPageRequestTest, TellsTheAnswersApart) {
  World world;
  const PageAnswer want[] = {PageAnswer::kResponseFailure, PageAnswer::kInvalidRequest,
                             PageAnswer::kSuccess};
  for (uint16_t answer = 0; answer < 3; ++answer) {
    EXPECT_TRUE(world.model->RequestPages(RequestOf(answer)));
    world.Submit(0x41 | kSid, answer | uint64_t{answer} << 12);
    EXPECT_EQ(AnswerTo(world, answer), want[answer]);
  }
}

TEST(SmmuPageRequestTest, HasNothingToAnswerBeforeTheLastOfAGroup) {
  World world;
  EXPECT_TRUE(world.model->RequestPages(RequestOf(9, false)));
  world.Submit(0x41 | kSid, 9 | 2 << 12);
  EXPECT_EQ(AnswerTo(world, 9), std::nullopt);
  EXPECT_TRUE(world.model->RequestPages(RequestOf(9)));
  world.Submit(0x41 | kSid, 9 | 1 << 12);
  EXPECT_EQ(AnswerTo(world, 9), PageAnswer::kInvalidRequest);
}

TEST(SmmuPageRequestTest, IsNotThereWithoutPri) {
  SmmuModel::Spec spec;
  spec.pri = false;
  World world(Stages::kFirst, spec);
  world.model->Write32(0x20, 0x1f);
  EXPECT_EQ(world.model->Read32(0x24), 0x1du);
  EXPECT_FALSE(world.model->RequestPages(RequestOf(5)));
  EXPECT_EQ(AnswerTo(world, 5), PageAnswer::kResponseFailure);
}

TEST(SmmuPageRequestTest, WakesTheDeviceThatWaits) {
  World world;
  EXPECT_TRUE(world.model->RequestPages(RequestOf(4)));
  std::optional<PageAnswer> answer;
  std::thread device(
      [&] { answer = world.model->AwaitPageAnswer(World::kStream, 4, absl::Seconds(60)); });
  world.Submit(0x41 | kSid, 4 | 2 << 12);
  device.join();
  EXPECT_EQ(answer, PageAnswer::kSuccess);
}

TEST(SmmuPageRequestTest, RaisesInterruptsForTheFirstAndForEveryLast) {
  World world;
  std::vector<Interrupt> raised;
  world.model->SetInterruptHandler([&](Interrupt interrupt) { raised.push_back(interrupt); });
  world.model->RequestPages(RequestOf(1, false));
  EXPECT_THAT(raised, ElementsAre(Interrupt::kPriQueue));
  world.model->RequestPages(RequestOf(1, false));
  EXPECT_EQ(raised.size(), 1u);
  world.model->RequestPages(RequestOf(1, true));
  EXPECT_EQ(raised.size(), 2u);
}

// Full: nothing is written until software says that it has seen the overflow, and devices are told
// to try again.
TEST(SmmuPageRequestTest, AnswersForSoftwareWhileItOverflows) {
  World world;
  for (int i = 0; i < 256; ++i) EXPECT_TRUE(world.model->RequestPages(RequestOf(1, false)));
  EXPECT_FALSE(world.model->RequestPages(RequestOf(2, false)));
  EXPECT_EQ(AnswerTo(world, 2), std::nullopt);
  EXPECT_FALSE(world.model->RequestPages(RequestOf(2)));
  EXPECT_EQ(AnswerTo(world, 2), PageAnswer::kSuccess);
  EXPECT_EQ(world.model->Read32(0x100c8), 256u | kOverflow);
  world.model->Write32(0x100cc, 10);
  EXPECT_FALSE(world.model->RequestPages(RequestOf(3)));
  world.model->Write32(0x100cc, 10 | kOverflow);
  EXPECT_TRUE(world.model->RequestPages(RequestOf(3)));
  EXPECT_EQ(world.model->Read32(0x100c8), 257u | kOverflow);
  EXPECT_EQ(world.model->counters().page_requests, 257u);
  EXPECT_EQ(world.model->counters().page_requests_lost, 3u);
}

TEST(SmmuPageRequestTest, FailsRequestsWhileItIsOff) {
  for (const uint32_t control : {0xdu, 0xeu}) {  // No PRIQEN; no SMMUEN.
    World world;
    world.model->Write32(0x20, control);
    EXPECT_FALSE(world.model->RequestPages(RequestOf(5)));
    EXPECT_EQ(AnswerTo(world, 5), PageAnswer::kResponseFailure);
    EXPECT_EQ(world.model->Read32(0x100c8), 0u);
  }
}

TEST(SmmuPageRequestTest, FailsRequestsThatNoMemoryTakes) {
  World world;
  world.model->Write32(0x20, 0xd);
  world.model->Write64(0xc0, 0x3000000000 | 8);
  world.model->Write32(0x20, 0xf);
  EXPECT_FALSE(world.model->RequestPages(RequestOf(5)));
  EXPECT_EQ(AnswerTo(world, 5), PageAnswer::kResponseFailure);
  EXPECT_EQ(world.model->Read32(0x60), 1u << 3);
  EXPECT_FALSE(world.model->RequestPages(RequestOf(5)));
  EXPECT_EQ(AnswerTo(world, 5), PageAnswer::kResponseFailure);
}

TEST(SmmuPageRequestTest, KeepsAnswersBackWhileTranslationIsOff) {
  World world;
  EXPECT_TRUE(world.model->RequestPages(RequestOf(6)));
  world.model->Write32(0x20, 0xe);
  world.Submit(0x41 | kSid, 6 | 2 << 12);
  EXPECT_EQ(AnswerTo(world, 6), std::nullopt);
}

}  // namespace
}  // namespace viommu::hardware
