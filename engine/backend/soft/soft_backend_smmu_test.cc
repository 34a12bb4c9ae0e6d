// The soft backend over a host with two SMMUv3s and a VT-d unit.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/table_view.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// Positions in SmmuTopology.
enum : DeviceIndex { kNic, kFunction0, kFunction1, kPlatform, kFar, kVtdDisk };

Topology SmmuTopology() {
  Topology topology;
  topology.iommus.resize(3);
  topology.iommus[0].id = "smmu0";
  topology.iommus[1].id = "smmu1";
  topology.iommus[2].id = "vtd0";
  for (const int i : {0, 1}) {
    topology.iommus[i].architecture = IommuArchitecture::kSmmuV3;
    topology.iommus[i].smmu_v3.nesting = true;
    topology.iommus[i].smmu_v3.substream_id_bits = 16;
  }
  topology.iommus[1].smmu_v3.stream_id_base = 0x10000;
  topology.iommus[1].smmu_v3.stream_id_bits = 20;
  topology.iommus[1].smmu_v3.range_invalidation = false;
  const auto add = [&](const char* id, const char* pci, const char* iommu, const char* group) {
    DeviceSpec device;
    device.id = id;
    device.pci_address = pci;
    device.iommu = iommu;
    device.group = group;
    device.pasid_bits = 16;
    device.ats = true;
    topology.devices.push_back(device);
  };
  add("0000:01:00.0", "0000:01:00.0", "smmu0", "nic");
  add("0000:02:00.0", "0000:02:00.0", "smmu0", "functions");
  add("0000:02:00.1", "0000:02:00.1", "smmu0", "functions");
  add("ethernet", "", "smmu0", "ethernet");
  add("0001:01:00.0", "0001:01:00.0", "smmu1", "far");
  add("0002:01:00.0", "0002:01:00.0", "vtd0", "disk");
  topology.devices[kFunction1].ats = false;
  topology.devices[kPlatform].ats = false;
  topology.devices[kPlatform].pasid_bits = 0;
  topology.devices[kPlatform].stream_id = 0x400;
  topology.devices[kNic].allow_identity = true;
  return topology;
}

class SoftBackendSmmuTest : public testing::Test {
 protected:
  enum : Uid { kRegion = 1, kIoas, kOtherIoas, kDomain, kOtherDomain, kParent };
  static constexpr Iova kIova = 0x4000'0000;
  static constexpr std::optional<uint32_t> kRid = std::nullopt;

  explicit SoftBackendSmmuTest(const Topology& topology = SmmuTopology()) {
    backend_ = *SoftBackend::Create(topology, {64 * kMiB}, PlainStore());
    sim_ = backend_->simulation();
    EXPECT_TRUE(backend_->CreateMemoryRegion(kRegion, 64 * kMiB, std::nullopt).ok());
    EXPECT_TRUE(backend_->CreateIoas(kIoas).ok());
    EXPECT_TRUE(backend_->CreateIoas(kOtherIoas).ok());
    Write(0, "first");
    Write(4 * kMiB, "other");
    Map(kIoas, 0);
    Map(kOtherIoas, 4 * kMiB);
  }

  void Write(uint64_t offset, const std::string& text) {
    EXPECT_TRUE(sim_->WriteMemory(kRegion, offset, text).ok());
  }
  void Map(Uid ioas, uint64_t offset) {
    const BackendMapping mapping{kIova, 4 * kMiB, kRegion, offset, Permission::kReadWrite};
    EXPECT_TRUE(backend_->Map(ioas, {mapping}).ok());
  }
  absl::Status Create(Uid uid, Uid ioas, DeviceIndex device, bool nest_parent = false) {
    DomainSpec spec;
    spec.ioas = ioas;
    spec.device = device;
    spec.nest_parent = nest_parent;
    const BackendMapping mapping{kIova, 4 * kMiB, kRegion, ioas == kIoas ? 0 : 4 * kMiB,
                                 Permission::kReadWrite};
    return backend_->CreateDomain(uid, spec, {mapping});
  }
  static DomainTarget On(Uid domain) { return {DomainTarget::Kind::kDomain, domain}; }
  static DomainTarget Blocked() { return {}; }
  static DomainTarget Identity() { return {DomainTarget::Kind::kIdentity, 0}; }
  absl::Status Switch(DeviceIndex device, std::optional<uint32_t> pasid, DomainTarget target) {
    const Transition planned = backend_->PlanSwitch({device}, pasid, target);
    const auto done = backend_->Switch({device}, pasid, target);
    if (done.ok()) {
      EXPECT_EQ(done->hitless, planned.hitless);
    }
    return done.status();
  }
  // Five letters at `iova`, or why not.
  std::string Read(DeviceIndex device, std::optional<uint32_t> pasid = kRid, Iova iova = kIova) {
    std::string text(5, '-');
    const DmaOutcome outcome = sim_->Dma(device, pasid, iova, false, absl::MakeSpan(text));
    return outcome.fault.has_value() ? outcome.fault->reason : text;
  }

  std::unique_ptr<SoftBackend> backend_;
  Simulation* sim_ = nullptr;
};

TEST_F(SoftBackendSmmuTest, EveryDeviceReachesWhatItsDomainMaps) {
  for (const DeviceIndex device : {kNic, kFunction0, kPlatform, kFar, kVtdDisk}) {
    SCOPED_TRACE(device);
    const Uid domain = 100 + device;
    ASSERT_TRUE(backend_->Claim({device}).ok());
    EXPECT_EQ(Read(device), device == kVtdDisk ? "SPT.2" : "ABORTED");
    ASSERT_TRUE(Create(domain, kIoas, device).ok());
    ASSERT_TRUE(Switch(device, kRid, On(domain)).ok());
    EXPECT_EQ(Read(device), "first");
    const char text[] = "hello";
    std::string data = text;
    EXPECT_EQ(sim_->Dma(device, kRid, kIova + 3 * kMiB - 2, true, absl::MakeSpan(data)).bytes_done,
              5u);
    EXPECT_EQ(Read(device, kRid, kIova + 3 * kMiB - 2), text);
    EXPECT_EQ(Read(device, kRid, kIova + 4 * kMiB), device == kVtdDisk ? "SSS.2" : "F_TRANSLATION");
  }
  EXPECT_EQ(Read(kFunction1), "first") << "of the same group";
  ASSERT_TRUE(backend_->Unmap(kIoas, {{kIova, kIova + 4 * kMiB - 1}}).ok());
  for (const DeviceIndex device : {kNic, kFunction0, kFunction1, kPlatform, kFar}) {
    EXPECT_EQ(Read(device), "F_TRANSLATION");
  }
}

TEST_F(SoftBackendSmmuTest, ExplainsWhatADmaWouldMeetAndLeavesNoTrace) {
  TableObserver& tables = *backend_->tables();
  ASSERT_TRUE(backend_->Claim({kNic}).ok());
  const auto blocked = tables.ExplainTranslation(kNic, kRid, kIova, false);
  ASSERT_TRUE(blocked.fault.has_value());
  EXPECT_EQ(blocked.fault->reason, "ABORTED");
  ASSERT_TRUE(blocked.fault->entry.has_value());
  EXPECT_EQ(blocked.fault->entry->table, "ste");
  EXPECT_EQ(blocked.fault->why.rfind("StreamID 0x100: ste entry at 0x", 0), 0u)
      << blocked.fault->why;
  ASSERT_TRUE(Create(kDomain, kIoas, kNic).ok());
  ASSERT_TRUE(Switch(kNic, kRid, On(kDomain)).ok());
  const auto faults = [&] { return backend_->Stats().faults; };
  const auto before = faults();
  const Iova last = kIova + 4 * kMiB - 1;
  const auto good = tables.ExplainTranslation(kNic, kRid, last, true);
  ASSERT_FALSE(good.fault.has_value()) << good.fault->description;
  EXPECT_EQ(good.physical, *sim_->PhysicalAddress(kRegion, 4 * kMiB - 1));
  EXPECT_EQ(good.page_bytes, 2 * kMiB);
  const auto path = sim_->DumpTables(kNic, kRid, kIova);
  std::string tables_shown;
  for (const auto& entry : path) tables_shown += entry.table + "\n";
  EXPECT_EQ(tables_shown,
            "l1std\nste\nl1cd\ncd\nstage-1 level 0\nstage-1 level 1\nstage-1 level 2\n");
  EXPECT_EQ(path.back().words[0] & 3, 1u) << "a block";
  ASSERT_TRUE(backend_->Unmap(kIoas, {{kIova, last}}).ok());
  const auto gone = tables.ExplainTranslation(kNic, kRid, last, true);
  ASSERT_TRUE(gone.fault.has_value());
  EXPECT_EQ(gone.fault->code, 0x10);
  EXPECT_EQ(gone.fault->reason, "F_TRANSLATION");
  ASSERT_TRUE(gone.fault->entry.has_value());
  EXPECT_EQ(gone.fault->stage, TableStage::kStage1);
  EXPECT_EQ(gone.fault->entry->decoded, "not present");
  const auto pasid = tables.ExplainTranslation(kNic, 7, kIova, false);
  ASSERT_TRUE(pasid.fault.has_value());
  EXPECT_EQ(pasid.fault->why.rfind("StreamID 0x100, SubstreamID 0x7: cd entry at 0x", 0), 0u)
      << pasid.fault->why;
  EXPECT_EQ(faults(), before);
  EXPECT_FALSE(tables.ExplainTranslation(kVtdDisk, kRid, kIova, false).fault->why.empty());
}

TEST_F(SoftBackendSmmuTest, AnImageHasTheTablesOfAllUnits) {
  const auto image = backend_->tables()->ExportTables();
  ASSERT_TRUE(image.ok()) << image.status();
  std::string units, requesters;
  for (const auto& unit : image->units) {
    units += unit.iommu + " " + unit.architecture + "\n";
  }
  EXPECT_EQ(units, "smmu0 smmuv3\nsmmu1 smmuv3\nvtd0 vtd\n");
  std::string bases;
  for (const auto& one : image->registers) {
    if (one.name == "STRTAB_BASE" || one.name == "RTADDR")
      bases += one.iommu + " " + one.name + " ";
  }
  EXPECT_EQ(bases, "smmu0 STRTAB_BASE smmu1 STRTAB_BASE vtd0 RTADDR ");
  ASSERT_EQ(image->requesters.size(), 6u);
  EXPECT_EQ(image->requesters[kPlatform].source_id, 0x400u);
  EXPECT_EQ(image->requesters[kPlatform].pasid_bits, 0);
  EXPECT_EQ(image->requesters[kFar].iommu, "smmu1");
  EXPECT_EQ(image->requesters[kFar].source_id, 0x10100u);
  EXPECT_EQ(image->requesters[kFar].pasid_bits, 16);
}

TEST_F(SoftBackendSmmuTest, PasidsAreOnDomainsOfTheirOwn) {
  ASSERT_TRUE(backend_->Claim({kNic}).ok());
  ASSERT_TRUE(Create(kDomain, kIoas, kNic).ok());
  ASSERT_TRUE(Create(kOtherDomain, kOtherIoas, kNic).ok());
  for (const DomainTarget& rid : {Blocked(), Identity(), On(kDomain)}) {
    ASSERT_TRUE(Switch(kNic, kRid, rid).ok());
    const std::string alone = Read(kNic);
    ASSERT_TRUE(Switch(kNic, 5, On(kOtherDomain)).ok());
    ASSERT_TRUE(Switch(kNic, 0xffff, On(kDomain)).ok());
    EXPECT_EQ(Read(kNic, 5), "other");
    EXPECT_EQ(Read(kNic, 0xffff), "first");
    EXPECT_NE(Read(kNic, 6), "other");
    EXPECT_EQ(Read(kNic).substr(0, 2) == "fi", alone == "first");
    ASSERT_TRUE(Switch(kNic, 5, Blocked()).ok());
    ASSERT_TRUE(Switch(kNic, 0xffff, Blocked()).ok());
    EXPECT_EQ(Read(kNic), alone);
    EXPECT_NE(Read(kNic, 5), "other");
  }
  EXPECT_EQ(backend_->Switch({kNic}, 0x10000, On(kDomain)).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(backend_->Switch({kNic}, 0, On(kDomain)).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST_F(SoftBackendSmmuTest, SecondStagesAreForRequestsWithoutPasidAlone) {
  ASSERT_TRUE(backend_->Claim({kNic}).ok());
  ASSERT_TRUE(Create(kDomain, kIoas, kNic).ok());
  ASSERT_TRUE(Create(kParent, kOtherIoas, kNic, /*nest_parent=*/true).ok());
  ASSERT_TRUE(Switch(kNic, kRid, On(kParent)).ok());
  EXPECT_EQ(Read(kNic), "other");
  const auto refused = [&](std::optional<uint32_t> pasid, DomainTarget target,
                           absl::StatusCode code, const char* reason) {
    for (const absl::Status& status : {backend_->CheckSwitch({kNic}, pasid, target),
                                       backend_->Switch({kNic}, pasid, target).status()}) {
      EXPECT_EQ(status.code(), code);
      ASSERT_TRUE(DetailOf(status).has_value());
      EXPECT_EQ(DetailOf(status)->reason, reason);
    }
  };
  refused(5, On(kDomain), absl::StatusCode::kFailedPrecondition, "PASIDS_IN_USE");
  refused(5, On(kParent), absl::StatusCode::kUnimplemented, "PASID_DOMAIN_UNSUPPORTED");
  refused(5, Identity(), absl::StatusCode::kUnimplemented, "PASID_DOMAIN_UNSUPPORTED");
  EXPECT_EQ(Read(kNic), "other");
  ASSERT_TRUE(Switch(kNic, kRid, On(kDomain)).ok());
  ASSERT_TRUE(Switch(kNic, 5, On(kDomain)).ok());
  refused(kRid, On(kParent), absl::StatusCode::kFailedPrecondition, "PASIDS_IN_USE");
  EXPECT_EQ(Read(kNic), "first");
  EXPECT_TRUE(backend_->CheckSwitch({kNic}, kRid, Identity()).ok());
  ASSERT_TRUE(Switch(kNic, 5, Blocked()).ok());
  EXPECT_TRUE(Switch(kNic, kRid, On(kParent)).ok());
}

TEST_F(SoftBackendSmmuTest, ReplacesDomainsAsPlanned) {
  ASSERT_TRUE(backend_->Claim({kFunction0}).ok());
  ASSERT_TRUE(Create(kDomain, kIoas, kFunction0).ok());
  ASSERT_TRUE(Create(kOtherDomain, kOtherIoas, kFunction0).ok());
  ASSERT_TRUE(Create(kParent, kOtherIoas, kFunction0, /*nest_parent=*/true).ok());
  const struct {
    DomainTarget target;
    const char* reads;
    bool hitless;
  } kSteps[] = {{On(kDomain), "first", true},    {On(kParent), "other", false},
                {On(kDomain), "first", false},   {On(kOtherDomain), "other", false},
                {Identity(), "NO_MEMORY", true}, {On(kParent), "other", true},
                {Blocked(), "ABORTED", true}};
  for (const auto& step : kSteps) {
    EXPECT_EQ(backend_->PlanSwitch({kFunction0}, kRid, step.target).hitless, step.hitless);
    ASSERT_TRUE(Switch(kFunction0, kRid, step.target).ok());
    EXPECT_EQ(Read(kFunction0), step.reads);
    EXPECT_EQ(Read(kFunction1), step.reads);
  }
  DomainSpec spec;
  spec.device = kFunction0;
  EXPECT_TRUE(backend_->PlanSwitchToNew({kFunction0}, kRid, spec).hitless);
  ASSERT_TRUE(Switch(kFunction0, kRid, On(kDomain)).ok());
  EXPECT_FALSE(backend_->PlanSwitchToNew({kFunction0}, kRid, spec).hitless);
}

TEST_F(SoftBackendSmmuTest, IdentityAndBlockedNeedNoDomain) {
  ASSERT_TRUE(backend_->Claim({kNic}).ok());
  const PhysAddr memory = *sim_->PhysicalAddress(kRegion, 0);
  ASSERT_TRUE(Switch(kNic, kRid, Identity()).ok());
  EXPECT_EQ(Read(kNic, kRid, memory.value), "first");
  ASSERT_TRUE(Switch(kNic, kRid, Blocked()).ok());
  EXPECT_EQ(Read(kNic, kRid, memory.value), "ABORTED");
}

TEST_F(SoftBackendSmmuTest, ADomainBelongsToItsSmmu) {
  DomainSpec spec;
  spec.ioas = kIoas;
  for (const DeviceIndex maker : {kNic, kFar, kVtdDisk}) {
    spec.device = maker;
    const DomainProperties properties = *backend_->PlanDomain(spec);
    for (const DeviceIndex user : {kNic, kFunction0, kPlatform, kFar, kVtdDisk}) {
      const bool same =
          backend_->topology().devices[maker].iommu == backend_->topology().devices[user].iommu;
      const absl::Status status = backend_->CheckCompatible(user, properties);
      EXPECT_EQ(status.ok(), same) << maker << " for " << user;
      if (!same) {
        EXPECT_EQ(DetailOf(status)->reason, "INCOMPATIBLE_DOMAIN");
      }
    }
  }
}

TEST_F(SoftBackendSmmuTest, TheHostHasDefaultDomains) {
  const BackendMapping mapping{kIova, 2 * kMiB, kRegion, 4 * kMiB, Permission::kReadWrite};
  for (const DeviceIndex device : {kNic, kPlatform, kFar}) {
    ASSERT_TRUE(sim_->HostMap(device, mapping).ok());
    EXPECT_EQ(Read(device), "other");
    ASSERT_TRUE(sim_->HostUnmapDeferred(device, mapping.range()).ok());
    ASSERT_TRUE(sim_->HostFlush(device).ok());
    EXPECT_EQ(Read(device), "F_TRANSLATION");
  }
  ASSERT_TRUE(backend_->AssignDefault({kNic}, DefaultDomainType::kIdentity).ok());
  EXPECT_EQ(Read(kNic, kRid, sim_->PhysicalAddress(kRegion, 0)->value), "first");
}

TEST_F(SoftBackendSmmuTest, ADeviceThatIsBlockedComesBackToItsGroup) {
  ASSERT_TRUE(backend_->Claim({kFunction0}).ok());
  ASSERT_TRUE(Create(kDomain, kIoas, kFunction0).ok());
  ASSERT_TRUE(Create(kOtherDomain, kOtherIoas, kFunction0).ok());
  ASSERT_TRUE(Switch(kFunction0, kRid, On(kDomain)).ok());
  ASSERT_TRUE(Switch(kFunction0, 3, On(kOtherDomain)).ok());
  EXPECT_EQ(Read(kFunction1, 3), "other");
  ASSERT_TRUE(backend_->Block(kFunction1).ok());
  EXPECT_EQ(Read(kFunction1), "ABORTED");
  EXPECT_EQ(Read(kFunction1, 3), "ABORTED");
  EXPECT_EQ(Read(kFunction0, 3), "other");
  ASSERT_TRUE(Switch(kFunction0, kRid, On(kOtherDomain)).ok());
  ASSERT_TRUE(backend_->Unblock(kFunction1).ok());
  EXPECT_EQ(Read(kFunction1), "other");
  EXPECT_EQ(Read(kFunction1, 3), "other");
}

TEST_F(SoftBackendSmmuTest, TakesNothingForGood) {
  const uint64_t before = backend_->Stats().table_pages;
  ASSERT_TRUE(backend_->Claim({kFunction0}).ok());
  ASSERT_TRUE(Create(kDomain, kIoas, kFunction0).ok());
  for (const uint32_t pasid : {1u, 2000u, 0xffffu}) {
    ASSERT_TRUE(Switch(kFunction0, pasid, On(kDomain)).ok());
  }
  ASSERT_TRUE(Switch(kFunction0, kRid, On(kDomain)).ok());
  EXPECT_GT(backend_->Stats().table_pages, before);
  ASSERT_TRUE(backend_->Claim({kFunction0}).ok());
  ASSERT_TRUE(backend_->DestroyDomain(kDomain).ok());
  ASSERT_TRUE(backend_->AssignDefault({kFunction0}, DefaultDomainType::kDma).ok());
  EXPECT_EQ(backend_->Stats().table_pages, before);
}

TEST_F(SoftBackendSmmuTest, ShowsItsHardware) {
  const auto seen = std::get<ArmSmmuV3Hardware>(backend_->DescribeHardware(kNic));
  EXPECT_EQ(seen.idr[0] & 3, 3u);           // S1P, S2P.
  EXPECT_EQ(seen.idr[1] & 0x3f, 16u);       // SIDSIZE.
  EXPECT_EQ(seen.idr[1] >> 6 & 0x1f, 16u);  // SSIDSIZE.
  EXPECT_EQ(seen.idr[3] >> 10 & 1, 1u);     // RIL.
  EXPECT_EQ(seen.idr[5] & 7, 5u);           // OAS: 48 bits.
  const auto far = std::get<ArmSmmuV3Hardware>(backend_->DescribeHardware(kFar));
  EXPECT_EQ(far.idr[1] & 0x3f, 20u);
  EXPECT_EQ(far.idr[3] >> 10 & 1, 0u);
  EXPECT_TRUE(std::holds_alternative<VtdHardware>(backend_->DescribeHardware(kVtdDisk)));
  const auto queues = backend_->Queues();
  ASSERT_EQ(queues.size(), 3u);
  EXPECT_EQ(queues[0].iommu, "smmu0");
  EXPECT_GT(queues[0].submitted, 0u);
  EXPECT_GT(queues[0].waits, 0u);
  EXPECT_EQ(queues[0].head, queues[0].tail);
  Read(kNic, kRid, 0x123000);
  const BackendStats stats = backend_->Stats();
  const auto count = [](const auto& counts, const std::string& name) {
    for (const auto& [known, count] : counts) {
      if (known == name) return count;
    }
    return ~uint64_t{0};
  };
  EXPECT_EQ(count(stats.faults, "F_TRANSLATION"), 1u);
  EXPECT_EQ(count(stats.faults, "SPT.2"), 0u);
  EXPECT_GT(count(stats.invalidations, "cfgi_ste"), 0u);
  EXPECT_NE(count(stats.invalidations, "pasid_cache"), ~uint64_t{0});
}

// Every granule, of both stages.
TEST(SoftBackendGranuleTest, MapsByTheSmallestGranuleThatTheUnitHas) {
  for (const int granule_log2 : {12, 14, 16}) {
    for (const bool stage1 : {true, false}) {
      for (const int oas_bits : {36, 40, 44, 48}) {
        SCOPED_TRACE(std::to_string(granule_log2) + (stage1 ? " stage 1 " : " stage 2 ") +
                     std::to_string(oas_bits));
        Topology topology = SmmuTopology();
        topology.devices.resize(1);
        topology.devices[0].pasid_bits = 0;
        topology.iommus.resize(1);
        SmmuV3Spec& unit = topology.iommus[0].smmu_v3;
        unit.granule_4k = granule_log2 == 12;
        unit.granule_16k = granule_log2 == 14;
        unit.granule_64k = granule_log2 == 16;
        unit.stage1 = stage1;
        unit.nesting = false;
        unit.substream_id_bits = 0;
        unit.oas_bits = oas_bits;
        const auto backend = *SoftBackend::Create(topology, {64 * kMiB}, PlainStore());
        ASSERT_TRUE(backend->CreateMemoryRegion(1, 64 * kMiB, std::nullopt).ok());
        Simulation* const sim = backend->simulation();
        ASSERT_TRUE(sim->WriteMemory(1, 33 * kMiB, "there").ok());
        DomainSpec spec;
        const DomainProperties properties = *backend->PlanDomain(spec);
        EXPECT_EQ(properties.format, (stage1 ? "arm-stage1-" : "arm-stage2-") +
                                         std::to_string((1 << granule_log2) / 1024) + "k");
        EXPECT_EQ(properties.aperture.last, (uint64_t{1} << (stage1 ? 48 : oas_bits)) - 1);
        const Iova iova = properties.aperture.last - (64 * kMiB - 1);
        const BackendMapping mapping{iova, 64 * kMiB, 1, 0, Permission::kReadWrite};
        ASSERT_TRUE(sim->HostMap(0, mapping).ok());
        std::string text(5, '-');
        EXPECT_EQ(
            sim->Dma(0, std::nullopt, iova + 33 * kMiB, false, absl::MakeSpan(text)).bytes_done,
            5u);
        EXPECT_EQ(text, "there");
        ASSERT_TRUE(sim->HostUnmap(0, mapping.range()).ok());
        EXPECT_TRUE(sim->Dma(0, std::nullopt, iova + 33 * kMiB, false, absl::MakeSpan(text))
                        .fault.has_value());
      }
    }
  }
}

}  // namespace
}  // namespace viommu
