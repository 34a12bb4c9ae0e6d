#include "tests/property/small_host.h"

#include "absl/strings/str_format.h"

namespace viommu::property {
namespace {

IommuSpec VtdUnit(const char* id, bool first_stage, bool five_levels) {
  IommuSpec unit;
  unit.id = id;
  unit.first_stage = first_stage;
  unit.nesting = first_stage;
  unit.levels_5 = five_levels;
  unit.first_stage_levels_5 = first_stage && five_levels;
  unit.guest_address_width_bits = five_levels ? 57 : 48;
  return unit;
}

IommuSpec Smmu(const char* id, bool nesting) {
  IommuSpec unit;
  unit.id = id;
  unit.architecture = IommuArchitecture::kSmmuV3;
  unit.smmu_v3.nesting = nesting;
  unit.smmu_v3.substream_id_bits = 20;
  return unit;
}

struct Seat {
  const char* iommu;
  const char* group;
  bool ats;
  bool pasids;
};

std::vector<DeviceSpec> Devices(const Seat (&seats)[kDevices], int pasid_bits,
                                ReservedRegionType interrupts) {
  std::vector<DeviceSpec> devices;
  for (int i = 0; i < kDevices; ++i) {
    DeviceSpec device;
    device.pci_address = DeviceId(i);
    device.id = device.pci_address;
    device.iommu = seats[i].iommu;
    device.group = seats[i].group;
    device.ats = seats[i].ats;
    device.pasid_bits = seats[i].pasids ? pasid_bits : 0;
    device.reserved_regions = {{kMsiWindow, interrupts}};
    devices.push_back(device);
  }
  devices[4].allow_identity = true;
  devices[4].default_domain = DefaultDomainType::kIdentity;
  devices[5].reserved_regions.push_back(
      {IovaRange{0x7f000000, 0x7f00ffff}, ReservedRegionType::kDirect});
  devices[6].allow_identity = true;
  for (const int nesting : {6, 7}) {
    devices[nesting].reserved_regions.push_back(
        {IovaRange{0x40004000, 0x40005fff}, ReservedRegionType::kSwMsi});
  }
  return devices;
}

}  // namespace

SmallHost VtdHost() {
  const Seat seats[kDevices] = {{"near", "a", true, true},      {"near", "pair", false, false},
                                {"near", "pair", true, false},  {"far", "b", false, true},
                                {"far", "c", true, false},      {"near", "fixed", false, false},
                                {"nest", "d", true, true},      {"nest", "twins", true, true},
                                {"nest", "twins", false, true}, {"deep", "e", false, true}};
  SmallHost host;
  host.topology.iommus = {VtdUnit("near", false, false), VtdUnit("far", false, true),
                          VtdUnit("nest", true, false), VtdUnit("deep", true, true)};
  host.topology.devices = Devices(seats, /*pasid_bits=*/7, ReservedRegionType::kMsi);
  host.pasids = {1, 70};
  host.wide_pasid = 200;
  for (const char* place : {"second stage", "first stage", "nest parent", "nested"}) {
    host.kinds.push_back(place);
    host.kinds.push_back(std::string(place) + " by PASID");
  }
  return host;
}

SmallHost SmmuHost() {
  const Seat seats[kDevices] = {{"near", "a", true, true},       {"near", "pair", false, false},
                                {"near", "pair", true, false},   {"far", "b", false, true},
                                {"far", "c", true, false},       {"near", "fixed", false, false},
                                {"nest", "d", true, true},       {"nest", "twins", true, false},
                                {"nest", "twins", false, false}, {"old", "e", true, false}};
  IommuSpec far = Smmu("far", false);
  far.smmu_v3.stage1 = false;
  far.smmu_v3.substream_id_bits = 0;
  IommuSpec old = Smmu("old", true);
  old.smmu_v3.range_invalidation = false;
  old.smmu_v3.two_level_stream_table = false;
  old.smmu_v3.asid_bits = 8;
  old.smmu_v3.vmid_bits = 8;
  old.smmu_v3.two_level_cd = false;
  old.smmu_v3.substream_id_bits = 8;
  SmallHost host;
  host.topology.iommus = {Smmu("near", false), far, Smmu("nest", true), old};
  host.topology.devices = Devices(seats, /*pasid_bits=*/11, ReservedRegionType::kReserved);
  host.topology.devices[3].pasid_bits = 0;
  host.pasids = {1, 1030};
  host.wide_pasid = 3000;
  host.kinds = {"second stage", "first stage",      "first stage by PASID", "nest parent",
                "nested",       "nested, bypassed", "nested, aborted"};
  return host;
}

std::string DeviceId(int device) { return absl::StrFormat("0000:%02x:00.0", device + 1); }

}  // namespace viommu::property
