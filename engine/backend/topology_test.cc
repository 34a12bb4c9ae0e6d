#include "engine/backend/topology.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace viommu {
namespace {

Topology Good() {
  Topology t;
  t.iommus = {IommuSpec{}, IommuSpec{}};
  t.iommus[0].id = "dmar0";
  t.iommus[1].id = "dmar1";
  t.devices.resize(3);
  for (int i = 0; i < 3; ++i) {
    DeviceSpec& d = t.devices[i];
    d.id = d.pci_address = "0000:00:0" + std::to_string(i) + ".0";
    d.iommu = i == 2 ? "dmar1" : "dmar0";
    d.group = "g" + std::to_string(i);
  }
  return t;
}

// A PCI function and a platform device behind an SMMUv3.
Topology GoodArm() {
  Topology t;
  t.iommus.resize(1);
  t.iommus[0].id = "smmu0";
  t.iommus[0].architecture = IommuArchitecture::kSmmuV3;
  t.devices.resize(2);
  t.devices[0].id = t.devices[0].pci_address = "0000:01:00.0";
  t.devices[1].id = "ethernet";
  t.devices[1].stream_id = 0x200;
  for (DeviceSpec& device : t.devices) {
    device.iommu = "smmu0";
    device.group = device.id;
  }
  return t;
}

constexpr uint64_t kDoorbell = 0x10000000;

void GiveDoorbell(DeviceSpec* device, uint64_t address) {
  device->msi_doorbell = PhysAddr{address};
  device->reserved_regions = {{{0x8000000, 0x80fffff}, ReservedRegionType::kSwMsi}};
}

TEST(TopologyTest, AcceptsAGoodOne) {
  Topology t = Good();
  EXPECT_TRUE(Validate(t).empty());
  t.devices[0].allow_identity = true;
  t.devices[0].default_domain = DefaultDomainType::kIdentity;
  t.devices[1].group = "g0";
  t.devices[1].pci_address = "";
  t.devices[2].pci_address = t.devices[0].pci_address;  // Behind another unit.
  t.iommus[1].levels_5 = true;
  t.iommus[1].guest_address_width_bits = 57;
  t.devices[2].reserved_regions = {{{0x1000, 0x1000}, ReservedRegionType::kDirect}};
  t.devices[2].id = std::string(63, 'a');
  IommuSpec& rich = t.iommus[1];
  rich.first_stage = rich.first_stage_levels_5 = rich.first_stage_leaf_1g = rich.nesting = true;
  rich.supervisor_requests = rich.extended_access = rich.dirty_tracking = true;
  t.iommus[0].device_tlb = false;
  EXPECT_TRUE(Validate(t).empty());
  EXPECT_TRUE(Validate(Topology{}).empty());
}

TEST(TopologyTest, AcceptsAGoodSmmu) {
  Topology t = GoodArm();
  EXPECT_TRUE(Validate(t).empty());
  SmmuV3Spec& unit = t.iommus[0].smmu_v3;
  unit.nesting = unit.pri = unit.stall = unit.s2fwb = true;
  unit.hardware_access = unit.hardware_dirty = true;
  unit.substream_id_bits = 20;
  unit.stream_id_bits = 32;
  unit.stream_id_base = 0x10000;
  unit.oas_bits = 44;
  unit.asid_bits = unit.vmid_bits = 8;
  unit.granule_4k = false;
  unit.granule_64k = true;
  t.devices[1].stream_id = (uint32_t{1} << kMaxStreamTableBits) - 1;
  t.devices[1].stall = true;
  t.devices[0].allow_identity = true;
  t.devices[0].default_domain = DefaultDomainType::kIdentity;
  t.iommus[0].pass_through = false;  // Of VT-d: not looked at.
  EXPECT_TRUE(Validate(t).empty());
  unit = SmmuV3Spec{};
  unit.stage2 = unit.two_level_stream_table = unit.two_level_cd = unit.ats = false;
  t.devices[1].stream_id = 0xffff;
  t.devices[1].stall = false;
  EXPECT_TRUE(Validate(t).empty());
}

TEST(TopologyTest, NamesEachProblemOfAnSmmuAndItsPlace) {
  const struct {
    const char* name;
    std::function<void(SmmuV3Spec* unit, Topology* t)> spoil;
    const char* path;
  } kCases[] = {
      {"odd width", [](SmmuV3Spec* unit, Topology*) { unit->oas_bits = 46; },
       "iommus[0].smmu_v3.oas_bits"},
      {"52 bits", [](SmmuV3Spec* unit, Topology*) { unit->oas_bits = 52; },
       "iommus[0].smmu_v3.oas_bits"},
      {"no stage", [](SmmuV3Spec* unit, Topology*) { unit->stage1 = unit->stage2 = false; },
       "iommus[0].smmu_v3.stage1"},
      {"nesting without a second stage",
       [](SmmuV3Spec* unit, Topology*) {
         unit->nesting = true;
         unit->stage2 = false;
       },
       "iommus[0].smmu_v3.nesting"},
      {"few StreamIDs",
       [](SmmuV3Spec* unit, Topology* t) {
         unit->stream_id_bits = 7;
         t->devices.clear();
       },
       "iommus[0].smmu_v3.stream_id_bits"},
      {"many StreamIDs", [](SmmuV3Spec* unit, Topology*) { unit->stream_id_bits = 33; },
       "iommus[0].smmu_v3.stream_id_bits"},
      {"large linear table",
       [](SmmuV3Spec* unit, Topology*) {
         unit->stream_id_bits = 17;
         unit->two_level_stream_table = false;
       },
       "iommus[0].smmu_v3.stream_id_bits"},
      {"many substreams", [](SmmuV3Spec* unit, Topology*) { unit->substream_id_bits = 21; },
       "iommus[0].smmu_v3.substream_id_bits"},
      {"substreams without a first stage",
       [](SmmuV3Spec* unit, Topology*) {
         unit->substream_id_bits = 8;
         unit->stage1 = false;
       },
       "iommus[0].smmu_v3.substream_id_bits"},
      {"12 bits of ASID", [](SmmuV3Spec* unit, Topology*) { unit->asid_bits = 12; },
       "iommus[0].smmu_v3.asid_bits"},
      {"no VMIDs", [](SmmuV3Spec* unit, Topology*) { unit->vmid_bits = 0; },
       "iommus[0].smmu_v3.vmid_bits"},
      {"no granule", [](SmmuV3Spec* unit, Topology*) { unit->granule_4k = false; },
       "iommus[0].smmu_v3.granule_4k"},
      {"page requests without ATS",
       [](SmmuV3Spec* unit, Topology*) {
         unit->pri = true;
         unit->ats = false;
       },
       "iommus[0].smmu_v3.pri"},
      {"S2FWB without a second stage",
       [](SmmuV3Spec* unit, Topology*) {
         unit->s2fwb = true;
         unit->stage2 = false;
       },
       "iommus[0].smmu_v3.s2fwb"},
      {"dirty state without access flags",
       [](SmmuV3Spec* unit, Topology*) { unit->hardware_dirty = true; },
       "iommus[0].smmu_v3.hardware_dirty"},
      {"platform device without a StreamID",
       [](SmmuV3Spec*, Topology* t) { t->devices[1].stream_id.reset(); }, "devices[1].stream_id"},
      {"PCI function with one", [](SmmuV3Spec*, Topology* t) { t->devices[0].stream_id = 1; },
       "devices[0].stream_id"},
      {"StreamID behind VT-d",
       [](SmmuV3Spec*, Topology* t) { t->iommus[0].architecture = IommuArchitecture::kVtd; },
       "devices[1].stream_id"},
      {"wide StreamID", [](SmmuV3Spec*, Topology* t) { t->devices[1].stream_id = 0x10000; },
       "devices[1].stream_id"},
      {"StreamID beyond the largest table",
       [](SmmuV3Spec* unit, Topology* t) {
         unit->stream_id_bits = 32;
         t->devices[1].stream_id = uint32_t{1} << kMaxStreamTableBits;
       },
       "devices[1].stream_id"},
      {"base that leads out of the table",
       [](SmmuV3Spec* unit, Topology*) { unit->stream_id_base = 0xff00; },
       "devices[0].pci_address"},
      {"base that overflows",
       [](SmmuV3Spec* unit, Topology*) { unit->stream_id_base = 0xffffffff; },
       "devices[0].pci_address"},
      {"StreamID twice", [](SmmuV3Spec*, Topology* t) { t->devices[1].stream_id = 0x100; },
       "devices[1].stream_id"},
      {"function twice",
       [](SmmuV3Spec*, Topology* t) {
         t->devices[1].pci_address = t->devices[0].pci_address;
         t->devices[1].stream_id.reset();
       },
       "devices[1].pci_address"},
      {"stall that the unit does not know",
       [](SmmuV3Spec*, Topology* t) { t->devices[1].stall = true; }, "devices[1].stall"},
      {"stall of a PCI function",
       [](SmmuV3Spec* unit, Topology* t) {
         unit->stall = true;
         t->devices[0].stall = true;
       },
       "devices[0].stall"},
      {"doorbell that the unit can not name",
       [](SmmuV3Spec* unit, Topology* t) {
         unit->oas_bits = 36;
         GiveDoorbell(&t->devices[0], uint64_t{1} << 36);
       },
       "devices[0].msi_doorbell"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    Topology t = GoodArm();
    c.spoil(&t.iommus[0].smmu_v3, &t);
    const auto problems = Validate(t);
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_EQ(problems[0].path, c.path);
    EXPECT_FALSE(problems[0].message.empty());
  }
}

TEST(TopologyTest, TellsWhatUnitsOfBothArchitecturesCanDo) {
  IommuSpec vtd;
  EXPECT_EQ(PhysicalAddressBits(vtd), 46);
  EXPECT_EQ(PasidBits(vtd), 20);
  EXPECT_FALSE(HasFirstStage(vtd));
  EXPECT_FALSE(HasNesting(vtd));
  EXPECT_TRUE(ServesDeviceTlbs(vtd));
  vtd.pass_through = false;
  EXPECT_FALSE(HasPassThrough(vtd));
  IommuSpec smmu = GoodArm().iommus[0];
  smmu.pass_through = false;
  smmu.smmu_v3.substream_id_bits = 16;
  smmu.smmu_v3.ats = false;
  EXPECT_EQ(PhysicalAddressBits(smmu), 48);
  EXPECT_EQ(PasidBits(smmu), 16);
  smmu.smmu_v3.two_level_cd = false;
  EXPECT_EQ(PasidBits(smmu), 10);
  EXPECT_TRUE(HasFirstStage(smmu));
  EXPECT_FALSE(HasNesting(smmu));
  EXPECT_FALSE(ServesDeviceTlbs(smmu));
  EXPECT_TRUE(HasPassThrough(smmu));
}

TEST(TopologyTest, KnowsAPciFunctionByItsSourceIdPlusTheBase) {
  Topology t = GoodArm();
  EXPECT_EQ(StreamIdOf(t.iommus[0], t.devices[0]), 0x100u);
  EXPECT_EQ(StreamIdOf(t.iommus[0], t.devices[1]), 0x200u);
  t.iommus[0].smmu_v3.stream_id_base = 0x10000;
  EXPECT_EQ(StreamIdOf(t.iommus[0], t.devices[0]), 0x10100u);
  EXPECT_EQ(StreamIdOf(t.iommus[0], t.devices[1]), 0x200u);
}

TEST(TopologyTest, AnswersPageFaultsWhereAllThatTheyNeedIsThere) {
  IommuSpec unit;
  unit.page_requests = true;
  DeviceSpec device;
  device.ats = device.pri = true;
  EXPECT_TRUE(HasPageFaults(unit, device));
  for (bool IommuSpec::*needed : {&IommuSpec::page_requests, &IommuSpec::device_tlb}) {
    IommuSpec less = unit;
    less.*needed = false;
    EXPECT_FALSE(HasPageFaults(less, device));
  }
  for (bool DeviceSpec::*needed : {&DeviceSpec::ats, &DeviceSpec::pri}) {
    DeviceSpec less = device;
    less.*needed = false;
    EXPECT_FALSE(HasPageFaults(unit, less));
  }
  IommuSpec smmu = unit;
  smmu.architecture = IommuArchitecture::kSmmuV3;
  smmu.smmu_v3.pri = true;
  EXPECT_TRUE(HasPageRequests(smmu, device));
  for (bool SmmuV3Spec::*needed : {&SmmuV3Spec::pri, &SmmuV3Spec::ats}) {
    IommuSpec less = smmu;
    less.smmu_v3.*needed = false;
    EXPECT_FALSE(HasPageFaults(less, device));
  }
  for (const IommuSpec& either : {unit, smmu}) {
    DeviceSpec function = device;
    function.virtual_function = true;
    EXPECT_FALSE(HasPageFaults(either, function)) << "they are its physical function's";
  }
  DeviceSpec stalling;
  stalling.stall = true;
  EXPECT_FALSE(HasPageFaults(smmu, stalling)) << "the unit can not hold requests";
  smmu.smmu_v3.stall = true;
  EXPECT_FALSE(HasStalls(smmu, device)) << "it does not wait";
  EXPECT_TRUE(HasPageFaults(smmu, stalling));
  EXPECT_FALSE(HasPageRequests(smmu, stalling)) << "it asks for nothing";
  smmu.smmu_v3.stage1 = false;
  EXPECT_FALSE(HasPageFaults(smmu, stalling)) << "requests wait in a first stage alone";
  device.untrusted = true;
  EXPECT_FALSE(HasPageFaults(unit, device)) << "it has no TLB of its own then";
}

TEST(TopologyTest, NamesEachProblemAndItsPlace) {
  const struct {
    const char* name;
    std::function<void(Topology*)> spoil;
    const char* path;
  } kCases[] = {
      {"page requests without device TLBs",
       [](Topology* t) {
         t->iommus[1].page_requests = true;
         t->iommus[1].device_tlb = false;
       },
       "iommus[1].page_requests"},
      {"a virtual function without PCI address",
       [](Topology* t) {
         t->devices[0].pci_address.clear();
         t->devices[0].virtual_function = true;
       },
       "devices[0].virtual_function"},
      {"empty id",
       [](Topology* t) { t->iommus[0].id = t->devices[0].iommu = t->devices[1].iommu = ""; },
       "iommus[0].id"},
      {"capital letter", [](Topology* t) { t->devices[0].id = "Disk"; }, "devices[0].id"},
      {"ends with a dash", [](Topology* t) { t->devices[0].id = "disk-"; }, "devices[0].id"},
      {"slash", [](Topology* t) { t->devices[0].id = "a/b"; }, "devices[0].id"},
      {"long id", [](Topology* t) { t->devices[0].id = std::string(64, 'a'); }, "devices[0].id"},
      {"iommu id twice",
       [](Topology* t) {
         t->iommus[1].id = "dmar0";
         t->devices[2].iommu = "dmar0";
       },
       "iommus[1].id"},
      {"device id twice", [](Topology* t) { t->devices[1].id = t->devices[0].id; },
       "devices[1].id"},
      {"narrow host", [](Topology* t) { t->iommus[0].host_address_width_bits = 31; },
       "iommus[0].host_address_width_bits"},
      {"wide host", [](Topology* t) { t->iommus[0].host_address_width_bits = 53; },
       "iommus[0].host_address_width_bits"},
      {"narrow guest", [](Topology* t) { t->iommus[0].guest_address_width_bits = 38; },
       "iommus[0].guest_address_width_bits"},
      {"57 bits without 5 levels", [](Topology* t) { t->iommus[0].guest_address_width_bits = 57; },
       "iommus[0].guest_address_width_bits"},
      {"few domain ids", [](Topology* t) { t->iommus[0].domain_id_bits = 2; },
       "iommus[0].domain_id_bits"},
      {"odd domain ids", [](Topology* t) { t->iommus[0].domain_id_bits = 5; },
       "iommus[0].domain_id_bits"},
      {"no PASID bits", [](Topology* t) { t->iommus[0].pasid_bits = 0; }, "iommus[0].pasid_bits"},
      {"5 first-stage levels of none",
       [](Topology* t) { t->iommus[0].first_stage_levels_5 = true; },
       "iommus[0].first_stage_levels_5"},
      {"1 GiB in no first stage", [](Topology* t) { t->iommus[0].first_stage_leaf_1g = true; },
       "iommus[0].first_stage_leaf_1g"},
      {"nesting of one stage", [](Topology* t) { t->iommus[0].nesting = true; },
       "iommus[0].nesting"},
      {"supervisors without a first stage",
       [](Topology* t) { t->iommus[0].supervisor_requests = true; },
       "iommus[0].supervisor_requests"},
      {"extended access to no first stage",
       [](Topology* t) { t->iommus[0].extended_access = true; }, "iommus[0].extended_access"},
      {"no depth", [](Topology* t) { t->iommus[0].levels_4 = false; }, "iommus[0].levels_4"},
      {"unknown iommu", [](Topology* t) { t->devices[2].iommu = "dmar9"; }, "devices[2].iommu"},
      {"no group", [](Topology* t) { t->devices[2].group = ""; }, "devices[2].group"},
      {"group behind two", [](Topology* t) { t->devices[2].group = "g0"; }, "devices[2].iommu"},
      {"malformed address", [](Topology* t) { t->devices[0].pci_address = "00:02.0"; },
       "devices[0].pci_address"},
      {"no hex", [](Topology* t) { t->devices[0].pci_address = "0000:0g:02.0"; },
       "devices[0].pci_address"},
      {"device 32", [](Topology* t) { t->devices[0].pci_address = "0000:00:20.0"; },
       "devices[0].pci_address"},
      {"function 8", [](Topology* t) { t->devices[0].pci_address = "0000:00:02.8"; },
       "devices[0].pci_address"},
      {"address twice", [](Topology* t) { t->devices[1].pci_address = "0001:00:00.0"; },
       "devices[1].pci_address"},
      {"many PASID bits", [](Topology* t) { t->devices[0].pasid_bits = 21; },
       "devices[0].pasid_bits"},
      {"identity not allowed",
       [](Topology* t) { t->devices[0].default_domain = DefaultDomainType::kIdentity; },
       "devices[0].default_domain"},
      {"identity, untrusted",
       [](Topology* t) {
         t->devices[0].default_domain = DefaultDomainType::kIdentity;
         t->devices[0].allow_identity = t->devices[0].untrusted = true;
       },
       "devices[0].default_domain"},
      {"identity without pass-through",
       [](Topology* t) {
         t->devices[0].default_domain = DefaultDomainType::kIdentity;
         t->devices[0].allow_identity = true;
         t->iommus[0].pass_through = false;
       },
       "devices[0].default_domain"},
      {"empty region",
       [](Topology* t) {
         t->devices[0].reserved_regions = {{{2, 1}}};
       },
       "devices[0].reserved_regions[0].range"},
      {"doorbell in the middle of a page",
       [](Topology* t) { GiveDoorbell(&t->devices[0], kDoorbell + 8); }, "devices[0].msi_doorbell"},
      {"doorbell that one unit can not name",
       [](Topology* t) {
         GiveDoorbell(&t->devices[0], uint64_t{1} << 40);
         t->iommus[1].host_address_width_bits = 40;
       },
       "devices[0].msi_doorbell"},
      {"first page of the interrupt window",
       [](Topology* t) { GiveDoorbell(&t->devices[0], 0xfee00000); }, "devices[0].msi_doorbell"},
      {"last page of the interrupt window",
       [](Topology* t) { GiveDoorbell(&t->devices[0], 0xfeeff000); }, "devices[0].msi_doorbell"},
      {"doorbell in a page of another device's DIRECT region",
       [](Topology* t) {
         GiveDoorbell(&t->devices[0], kDoorbell);
         t->devices[1].reserved_regions = {
             {{kDoorbell + 0xff0, kDoorbell + 0xfff}, ReservedRegionType::kDirectRelaxable}};
       },
       "devices[0].msi_doorbell"},
      {"doorbell without a window",
       [](Topology* t) { t->devices[0].msi_doorbell = PhysAddr{kDoorbell}; },
       "devices[0].msi_doorbell"},
      {"doorbell with two windows",
       [](Topology* t) {
         GiveDoorbell(&t->devices[0], kDoorbell);
         t->devices[0].reserved_regions.push_back(
             {{0x9000000, 0x9000fff}, ReservedRegionType::kSwMsi});
       },
       "devices[0].msi_doorbell"},
      {"doorbell beside a window of the hardware",
       [](Topology* t) {
         GiveDoorbell(&t->devices[0], kDoorbell);
         t->devices[0].reserved_regions.push_back(
             {{0xfee00000, 0xfeefffff}, ReservedRegionType::kMsi});
       },
       "devices[0].msi_doorbell"},
      {"window that begins in a page",
       [](Topology* t) {
         GiveDoorbell(&t->devices[0], kDoorbell);
         t->devices[0].reserved_regions[0].range = {0x8000800, 0x8001fff};
       },
       "devices[0].reserved_regions[0].range"},
      {"window that ends in a page",
       [](Topology* t) {
         GiveDoorbell(&t->devices[0], kDoorbell);
         t->devices[0].reserved_regions[0].range.last = 0x80007ff;
       },
       "devices[0].reserved_regions[0].range"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    Topology t = Good();
    c.spoil(&t);
    const auto problems = Validate(t);
    ASSERT_EQ(problems.size(), 1u);
    EXPECT_EQ(problems[0].path, c.path);
    EXPECT_FALSE(problems[0].message.empty());
  }
}

TEST(TopologyTest, AcceptsDoorbellsBesideWhatTheyMustNotMeet) {
  for (const uint64_t address : {uint64_t{0}, uint64_t{0xfedff000}, uint64_t{0xfef00000},
                                 (uint64_t{1} << 40) - 0x1000, kDoorbell}) {
    SCOPED_TRACE(address);
    Topology t = Good();
    t.iommus[0].host_address_width_bits = t.iommus[1].host_address_width_bits = 40;
    GiveDoorbell(&t.devices[0], address);
    GiveDoorbell(&t.devices[1], address);  // They share it.
    EXPECT_EQ(DoorbellWindow(t.devices[0]), t.devices[0].reserved_regions[0].range);
    EXPECT_TRUE(Validate(t).empty());
  }
  EXPECT_EQ(DoorbellWindow(Good().devices[0]), std::nullopt);
}

TEST(TopologyTest, ReportsAllProblemsAtOnce) {
  Topology t = Good();
  t.iommus[0].pasid_bits = 21;
  t.devices[1].group = "";
  t.devices[2].iommu = "nowhere";
  EXPECT_EQ(Validate(t).size(), 3u);
}

TEST(TopologyTest, ReadsPciAddresses) {
  const auto pci = ParsePciAddress("12aB:ff:1f.7");
  ASSERT_TRUE(pci.has_value());
  EXPECT_EQ(pci->segment, 0x12ab);
  EXPECT_EQ(pci->source_id(), 0xffff);
  EXPECT_EQ(ParsePciAddress("0000:01:02.3")->source_id(), 0x0113);
  EXPECT_FALSE(ParsePciAddress("").has_value());
}

}  // namespace
}  // namespace viommu
