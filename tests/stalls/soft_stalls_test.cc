// Faults of a platform device behind an SMMUv3, over the soft backend: its requests wait in the
// owner's fault queue, and go on or are given up as the owner says.
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/env.h"
#include "engine/base/errors.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096, kMiB = uint64_t{1} << 20;
constexpr Iova kBase = 0x4000'0000;

Topology StallHost() {
  Topology host;
  host.iommus.resize(1);
  host.iommus[0].id = "smmu0";
  host.iommus[0].architecture = IommuArchitecture::kSmmuV3;
  host.iommus[0].smmu_v3.stall = true;
  for (const char* id : {"display", "plain"}) {
    DeviceSpec device;
    device.id = device.group = id;
    device.iommu = "smmu0";
    device.stream_id = 0x400 + static_cast<uint32_t>(host.devices.size());
    device.stall = host.devices.empty();
    host.devices.push_back(device);
  }
  return host;
}

// domains/d has a fault queue, domains/bare none. Nothing is mapped.
class SoftStallsTest : public testing::Test {
 protected:
  void SetUp() override {
    backend_ = *SoftBackend::Create(StallHost(), {16 * kMiB}, PlainStore());
    engine_ = *Engine::Create({"stalls"}, backend_.get(), &journal_, RealEnv());
    me_.is_operator = true;
    ASSERT_TRUE(engine_->CreateIoas(me_, "space").ok());
    ASSERT_TRUE(engine_->CreateMemoryRegion(me_, "ram", kMiB, std::nullopt).ok());
    ASSERT_TRUE(engine_->ClaimDevice(me_, "display", "").ok());
    ASSERT_TRUE(engine_->CreateFaultQueue(me_, "q", 0).ok());
    PagingDomainRequest request{Ref("space"), "display"};
    ASSERT_TRUE(engine_->CreateDomain(me_, "bare", request).ok());
    request.fault_queue = Ref("q");
    ASSERT_TRUE(engine_->CreateDomain(me_, "d", request).ok());
  }

  static ObjectRef Ref(const std::string& id) { return {id, std::nullopt}; }
  std::string Dma() {
    char byte = 0;
    const auto done = engine_->Dma(me_, "display", kBase, false, absl::MakeSpan(&byte, 1));
    if (!done.ok()) return done.status().ToString();
    return done->fault.has_value() ? done->fault->reason : "read";
  }
  std::vector<FaultView> Faults() { return engine_->ListFaults(me_, Ref("q"), {})->items; }
  absl::Status Respond(uint32_t cookie, PageResponse code) {
    return engine_->RespondFault(me_, Ref("q"), {{cookie, code}});
  }
  // What the device was told, oldest first.
  std::string Told() {
    std::string all;
    const auto responses = engine_->ListPageResponses(me_, "display");
    for (const PageGroupResponse& told : *responses) {
      all += told.code == PageResponse::kSuccess ? "retry " : "abort ";
    }
    return all;
  }

  std::unique_ptr<SoftBackend> backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  CallContext me_;
};

TEST_F(SoftStallsTest, ResolvesTheFaultOfADma) {
  ASSERT_TRUE(engine_->AttachDevice(me_, "display", Ref("d")).ok());
  EXPECT_EQ(Dma(), "F_TRANSLATION");
  EXPECT_EQ(Told(), "") << "it waits";
  const auto faults = Faults();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_EQ(faults[0].device, "devices/display");
  EXPECT_EQ(faults[0].domain, "domains/d");
  ASSERT_EQ(faults[0].pages.size(), 1u);
  EXPECT_EQ(faults[0].pages[0].address, kBase);
  EXPECT_TRUE(faults[0].pages[0].read);
  MapBatch batch;
  batch.regions = {Ref("ram")};
  batch.entries = {{kBase, 0, kPage, 0, Permission::kReadWrite}};
  ASSERT_TRUE(engine_->Map(me_, Ref("space"), batch).ok());
  ASSERT_TRUE(Respond(faults[0].cookie, PageResponse::kSuccess).ok());
  EXPECT_EQ(Told(), "retry ");
  EXPECT_EQ(Dma(), "read");
  EXPECT_TRUE(Faults().empty());
}

TEST_F(SoftStallsTest, GivesUpWhatTheOwnerRefusesAndWhatADetachLeaves) {
  ASSERT_TRUE(engine_->AttachDevice(me_, "display", Ref("d")).ok());
  PageFault fault;
  fault.address = kBase;
  fault.write = fault.last = true;
  ASSERT_TRUE(engine_->RaisePageFault(me_, "display", fault).ok());
  const auto faults = Faults();
  ASSERT_EQ(faults.size(), 1u);
  EXPECT_TRUE(faults[0].pages[0].write);
  ASSERT_TRUE(Respond(faults[0].cookie, PageResponse::kInvalid).ok());
  EXPECT_EQ(Told(), "abort ");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Dma(), "F_TRANSLATION");
  EXPECT_EQ(Faults().size(), 2u);
  ASSERT_TRUE(engine_->DetachDevice(me_, "display").ok());
  EXPECT_TRUE(Faults().empty());
  EXPECT_EQ(Told(), "abort abort abort ");
}

TEST_F(SoftStallsTest, HoldsNothingThatNobodyWouldAnswer) {
  ASSERT_TRUE(engine_->AttachDevice(me_, "display", Ref("bare")).ok());
  EXPECT_EQ(Dma(), "F_TRANSLATION");
  EXPECT_EQ(Told(), "abort ");
}

TEST_F(SoftStallsTest, IsThereForDevicesThatWaitAlone) {
  EXPECT_TRUE(engine_->GetHardwareInfo(me_, "display")->page_requests);
  EXPECT_FALSE(engine_->GetHardwareInfo(me_, "plain")->page_requests);
  ASSERT_TRUE(engine_->ClaimDevice(me_, "plain", "").ok());
  PagingDomainRequest request{Ref("space"), "plain"};
  request.fault_queue = Ref("q");
  const auto refused = engine_->CreateDomain(me_, "p", request);
  EXPECT_EQ(DetailOf(refused.status())->reason, "FAULT_QUEUE_UNAVAILABLE");
}

}  // namespace
}  // namespace viommu
