// Page requests of functions: the ring in memory, the answers, and what keeps a request out.
#include "engine/backend/soft/hardware/vtd_page_requests.h"

#include <string>

#include "engine/backend/soft/hardware/vtd_test_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

constexpr uint64_t kPre = 1 << 4;  // Of a context entry, beside DTE:
constexpr uint64_t kDte = 1 << 2;
constexpr uint64_t kPageRequestEcap = kTwoStageEcap | 1ull << 29;
constexpr uint32_t kHead = 0xc0, kTail = 0xc8, kBase = 0xd0, kStatus = 0xdc;
constexpr uint32_t kRingSlots = 128;  // Of one page.

class VtdPageRequestsTest : public testing::Test {
 protected:
  explicit VtdPageRequestsTest(uint64_t ecap = kPageRequestEcap) : world_(kTwoStageCap, ecap) {
    world_.Flip(world_.context_entry, kPre | kDte);
    requests_ = world_.Page();
    world_.model->Write64(kBase, requests_);
  }

  static PageRequest Request(uint32_t group, bool last = true,
                             std::optional<uint32_t> pasid = std::nullopt) {
    PageRequest request;
    request.source_id = VtdTestWorld::kDevice;
    request.pasid = pasid;
    request.address = 0x123456789000;
    request.read = true;
    request.group = group;
    request.last = last;
    return request;
  }
  uint64_t Word(uint32_t slot, int word) { return world_.Load(requests_ + slot * 32 + word * 8); }
  // What the function was told: "7:0 8:15 ".
  std::string Told() {
    std::string all;
    for (const auto& told : world_.model->PageResponses(VtdTestWorld::kDevice)) {
      all += std::to_string(told.group) + ":" + std::to_string(static_cast<int>(told.code)) + " ";
    }
    return all;
  }

  VtdTestWorld world_;
  uint64_t requests_ = 0;
};

TEST_F(VtdPageRequestsTest, WritesDescriptors) {
  ASSERT_TRUE(world_.model->RequestPage(Request(7)));
  PageRequest full = Request(0x1ff, /*last=*/false, 0xabcde);
  full.write = full.execute = full.privileged = true;
  ASSERT_TRUE(world_.model->RequestPage(full)) << "PDTS 0 covers 8192 PASIDs";
  EXPECT_EQ(world_.model->Read32(kTail), 32u) << "0xabcde is beyond them";
  full.pasid = 0x1234;
  ASSERT_TRUE(world_.model->RequestPage(full));
  EXPECT_EQ(world_.model->Read32(kTail), 64u);
  EXPECT_EQ(world_.model->Read32(kHead), 0u);
  EXPECT_EQ(world_.model->Read32(kStatus), 1u) << "PPR";
  EXPECT_EQ(Word(0, 0), 0x03010001u);
  EXPECT_EQ(Word(0, 1), 0x12345678903dull);
  EXPECT_EQ(Word(1, 0), 0x0030123403010101ull);
  EXPECT_EQ(Word(1, 1), 0x123456789ffbull);
  EXPECT_EQ(Word(1, 2) | Word(1, 3), 0u);
  world_.model->Write32(kStatus, 1);
  EXPECT_EQ(world_.model->Read32(kStatus), 0u);
}

TEST_F(VtdPageRequestsTest, DeliversAnswersToWhoWaits) {
  ASSERT_TRUE(world_.model->RequestPage(Request(7, true, 5)));
  EXPECT_FALSE(world_.model->RequestPage(Request(7, true, 5))) << "it waits";
  EXPECT_FALSE(world_.model->RequestPage(Request(7, false, 5)));
  ASSERT_TRUE(world_.model->RequestPage(Request(7, true, 6)));
  ASSERT_TRUE(world_.model->RequestPage(Request(7)));
  const uint64_t device = uint64_t{VtdTestWorld::kDevice} << 16;
  world_.Submit(9 | 1 << 4 | 0xfull << 12 | device | 6ull << 32, 7 << 3);
  EXPECT_EQ(Told(), "7:15 ");
  world_.Submit(9 | 1ull << 12 | device, 7 << 3);
  world_.Submit(9 | 1 << 4 | device | 5ull << 32, 7 << 3);
  EXPECT_EQ(Told(), "7:15 7:1 7:0 ");
  world_.Submit(9 | 1 << 4 | device | 5ull << 32, 7 << 3);
  EXPECT_EQ(Told(), "7:15 7:1 7:0 ") << "nobody waits for that";
  EXPECT_FALSE(world_.QueueError());
  EXPECT_TRUE(world_.model->RequestPage(Request(7, true, 5))) << "it may ask again";
}

TEST_F(VtdPageRequestsTest, RefusesDescriptorsThatAreNone) {
  const struct {
    uint64_t word0, word1, word2;
  } kCases[] = {{9 | 1 << 5, 0, 0},
                {9 | 1ull << 52, 0, 0},
                {9, 1, 0},
                {9, 1 << 12, 0},
                {9, 0, 1},
                {9 | 2ull << 12, 0, 0},
                {9 | 14ull << 12, 0, 0},
                {9 | 1 << 9, 0, 0}};
  for (const auto& c : kCases) {
    VtdTestWorld world(kTwoStageCap, kPageRequestEcap);
    world.Submit(c.word0, c.word1, c.word2);
    EXPECT_TRUE(world.QueueError()) << std::hex << c.word0 << " " << c.word1;
  }
}

TEST_F(VtdPageRequestsTest, AnswersWhatOverflowsItself) {
  for (uint32_t i = 0; i + 1 < kRingSlots; ++i) {
    ASSERT_TRUE(world_.model->RequestPage(Request(1, /*last=*/false)));
  }
  EXPECT_EQ(world_.model->Read32(kStatus), 1u);
  ASSERT_TRUE(world_.model->RequestPage(Request(1)));
  EXPECT_EQ(world_.model->Read32(kStatus), 3u) << "PRO";
  EXPECT_EQ(Told(), "1:0 ") << "it shall ask again";
  world_.model->Write32(kHead, world_.model->Read32(kTail));
  ASSERT_TRUE(world_.model->RequestPage(Request(2)));
  EXPECT_EQ(Told(), "1:0 2:0 ") << "while PRO stands nothing gets in";
  world_.model->Write32(kStatus, 2);
  ASSERT_TRUE(world_.model->RequestPage(Request(3)));
  EXPECT_EQ(Told(), "1:0 2:0 ");
  EXPECT_EQ(world_.model->Read32(kTail), 0u) << "the ring begins anew";
}

TEST_F(VtdPageRequestsTest, RefusesWhatContextsDoNotLetThrough) {
  world_.Flip(world_.context_entry, kPre);
  ASSERT_TRUE(world_.model->RequestPage(Request(1)));
  EXPECT_EQ(Told(), "1:1 ");
  EXPECT_EQ(world_.model->counters().faults[kPageRequestsDisabled], 1u);
  EXPECT_EQ(world_.model->counters().faults_recorded, 1u);
  world_.Submit(1 | 1 << 4);
  world_.Flip(world_.context_entry, kPre | 1 << 3);  // Without PASIDE.
  ASSERT_TRUE(world_.model->RequestPage(Request(2, true, 5)));
  EXPECT_EQ(world_.model->counters().faults[kPasidRequestsDisabled], 1u);
  ASSERT_TRUE(world_.model->RequestPage(Request(3)));
  EXPECT_EQ(Told(), "1:1 2:1 ");
  world_.model->Write32(0x18, 1u << 26);  // Translation off.
  ASSERT_TRUE(world_.model->RequestPage(Request(4)));
  EXPECT_EQ(Told(), "1:1 2:1 4:1 ");
}

TEST_F(VtdPageRequestsTest, RefusesEverythingWithoutARing) {
  world_.model->Write64(kBase, 0);
  ASSERT_TRUE(world_.model->RequestPage(Request(1)));
  EXPECT_EQ(Told(), "1:1 ");
}

TEST_F(VtdPageRequestsTest, RemembersTheLastAnswersOnly) {
  const uint64_t device = uint64_t{VtdTestWorld::kDevice} << 16;
  for (uint32_t i = 0; i < PageRequesters::kKeptResponses + 1; ++i) {
    ASSERT_TRUE(world_.model->RequestPage(Request(i)));
    world_.Submit(9 | device, uint64_t{i} << 3);
  }
  const auto told = world_.model->PageResponses(VtdTestWorld::kDevice);
  ASSERT_EQ(told.size(), PageRequesters::kKeptResponses);
  EXPECT_EQ(told.front().group, 1u);
}

class VtdWithoutPageRequestsTest : public VtdPageRequestsTest {
 protected:
  VtdWithoutPageRequestsTest() : VtdPageRequestsTest(kTwoStageEcap) {}
};

TEST_F(VtdWithoutPageRequestsTest, KnowsNothingOfThem) {
  EXPECT_EQ(world_.model->Read64(kBase), 0u);
  EXPECT_EQ(world_.model->Translate(VtdTestWorld::Read(VtdTestWorld::kIova4K)).fault_reason,
            kContextReserved)
      << "PRE is reserved";
  world_.Submit(9);
  EXPECT_TRUE(world_.QueueError());
}

}  // namespace
}  // namespace viommu::hardware
