#include "server/describe.h"

#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

ObjectView SomeObject() {
  ObjectView object;
  object.id = "x";
  object.owner = "alice";
  object.uid = 7;
  object.etag = "e1";
  object.revision = 42;
  object.create_time = absl::FromUnixSeconds(1000);
  return object;
}

TEST(DescribeTest, ShowsWhatEveryObjectHas) {
  IoasView view;
  view.object = SomeObject();
  view.mapping_revision = 9;
  view.allowed_ranges = {{0x1000, 0x1fff}};
  view.domains = {"domains/d0"};
  const v1::Ioas ioas = Describe(view, CallContext());
  EXPECT_EQ(ioas.name(), "owners/alice/ioas/x");
  EXPECT_EQ(ioas.uid(), "7");
  EXPECT_EQ(ioas.owner(), "alice");
  EXPECT_EQ(ioas.etag(), "e1");
  EXPECT_EQ(ioas.revision(), 42u);
  EXPECT_EQ(ioas.create_time().seconds(), 1000);
  EXPECT_EQ(ioas.mapping_revision(), 9u);
  EXPECT_EQ(ioas.allowed_ranges(0).text(), "[0x1000, 0x1fff]");
  EXPECT_EQ(ioas.domains(0), "domains/d0");
}

TEST(DescribeTest, StaticDomainsHaveNeitherUidNorTimeNorKind) {
  DomainView view;
  view.object.id = "blocked";
  view.kind = DomainKind::kBlocked;
  const v1::Domain domain = Describe(view, CallContext());
  EXPECT_EQ(domain.name(), "domains/blocked");
  EXPECT_EQ(domain.uid(), "");
  EXPECT_FALSE(domain.has_create_time());
  EXPECT_EQ(domain.type(), v1::DOMAIN_TYPE_BLOCKED);
  EXPECT_EQ(domain.kind_case(), v1::Domain::KIND_NOT_SET);
}

TEST(DescribeTest, PagingDomainsShowTheirProperties) {
  DomainView view;
  view.object = SomeObject();
  view.ioas = "ioas/vm0";
  view.device = "devices/d0";
  view.properties.format = "vtd-second-stage";
  view.properties.levels = 4;
  view.properties.aperture = {0, 0xffffffffffff};
  view.properties.page_sizes = (1ull << 12) | (1ull << 21) | (1ull << 63);
  const v1::PagingDomain paging = Describe(view, CallContext()).paging();
  EXPECT_EQ(paging.ioas(), "ioas/vm0");
  EXPECT_EQ(paging.device(), "devices/d0");
  EXPECT_EQ(paging.levels(), 4u);
  EXPECT_EQ(paging.aperture().last(), 0xffffffffffffu);
  ASSERT_EQ(paging.page_sizes_bytes_size(), 3);
  EXPECT_EQ(paging.page_sizes_bytes(0), 4096u);
  EXPECT_EQ(paging.page_sizes_bytes(1), 2u << 20);
  EXPECT_EQ(paging.page_sizes_bytes(2), 1ull << 63);
}

TEST(DescribeTest, IommusAdvertiseOnlyTheDefaultDomainsTheyHave) {
  IommuView view;
  view.spec.id = "vtd0";
  view.spec.pass_through = false;
  view.spec.levels_3 = true;
  view.spec.leaf_1g = false;
  view.spec.deferred_flush = false;
  v1::Iommu iommu = Describe(view);
  EXPECT_EQ(iommu.name(), "iommus/vtd0");
  EXPECT_FALSE(iommu.has_numa_node());
  ASSERT_EQ(iommu.default_domain_types_size(), 1);
  EXPECT_EQ(iommu.default_domain_types(0), v1::DEFAULT_DOMAIN_TYPE_DMA);
  EXPECT_EQ(iommu.vtd().second_stage_levels_size(), 2);
  EXPECT_EQ(iommu.vtd().page_sizes_bytes_size(), 2);

  view.spec.pass_through = true;
  view.spec.deferred_flush = true;
  view.spec.numa_node = 0;
  iommu = Describe(view);
  EXPECT_TRUE(iommu.has_numa_node());
  ASSERT_EQ(iommu.default_domain_types_size(), 3);
  EXPECT_EQ(iommu.default_domain_types(2), v1::DEFAULT_DOMAIN_TYPE_DMA_FQ);
}

TEST(DescribeTest, AnSmmuShowsWhatIsConfigured) {
  IommuView view;
  view.spec.id = "smmu0";
  view.spec.architecture = IommuArchitecture::kSmmuV3;
  view.spec.pass_through = false;  // Of VT-d.
  view.spec.smmu_v3.oas_bits = 44;
  view.spec.smmu_v3.stage2 = false;
  view.spec.smmu_v3.stream_id_bits = 20;
  view.spec.smmu_v3.substream_id_bits = 12;
  view.spec.smmu_v3.asid_bits = 8;
  view.spec.smmu_v3.granule_64k = true;
  view.spec.smmu_v3.stall = true;
  const v1::Iommu iommu = Describe(view);
  EXPECT_EQ(iommu.type(), v1::IOMMU_ARCHITECTURE_SMMU_V3);
  EXPECT_FALSE(iommu.has_vtd());
  EXPECT_EQ(iommu.default_domain_types(0), v1::DEFAULT_DOMAIN_TYPE_IDENTITY);
  const v1::SmmuV3Iommu& smmu = iommu.smmu_v3();
  EXPECT_EQ(smmu.oas_bits(), 44u);
  EXPECT_TRUE(smmu.stage1());
  EXPECT_FALSE(smmu.stage2());
  EXPECT_EQ(smmu.stream_id_bits(), 20u);
  EXPECT_EQ(smmu.substream_id_bits(), 12u);
  EXPECT_EQ(smmu.asid_bits(), 8u);
  EXPECT_EQ(smmu.vmid_bits(), 16u);
  ASSERT_EQ(smmu.granules_bytes_size(), 2);
  EXPECT_EQ(smmu.granules_bytes(0), 4096u);
  EXPECT_EQ(smmu.granules_bytes(1), 65536u);
  EXPECT_TRUE(smmu.stall());
  EXPECT_TRUE(smmu.range_invalidation());
  EXPECT_FALSE(smmu.hardware_dirty());
  EXPECT_EQ(Describe(IommuView{}).type(), v1::IOMMU_ARCHITECTURE_VTD);
}

TEST(DescribeTest, HardwareShowsItsRegistersByArchitecture) {
  HardwareView view;
  view.registers = VtdHardware{0x12, 0x34};
  view.nest_parent_refuses_read_only = true;
  v1::HardwareInfo info = Describe(view);
  EXPECT_EQ(info.type(), v1::HARDWARE_TYPE_VTD);
  EXPECT_EQ(info.vtd().text(), "cap 0x12, ecap 0x34");
  EXPECT_TRUE(info.vtd().nest_parent_refuses_read_only());
  view.registers = ArmSmmuV3Hardware{{1, 2, 3, 4, 5, 0x10}, 7, 3};
  info = Describe(view);
  EXPECT_EQ(info.type(), v1::HARDWARE_TYPE_ARM_SMMU_V3);
  EXPECT_FALSE(info.has_vtd());
  ASSERT_EQ(info.arm_smmu_v3().idr_size(), 6);
  EXPECT_EQ(info.arm_smmu_v3().idr(5), 0x10u);
  EXPECT_EQ(info.arm_smmu_v3().iidr(), 7u);
  EXPECT_EQ(info.arm_smmu_v3().text(),
            "idr0 0x1, idr1 0x2, idr2 0x3, idr3 0x4, idr4 0x5, idr5 0x10, iidr 0x7, aidr 0x3");
}

TEST(DescribeTest, TheHostShowsWhenDeferredFlushesAreMade) {
  HostView view;
  view.flush_queue = {512, absl::Milliseconds(25)};
  const v1::Host host = Describe(view, 1 << 20);
  EXPECT_EQ(host.flush_queue().ring_entries(), 512u);
  EXPECT_EQ(host.flush_queue().timeout_ms(), 25u);
}

TEST(DescribeTest, QueueDepthWrapsAround) {
  QueueState state;
  state.iommu = "vtd0";
  state.size_entries = 256;
  state.head = 250;
  state.tail = 4;
  EXPECT_EQ(Describe(state).depth(), 10u);
  EXPECT_EQ(Describe(state).name(), "iommus/vtd0/invalidationQueue");
  EXPECT_EQ(Describe(QueueState()).depth(), 0u);
}

TEST(DescribeTest, DevicesShowTheirSpecAndState) {
  DeviceView view;
  view.spec.id = "0000:00:02.0";
  view.spec.pci_address = "0000:00:02.0";
  view.spec.iommu = "vtd0";
  view.spec.group = "g2";
  view.spec.untrusted = true;
  view.ownership = DeviceOwnership::kClaimed;
  view.claimed_by = "local";
  view.domain = "domains/blocked";
  view.default_domain_fallback = "untrusted";
  view.default_domain_types = {DefaultDomainType::kDma, DefaultDomainType::kDmaFq};
  view.health = DeviceHealth::kUnhealthy;
  view.group_members = {"devices/0000:00:02.1"};
  const v1::Device device = Describe(view);
  EXPECT_EQ(device.name(), "devices/0000:00:02.0");
  EXPECT_EQ(device.iommu(), "iommus/vtd0");
  EXPECT_EQ(device.group_members(0), "devices/0000:00:02.1");
  EXPECT_TRUE(device.untrusted());
  EXPECT_EQ(device.ownership(), v1::DEVICE_OWNERSHIP_CLAIMED);
  EXPECT_EQ(device.claimed_by(), "local");
  EXPECT_EQ(device.domain(), "domains/blocked");
  EXPECT_EQ(device.default_domain_fallback(), "untrusted");
  ASSERT_EQ(device.default_domain_types_size(), 2);
  EXPECT_EQ(device.default_domain_types(1), v1::DEFAULT_DOMAIN_TYPE_DMA_FQ);
  EXPECT_EQ(device.health(), v1::DEVICE_HEALTH_UNHEALTHY);
}

TEST(DescribeTest, MappingsAndTranslationsAgree) {
  TranslationView view;
  view.iova = 0x1800;
  view.mapping.range = {0x1000, 0x2fff};
  view.mapping.memory_region = "memoryRegions/ram";
  view.mapping.offset_bytes = 0x10000;
  view.mapping.permission = Permission::kRead;
  view.offset_bytes = 0x10800;
  view.contiguous_bytes = 0x1800;
  const v1::TranslateResponse out = Describe(view);
  EXPECT_EQ(out.offset(), 0x10800u);
  EXPECT_EQ(out.contiguous_bytes(), 0x1800u);
  EXPECT_EQ(out.permission(), v1::PERMISSION_READ);
  EXPECT_EQ(out.mapping().length(), 0x2000u);
  EXPECT_EQ(out.mapping().text(), "[0x1000, 0x2fff]");
  EXPECT_EQ(out.mapping().offset(), 0x10000u);
}

TEST(DescribeTest, AddressSpacesShowTheirOptionsAndWhatIsNotInForce) {
  IoasView space;
  space.mode = IoasMode::kVfioType1;
  space.large_pages = false;
  space.mapping_count = 3;
  space.suspended_mapping_count = 2;
  space.loaded_devices = {"devices/nic"};
  const v1::Ioas shown = Describe(space, CallContext());
  EXPECT_EQ(shown.mode(), v1::IOAS_MODE_VFIO_TYPE1);
  EXPECT_TRUE(shown.has_large_pages()) << "also when it is false";
  EXPECT_FALSE(shown.large_pages());
  EXPECT_EQ(shown.suspended_mapping_count(), 2u);
  EXPECT_EQ(shown.loaded_devices(0), "devices/nic");
  MappingView mapping;
  mapping.range = {0, 0xfff};
  EXPECT_EQ(Describe(mapping).state(), v1::OBJECT_STATE_ACTIVE);
  mapping.suspended = true;
  EXPECT_EQ(Describe(mapping).state(), v1::OBJECT_STATE_SUSPENDED);
  MemoryRegionView region;
  region.read_only = true;
  EXPECT_EQ(Describe(region, CallContext()).state(), v1::OBJECT_STATE_ACTIVE);
  region.suspended = true;
  region.suspend_reason = "revoked";
  const v1::MemoryRegion gone = Describe(region, CallContext());
  EXPECT_TRUE(gone.read_only());
  EXPECT_EQ(gone.state(), v1::OBJECT_STATE_SUSPENDED);
  EXPECT_EQ(gone.state_reason(), "revoked");
}

TEST(DescribeTest, FaultsHaveHexText) {
  DmaFault fault;
  fault.code = 0x58;
  fault.reason = "SPT.2";
  fault.iova = 0x1000;
  EXPECT_EQ(Describe(fault).iova_text(), "0x1000");
  EXPECT_EQ(Describe(fault).code(), 0x58u);
}

}  // namespace
}  // namespace viommu
