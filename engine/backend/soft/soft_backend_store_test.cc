// Looks at the machine after every single store that the backend makes (rule R3).
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/soft/soft_backend_inl.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/base/address.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t k2M = uint64_t{1} << 21;

enum : Uid { kRegion = 1, kIoas, kIoasB, kIoasC, kDomainA, kDomainB, kDomainC };

using Observed = SoftBackendT<ObservedStore>;

class SoftBackendStoreTest : public testing::Test {
 protected:
  // What a device meets at an IOVA now, caches not consulted: a fault reason or an address.
  using View = std::pair<uint8_t, uint64_t>;

  SoftBackendStoreTest() {
    SoftBackendOptions options;
    options.table_arena_bytes = uint64_t{64} << 20;
    backend_ = *Observed::Create(TestTopology(), options, ObservedStore(&observer_));
    sim_ = backend_->simulation();
    EXPECT_TRUE(backend_->CreateMemoryRegion(kRegion, 8 * k2M, 0).ok());
    // Identity leads an IOVA that is a physical address to itself.
    iova_ = sim_->PhysicalAddress(kRegion, 0)->value;
    for (const Uid ioas : {kIoas, kIoasB, kIoasC}) EXPECT_TRUE(backend_->CreateIoas(ioas).ok());
    MakeDomain(kDomainA, kIoas, kFarDisk, k2M);
    MakeDomain(kDomainB, kIoasB, kFarDisk, 2 * k2M);
    MakeDomain(kDomainC, kIoasC, kDiskA, 3 * k2M);  // 4 levels, where A and B have 5.
  }

  void MakeDomain(Uid uid, Uid ioas, DeviceIndex device, uint64_t offset_bytes) {
    ASSERT_TRUE(backend_->CreateDomain(uid, {ioas, device}, {}).ok());
    ASSERT_TRUE(backend_->Map(ioas, {BackendMapping{iova_, kPage, kRegion, offset_bytes}}).ok());
  }

  View Probe(DeviceIndex device, Iova iova) const {
    hardware::Request request;
    request.source_id = backend_->machine().source_id_of(device);
    request.address = iova;
    const auto seen = backend_->machine().unit_of(device).hardware().Probe(request);
    return {seen.fault_reason, seen.ok() ? seen.physical.value : 0};
  }
  std::vector<View> ProbeAll(Iova iova) const {
    std::vector<View> views;
    for (DeviceIndex d = 0; d < kTestDevices; ++d) views.push_back(Probe(d, iova));
    return views;
  }

  uint64_t stores_ = 0;
  std::function<void()> look_;
  StoreObserver observer_ = [this](const uint64_t*, size_t) {
    if (!look_) return;
    ++stores_;
    look_();
  };
  std::unique_ptr<Observed> backend_;
  Simulation* sim_ = nullptr;
  Iova iova_ = 0;
};

TEST_F(SoftBackendStoreTest, EveryStoreOfASwitchShowsTheOldOrTheNewDomain) {
  const struct {
    const char* name;
    DomainTarget target;
  } kPlaces[] = {{"blocked", {}},
                 {"identity", {DomainTarget::Kind::kIdentity, 0}},
                 {"A", {DomainTarget::Kind::kDomain, kDomainA}},
                 {"B", {DomainTarget::Kind::kDomain, kDomainB}},
                 {"C, less deep", {DomainTarget::Kind::kDomain, kDomainC}}};
  const DeviceIndex device = kFarDisk;
  ASSERT_TRUE(backend_->Claim({device}).ok());
  int pairs = 0;
  for (const auto& from : kPlaces) {
    for (const auto& to : kPlaces) {
      SCOPED_TRACE(std::string(from.name) + " to " + to.name);
      ASSERT_TRUE(backend_->Switch({device}, std::nullopt, to.target).ok());
      const View after = Probe(device, iova_);
      ASSERT_TRUE(backend_->Switch({device}, std::nullopt, from.target).ok());
      const std::vector<View> before = ProbeAll(iova_);
      const Transition planned = backend_->PlanSwitch({device}, std::nullopt, to.target);
      stores_ = 0;
      look_ = [&] {
        const std::vector<View> now = ProbeAll(iova_);
        for (DeviceIndex d = 0; d < kTestDevices; ++d) {
          const bool blocked = !planned.hitless && now[d].first == 0x59;
          EXPECT_TRUE(now[d] == before[d] || (d == device && (now[d] == after || blocked))) << d;
        }
      };
      const auto done = backend_->Switch({device}, std::nullopt, to.target);
      look_ = nullptr;
      ASSERT_TRUE(done.ok());
      EXPECT_EQ(done->hitless, planned.hitless);
      EXPECT_TRUE(done->hitless);
      EXPECT_EQ(Probe(device, iova_), after);
      EXPECT_EQ(stores_, before[device] == after ? 0u : 1u);
      if (&from != &to) {
        EXPECT_NE(before[device], after);
      }
      ++pairs;
    }
  }
  EXPECT_EQ(pairs, 25);
}

TEST_F(SoftBackendStoreTest, ADomainThatAFailedSwitchMayHaveLeftIsNotDestroyed) {
  const DomainTarget to_b = {DomainTarget::Kind::kDomain, kDomainB};
  ASSERT_TRUE(backend_->Claim({kFarDisk}).ok());
  ASSERT_TRUE(
      backend_->Switch({kFarDisk}, std::nullopt, {DomainTarget::Kind::kDomain, kDomainA}).ok());
  hardware::VtdModel& unit = backend_->machine().unit_of(kFarDisk).hardware();
  look_ = [&] { unit.Write32(vtd::kGlobalCommandRegister, vtd::kTranslationEnable); };
  EXPECT_EQ(backend_->Switch({kFarDisk}, std::nullopt, to_b).status().code(),
            absl::StatusCode::kInternal);
  look_ = nullptr;
  EXPECT_EQ(backend_->DestroyDomain(kDomainB).code(), absl::StatusCode::kInternal);
  unit.Write32(vtd::kGlobalCommandRegister, vtd::kTranslationEnable | vtd::kQueueEnable);
  EXPECT_TRUE(backend_->Switch({kFarDisk}, std::nullopt, to_b).ok()) << "it is still there";
  ASSERT_TRUE(backend_->Claim({kFarDisk}).ok());
  EXPECT_TRUE(backend_->DestroyDomain(kDomainB).ok());
  EXPECT_EQ(backend_->DestroyDomain(kDomainB).code(), absl::StatusCode::kNotFound);
}

TEST_F(SoftBackendStoreTest, ClaimAndReleaseNeverPassThroughIdentity) {
  for (const DeviceIndex device : {kUsb, kHostNic}) {
    const auto type = device == kUsb ? DefaultDomainType::kDma : DefaultDomainType::kIdentity;
    const Iova iova = kUsbRegion.first;
    const View on_default = Probe(device, iova);
    look_ = [&] {
      const View now = Probe(device, iova);
      EXPECT_TRUE(now == on_default || now.first == 0x59);
    };
    ASSERT_TRUE(backend_->Claim({device}).ok());
    EXPECT_EQ(Probe(device, iova).first, 0x59);
    // The DIRECT region is mapped before the device sees the domain.
    ASSERT_TRUE(backend_->AssignDefault({device}, type).ok());
    EXPECT_EQ(Probe(device, iova), on_default);
    look_ = nullptr;
  }
  EXPECT_GT(stores_, 4u);
}

TEST_F(SoftBackendStoreTest, EveryStoreOfMapAndUnmapShowsEachPageOldOrNew) {
  const DeviceIndex device = kFarDisk;
  ASSERT_TRUE(backend_->Claim({device}).ok());
  ASSERT_TRUE(
      backend_->Switch({device}, std::nullopt, {DomainTarget::Kind::kDomain, kDomainA}).ok());
  // Shares tables with what is mapped already, crosses into new ones, and has a large leaf.
  const std::vector<BackendMapping> batch = {
      {iova_ + kPage, 3 * kPage, kRegion, 0},
      {iova_ + 4 * k2M - 2 * kPage, k2M + 2 * kPage, kRegion, 4 * k2M - 2 * kPage}};
  std::vector<Iova> probes = {iova_,
                              iova_ + kPage,
                              iova_ + 3 * kPage,
                              iova_ + 4 * kPage,
                              iova_ + 4 * k2M - kPage,
                              iova_ + 4 * k2M,
                              iova_ + 5 * k2M};
  std::vector<View> unmapped, mapped;
  for (const Iova p : probes) unmapped.push_back(Probe(device, p));
  ASSERT_TRUE(backend_->Map(kIoas, batch).ok());
  for (const Iova p : probes) mapped.push_back(Probe(device, p));
  look_ = [&] {
    for (size_t i = 0; i < probes.size(); ++i) {
      const View now = Probe(device, probes[i]);
      EXPECT_TRUE(now == unmapped[i] || now == mapped[i]) << i;
    }
  };
  std::vector<IovaRange> areas;
  for (const auto& m : batch) areas.push_back({m.iova, m.iova + m.size_bytes - 1});
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(backend_->Unmap(kIoas, areas).ok());
    ASSERT_TRUE(backend_->Map(kIoas, batch).ok());
  }
  look_ = nullptr;
  EXPECT_GT(stores_, 30u);
}

}  // namespace
}  // namespace viommu
