// Memory that shrinks or goes, against a backend that watches what it is told and fails on demand.
#include <string>
#include <utility>
#include <vector>

#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 0x1000;

// The fake with a simulated machine in which nothing can be done.
class SimulatedFake : public FakeBackend, private Simulation {
 public:
  using FakeBackend::FakeBackend;
  Simulation* simulation() override { return this; }

 private:
  static absl::Status Nothing() { return absl::UnimplementedError("not in this test"); }

  DmaOutcome Dma(DeviceIndex, std::optional<uint32_t>, Iova, bool, absl::Span<char>) override {
    return {};
  }
  absl::Status ReadMemory(Uid, uint64_t, absl::Span<char>) override { return Nothing(); }
  absl::Status WriteMemory(Uid, uint64_t, absl::Span<const char>) override { return Nothing(); }
  absl::StatusOr<PhysAddr> PhysicalAddress(Uid, uint64_t) override { return Nothing(); }
  absl::Status HostMap(DeviceIndex, const BackendMapping&) override { return Nothing(); }
  absl::Status HostUnmap(DeviceIndex, IovaRange) override { return Nothing(); }
  absl::Status HostUnmapDeferred(DeviceIndex, IovaRange) override { return Nothing(); }
  absl::Status HostFlush(DeviceIndex) override { return Nothing(); }
  absl::Status RaisePageFault(const PageFault&) override { return Nothing(); }
  std::vector<PageGroupResponse> PageResponses(DeviceIndex) override { return {}; }
  std::vector<TableEntryDump> DumpTables(DeviceIndex, std::optional<uint32_t>, Iova) override {
    return {};
  }
};

class EngineRegionLossTest : public EngineTest {
 protected:
  EngineRegionLossTest() { engine_ = *Engine::Create({"test"}, &simulated_, &journal_, &env_); }
  ~EngineRegionLossTest() override {
    EXPECT_TRUE(simulated_.breaches().empty()) << simulated_.breaches()[0];
  }
  // ioas/as maps the first two pages of memoryRegions/ram at 0x10000, each by itself.
  void SetUp() override {
    SetUpAlice();
    Map(0x10000, 0);
    Map(0x11000, kPage);
  }
  void Map(Iova iova, uint64_t offset) {
    const auto answer = engine_->Map(alice_, Ref("as"), OneMap(iova, kPage, offset));
    ASSERT_TRUE(answer.ok()) << answer.status();
  }
  std::string All() { return simulated_.State() + Everything(); }

  SimulatedFake simulated_{SmallTopology()};
};

TEST_F(EngineRegionLossTest, UnmapsASuspendedAreaOnceOnly) {
  ASSERT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), kPage, "").ok());
  EXPECT_EQ(simulated_.State().find("0x11000"), std::string::npos);
  EXPECT_NE(simulated_.State().find("0x10000"), std::string::npos);
  ASSERT_TRUE(engine_->CreateDomain(alice_, "late", PagingDomainRequest{Ref("as"), "dev0"}).ok());
  UnmapBatch all;
  all.all = true;
  EXPECT_EQ(engine_->Unmap(alice_, Ref("as"), all)->unmapped_bytes, 2 * kPage);
  ASSERT_TRUE(engine_->DeleteMemoryRegion(alice_, Ref("ram"), "").ok());
}

TEST_F(EngineRegionLossTest, CountsWhatIsSuspended) {
  using Counts = std::vector<std::pair<std::string, uint64_t>>;
  EXPECT_EQ(engine_->Stats().suspended, (Counts{{"memory_region", 0}, {"mapping", 0}}));
  ASSERT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), kPage, "").ok());
  EXPECT_EQ(engine_->Stats().suspended, (Counts{{"memory_region", 0}, {"mapping", 1}}));
  ASSERT_TRUE(engine_->RevokeMemoryRegion(alice_, Ref("ram"), "").ok());
  EXPECT_EQ(engine_->Stats().suspended, (Counts{{"memory_region", 1}, {"mapping", 2}}));
}

TEST_F(EngineRegionLossTest, SuspendsTheSameAreaOnceOnly) {
  ASSERT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), kPage, "").ok());
  ASSERT_TRUE(engine_->RevokeMemoryRegion(alice_, Ref("ram"), "").ok());
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->suspended_mapping_count, 2u);
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("d"), "").ok());
  ASSERT_TRUE(engine_->DeleteIoas(alice_, Ref("as"), "").ok());
  ASSERT_TRUE(engine_->DeleteMemoryRegion(alice_, Ref("ram"), "").ok());
}

TEST_F(EngineRegionLossTest, AsksNewTablesNothingForWhatIsSuspended) {
  MapBatch reads = OneMap(0x12000, kPage, kPage);
  reads.entries[0].permission = Permission::kRead;
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), reads).ok());
  PagingDomainRequest parent{Ref("as"), "dev0"};
  parent.nest_parent = true;  // Holds nothing that is only read.
  EXPECT_EQ(Described(engine_->CreateDomain(alice_, "parent", parent).status()),
            "FAILED_PRECONDITION PERMISSION_UNAVAILABLE");
  ASSERT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), kPage, "").ok());
  EXPECT_TRUE(engine_->CreateDomain(alice_, "parent", parent).ok());
}

TEST_F(EngineRegionLossTest, KeepsAllAsItWasWhenTheUnmapFails) {
  const std::string before = All();
  simulated_.SetHook(RefuseNth("Unmap", 1));
  EXPECT_EQ(Described(engine_->RevokeMemoryRegion(alice_, Ref("ram"), "").status()),
            "RESOURCE_EXHAUSTED TEST");
  EXPECT_EQ(All(), before);
  EXPECT_FALSE(engine_->GetMemoryRegion(alice_, Ref("ram"))->suspended);
  Map(0x12000, 0);
  EXPECT_TRUE(engine_->RevokeMemoryRegion(alice_, Ref("ram"), "").ok());
}

TEST_F(EngineRegionLossTest, ChangesNothingUnderValidateOnly) {
  CallContext dry = alice_;
  dry.validate_only = true;
  const std::string before = All();
  EXPECT_TRUE(engine_->RevokeMemoryRegion(dry, Ref("ram"), "")->suspended);
  EXPECT_EQ(engine_->ResizeMemoryRegion(dry, Ref("ram"), kPage, "")->size_bytes, kPage);
  EXPECT_EQ(All(), before);
  EXPECT_EQ(engine_->GetMemoryRegion(alice_, Ref("ram"))->size_bytes, uint64_t{1} << 30);
  ASSERT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), kPage, "").ok());
  EXPECT_EQ(engine_->ResizeMemoryRegion(dry, Ref("ram"), 4 * kPage, "")->size_bytes, 4 * kPage);
  EXPECT_EQ(engine_->GetMemoryRegion(alice_, Ref("ram"))->size_bytes, kPage);
}

TEST_F(EngineRegionLossTest, ChargesWhatTheRegionWasMadeWith) {
  const std::string before = UsageOf(operator_);
  ASSERT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), kPage, "").ok());
  EXPECT_EQ(UsageOf(operator_), before);
}

TEST_F(EngineRegionLossTest, IsNotThereWithoutASimulation) {
  FakeBackend real(SmallTopology());
  auto engine = *Engine::Create({"test"}, &real, &journal_, &env_);
  EXPECT_EQ(Described(engine->RevokeMemoryRegion(alice_, Ref("ram"), "").status()),
            "UNIMPLEMENTED SIMULATION_NOT_AVAILABLE");
  EXPECT_EQ(Described(engine->ResizeMemoryRegion(alice_, Ref("ram"), kPage, "").status()),
            "UNIMPLEMENTED SIMULATION_NOT_AVAILABLE");
}

}  // namespace
}  // namespace viommu
