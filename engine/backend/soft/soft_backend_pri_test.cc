// Page requests of PCI functions behind an SMMUv3, beside requests that wait in it.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/smmu_faults_fixture.h"
#include "engine/backend/soft/smmu_page_request_queue.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/table_view.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/pagetable/store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using testing::UnorderedElementsAre;

// Behind one unit: a card that asks for pages, a chip's own device whose requests wait.
enum : DeviceIndex { kAsking, kWaiting };

Topology PriTopology() {
  Topology topology = StallingSmmu();
  topology.iommus[0].smmu_v3.pri = true;
  DeviceSpec asking;
  asking.id = asking.group = asking.pci_address = "0000:01:00.0";
  asking.ats = asking.pri = true;
  DeviceSpec waiting;
  waiting.id = waiting.group = "display";
  waiting.stream_id = 0x400;
  waiting.stall = true;
  for (DeviceSpec device : {asking, waiting}) {
    device.iommu = "smmu0";
    device.pasid_bits = 8;
    topology.devices.push_back(device);
  }
  return topology;
}

class SoftPriTest : public SmmuFaultsTest {
 protected:
  SoftPriTest() : SmmuFaultsTest(PriTopology(), kAsking) {}

  static PageFault FaultOf(std::optional<uint32_t> pasid, uint32_t group, bool last = true) {
    PageFault fault;
    fault.device = kAsking;
    fault.pasid = pasid;
    fault.group = group;
    fault.address = kIova;
    fault.read = true;
    fault.last = last;
    return fault;
  }
  absl::Status Raise(std::optional<uint32_t> pasid, uint32_t group, bool last = true) {
    return sim_->RaisePageFault(FaultOf(pasid, group, last));
  }
  std::string Dma(std::optional<uint32_t> pasid = kRid) { return DmaOf(kAsking, pasid); }
  absl::Status Answer(std::optional<uint32_t> pasid, uint32_t group, PageResponse code) {
    return backend_->RespondPageGroup({{kAsking, pasid, group}, code});
  }
};

TEST_F(SoftPriTest, LetsADeviceGoOnOnceItsPageIsThere) {
  Attach(kAsking, 5, kOtherDomain);
  for (const std::optional<uint32_t> pasid : {kRid, std::optional<uint32_t>(5)}) {
    EXPECT_EQ(Dma(pasid), "F_TRANSLATION");
    PageFault asked = FaultOf(pasid, 7);
    asked.write = true;
    asked.execute = asked.privileged = pasid.has_value();
    ASSERT_TRUE(sim_->RaisePageFault(asked).ok());
    const PageFaultBatch batch = backend_->TakePageFaults();
    EXPECT_TRUE(batch.broken.empty());
    ASSERT_EQ(batch.faults.size(), 1u);
    const PageFault& fault = batch.faults[0];
    EXPECT_EQ(fault.device, static_cast<DeviceIndex>(kAsking));
    EXPECT_EQ(fault.pasid, pasid);
    EXPECT_EQ(fault.group, 7u);
    EXPECT_EQ(fault.address, kIova);
    EXPECT_TRUE(fault.read && fault.write && fault.last);
    EXPECT_EQ(fault.execute, pasid.has_value());
    EXPECT_EQ(fault.privileged, pasid.has_value());
    EXPECT_TRUE(Take().empty());
    ASSERT_TRUE(Answer(pasid, 7, PageResponse::kSuccess).ok());
  }
  EXPECT_EQ(Told(), "7:0 7:0 ");
  Map();
  EXPECT_EQ(Dma(), "read");
  EXPECT_EQ(Dma(5), "read");
}

TEST_F(SoftPriTest, CarriesTheAnswers) {
  constexpr PageResponse kCodes[] = {PageResponse::kSuccess, PageResponse::kInvalid,
                                     PageResponse::kFailure};
  for (uint32_t group = 0; group < 3; ++group) {
    ASSERT_TRUE(Raise(5, group).ok());
    ASSERT_TRUE(Answer(5, group, kCodes[group]).ok());
  }
  EXPECT_EQ(Told(), "0:0 1:1 2:2 ");
}

TEST_F(SoftPriTest, HandsAGroupOnInTheOrderOfItsRequests) {
  for (Iova page = 0; page < 5; ++page) {
    PageFault fault = FaultOf(5, 7, /*last=*/page == 4);
    fault.address = kIova + page * kPage;
    ASSERT_TRUE(sim_->RaisePageFault(fault).ok());
    if (page == 1) {
      ASSERT_TRUE(Raise(kRid, 7).ok()) << "another group, in between";
    }
  }
  std::string taken;
  for (const PageFault& fault : Take()) {
    taken += std::to_string((fault.address - kIova) / kPage) + (fault.last ? ". " : " ");
  }
  EXPECT_EQ(taken, "0 1 0. 2 3 4. ");
}

TEST_F(SoftPriTest, RefusesAGroupThatWaits) {
  ASSERT_TRUE(Raise(5, 7).ok());
  EXPECT_EQ(DetailOf(Raise(5, 7))->reason, "PAGE_GROUP_OUTSTANDING");
  EXPECT_EQ(Take().size(), 1u);
  EXPECT_TRUE(Raise(6, 7).ok());
  ASSERT_TRUE(Answer(5, 8, PageResponse::kSuccess).ok()) << "to nobody";
  EXPECT_EQ(DetailOf(Raise(5, 7))->reason, "PAGE_GROUP_OUTSTANDING");
  ASSERT_TRUE(Answer(5, 7, PageResponse::kInvalid).ok());
  EXPECT_TRUE(Raise(5, 7).ok());
}

TEST_F(SoftPriTest, AnswersWhatNobodyTookWhenTheDeviceMoves) {
  Attach(kAsking, 5, kOtherDomain);
  ASSERT_TRUE(Raise(5, 1).ok());
  ASSERT_TRUE(Raise(kRid, 2).ok());
  ASSERT_TRUE(backend_->Switch({kAsking}, 5, {}).ok());
  EXPECT_EQ(Told(), "1:1 ") << "with that PASID alone";
  Attach(kAsking, kRid, kOtherDomain);
  EXPECT_EQ(Told(), "1:1 2:1 ");
  ASSERT_TRUE(Raise(kRid, 3).ok());
  ASSERT_TRUE(backend_->Block(kAsking).ok());
  EXPECT_EQ(Told(), "1:1 2:1 3:1 ");
  EXPECT_TRUE(Take().empty());
}

TEST_F(SoftPriTest, StandsBesideRequestsThatWait) {
  PageFault stalled = FaultOf(kRid, 0);
  stalled.device = kWaiting;
  ASSERT_TRUE(Raise(5, 0).ok());
  ASSERT_TRUE(sim_->RaisePageFault(stalled).ok());
  const auto faults = Take();
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[0].device, static_cast<DeviceIndex>(kAsking));
  EXPECT_EQ(faults[1].device, static_cast<DeviceIndex>(kWaiting));
  EXPECT_EQ(faults[1].group, 0u);
  ASSERT_TRUE(backend_->RespondPageGroup({{kWaiting, kRid, 0}, PageResponse::kSuccess}).ok());
  EXPECT_EQ(ToldTo(kWaiting), "0:0 ");
  EXPECT_EQ(Told(), "") << "which has a group of that number, too";
  ASSERT_TRUE(Answer(5, 0, PageResponse::kInvalid).ok());
  EXPECT_EQ(Told(), "0:1 ");
}

// As behind VT-d: who takes them is told that groups which have not ended are not whole.
TEST_F(SoftPriTest, TellsOfALoss) {
  hardware::smmu::PageRequest request;
  request.stream_id = backend_->machine().requester_of(kAsking);
  request.read = true;
  request.last = false;
  request.group = 9;
  for (uint32_t i = 0; i < SmmuPageRequestQueue::kEntries; ++i) hardware().RequestPages(request);
  ASSERT_TRUE(Raise(5, 7).ok()) << "it never waits for room";
  EXPECT_EQ(Told(), "7:0 ") << "the unit lets it try again";
  const PageFaultBatch batch = backend_->TakePageFaults();
  EXPECT_THAT(batch.broken, UnorderedElementsAre(kAsking, kWaiting));
  EXPECT_TRUE(batch.faults.empty());
  ASSERT_TRUE(Raise(5, 7).ok());
  EXPECT_EQ(Take().size(), 1u);
}

TEST_F(SoftPriTest, HasItsQueueInAnImage) {
  ASSERT_TRUE(Raise(5, 0x1ff).ok());
  const auto image = backend_->tables()->ExportTables();
  ASSERT_TRUE(image.ok()) << image.status();
  uint64_t ring = 0;
  for (const TableImage::Register& one : image->registers) {
    if (one.name == "PRIQ_BASE") ring = one.value & 0x000f'ffff'ffff'f000;
    if (one.name == "PRIQ_PROD") {
      EXPECT_EQ(one.value, 1u);
    }
  }
  const auto page = std::find_if(image->pages.begin(), image->pages.end(),
                                 [&](const auto& one) { return one.address.value == ring; });
  ASSERT_NE(page, image->pages.end());
  EXPECT_EQ((*page->words)[1], kIova | 0x1ff);
}

TEST_F(SoftPriTest, SaysWhenTheHardwareTakesNoAnswer) {
  ASSERT_TRUE(Raise(5, 7).ok());
  hardware().HangCommandQueueAfter(0);
  EXPECT_EQ(Answer(5, 7, PageResponse::kSuccess).code(), absl::StatusCode::kInternal);
  hardware().HangCommandQueueAfter(std::nullopt);
  EXPECT_TRUE(Answer(5, 7, PageResponse::kSuccess).ok());
  EXPECT_EQ(Told(), "7:0 ");
}

}  // namespace
}  // namespace viommu
