// Requests of platform devices that wait behind an SMMUv3 until their fault is answered.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/smmu_event_queue.h"
#include "engine/backend/soft/smmu_faults_fixture.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_ste.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

// One device whose requests wait, one whose do not.
enum : DeviceIndex { kWaiting, kPlain };

Topology StallTopology() {
  Topology topology = StallingSmmu();
  for (const char* id : {"display", "plain"}) {
    DeviceSpec device;
    device.id = device.group = id;
    device.iommu = "smmu0";
    device.pasid_bits = 8;
    device.stream_id = 0x400 + static_cast<uint32_t>(topology.devices.size());
    topology.devices.push_back(device);
  }
  topology.devices[kWaiting].stall = true;
  return topology;
}

class SoftStallsTest : public SmmuFaultsTest {
 protected:
  SoftStallsTest() : SmmuFaultsTest(StallTopology(), kWaiting) {}

  absl::Status Raise(std::optional<uint32_t> pasid = kRid, bool write = false) {
    PageFault fault;
    fault.device = kWaiting;
    fault.pasid = pasid;
    fault.address = kIova;
    fault.read = !write;
    fault.write = write;
    fault.last = true;
    return sim_->RaisePageFault(fault);
  }
  absl::Status Answer(const PageFault& fault, PageResponse code) {
    return backend_->RespondPageGroup({{fault.device, fault.pasid, fault.group}, code});
  }
};

TEST_F(SoftStallsTest, SaysInTheEntriesWhoseRequestsWait) {
  for (const DeviceIndex device : {kWaiting, kPlain}) {
    const bool waits = device == kWaiting;
    Attach(device, 5, kDomain);
    const SmmuUnit& unit = backend_->machine().smmu_of(device);
    const uint32_t stream = backend_->machine().requester_of(device);
    for (const uint32_t pasid : {0u, 5u}) {
      EXPECT_EQ((unit.CdOf(stream, pasid)[0] & smmu::kCdStall) != 0, waits);
    }
    EXPECT_EQ((unit.SteOf(stream)[1] & smmu::kSteS1StallDisable) != 0, !waits);
  }
}

TEST_F(SoftStallsTest, LetsADeviceGoOnOnceItsPageIsThere) {
  Attach(kWaiting, 5, kOtherDomain);
  for (const std::optional<uint32_t> pasid : {kRid, std::optional<uint32_t>(5)}) {
    for (const bool write : {false, true}) {
      ASSERT_TRUE(Raise(pasid, write).ok());
      const auto faults = Take();
      ASSERT_EQ(faults.size(), 1u);
      EXPECT_EQ(faults[0].device, static_cast<DeviceIndex>(kWaiting));
      EXPECT_EQ(faults[0].pasid, pasid);
      EXPECT_EQ(faults[0].address, kIova);
      EXPECT_EQ(faults[0].write, write);
      EXPECT_EQ(faults[0].read, !write);
      EXPECT_TRUE(faults[0].last);
      EXPECT_TRUE(Take().empty());
      const std::string before = Told();
      ASSERT_TRUE(Answer(faults[0], PageResponse::kSuccess).ok());
      EXPECT_EQ(Told(), before + std::to_string(faults[0].group) + ":0 ");
    }
  }
  Map();
  EXPECT_EQ(DmaOf(kWaiting), "read");
  EXPECT_EQ(DetailOf(Raise())->reason, "NO_PAGE_FAULT") << "it has what it asks for";
}

TEST_F(SoftStallsTest, HoldsADmaWithoutHoldingItsCaller) {
  EXPECT_EQ(DmaOf(kWaiting), "F_TRANSLATION");
  EXPECT_EQ(DmaOf(kPlain), "F_TRANSLATION") << "it is over";
  const auto faults = Take();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(Told(), "");
  ASSERT_TRUE(Answer(faults[0], PageResponse::kInvalid).ok());
  EXPECT_EQ(Told(), "0:1 ");
}

TEST_F(SoftStallsTest, GivesUpWhatFails) {
  for (const PageResponse code : {PageResponse::kInvalid, PageResponse::kFailure}) {
    ASSERT_TRUE(Raise().ok());
    ASSERT_TRUE(Answer(Take().at(0), code).ok());
  }
  EXPECT_EQ(Told(), "0:1 1:1 ");
}

TEST_F(SoftStallsTest, AnswersWhatNobodyTookWhenTheDeviceMoves) {
  Attach(kWaiting, 5, kOtherDomain);
  ASSERT_TRUE(Raise(5).ok());
  ASSERT_TRUE(Raise().ok());
  ASSERT_TRUE(backend_->Switch({kWaiting}, 5, {}).ok());
  EXPECT_EQ(Told(), "0:1 ") << "with that PASID alone";
  Attach(kWaiting, kRid, kOtherDomain);
  EXPECT_EQ(Told(), "0:1 1:1 ");
  ASSERT_TRUE(Raise().ok());
  ASSERT_TRUE(backend_->Block(kWaiting).ok());
  EXPECT_EQ(Told(), "0:1 1:1 2:1 ");
  EXPECT_TRUE(Take().empty());
  EXPECT_EQ(DetailOf(Raise())->reason, "NO_PAGE_FAULT") << "it is refused for good";
}

TEST_F(SoftStallsTest, SaysWhenTheHardwareTakesNoAnswer) {
  ASSERT_TRUE(Raise().ok());
  const PageFault fault = Take().at(0);
  hardware().HangCommandQueueAfter(0);
  EXPECT_EQ(Answer(fault, PageResponse::kSuccess).code(), absl::StatusCode::kInternal);
  hardware().HangCommandQueueAfter(std::nullopt);
  EXPECT_TRUE(Answer(fault, PageResponse::kSuccess).ok());
  EXPECT_EQ(Told(), "0:0 ");
}

// What waits is told apart from what is over, however much of that there is.
TEST_F(SoftStallsTest, IsNotLostAmongOtherEvents) {
  ASSERT_TRUE(Raise().ok());
  EXPECT_EQ(backend_->machine().smmu_of(kPlain).TakeEvents().events.size(), 0u);
  for (uint32_t i = 0; i < SmmuEventQueue::kEntries + 3; ++i) DmaOf(kPlain);
  EXPECT_EQ(Take().size(), 1u);
  const auto rest = backend_->machine().smmu_of(kPlain).TakeEvents();
  EXPECT_EQ(rest.events.size(), SmmuEventQueue::kEntries);
  EXPECT_TRUE(rest.lost);
  // One whose event found no place is tried again by the device when there is one.
  for (uint32_t i = 0; i < SmmuEventQueue::kEntries; ++i) DmaOf(kPlain);
  ASSERT_TRUE(Raise().ok());
  EXPECT_TRUE(Take().empty());
  EXPECT_EQ(Told(), "1:0 ");
  ASSERT_TRUE(Raise().ok());
  EXPECT_EQ(Take().size(), 1u);
}

}  // namespace
}  // namespace viommu
