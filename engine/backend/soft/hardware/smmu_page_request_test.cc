// Page requests of devices: their records, their answers, and what happens without room for them.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using smmu::PageRequest;
using smmu::PageRequestFate;
using smmu::PageResponse;
using World = SmmuTestWorld;
using Interrupt = SmmuModel::Interrupt;
using testing::ElementsAre;

constexpr uint64_t kSid = uint64_t{World::kStream} << 32;
constexpr uint32_t kOverflow = 1u << 31;
constexpr uint64_t kResponsePasid = 1 << 18;  // STE.PPAR

PageRequest RequestOf(uint16_t group, bool last = true) {
  PageRequest request;
  request.stream_id = World::kStream;
  request.address = 0x12345678;
  request.read = true;
  request.last = last;
  request.group = group;
  return request;
}

PageRequest RequestOf(uint16_t group, uint32_t substream) {
  PageRequest request = RequestOf(group);
  request.substream_id = substream;
  return request;
}

bool IsQueued(World& world, const PageRequest& request) {
  return world.model->RequestPages(request) == PageRequestFate::kQueued;
}
bool IsLost(World& world, const PageRequest& request) {
  return world.model->RequestPages(request) == PageRequestFate::kLost;
}

// What the function was told: "1:2 7/3:0 " is success for group 1, and failure for group 7 with
// PASID 3.
std::string Told(const World& world, uint32_t stream = World::kStream) {
  std::string all;
  for (const PageResponse& told : world.model->PageResponses(stream)) {
    all += std::to_string(told.group);
    if (told.substream_id.has_value()) all += "/" + std::to_string(*told.substream_id);
    all += ":" + std::to_string(static_cast<int>(told.answer)) + " ";
  }
  return all;
}

// From here on every request overflows the queue.
void Fill(World& world) {
  for (int i = 0; i < 256; ++i) EXPECT_TRUE(IsQueued(world, RequestOf(1, false)));
}

TEST(SmmuPageRequestTest, WritesRecordsAndDeliversTheAnswer) {
  World world;
  PageRequest request = RequestOf(0x101, false);
  request.privileged = request.execute = true;
  EXPECT_TRUE(IsQueued(world, request));
  EXPECT_EQ(world.Load(world.pages), World::kStream | 1ull << 60);
  EXPECT_EQ(world.Load(world.pages + 8), 0x12345000u | 0x101);
  request.substream_id = 0x30003;
  request.write = request.last = true;
  EXPECT_TRUE(IsQueued(world, request));
  EXPECT_EQ(world.Load(world.pages + 16), World::kStream | 0x30003ull << 32 | 0x3full << 58);
  EXPECT_EQ(world.model->Read32(0x100c8), 2u);
  constexpr uint64_t kPasid = 1 << 11 | 0x30003ull << 12;
  world.Submit(0x41 | kSid | kPasid, 0x100 | 2 << 12);              // No such group,
  world.Submit(0x41 | 6ull << 32 | kPasid, 0x101 | 2 << 12);        // stream,
  world.Submit(0x41 | kSid | (kPasid ^ 1 << 12), 0x101 | 2 << 12);  // PASID;
  world.Submit(0x41 | kSid, 0x101 | 2 << 12);                       // it has one.
  EXPECT_EQ(Told(world), "");
  world.Submit(0x41 | kSid | kPasid, 0x101 | 2 << 12);
  EXPECT_EQ(Told(world), "257/196611:2 ");
  world.Submit(0x41 | kSid | kPasid, 0x101);
  EXPECT_EQ(Told(world), "257/196611:2 ") << "another answer is to nothing";
}

TEST(SmmuPageRequestTest, TellsTheAnswersApart) {
  World world;
  for (uint16_t answer = 0; answer < 3; ++answer) {
    EXPECT_TRUE(IsQueued(world, RequestOf(answer)));
    world.Submit(0x41 | kSid, answer | uint64_t{answer} << 12);
  }
  EXPECT_EQ(Told(world), "0:0 1:1 2:2 ");
}

TEST(SmmuPageRequestTest, HasNothingToAnswerBeforeTheLastOfAGroup) {
  World world;
  EXPECT_TRUE(IsQueued(world, RequestOf(9, false)));
  world.Submit(0x41 | kSid, 9 | 2 << 12);
  EXPECT_EQ(Told(world), "");
  EXPECT_TRUE(IsQueued(world, RequestOf(9)));
  world.Submit(0x41 | kSid, 9 | 1 << 12);
  EXPECT_EQ(Told(world), "9:1 ");
}

TEST(SmmuPageRequestTest, MakesNoRequestInAGroupThatWaits) {
  World world;
  EXPECT_TRUE(IsQueued(world, RequestOf(9)));
  EXPECT_EQ(world.model->RequestPages(RequestOf(9)), PageRequestFate::kGroupWaits);
  EXPECT_EQ(world.model->RequestPages(RequestOf(0x200 | 9)), PageRequestFate::kGroupWaits);
  EXPECT_EQ(world.model->Read32(0x100c8), 1u);
  EXPECT_TRUE(IsQueued(world, RequestOf(9, uint32_t{3}))) << "another PASID's";
  world.Submit(0x41 | kSid, 9 | 2 << 12);
  EXPECT_TRUE(IsQueued(world, RequestOf(9)));
}

// Nobody answers one; without PASID it is a request like others.
TEST(SmmuPageRequestTest, ExpectsNoAnswerToAStopMarker) {
  World world;
  PageRequest marker = RequestOf(9, uint32_t{3});
  marker.read = false;
  EXPECT_TRUE(IsQueued(world, marker));
  EXPECT_TRUE(IsQueued(world, marker));
  EXPECT_EQ(world.Load(world.pages), World::kStream | 3ull << 32 | 1ull << 62 | 1ull << 63);
  world.model->Write32(0x20, 0xd);
  EXPECT_TRUE(IsLost(world, marker));
  EXPECT_EQ(Told(world), "");
  marker.substream_id.reset();
  EXPECT_TRUE(IsLost(world, marker));
  EXPECT_EQ(Told(world), "9:0 ");
}

TEST(SmmuPageRequestTest, IsNotThereWithoutPri) {
  SmmuModel::Spec spec;
  spec.pri = false;
  World world(Stages::kFirst, spec);
  world.model->Write32(0x20, 0x1f);
  EXPECT_EQ(world.model->Read32(0x24), 0x1du);
  EXPECT_TRUE(IsLost(world, RequestOf(5)));
  EXPECT_EQ(Told(world), "5:0 ");
}

TEST(SmmuPageRequestTest, HasNoPasidsWithoutSubstreams) {
  SmmuModel::Spec spec;
  spec.substream_id_bits = 0;
  World world(Stages::kSecond, spec);
  EXPECT_TRUE(IsQueued(world, RequestOf(5, uint32_t{3})));
  EXPECT_EQ(world.Load(world.pages), World::kStream | 1ull << 60 | 1ull << 62);
  world.Submit(0x41 | kSid | 1 << 11 | 3 << 12, 5 | 2 << 12);
  EXPECT_EQ(Told(world), "5:2 ");
}

TEST(SmmuPageRequestTest, RemembersTheLastAnswers) {
  World world;
  for (uint16_t group = 0; group < 70; ++group) {
    EXPECT_TRUE(IsQueued(world, RequestOf(group)));
    world.Submit(0x41 | kSid, group | 2 << 12);
  }
  EXPECT_EQ(world.model->PageResponses(World::kStream).size(), 64u);
  EXPECT_EQ(Told(world).substr(0, 8), "6:2 7:2 ");
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
  Fill(world);
  EXPECT_TRUE(IsLost(world, RequestOf(2, false)));
  EXPECT_EQ(Told(world), "");
  EXPECT_TRUE(IsLost(world, RequestOf(2)));
  EXPECT_EQ(Told(world), "2:2 ");
  EXPECT_EQ(world.model->Read32(0x100c8), 256u | kOverflow);
  world.model->Write32(0x100cc, 10);
  EXPECT_TRUE(IsLost(world, RequestOf(3)));
  world.model->Write32(0x100cc, 10 | kOverflow);
  EXPECT_TRUE(IsQueued(world, RequestOf(3)));
  EXPECT_EQ(world.model->Read32(0x100c8), 257u | kOverflow);
  EXPECT_EQ(world.model->counters().page_requests, 257u);
  EXPECT_EQ(world.model->counters().page_requests_lost, 3u);
}

// STE.PPAR: a function takes no success for the group of a PASID that does not have it.
TEST(SmmuPageRequestTest, GivesItsOwnAnswersAPasidWhereTheEntrySaysSo) {
  World world;
  Fill(world);
  EXPECT_TRUE(IsLost(world, RequestOf(2, uint32_t{3})));
  EXPECT_EQ(Told(world), "");
  world.Flip(world.stream_entry + 8, kResponsePasid);
  EXPECT_TRUE(IsLost(world, RequestOf(4, uint32_t{3})));
  EXPECT_EQ(Told(world), "") << "the entry is cached";
  world.Submit(0x3 | kSid);
  EXPECT_TRUE(IsLost(world, RequestOf(5, uint32_t{3})));
  EXPECT_EQ(Told(world), "5/3:2 ");
  world.Flip(world.stream_entry, 0xe);  // Config: abort. The entry is as good as any.
  world.Submit(0x3 | kSid);
  EXPECT_TRUE(IsLost(world, RequestOf(6, uint32_t{3})));
  EXPECT_EQ(Told(world), "5/3:2 6/3:2 ");
  EXPECT_EQ(world.EventCount(), 0u);
}

TEST(SmmuPageRequestTest, FailsWhatItCanNotLookUpWhileItOverflows) {
  World world;
  Fill(world);
  world.Flip(world.stream_entry, 1);  // V
  EXPECT_TRUE(IsLost(world, RequestOf(2, uint32_t{3})));
  EXPECT_TRUE(IsLost(world, RequestOf(3)));
  EXPECT_EQ(Told(world), "2/3:0 3:2 ");
  PageRequest nobody = RequestOf(4, uint32_t{3});
  nobody.stream_id = 64;
  EXPECT_TRUE(IsLost(world, nobody));
  EXPECT_EQ(Told(world, 64), "4/3:0 ");
  EXPECT_EQ(world.EventCount(), 0u) << "without REC_CFG_ATS";
}

TEST(SmmuPageRequestTest, FailsRequestsWhileItIsOff) {
  for (const uint32_t control : {0xdu, 0xeu}) {  // No PRIQEN; no SMMUEN.
    World world;
    world.model->Write32(0x20, control);
    EXPECT_TRUE(IsLost(world, RequestOf(5)));
    EXPECT_TRUE(IsLost(world, RequestOf(5, uint32_t{3})));
    EXPECT_EQ(Told(world), "5:0 5/3:0 ") << "a failure needs no PASID";
    EXPECT_EQ(world.model->Read32(0x100c8), 0u);
  }
}

TEST(SmmuPageRequestTest, FailsRequestsThatNoMemoryTakes) {
  World world;
  world.model->Write32(0x20, 0xd);
  world.model->Write64(0xc0, 0x3000000000 | 8);
  world.model->Write32(0x20, 0xf);
  EXPECT_TRUE(IsLost(world, RequestOf(5)));
  EXPECT_EQ(Told(world), "5:0 ");
  EXPECT_EQ(world.model->Read32(0x60), 1u << 3);
  EXPECT_TRUE(IsLost(world, RequestOf(6)));
  EXPECT_EQ(Told(world), "5:0 6:0 ");
}

TEST(SmmuPageRequestTest, KeepsAnswersBackWhileTranslationIsOff) {
  World world;
  EXPECT_TRUE(IsQueued(world, RequestOf(6)));
  world.model->Write32(0x20, 0xe);
  world.Submit(0x41 | kSid, 6 | 2 << 12);
  EXPECT_EQ(Told(world), "");
}

}  // namespace
}  // namespace viommu::hardware
