// Faults below a guest's SMMUv3 whose descriptors let requests wait, over the soft backend: with
// any PASID of the guest's own table they are its NESTED domain's.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_ste.h"
#include "engine/journal/memory_journal.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr Iova kMemory = 0x4000'0000;  // Where the guest has its memory.
constexpr Iova kVirtual = 0x12'3000;   // Nothing is there in the guest's first stage.
constexpr uint64_t kTable = 0x1000;    // An empty one, behind the guest's descriptors.
constexpr int kCdsLog2 = 3;

// `stalls`: whose faults are answered is devices/display; otherwise nobody's are.
Topology GuestHost(bool stalls) {
  Topology host;
  host.iommus.resize(1);
  IommuSpec& unit = host.iommus[0];
  unit.id = "smmu0";
  unit.architecture = IommuArchitecture::kSmmuV3;
  unit.smmu_v3.stall = unit.smmu_v3.nesting = unit.smmu_v3.s2fwb = true;
  unit.smmu_v3.substream_id_bits = kCdsLog2;
  for (const char* id : {"display", "plain"}) {
    DeviceSpec device;
    device.id = device.group = id;
    device.iommu = "smmu0";
    device.stream_id = 0x400 + static_cast<uint32_t>(host.devices.size());
    device.pasid_bits = kCdsLog2;
    device.stall = stalls && host.devices.empty();
    host.devices.push_back(device);
  }
  return host;
}

// devices/display is on domains/guest, whose faults go to faultQueues/q.
class GuestStallsTest : public testing::Test {
 protected:
  explicit GuestStallsTest(bool stalls = true) : stalls_(stalls) {}

  void SetUp() override {
    backend_ = *SoftBackend::Create(GuestHost(stalls_), {16 * kMiB}, PlainStore());
    engine_ = *Engine::Create({"stalls"}, backend_.get(), &journal_, RealEnv());
    me_.is_operator = true;
    ASSERT_TRUE(engine_->CreateIoas(me_, "space").ok());
    ASSERT_TRUE(engine_->CreateMemoryRegion(me_, "ram", kMiB, std::nullopt).ok());
    MapBatch batch;
    batch.regions = {Ref("ram")};
    batch.entries = {{kMemory, 0, kMiB, 0, Permission::kReadWrite}};
    ASSERT_TRUE(engine_->Map(me_, Ref("space"), batch).ok());
    ASSERT_TRUE(engine_->ClaimDevice(me_, "display", "").ok());
    PagingDomainRequest parent{Ref("space"), "display"};
    parent.nest_parent = true;
    ASSERT_TRUE(engine_->CreateDomain(me_, "parent", parent).ok());
    ASSERT_TRUE(
        engine_->CreateViommu(me_, "vm", {"display", ViommuType::kArmSmmuV3, Ref("parent")}).ok());
    ASSERT_TRUE(engine_->CreateFaultQueue(me_, "q", 0).ok());
    WriteDescriptors();
    MakeGuest("guest", "display", stalls_ ? std::make_optional(Ref("q")) : std::nullopt, 1);
    ASSERT_TRUE(engine_->AttachDevice(me_, "display", Ref("guest")).ok());
  }

  static ObjectRef Ref(const std::string& id) { return {id, std::nullopt}; }

  void WriteDescriptors() {
    smmu::CdFields fields;
    fields.root = PhysAddr{kMemory + kTable};
    fields.stall = true;
    for (uint16_t ssid = 0; ssid < 1 << kCdsLog2; ++ssid) {
      fields.asid = static_cast<uint16_t>(ssid + 1);
      const smmu::Cd cd = smmu::MakeCd(fields);
      const absl::Span<const char> bytes(reinterpret_cast<const char*>(cd.data()), sizeof(cd));
      ASSERT_TRUE(engine_->WriteMemory(me_, Ref("ram"), ssid * sizeof(cd), bytes).ok());
    }
  }

  void MakeGuest(const std::string& id, const std::string& device,
                 const std::optional<ObjectRef>& queue, uint64_t virtual_id) {
    ASSERT_TRUE(engine_->CreateVdevice(me_, Ref("vm"), device, device, virtual_id).ok());
    NestedDomainRequest request;
    request.viommu = Ref("vm");
    request.device = device;
    request.fault_queue = queue;
    request.stage1 = ArmSmmuV3Stage1{
        {smmu::kSteValid | smmu::kSteConfig.Put(5) | smmu::kSteS1CdMax.Put(kCdsLog2) | kMemory,
         smmu::kSteS1Default.Put(2)}};  // Without PASID: the first descriptor.
    const auto made = engine_->CreateDomain(me_, id, request);
    ASSERT_TRUE(made.ok()) << made.status();
  }

  std::string Dma(const std::string& device, std::optional<uint32_t> pasid) {
    char byte = 0;
    const auto done = engine_->Dma(me_, device, kVirtual, false, absl::MakeSpan(&byte, 1), pasid);
    if (!done.ok()) return done.status().ToString();
    return done->fault.has_value() ? done->fault->reason : "read";
  }
  std::vector<FaultView> Faults() { return engine_->ListFaults(me_, Ref("q"), {})->items; }
  // What a device was told, oldest first.
  std::string Told(const std::string& device) {
    std::string all;
    const auto responses = engine_->ListPageResponses(me_, device);
    for (const PageGroupResponse& told : *responses) {
      all += told.code == PageResponse::kSuccess ? "retry " : "abort ";
    }
    return all;
  }

  const bool stalls_;
  std::unique_ptr<SoftBackend> backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  CallContext me_;
};

TEST_F(GuestStallsTest, TakesFaultsWithThePasidsOfTheGuest) {
  EXPECT_EQ(Dma("display", 5), "F_TRANSLATION");
  EXPECT_EQ(Dma("display", std::nullopt), "F_TRANSLATION");
  const std::vector<FaultView> faults = Faults();
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[0].domain, "domains/guest");
  EXPECT_EQ(faults[0].pasid, 5u);
  EXPECT_EQ(faults[1].pasid, std::nullopt);
  EXPECT_EQ(faults[0].pages[0].address, kVirtual);
  EXPECT_EQ(Told("display"), "") << "both wait";
  ASSERT_TRUE(
      engine_->RespondFault(me_, Ref("q"), {{faults[0].cookie, PageResponse::kSuccess}}).ok());
  EXPECT_EQ(Told("display"), "retry ");
}

TEST_F(GuestStallsTest, RefusesThemWhenTheGuestsStageGoes) {
  EXPECT_EQ(Dma("display", 5), "F_TRANSLATION");
  EXPECT_EQ(Dma("display", std::nullopt), "F_TRANSLATION");
  ASSERT_EQ(Faults().size(), 2u);
  ASSERT_TRUE(engine_->DetachDevice(me_, "display").ok());
  EXPECT_TRUE(Faults().empty());
  EXPECT_EQ(Told("display"), "abort abort ");
}

TEST_F(GuestStallsTest, HoldsNothingOfADeviceWhoseFaultsNobodyTakes) {
  ASSERT_TRUE(engine_->ClaimDevice(me_, "plain", "").ok());
  MakeGuest("other", "plain", std::nullopt, 2);
  ASSERT_TRUE(engine_->AttachDevice(me_, "plain", Ref("other")).ok());
  for (const auto pasid : {std::optional<uint32_t>(5), std::optional<uint32_t>()}) {
    EXPECT_EQ(Dma("plain", pasid), "F_TRANSLATION");
  }
  EXPECT_EQ(Told("plain"), "abort abort ");
  EXPECT_TRUE(Faults().empty());
}

class GuestWithoutAnswersTest : public GuestStallsTest {
 protected:
  GuestWithoutAnswersTest() : GuestStallsTest(/*stalls=*/false) {}
};

TEST_F(GuestWithoutAnswersTest, HoldsNothingWhereNobodysFaultsAreTaken) {
  EXPECT_EQ(Dma("display", 5), "F_TRANSLATION");
  EXPECT_EQ(Dma("display", std::nullopt), "F_TRANSLATION");
  EXPECT_EQ(Told("display"), "abort abort ");
}

}  // namespace
}  // namespace viommu
