#include "clients/demo/dma_checks.h"

#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;

v1::DmaResponse BlockedAt(uint64_t iova, uint64_t bytes_done) {
  v1::DmaResponse response;
  response.set_bytes_done(bytes_done);
  response.mutable_fault()->set_iova(iova);
  response.mutable_fault()->set_iova_text("0x1000");
  response.mutable_fault()->set_reason("SPT.2");
  response.mutable_fault()->set_description("not present");
  return response;
}

v1::DmaResponse Done(uint64_t bytes) {
  v1::DmaResponse response;
  response.set_bytes_done(bytes);
  return response;
}

TEST(DmaChecksTest, TakesAFaultThatStoppedEverything) {
  const auto fault = MustBeBlocked(BlockedAt(0x1000, 0), 0x1000);
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_EQ(HowBlocked(*fault), "at 0x1000: SPT.2, not present");
}

TEST(DmaChecksTest, RefusesADmaThatWasNotBlockedAtOnce) {
  for (const v1::DmaResponse& response :
       {Done(16), Done(0), BlockedAt(0x2000, 0), BlockedAt(0x1000, 1)}) {
    EXPECT_TRUE(absl::IsInternal(MustBeBlocked(response, 0x1000).status()))
        << response.DebugString();
  }
}

TEST(DmaChecksTest, RefusesADmaThatWasNotDoneCompletely) {
  EXPECT_TRUE(MustBeDone(Done(16), 16).ok());
  for (const v1::DmaResponse& response : {Done(15), Done(17), BlockedAt(0x1000, 16)}) {
    EXPECT_TRUE(absl::IsInternal(MustBeDone(response, 16))) << response.DebugString();
  }
}

TEST(DmaChecksTest, TellsWhereBytesDiffer) {
  EXPECT_TRUE(MustBeEqual("same", "same", "it").ok());
  EXPECT_TRUE(MustBeEqual("", "", "it").ok());
  const struct {
    const char* found;
    const char* want;
  } kCases[] = {{"samE", "byte 3 on"},
                {"Same", "byte 0 on"},
                {"sa", "byte 2 on"},
                {"same or more", "byte 4 on"}};
  for (const auto& c : kCases) {
    const absl::Status status = MustBeEqual(c.found, "same", "it");
    EXPECT_TRUE(absl::IsDataLoss(status)) << c.found;
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.want));
  }
}

}  // namespace
}  // namespace viommu
