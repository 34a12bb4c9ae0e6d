// Which pages devices write behind an SMMUv3: what their requests, through every cache, leave in
// the first stage of a domain that was made to tell, and what reading and clearing make of it.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/dirty_bitmap.h"
#include "engine/base/errors.h"
#include "engine/entries/smmu_cd.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// Positions in TrackingTopology. A device with ATS, one without, one without a PCI address.
enum : DeviceIndex { kCaching, kPlain, kPlatform };

Topology TrackingTopology(int granule_log2, bool hardware_dirty = true) {
  Topology topology;
  topology.iommus.resize(1);
  topology.iommus[0].id = "smmu0";
  topology.iommus[0].architecture = IommuArchitecture::kSmmuV3;
  SmmuV3Spec& unit = topology.iommus[0].smmu_v3;
  unit.nesting = true;
  unit.substream_id_bits = 16;
  unit.granule_4k = granule_log2 == 12;
  unit.granule_16k = granule_log2 == 14;
  unit.granule_64k = granule_log2 == 16;
  unit.hardware_access = true;
  unit.hardware_dirty = hardware_dirty;
  for (const char* id : {"0000:01:00.0", "0000:02:00.0", "ethernet"}) {
    DeviceSpec device;
    device.id = device.group = id;
    device.iommu = "smmu0";
    device.pci_address = id;
    device.pasid_bits = 16;
    topology.devices.push_back(device);
  }
  topology.devices[kCaching].ats = true;
  topology.devices[kPlatform].pci_address.clear();
  topology.devices[kPlatform].pasid_bits = 0;
  topology.devices[kPlatform].stream_id = 0x400;
  return topology;
}

// A domain over 16 pages from kIova, and 16 after a gap; all devices claimed. By the log2 of the
// unit's granule.
class SoftSmmuDirtyTest : public testing::TestWithParam<int> {
 protected:
  enum : Uid { kRegion = 1, kIoas, kTracked, kOther };
  static constexpr Iova kIova = 0x4000'0000;
  static constexpr uint64_t kPages = 16;
  static constexpr std::optional<uint32_t> kRid = std::nullopt;

  SoftSmmuDirtyTest() {
    backend_ = *SoftBackend::Create(TrackingTopology(GetParam()), {64 * kMiB}, PlainStore());
    sim_ = backend_->simulation();
    EXPECT_TRUE(backend_->CreateMemoryRegion(kRegion, 16 * kMiB, std::nullopt).ok());
    EXPECT_TRUE(backend_->CreateIoas(kIoas).ok());
    EXPECT_TRUE(backend_->CreateDomain(kTracked, Tracked(), {}).ok());
    for (uint64_t page = 0; page < kPages; ++page) MapPage(page);
    for (const DeviceIndex device : {kCaching, kPlain, kPlatform}) {
      EXPECT_TRUE(backend_->Claim({device}).ok());
    }
  }

  static DomainSpec Tracked() {
    DomainSpec spec;
    spec.ioas = kIoas;
    spec.device = kCaching;
    spec.dirty_tracking = spec.pasid = true;
    return spec;
  }
  Iova At(uint64_t page) const { return kIova + page * page_; }
  void MapPage(uint64_t page) {
    const BackendMapping mapping{At(page), page_, kRegion, page * page_, Permission::kReadWrite};
    EXPECT_TRUE(backend_->Map(kIoas, {mapping}).ok());
  }

  struct Asker {
    DeviceIndex device;
    std::optional<uint32_t> pasid;
  };
  static std::vector<Asker> Askers() {
    return {{kCaching, kRid}, {kCaching, 5}, {kPlain, kRid}, {kPlain, 7}, {kPlatform, kRid}};
  }
  void AttachAll() {
    for (const Asker& a : Askers()) {
      const DomainTarget target{DomainTarget::Kind::kDomain, kTracked};
      ASSERT_TRUE(backend_->Switch({a.device}, a.pasid, target).ok());
    }
  }
  void Set(bool enabled) { ASSERT_TRUE(backend_->SetDirtyTracking(kTracked, enabled).ok()); }
  bool Dma(const Asker& asker, Iova iova, bool write) {
    char byte = 7;
    return !sim_->Dma(asker.device, asker.pasid, iova, write, absl::MakeSpan(&byte, 1))
                .fault.has_value();
  }
  bool Write(const Asker& asker, Iova iova) { return Dma(asker, iova, true); }
  uint64_t Dirty(bool clear = false) {
    const auto bitmap = backend_->ReadDirty(kTracked, {At(0), At(kPages) - 1}, page_, clear);
    EXPECT_TRUE(bitmap.ok()) << bitmap.status();
    return bitmap.ok() ? bitmap->words()[0] : ~uint64_t{0};
  }
  uint64_t Commands(const std::string& kind) const {
    for (const auto& [name, count] : backend_->Stats().invalidations) {
      if (name == kind) return count;
    }
    ADD_FAILURE() << "no kind " << kind;
    return 0;
  }

  const uint64_t page_ = uint64_t{1} << GetParam();
  std::unique_ptr<SoftBackend> backend_;
  Simulation* sim_ = nullptr;
};

INSTANTIATE_TEST_SUITE_P(Granules, SoftSmmuDirtyTest, testing::Values(12, 14, 16));

// Dirty state is the leaves' permission: it is kept from when the domain is made.
TEST_P(SoftSmmuDirtyTest, MarksWhatEachAskerWritesFromWhenTheDomainIsMade) {
  AttachAll();
  uint64_t want = 0, page = 0;
  for (const Asker& a : Askers()) {
    want |= uint64_t{1} << ++page;
    ASSERT_TRUE(Dma(a, At(10), false));
    ASSERT_TRUE(Dma(a, At(page), false));
    ASSERT_TRUE(Write(a, At(page)));
    EXPECT_EQ(Dirty(), want) << "a read marks nothing";
  }
  Set(true);
  EXPECT_EQ(Dirty(), 0u) << "clean when it is switched on";
  for (const Asker& a : Askers()) {
    ASSERT_TRUE(Write(a, At(2)));
    EXPECT_EQ(Dirty(/*clear=*/true), 4u) << "no cache hides it: " << a.device;
  }
  ASSERT_TRUE(Write({kPlain, kRid}, At(3)));
  Set(true);
  EXPECT_EQ(Dirty(), 8u) << "once more changes nothing";
  Set(false);
  EXPECT_EQ(Dirty(), 8u) << "what was marked can be read still";
  ASSERT_TRUE(Write({kPlain, kRid}, At(4)));
  EXPECT_EQ(Dirty(), 24u) << "the hardware goes on";
}

TEST_P(SoftSmmuDirtyTest, SwitchesWithoutChangingAnEntry) {
  constexpr uint64_t kMarks = smmu::kCdHardwareDirty | smmu::kCdHardwareAccess;
  AttachAll();
  const uint32_t stream = backend_->machine().requester_of(kPlain);
  const smmu::Cd cd = backend_->machine().smmu_of(kPlain).CdOf(stream, 7);
  EXPECT_EQ(cd[0] & kMarks, kMarks);
  const uint64_t configs = Commands("cfgi_cd") + Commands("cfgi_ste");
  Set(true);
  Set(false);
  EXPECT_EQ(Commands("cfgi_cd") + Commands("cfgi_ste"), configs);
  EXPECT_EQ(backend_->machine().smmu_of(kPlain).CdOf(stream, 7), cd);
}

TEST_P(SoftSmmuDirtyTest, MarksAnewAfterAClearingRead) {
  AttachAll();
  Set(true);
  for (int round = 0; round < 3; ++round) {
    for (const Asker& a : Askers()) {
      SCOPED_TRACE(a.device);
      ASSERT_TRUE(Write(a, At(3)));
      ASSERT_TRUE(Write(a, At(3)));
      EXPECT_EQ(Dirty(/*clear=*/true), 8u);
      EXPECT_EQ(Dirty(), 0u);
    }
  }
}

TEST_P(SoftSmmuDirtyTest, FlushesOnceForAClearingReadAndNotForOthers) {
  const Asker asker{kPlain, kRid};
  ASSERT_TRUE(
      backend_->Switch({kPlain}, kRid, DomainTarget{DomainTarget::Kind::kDomain, kTracked}).ok());
  Set(true);
  for (uint64_t page = 0; page < 5; ++page) ASSERT_TRUE(Write(asker, At(2 * page)));
  const uint64_t syncs = Commands("sync"), flushes = Commands("tlbi_nh_va");
  EXPECT_EQ(Dirty(), 0x155u);
  EXPECT_EQ(Commands("sync"), syncs) << "nothing was cleared";
  EXPECT_EQ(Dirty(/*clear=*/true), 0x155u);
  EXPECT_EQ(Commands("sync"), syncs + 1);
  EXPECT_GT(Commands("tlbi_nh_va"), flushes);
  EXPECT_EQ(Dirty(/*clear=*/true), 0u);
  EXPECT_EQ(Commands("sync"), syncs + 1) << "nothing was dirty";
}

TEST_P(SoftSmmuDirtyTest, ForgetsNothingWhenTheFlushOfAReadFails) {
  AttachAll();
  Set(true);
  for (const Asker& a : Askers()) ASSERT_TRUE(Write(a, At(1)));
  hardware::SmmuModel& hardware = backend_->machine().smmu_of(kPlain).hardware();
  hardware.HangCommandQueueAfter(0);
  EXPECT_EQ(backend_->ReadDirty(kTracked, {At(0), At(kPages) - 1}, page_, true).status().code(),
            absl::StatusCode::kInternal);
  hardware.HangCommandQueueAfter(std::nullopt);
  EXPECT_EQ(Dirty(/*clear=*/true), 2u) << "nobody has got the answer";
  for (const Asker& a : Askers()) {
    ASSERT_TRUE(Write(a, At(1)));
    EXPECT_EQ(Dirty(/*clear=*/true), 2u);
  }
}

TEST_P(SoftSmmuDirtyTest, LosesWithAnUnmapWhatWasMarkedAndNothingElse) {
  AttachAll();
  for (const uint64_t page : {0, 1}) ASSERT_TRUE(Write({kPlain, kRid}, At(page)));
  ASSERT_TRUE(backend_->Unmap(kIoas, {{At(0), At(1) - 1}}).ok());
  EXPECT_FALSE(Write({kPlain, kRid}, At(0)));
  MapPage(0);
  EXPECT_EQ(Dirty(), 2u);
}

TEST_P(SoftSmmuDirtyTest, NeverLetsAPageBeWrittenThatMayOnlyBeRead) {
  AttachAll();
  const BackendMapping mapping{At(kPages), page_, kRegion, 0, Permission::kRead};
  ASSERT_TRUE(backend_->Map(kIoas, {mapping}).ok());
  for (const Asker& a : Askers()) {
    EXPECT_TRUE(Dma(a, At(kPages), false));
    EXPECT_FALSE(Write(a, At(kPages)));
  }
  const auto bitmap = backend_->ReadDirty(kTracked, {At(kPages), At(kPages + 1) - 1}, page_, false);
  EXPECT_EQ(bitmap->dirty_count(), 0u);
}

TEST_P(SoftSmmuDirtyTest, RefusesDomainsThatTrackNothing) {
  DomainSpec plain = Tracked();
  plain.dirty_tracking = false;
  ASSERT_TRUE(backend_->CreateDomain(kOther, plain, {}).ok());
  EXPECT_EQ(DetailOf(backend_->SetDirtyTracking(kOther, true))->reason, "NOT_TRACKED");
  DomainSpec parent = Tracked();
  parent.nest_parent = true;
  parent.pasid = false;
  EXPECT_EQ(DetailOf(backend_->PlanDomain(parent).status())->reason, "DIRTY_TRACKING_UNAVAILABLE");
}

TEST(SoftSmmuDirtyLargeTest, MarksALargePageAsAWhole) {
  const auto backend = *SoftBackend::Create(TrackingTopology(12), {64 * kMiB}, PlainStore());
  ASSERT_TRUE(backend->CreateMemoryRegion(1, 4 * kMiB, std::nullopt).ok());
  ASSERT_TRUE(backend->CreateIoas(2).ok());
  DomainSpec spec;
  spec.ioas = 2;
  spec.device = kPlain;
  spec.dirty_tracking = true;
  // As its address is, so that leaves can be large.
  const Iova to = backend->simulation()->PhysicalAddress(1, 0)->value;
  ASSERT_TRUE(backend->CreateDomain(3, spec, {BackendMapping{to, 4 * kMiB, 1, 0}}).ok());
  ASSERT_TRUE(backend->Claim({kPlain}).ok());
  ASSERT_TRUE(backend->Switch({kPlain}, std::nullopt, {DomainTarget::Kind::kDomain, 3}).ok());
  ASSERT_TRUE(backend->SetDirtyTracking(3, true).ok());
  const Iova large = (to + 2 * kMiB - 1) & ~(2 * kMiB - 1);
  char byte = 1;
  ASSERT_FALSE(backend->simulation()
                   ->Dma(kPlain, std::nullopt, large + 0x12345, true, absl::MakeSpan(&byte, 1))
                   .fault.has_value());
  const IovaRange all{to, to + 4 * kMiB - 1};
  const auto bitmap = backend->ReadDirty(3, all, 4096, /*clear=*/true);
  EXPECT_EQ(bitmap->dirty_count(), 512u);
  EXPECT_TRUE(bitmap->AnyIn({large, large}));
  EXPECT_EQ(backend->ReadDirty(3, all, 4096, true)->dirty_count(), 0u);
}

TEST(SoftSmmuDirtyRefusalTest, RefusesUnitsThatLeaveDirtyStateToSoftware) {
  const auto backend = *SoftBackend::Create(TrackingTopology(12, /*hardware_dirty=*/false),
                                            {64 * kMiB}, PlainStore());
  DomainSpec spec;
  spec.device = kPlain;
  spec.dirty_tracking = true;
  const absl::Status refused = backend->PlanDomain(spec).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(DetailOf(refused)->reason, "DIRTY_TRACKING_UNAVAILABLE");
}

}  // namespace
}  // namespace viommu
