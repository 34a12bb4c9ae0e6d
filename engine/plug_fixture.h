// engine/plug_fixture.h -- An Engine over a fake backend that passes for a simulated machine, for
// tests of devices that come and go.
#ifndef VIOMMU_ENGINE_PLUG_FIXTURE_H_
#define VIOMMU_ENGINE_PLUG_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/backend/fake/fake_backend.h"
#include "engine/engine_fixture.h"

namespace viommu {

// Takes what the host maps, and has no memory.
class NoSimulation : public Simulation {
 public:
  DmaOutcome Dma(DeviceIndex, std::optional<uint32_t>, Iova, bool, absl::Span<char>) override {
    return {};
  }
  absl::Status ReadMemory(Uid, uint64_t, absl::Span<char>) override { return absl::OkStatus(); }
  absl::Status WriteMemory(Uid, uint64_t, absl::Span<const char>) override {
    return absl::OkStatus();
  }
  absl::StatusOr<PhysAddr> PhysicalAddress(Uid, uint64_t) override { return PhysAddr{0}; }
  absl::Status HostMap(DeviceIndex, const BackendMapping&) override { return absl::OkStatus(); }
  absl::Status HostUnmap(DeviceIndex, IovaRange) override { return absl::OkStatus(); }
  absl::Status HostUnmapDeferred(DeviceIndex, IovaRange) override { return absl::OkStatus(); }
  absl::Status HostFlush(DeviceIndex) override { return absl::OkStatus(); }
  absl::Status RaisePageFault(const PageFault&) override { return absl::OkStatus(); }
  std::vector<PageGroupResponse> PageResponses(DeviceIndex) override { return {}; }
  std::vector<TableEntryDump> DumpTables(DeviceIndex, std::optional<uint32_t>, Iova) override {
    return {};
  }
};

class SimulatedBackend : public FakeBackend {
 public:
  explicit SimulatedBackend(Topology topology = SmallTopology())
      : FakeBackend(std::move(topology)) {}
  Simulation* simulation() override { return &simulation_; }

 private:
  NoSimulation simulation_;
};

// engine_ is over simulated_, whose devices are those of SmallTopology.
class PlugTest : public EngineTest {
 protected:
  PlugTest() {
    auto engine = Engine::Create({"test", OwnerLimits()}, &simulated_, &journal_, &env_);
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }
  ~PlugTest() override {
    engine_.reset();
    EXPECT_TRUE(simulated_.breaches().empty()) << simulated_.breaches()[0];
  }

  SimulatedBackend simulated_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PLUG_FIXTURE_H_
