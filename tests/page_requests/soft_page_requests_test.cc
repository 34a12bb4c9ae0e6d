// Page requests of a PCI function behind an SMMUv3, over the soft backend: groups arrive whole in
// the owner's fault queue or not at all, and the function is told what the owner says of them.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096, kMiB = uint64_t{1} << 20;
constexpr Iova kBase = 0x4000'0000;
constexpr std::optional<uint32_t> kRid = std::nullopt;
constexpr char kCard[] = "0000:01:00.0";

Topology AskingHost() {
  Topology host;
  host.iommus.resize(1);
  host.iommus[0].id = "smmu0";
  host.iommus[0].architecture = IommuArchitecture::kSmmuV3;
  host.iommus[0].smmu_v3.pri = true;
  host.iommus[0].smmu_v3.substream_id_bits = 8;
  DeviceSpec device;
  device.id = device.group = device.pci_address = kCard;
  device.iommu = "smmu0";
  device.pasid_bits = 8;
  device.ats = device.pri = true;
  host.devices.push_back(device);
  return host;
}

// The card is on domains/d without PASID and on domains/e with PASID 5; faultQueues/q takes the
// faults of both. Nothing is mapped.
class SoftPageRequestsTest : public testing::Test {
 protected:
  void SetUp() override {
    backend_ = *SoftBackend::Create(AskingHost(), {16 * kMiB}, PlainStore());
    engine_ = *Engine::Create({"asking"}, backend_.get(), &journal_, RealEnv());
    me_.is_operator = true;
    ASSERT_TRUE(engine_->CreateIoas(me_, "space").ok());
    ASSERT_TRUE(engine_->CreateMemoryRegion(me_, "ram", kMiB, std::nullopt).ok());
    ASSERT_TRUE(engine_->ClaimDevice(me_, kCard, "").ok());
    ASSERT_TRUE(engine_->CreateFaultQueue(me_, "q", 0).ok());
    PagingDomainRequest request{Ref("space"), kCard};
    request.pasid = true;
    request.fault_queue = Ref("q");
    for (const char* const id : {"d", "e"}) {
      ASSERT_TRUE(engine_->CreateDomain(me_, id, request).ok());
    }
    ASSERT_TRUE(engine_->AttachDevice(me_, kCard, Ref("d")).ok());
    ASSERT_TRUE(engine_->AttachDevice(me_, kCard, Ref("e"), 5).ok());
  }

  static ObjectRef Ref(const std::string& id) { return {id, std::nullopt}; }
  void Ask(std::optional<uint32_t> pasid, uint32_t group, Iova page, bool last = true) {
    PageFault fault;
    fault.pasid = pasid;
    fault.group = group;
    fault.address = kBase + page * kPage;
    fault.read = fault.write = true;
    fault.last = last;
    ASSERT_TRUE(engine_->RaisePageFault(me_, kCard, fault).ok());
  }
  // "domains/d 7: 0 1 " is a group with two pages.
  std::string Waiting() {
    std::string all;
    const auto faults = engine_->ListFaults(me_, Ref("q"), {});
    for (const FaultView& fault : faults->items) {
      all += fault.domain + " " + std::to_string(fault.group) + ": ";
      for (const auto& page : fault.pages) {
        all += std::to_string((page.address - kBase) / kPage) + " ";
      }
    }
    return all;
  }
  absl::Status Respond(uint32_t cookie, PageResponse code) {
    return engine_->RespondFault(me_, Ref("q"), {{cookie, code}});
  }
  // What the card was told, oldest first.
  std::string Told() {
    std::string all;
    const auto responses = engine_->ListPageResponses(me_, kCard);
    for (const PageGroupResponse& told : *responses) {
      all += std::to_string(told.group.group) + ":" + std::to_string(static_cast<int>(told.code)) +
             " ";
    }
    return all;
  }
  std::string Dma(std::optional<uint32_t> pasid) {
    char byte = 0;
    const auto done = engine_->Dma(me_, kCard, kBase, false, absl::MakeSpan(&byte, 1), pasid);
    if (!done.ok()) return done.status().ToString();
    return done->fault.has_value() ? done->fault->reason : "read";
  }

  std::unique_ptr<SoftBackend> backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  CallContext me_;
};

TEST_F(SoftPageRequestsTest, BringsThePagesThatAGroupAsksFor) {
  EXPECT_EQ(Dma(5), "F_TRANSLATION");
  Ask(5, 7, 0, /*last=*/false);
  Ask(kRid, 7, 9);
  Ask(5, 7, 1);
  EXPECT_EQ(Waiting(), "domains/d 7: 9 domains/e 7: 0 1 ");
  MapBatch batch;
  batch.regions = {Ref("ram")};
  batch.entries = {{kBase, 0, 2 * kPage, 0, Permission::kReadWrite}};
  ASSERT_TRUE(engine_->Map(me_, Ref("space"), batch).ok());
  ASSERT_TRUE(Respond(2, PageResponse::kSuccess).ok());
  EXPECT_EQ(Told(), "7:0 ");
  EXPECT_EQ(Dma(5), "read");
  EXPECT_EQ(Waiting(), "domains/d 7: 9 ");
  ASSERT_TRUE(Respond(1, PageResponse::kInvalid).ok());
  EXPECT_EQ(Told(), "7:0 7:1 ");
}

TEST_F(SoftPageRequestsTest, AnswersInvalidWhatNobodyTakesAndWhatADetachLeaves) {
  Ask(9, 1, 0);  // On nothing.
  EXPECT_EQ(Told(), "1:1 ");
  Ask(5, 2, 0);
  Ask(kRid, 3, 0);
  ASSERT_TRUE(engine_->DetachDevice(me_, kCard, 5).ok());
  EXPECT_EQ(Told(), "1:1 2:1 ");
  EXPECT_EQ(Waiting(), "domains/d 3: 0 ");
}

// The ring overflows while a group is on its way: what comes later of it is a group of its own.
TEST_F(SoftPageRequestsTest, GivesUpAGroupThatALossHasBroken) {
  Ask(5, 7, 0, /*last=*/false);
  hardware::SmmuModel& unit = backend_->machine().smmu_of(0).hardware();
  hardware::smmu::PageRequest other;
  other.stream_id = backend_->machine().requester_of(0);
  other.read = true;
  other.last = false;
  for (int i = 0; i < 300; ++i) unit.RequestPages(other);  // More than it has room for.
  Ask(kRid, 8, 1);                                         // Lost, and answered by the unit.
  EXPECT_EQ(Told(), "8:0 ");
  Ask(5, 7, 2);
  Ask(kRid, 8, 1);
  EXPECT_EQ(Waiting(), "domains/e 7: 2 domains/d 8: 1 ");
}

}  // namespace
}  // namespace viommu
