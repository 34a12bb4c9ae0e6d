#include "engine/model/page_faults.h"

#include "gtest/gtest.h"

namespace viommu {
namespace {

PageFault Fault(DeviceIndex device, std::optional<uint32_t> pasid, uint32_t group, Iova address) {
  PageFault fault;
  fault.device = device;
  fault.pasid = pasid;
  fault.group = group;
  fault.address = address;
  fault.read = true;
  return fault;
}

std::vector<Iova> Addresses(const std::vector<FaultedPage>& pages) {
  std::vector<Iova> addresses;
  for (const FaultedPage& page : pages) addresses.push_back(page.address);
  return addresses;
}

TEST(PartialFaultsTest, KeepsFaultsUntilTheLastOfTheirGroup) {
  PartialFaults faults;
  EXPECT_TRUE(faults.Hold(Fault(1, 5, 7, 0x1000)));
  EXPECT_TRUE(faults.Hold(Fault(1, 5, 8, 0x2000)));
  EXPECT_TRUE(faults.Hold(Fault(1, 5, 7, 0x3000)));
  EXPECT_EQ(faults.size(), 3u);
  EXPECT_EQ(Addresses(faults.Complete(Fault(1, 5, 7, 0x4000))),
            (std::vector<Iova>{0x1000, 0x3000, 0x4000}));
  EXPECT_EQ(Addresses(faults.Complete(Fault(1, 5, 7, 0x5000))), std::vector<Iova>{0x5000})
      << "the group has begun anew";
  EXPECT_EQ(faults.size(), 1u);
}

TEST(PartialFaultsTest, TellsDevicesAndPasidsApart) {
  PartialFaults faults;
  faults.Hold(Fault(1, 5, 7, 0x1000));
  faults.Hold(Fault(2, 5, 7, 0x2000));
  faults.Hold(Fault(1, 6, 7, 0x3000));
  faults.Hold(Fault(1, std::nullopt, 7, 0x4000));
  faults.Hold(Fault(1, 0, 7, 0x5000));
  EXPECT_EQ(faults.Drop(1, std::nullopt), 1u);
  EXPECT_EQ(faults.Drop(1, 6), 1u);
  EXPECT_EQ(faults.Drop(1, 6), 0u);
  EXPECT_EQ(faults.Drop(3, 6), 0u);
  EXPECT_EQ(faults.DropAll(2), 1u);
  EXPECT_EQ(faults.DropAll(2), 0u);
  EXPECT_EQ(faults.size(), 2u);
  EXPECT_EQ(Addresses(faults.Complete(Fault(1, 5, 7, 0x9000))),
            (std::vector<Iova>{0x1000, 0x9000}));
  EXPECT_EQ(Addresses(faults.Complete(Fault(1, 0, 7, 0x9000))),
            (std::vector<Iova>{0x5000, 0x9000}));
  EXPECT_EQ(faults.size(), 0u);
}

TEST(PartialFaultsTest, LeavesOutWhatIsTooMuch) {
  PartialFaults faults;
  for (size_t i = 0; i + 1 < kMaxFaultsPerGroup; ++i) {
    ASSERT_TRUE(faults.Hold(Fault(1, 5, 7, i << 12)));
  }
  EXPECT_FALSE(faults.Hold(Fault(1, 5, 7, 0x1000))) << "of one group";
  EXPECT_TRUE(faults.Hold(Fault(1, 5, 8, 0x1000)));
  for (uint32_t group = 9; faults.size() < kMaxPartialFaults; ++group) {
    ASSERT_TRUE(faults.Hold(Fault(1, 5, group, 0x1000)));
  }
  EXPECT_FALSE(faults.Hold(Fault(1, 6, 7, 0x1000))) << "of one device";
  EXPECT_TRUE(faults.Hold(Fault(2, 6, 7, 0x1000)));
  EXPECT_EQ(faults.Complete(Fault(1, 5, 7, 0x1000)).size(), kMaxFaultsPerGroup);
  EXPECT_TRUE(faults.Hold(Fault(1, 6, 7, 0x1000))) << "there is room again";
}

TEST(PageFaultsTest, HandsAnswersOutOnce) {
  PageFaults faults;
  EXPECT_FALSE(faults.answers_due());
  faults.Answer({1, 5, 7}, PageResponse::kInvalid);
  faults.Answer({1, 5, 8}, PageResponse::kFailure);
  EXPECT_TRUE(faults.answers_due());
  const std::vector<PageGroupResponse> answers = faults.TakeAnswers();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].group.group, 7u);
  EXPECT_EQ(answers[1].code, PageResponse::kFailure);
  EXPECT_FALSE(faults.answers_due());
  EXPECT_TRUE(faults.TakeAnswers().empty());
  EXPECT_EQ(faults.Answered(PageResponse::kFailure), 0u) << "they are counted once they are given";
  faults.CountAnswered(PageResponse::kFailure);
  EXPECT_EQ(faults.Answered(PageResponse::kFailure), 1u);
}

}  // namespace
}  // namespace viommu
