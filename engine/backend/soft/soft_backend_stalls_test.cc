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

constexpr uint64_t kMiB = uint64_t{1} << 20;

// One device whose requests wait, one whose do not.
enum : DeviceIndex { kWaiting, kPlain };

Topology StallTopology() {
  Topology topology;
  topology.iommus.resize(1);
  topology.iommus[0].id = "smmu0";
  topology.iommus[0].architecture = IommuArchitecture::kSmmuV3;
  topology.iommus[0].smmu_v3.stall = true;
  topology.iommus[0].smmu_v3.substream_id_bits = 8;
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

class SoftStallsTest : public testing::Test {
 protected:
  enum : Uid { kRegion = 1, kIoas, kDomain, kOtherDomain };
  static constexpr Iova kIova = 0x4000'0000;
  static constexpr uint64_t kPage = 4096;
  static constexpr std::optional<uint32_t> kRid = std::nullopt;

  SoftStallsTest() {
    backend_ = *SoftBackend::Create(StallTopology(), {16 * kMiB}, PlainStore());
    sim_ = backend_->simulation();
    EXPECT_TRUE(backend_->CreateMemoryRegion(kRegion, kMiB, std::nullopt).ok());
    EXPECT_TRUE(backend_->CreateIoas(kIoas).ok());
    for (const Uid uid : {kDomain, kOtherDomain}) {
      DomainSpec spec;
      spec.ioas = kIoas;
      spec.device = kWaiting;
      EXPECT_TRUE(backend_->CreateDomain(uid, spec, {}).ok());
    }
    for (const DeviceIndex device : {kWaiting, kPlain}) {
      EXPECT_TRUE(backend_->Claim({device}).ok());
      Attach(device, kRid, kDomain);
    }
  }

  void Attach(DeviceIndex device, std::optional<uint32_t> pasid, Uid domain) {
    EXPECT_TRUE(
        backend_->Switch({device}, pasid, DomainTarget{DomainTarget::Kind::kDomain, domain}).ok());
  }
  void Map() {
    const BackendMapping mapping{kIova, kPage, kRegion, 0, Permission::kReadWrite};
    EXPECT_TRUE(backend_->Map(kIoas, {mapping}).ok());
  }
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
  std::string Dma(DeviceIndex device, std::optional<uint32_t> pasid = kRid) {
    char byte = 0;
    const DmaOutcome done = sim_->Dma(device, pasid, kIova, false, absl::MakeSpan(&byte, 1));
    return done.fault.has_value() ? done.fault->reason : "read";
  }
  std::vector<PageFault> Take() { return backend_->TakePageFaults().faults; }
  absl::Status Answer(const PageFault& fault, PageResponse code) {
    return backend_->RespondPageGroup({{fault.device, fault.pasid, fault.group}, code});
  }
  // What the device was told: 0 to try again, 1 that it can not have it.
  std::string Told() {
    std::string all;
    for (const PageGroupResponse& told : sim_->PageResponses(kWaiting)) {
      all += std::to_string(told.group.group) + ":" + std::to_string(static_cast<int>(told.code)) +
             " ";
    }
    return all;
  }
  hardware::SmmuModel& hardware() { return backend_->machine().smmu_of(kWaiting).hardware(); }

  std::unique_ptr<SoftBackend> backend_;
  Simulation* sim_ = nullptr;
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
  EXPECT_EQ(Dma(kWaiting), "read");
  EXPECT_EQ(DetailOf(Raise())->reason, "NO_PAGE_FAULT") << "it has what it asks for";
}

TEST_F(SoftStallsTest, HoldsADmaWithoutHoldingItsCaller) {
  EXPECT_EQ(Dma(kWaiting), "F_TRANSLATION");
  EXPECT_EQ(Dma(kPlain), "F_TRANSLATION") << "it is over";
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
  for (uint32_t i = 0; i < SmmuEventQueue::kEntries + 3; ++i) Dma(kPlain);
  EXPECT_EQ(Take().size(), 1u);
  const auto rest = backend_->machine().smmu_of(kPlain).TakeEvents();
  EXPECT_EQ(rest.events.size(), SmmuEventQueue::kEntries);
  EXPECT_TRUE(rest.lost);
  // One whose event found no place is tried again by the device when there is one.
  for (uint32_t i = 0; i < SmmuEventQueue::kEntries; ++i) Dma(kPlain);
  ASSERT_TRUE(Raise().ok());
  EXPECT_TRUE(Take().empty());
  EXPECT_EQ(Told(), "1:0 ");
  ASSERT_TRUE(Raise().ok());
  EXPECT_EQ(Take().size(), 1u);
}

}  // namespace
}  // namespace viommu
