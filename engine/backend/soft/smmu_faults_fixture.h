// engine/backend/soft/smmu_faults_fixture.h -- Devices behind one SMMUv3 that ask for pages, for
// tests.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_FAULTS_FIXTURE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_FAULTS_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {

// One unit that can let requests wait, with 8 bits of SubstreamID and no devices yet.
inline Topology StallingSmmu() {
  Topology topology;
  topology.iommus.resize(1);
  topology.iommus[0].id = "smmu0";
  topology.iommus[0].architecture = IommuArchitecture::kSmmuV3;
  topology.iommus[0].smmu_v3.stall = true;
  topology.iommus[0].smmu_v3.substream_id_bits = 8;
  return topology;
}

// All devices are claimed and attached to the domain kDomain over kIoas, in which nothing is mapped
// yet. `device_` is the one whose faults the test is about.
class SmmuFaultsTest : public testing::Test {
 protected:
  enum : Uid { kRegion = 1, kIoas, kDomain, kOtherDomain };
  static constexpr uint64_t kMiB = uint64_t{1} << 20;
  static constexpr Iova kIova = 0x4000'0000;
  static constexpr uint64_t kPage = 4096;
  static constexpr std::optional<uint32_t> kRid = std::nullopt;

  SmmuFaultsTest(const Topology& topology, DeviceIndex device)
      : device_(device),
        backend_(*SoftBackend::Create(topology, {16 * kMiB}, PlainStore())),
        sim_(backend_->simulation()) {
    EXPECT_TRUE(backend_->CreateMemoryRegion(kRegion, kMiB, std::nullopt).ok());
    EXPECT_TRUE(backend_->CreateIoas(kIoas).ok());
    for (const Uid uid : {kDomain, kOtherDomain}) {
      DomainSpec spec;
      spec.ioas = kIoas;
      spec.device = device_;
      EXPECT_TRUE(backend_->CreateDomain(uid, spec, {}).ok());
    }
    for (DeviceIndex each = 0; each < topology.devices.size(); ++each) {
      EXPECT_TRUE(backend_->Claim({each}).ok());
      Attach(each, kRid, kDomain);
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
  std::string DmaOf(DeviceIndex device, std::optional<uint32_t> pasid = kRid) {
    char byte = 0;
    const DmaOutcome done = sim_->Dma(device, pasid, kIova, false, absl::MakeSpan(&byte, 1));
    return done.fault.has_value() ? done.fault->reason : "read";
  }
  std::vector<PageFault> Take() { return backend_->TakePageFaults().faults; }
  // What the device was told, "GROUP:CODE " for each group: 0 to try again, 1 that it can not have
  // it, 2 that it shall not ask again.
  std::string ToldTo(DeviceIndex device) {
    std::string all;
    for (const PageGroupResponse& told : sim_->PageResponses(device)) {
      absl::StrAppend(&all, told.group.group, ":", static_cast<int>(told.code), " ");
    }
    return all;
  }
  std::string Told() { return ToldTo(device_); }
  hardware::SmmuModel& hardware() { return backend_->machine().smmu_of(device_).hardware(); }

  const DeviceIndex device_;
  const std::unique_ptr<SoftBackend> backend_;
  Simulation* const sim_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_FAULTS_FIXTURE_H_
