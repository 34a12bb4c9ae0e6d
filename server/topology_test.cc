#include "server/topology.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "engine/backend/topology.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/embedded_topology.h"

namespace viommu {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

Problems ProblemsOf(absl::string_view text) {
  Problems problems;
  ParseTopology("t.textproto", text, &problems);
  return problems;
}

std::string DeployTopologies() {
  return std::string(std::getenv("TEST_SRCDIR")) + "/" + std::getenv("TEST_WORKSPACE") +
         "/deploy/topologies";
}

TEST(TopologyTest, ReadsEveryFileInDeployTopologies) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(DeployTopologies())) {
    SCOPED_TRACE(entry.path().string());
    Problems problems;
    const Topology topology = LoadTopology(entry.path().string(), &problems);
    EXPECT_THAT(problems, IsEmpty());
    EXPECT_FALSE(topology.devices.empty());
    ++files;
  }
  EXPECT_GE(files, 6);
}

TEST(TopologyTest, LargeServerHasAsManyFunctionsAsServersHave) {
  Problems problems;
  const Topology topology = LoadTopology(DeployTopologies() + "/vtd-server.textproto", &problems);
  ASSERT_THAT(problems, IsEmpty());
  ASSERT_THAT(topology.iommus, SizeIs(8));
  EXPECT_THAT(topology.devices, SizeIs(458));
  std::map<std::string, int> functions;             // By slot: "0000:16".
  std::map<std::string, std::optional<int>> nodes;  // Of units.
  std::set<int> device_nodes;
  int in_groups = 0, untrusted = 0, direct = 0, pasid = 0, faulting = 0;
  for (const IommuSpec& unit : topology.iommus) {
    EXPECT_EQ(unit.architecture, IommuArchitecture::kVtd);
    nodes[unit.id] = unit.numa_node;
  }
  for (const DeviceSpec& device : topology.devices) {
    ++functions[device.id.substr(0, 7)];
    EXPECT_EQ(device.numa_node, nodes.at(device.iommu)) << device.id;
    device_nodes.insert(device.numa_node.value());
    in_groups += device.group != device.id;
    untrusted += device.untrusted;
    pasid += device.pasid_bits > 0;
    for (const IommuSpec& unit : topology.iommus) {
      faulting += unit.id == device.iommu && HasPageFaults(unit, device);
    }
    for (const ReservedRegion& region : device.reserved_regions) {
      direct += region.type == ReservedRegionType::kDirect;
    }
  }
  EXPECT_THAT(device_nodes, ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(functions["0000:16"], 2 + 128);
  EXPECT_EQ(functions["0000:2a"], 1 + 32);
  EXPECT_EQ(functions["0000:98"], 1 + 128);
  EXPECT_EQ(in_groups, 8);
  EXPECT_EQ(untrusted, 2);
  EXPECT_EQ(direct, 5);
  EXPECT_EQ(pasid, 130 + 16 + 4 + 129);
  EXPECT_EQ(faulting, 2 + 2 + 4 + 1);
}

TEST(TopologyTest, BuiltInTopologyHasADeviceForEveryRule) {
  Problems problems;
  const Topology topology = LoadTopology("", &problems);
  ASSERT_THAT(problems, IsEmpty());
  ASSERT_THAT(topology.iommus, SizeIs(2));
  EXPECT_EQ(topology.iommus[0].guest_address_width_bits, 48);
  EXPECT_TRUE(topology.iommus[1].levels_5);
  EXPECT_EQ(topology.iommus[1].guest_address_width_bits, 57);
  ASSERT_THAT(topology.devices, SizeIs(8));
  int in_nic0 = 0, untrusted = 0, direct = 0, allow_identity = 0, msi = 0;
  for (const DeviceSpec& device : topology.devices) {
    EXPECT_EQ(device.pci_address, device.id);
    in_nic0 += device.group == "nic0";
    untrusted += device.untrusted;
    allow_identity += device.allow_identity;
    for (const ReservedRegion& region : device.reserved_regions) {
      direct += region.type == ReservedRegionType::kDirect;
      msi += region.type == ReservedRegionType::kMsi &&
             region.range == IovaRange{0xfee00000, 0xfeefffff};
    }
  }
  EXPECT_EQ(in_nic0, 2);
  EXPECT_EQ(untrusted, 1);
  EXPECT_EQ(direct, 1);
  EXPECT_EQ(allow_identity, 2);
  EXPECT_EQ(msi, 8);
}

TEST(TopologyTest, CarriesEveryFieldOver) {
  Problems problems;
  const Topology topology = ParseTopology("t.textproto", R"(
    iommus { id: "asking" vtd { page_requests: true } }
    iommus {
      id: "u" numa_node: 3
      vtd {
        host_address_width_bits: 40 levels_3: true levels_4: false levels_5: false
        guest_address_width_bits: 39 leaf_2m: false leaf_1g: false snoop_control: false
        pass_through: false domain_id_bits: 8 pasid_bits: 10
        device_tlb: false first_stage: true first_stage_levels_5: true first_stage_leaf_1g: true
        nesting: true supervisor_requests: true extended_access: true
      }
    }
    devices {
      id: "eth" pci_address: "0001:02:03.4" iommu: "u" group: "g" numa_node: 2 pasid_bits: 9
      msi_doorbell: 0x10000000
      ats: true pri: true virtual_function: true
      reserved_regions { first: 0x1000 last: 0x1fff type: RESERVED_REGION_TYPE_DIRECT_RELAXABLE }
      reserved_regions { first: 0x2000 last: 0x2fff type: RESERVED_REGION_TYPE_RESERVED }
      reserved_regions { first: 0x3000 last: 0x3fff type: RESERVED_REGION_TYPE_SW_MSI }
    }
    devices { id: "disk" iommu: "u" untrusted: true }
  )",
                                          &problems);
  ASSERT_THAT(problems, IsEmpty());
  EXPECT_TRUE(topology.iommus.at(0).page_requests);
  const IommuSpec& unit = topology.iommus.at(1);
  EXPECT_EQ(unit.id, "u");
  EXPECT_FALSE(unit.page_requests);
  EXPECT_EQ(unit.numa_node, 3);
  EXPECT_EQ(unit.host_address_width_bits, 40);
  EXPECT_TRUE(unit.levels_3);
  EXPECT_FALSE(unit.levels_4);
  EXPECT_FALSE(unit.levels_5);
  EXPECT_EQ(unit.guest_address_width_bits, 39);
  EXPECT_FALSE(unit.leaf_2m);
  EXPECT_FALSE(unit.leaf_1g);
  EXPECT_FALSE(unit.snoop_control);
  EXPECT_FALSE(unit.pass_through);
  EXPECT_EQ(unit.domain_id_bits, 8);
  EXPECT_EQ(unit.pasid_bits, 10);
  EXPECT_FALSE(unit.device_tlb);
  for (bool IommuSpec::*feature :
       {&IommuSpec::first_stage, &IommuSpec::first_stage_levels_5, &IommuSpec::first_stage_leaf_1g,
        &IommuSpec::nesting, &IommuSpec::supervisor_requests, &IommuSpec::extended_access}) {
    EXPECT_TRUE(unit.*feature);
  }
  const DeviceSpec& eth = topology.devices.at(0);
  EXPECT_EQ(eth.id, "eth");
  EXPECT_EQ(eth.pci_address, "0001:02:03.4");
  EXPECT_EQ(eth.iommu, "u");
  EXPECT_EQ(eth.group, "g");
  EXPECT_EQ(eth.numa_node, 2);
  EXPECT_EQ(eth.default_domain, DefaultDomainType::kDma);
  EXPECT_EQ(eth.pasid_bits, 9);
  EXPECT_TRUE(eth.ats);
  EXPECT_TRUE(eth.pri);
  EXPECT_TRUE(eth.virtual_function);
  EXPECT_FALSE(eth.untrusted);
  ASSERT_THAT(eth.reserved_regions, SizeIs(3));
  EXPECT_EQ(eth.reserved_regions[0].range, (IovaRange{0x1000, 0x1fff}));
  EXPECT_EQ(eth.reserved_regions[0].type, ReservedRegionType::kDirectRelaxable);
  EXPECT_EQ(eth.reserved_regions[1].type, ReservedRegionType::kReserved);
  EXPECT_EQ(eth.reserved_regions[2].type, ReservedRegionType::kSwMsi);
  EXPECT_EQ(eth.msi_doorbell, PhysAddr{0x10000000});
  EXPECT_EQ(topology.devices.at(1).msi_doorbell, std::nullopt);
  const DeviceSpec& disk = topology.devices.at(1);
  EXPECT_EQ(disk.pci_address, "") << "a platform device";
  EXPECT_EQ(disk.group, "disk") << "alone in its group";
  EXPECT_FALSE(disk.virtual_function);
  EXPECT_TRUE(disk.untrusted);
}

TEST(TopologyTest, CarriesEveryFieldOfAnSmmuOver) {
  Problems problems;
  const Topology topology = ParseTopology("t.textproto", R"(
    iommus {
      id: "u"
      smmu_v3 {
        oas_bits: 44 stage1: true stage2: true nesting: true stream_id_bits: 20
        stream_id_base: 0x10000 substream_id_bits: 8 asid_bits: 8 vmid_bits: 8 granule_4k: false
        granule_16k: true granule_64k: true two_level_stream_table: true two_level_cd: false
        ats: true pri: true stall: true range_invalidation: false s2fwb: true
        hardware_access: true hardware_dirty: true coherent: false deferred_flush: false
      }
    }
    iommus { id: "v" smmu_v3 { stage1: false } }
    iommus { id: "w" smmu_v3 { stage2: false two_level_stream_table: false ats: false } }
    devices { id: "eth" iommu: "u" stream_id: 0x400 stall: true }
  )",
                                          &problems);
  ASSERT_THAT(problems, IsEmpty());
  ASSERT_THAT(topology.iommus, SizeIs(3));
  for (const IommuSpec& unit : topology.iommus) {
    EXPECT_EQ(unit.architecture, IommuArchitecture::kSmmuV3);
  }
  EXPECT_FALSE(topology.iommus[0].deferred_flush);
  EXPECT_TRUE(topology.iommus[1].deferred_flush);
  const SmmuV3Spec& unit = topology.iommus[0].smmu_v3;
  EXPECT_EQ(unit.oas_bits, 44);
  EXPECT_EQ(unit.stream_id_bits, 20);
  EXPECT_EQ(unit.stream_id_base, 0x10000u);
  EXPECT_EQ(unit.substream_id_bits, 8);
  EXPECT_EQ(unit.asid_bits, 8);
  EXPECT_EQ(unit.vmid_bits, 8);
  for (bool SmmuV3Spec::*feature :
       {&SmmuV3Spec::nesting, &SmmuV3Spec::granule_16k, &SmmuV3Spec::granule_64k, &SmmuV3Spec::pri,
        &SmmuV3Spec::stall, &SmmuV3Spec::s2fwb, &SmmuV3Spec::hardware_access,
        &SmmuV3Spec::hardware_dirty}) {
    EXPECT_TRUE(unit.*feature);
    EXPECT_FALSE(topology.iommus[1].smmu_v3.*feature);
  }
  for (bool SmmuV3Spec::*feature : {&SmmuV3Spec::granule_4k, &SmmuV3Spec::two_level_cd,
                                    &SmmuV3Spec::range_invalidation, &SmmuV3Spec::coherent}) {
    EXPECT_FALSE(unit.*feature);
    EXPECT_TRUE(topology.iommus[1].smmu_v3.*feature);
  }
  EXPECT_FALSE(topology.iommus[1].smmu_v3.stage1);
  EXPECT_FALSE(topology.iommus[2].smmu_v3.stage2);
  EXPECT_FALSE(topology.iommus[2].smmu_v3.two_level_stream_table);
  EXPECT_FALSE(topology.iommus[2].smmu_v3.ats);
  EXPECT_EQ(topology.devices[0].stream_id, 0x400u);
  EXPECT_TRUE(topology.devices[0].stall);
}

// A file with one fault; what it is must be found at its line.
TEST(TopologyTest, NamesFileLineAndFieldOfAProblem) {
  const struct {
    const char* name;
    const char* text;
    const char* where;
    const char* what;
  } kCases[] = {
      {"no text format", "iommus {\n  id \"a\"\n}", "t.textproto:2:6: ", "Expected \":\""},
      {"no text format, on a later line", "devices {\n  id: \"d\"\n  iommu \"a\"\n}",
       "t.textproto:3:9: ", "Expected \":\""},
      {"unknown field", "iommus {\n  id: \"a\"\n  color: 3\n  vtd {}\n}",
       "t.textproto:3:3: ", "color"},
      {"unknown enum name",
       "iommus { id: \"a\" vtd {} }\ndevices {\n  id: \"d\" iommu: \"a\"\n"
       "  default_domain: SOMETHING\n}",
       "t.textproto:4:19: ", "SOMETHING"},
      {"unknown default domain number",
       "iommus { id: \"a\" vtd {} }\ndevices { id: \"d\" iommu: \"a\"\n  default_domain: 9\n}",
       "t.textproto:3:3: devices[0].default_domain: ", "9"},
      {"unknown region type number",
       "iommus { id: \"a\" vtd {} }\ndevices { id: \"d\" iommu: \"a\"\n"
       "  reserved_regions { last: 0xfff\n    type: 77 } }",
       "t.textproto:4:5: devices[0].reserved_regions[0].type: ", "77"},
      {"region without type",
       "iommus { id: \"a\" vtd {} }\ndevices { id: \"d\" iommu: \"a\"\n"
       "  reserved_regions { last: 0xfff } }",
       "t.textproto:3:3: devices[0].reserved_regions[0].type: ", "required"},
      {"unit without architecture", "\niommus { id: \"a\" }",
       "t.textproto:2:1: iommus[0]: ", "`vtd {}`"},
      {"field of smmu_v3", "iommus {\n  id: \"a\"\n  smmu_v3 {\n    oas_bits: 21\n  }\n}",
       "t.textproto:4:5: iommus[0].smmu_v3.oas_bits: ", "21"},
      {"both architectures", "iommus { id: \"a\" vtd {}\n smmu_v3 {} }",
       "t.textproto:2:", "smmu_v3"},
      {"device without a StreamID",
       "iommus { id: \"a\" smmu_v3 {} }\ndevices { id: \"d\" iommu: \"a\" }",
       "t.textproto:2:1: devices[0].stream_id: ", "required"},
      {"value given twice", "iommus {\n  id: \"a\"\n  id: \"b\"\n vtd {} }",
       "t.textproto:3:3: ", "multiple times"},
      {"number of the wrong type", "iommus { id: \"a\" vtd {\n  levels_3: 7 } }",
       "t.textproto:2:13: ", "7"},
      {"unit not there", "iommus { id: \"a\" vtd {} }\ndevices {\n  id: \"d\"\n  iommu: \"b\"\n}",
       "t.textproto:4:3: devices[0].iommu: ", "b"},
      {"field of vtd", "iommus {\n  id: \"a\"\n  vtd {\n    pasid_bits: 21\n  }\n}",
       "t.textproto:4:5: iommus[0].vtd.pasid_bits: ", "21"},
      {"region upside down",
       "iommus { id: \"a\" vtd {} }\ndevices { id: \"d\" iommu: \"a\"\n"
       "  reserved_regions { first: 2 last: 1 type: RESERVED_REGION_TYPE_MSI } }",
       "t.textproto:3:", "reserved_regions[0]"},
      {"doorbell without a window",
       "iommus { id: \"a\" vtd {} }\ndevices { id: \"d\" iommu: \"a\"\n"
       "  msi_doorbell: 0x1000 }",
       "t.textproto:3:3: devices[0].msi_doorbell: ", "SW_MSI"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_THAT(ProblemsOf(c.text), ElementsAre(AllOf(StartsWith(c.where), HasSubstr(c.what))));
  }
}

TEST(TopologyTest, ReportsEveryUnknownFieldAtOnce) {
  EXPECT_THAT(ProblemsOf("iommus {\n  colour: 3\n  id: \"a\"\n  vtd { taste { sweet: 1 } }\n}\n"
                         "owner: \"me\"\n"),
              ElementsAre(StartsWith("t.textproto:2:"), StartsWith("t.textproto:4:"),
                          StartsWith("t.textproto:6:")));
}

TEST(TopologyTest, ReportsEverySemanticProblemAtOnce) {
  const Problems problems = ProblemsOf(
      "iommus { id: \"a\" }\n"
      "devices { id: \"d\"\n"
      "  iommu: \"nowhere\"\n"
      "  default_domain: 9\n"
      "  pasid_bits: 99\n"
      "}\n");
  const std::string all = absl::StrJoin(problems, "\n");
  for (const char* place : {":1:1: iommus[0]", ":3:3: devices[0].iommu",
                            ":4:3: devices[0].default_domain", ":5:3: devices[0].pasid_bits"}) {
    EXPECT_THAT(all, HasSubstr(place));
  }
}

TEST(TopologyTest, RefusesAFileThatCanNotBeRead) {
  Problems problems;
  LoadTopology("no/such/file", &problems);
  LoadTopology(std::getenv("TEST_TMPDIR"), &problems);
  EXPECT_THAT(problems, ElementsAre("topology: no/such/file: No such file or directory",
                                    AllOf(HasSubstr(std::getenv("TEST_TMPDIR")),
                                          HasSubstr("is a directory"))));
}

}  // namespace
}  // namespace viommu
