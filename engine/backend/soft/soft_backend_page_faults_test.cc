// Page faults through the backend, with the hardware model as the device's side.
#include <string>

#include "engine/backend/soft/stages_world.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr DeviceIndex kAsking = kDiskB;

Topology AskingTopology() {
  Topology topology = StagesTopology();
  topology.iommus[0].page_requests = true;
  topology.devices[kAsking].pri = true;
  return topology;
}

class PageFaultsTest : public StagesWorld {
 protected:
  PageFaultsTest() : StagesWorld(AskingTopology()) { Claim(kAsking); }

  absl::Status Raise(std::optional<uint32_t> pasid, uint32_t group) {
    PageFault fault;
    fault.device = kAsking;
    fault.pasid = pasid;
    fault.group = group;
    fault.address = iova_;
    fault.read = true;
    fault.last = true;
    return backend_->simulation()->RaisePageFault(fault);
  }
  std::string Told() {
    std::string all;
    for (const PageGroupResponse& told : backend_->simulation()->PageResponses(kAsking)) {
      all += std::to_string(told.group.group) + ":" + std::to_string(static_cast<int>(told.code)) +
             " ";
    }
    return all;
  }
};

TEST_F(PageFaultsTest, LetsADeviceGoOnOnceItsPageIsThere) {
  ASSERT_TRUE(Switch(kAsking, 5, On(kFirstA)).ok());
  UnmapPage(kIoasFirstA, iova_);
  EXPECT_EQ(Read(kAsking, 5), "SFS.2");
  ASSERT_TRUE(Raise(5, 7).ok());
  const PageFaultBatch batch = backend_->TakePageFaults();
  EXPECT_TRUE(batch.broken.empty());
  ASSERT_EQ(batch.faults.size(), 1u);
  EXPECT_EQ(batch.faults[0].device, static_cast<DeviceIndex>(kAsking));
  EXPECT_EQ(batch.faults[0].pasid, 5u);
  EXPECT_EQ(batch.faults[0].group, 7u);
  EXPECT_EQ(batch.faults[0].address, iova_);
  EXPECT_TRUE(batch.faults[0].read && batch.faults[0].last);
  MapPage(kIoasFirstA, iova_, kPage);
  ASSERT_TRUE(backend_->RespondPageGroup({{kAsking, 5, 7}, PageResponse::kSuccess}).ok());
  EXPECT_EQ(Told(), "7:0 ");
  EXPECT_EQ(Read(kAsking, 5), "101");
}

TEST_F(PageFaultsTest, RefusesAGroupThatWaits) {
  ASSERT_TRUE(Raise(5, 7).ok());
  EXPECT_EQ(DetailOf(Raise(5, 7))->reason, "PAGE_GROUP_OUTSTANDING");
  EXPECT_TRUE(Raise(6, 7).ok());
  ASSERT_TRUE(backend_->RespondPageGroup({{kAsking, 5, 7}, PageResponse::kFailure}).ok());
  EXPECT_EQ(Told(), "7:2 ");
  EXPECT_TRUE(Raise(5, 7).ok());
}

TEST_F(PageFaultsTest, AnswersWhatNobodyTookWhenTheDeviceMoves) {
  ASSERT_TRUE(Switch(kAsking, 5, On(kFirstA)).ok());
  ASSERT_TRUE(Switch(kAsking, kRid, On(kParentA)).ok());
  ASSERT_TRUE(Raise(5, 1).ok());
  ASSERT_TRUE(Raise(kRid, 2).ok());
  ASSERT_TRUE(Switch(kAsking, 5, On(kNestedA)).ok());
  EXPECT_EQ(Told(), "1:1 ");
  ASSERT_TRUE(Raise(5, 3).ok());
  ASSERT_TRUE(backend_->Block(kAsking).ok());
  EXPECT_EQ(Told(), "1:1 2:1 3:1 ");
  EXPECT_TRUE(backend_->TakePageFaults().faults.empty());
  ASSERT_TRUE(backend_->Unblock(kAsking).ok());
}

}  // namespace
}  // namespace viommu
