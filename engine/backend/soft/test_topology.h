// engine/backend/soft/test_topology.h -- A small host for tests of the soft backend.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_TEST_TOPOLOGY_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_TEST_TOPOLOGY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/backend/topology.h"
#include "engine/base/address.h"

namespace viommu {

// Positions in TestTopology().devices.
enum TestDevice : uint32_t {
  kDiskA,      // dmar0; a group of its own, as all but the two functions.
  kDiskB,      // dmar0; keeps translations of its own (ATS).
  kFunction0,  // dmar0, group "pair".
  kFunction1,  // dmar0, group "pair".
  kHostNic,    // dmar0; IDENTITY by default.
  kFarDisk,    // dmar1.
  kUsb,        // dmar1; DIRECT region kUsbRegion.
  kThunder,    // dmar1; untrusted; a platform device without a bus address; would like ATS.
  kTestDevices,
};

inline constexpr IovaRange kUsbRegion = {0x7d80'0000, 0x7d81'ffff};

// Two units, "dmar0" of 4 levels and 48 bits, "dmar1" of 3 to 5 levels and 57 bits; eight devices.
inline Topology TestTopology() {
  Topology topology;
  topology.iommus.resize(2);
  topology.iommus[0].id = "dmar0";
  topology.iommus[1].id = "dmar1";
  topology.iommus[1].levels_3 = true;
  topology.iommus[1].levels_5 = true;
  topology.iommus[1].guest_address_width_bits = 57;
  const struct {
    const char *id, *address, *iommu, *group;
  } kDevices[kTestDevices] = {
      {"disk-a", "0000:00:02.0", "dmar0", "disk-a"}, {"disk-b", "0000:00:03.0", "dmar0", "disk-b"},
      {"fn0", "0000:01:00.0", "dmar0", "pair"},      {"fn1", "0000:01:00.1", "dmar0", "pair"},
      {"nic", "0000:02:1f.0", "dmar0", "nic"},       {"far-disk", "0000:80:02.0", "dmar1", "far"},
      {"usb", "0000:80:14.0", "dmar1", "usb"},       {"thunder", "", "dmar1", "thunder"},
  };
  for (const auto& d : kDevices) {
    DeviceSpec device;
    device.id = d.id;
    device.pci_address = d.address;
    device.iommu = d.iommu;
    device.group = d.group;
    topology.devices.push_back(device);
  }
  topology.devices[kHostNic].allow_identity = true;
  topology.devices[kHostNic].default_domain = DefaultDomainType::kIdentity;
  topology.devices[kUsb].reserved_regions = {{kUsbRegion, ReservedRegionType::kDirect}};
  topology.devices[kThunder].untrusted = true;
  topology.devices[kDiskB].ats = topology.devices[kThunder].ats = true;
  return topology;
}

// The same host with first stages, nesting and PASIDs: of 20 bits, but for the two functions of the
// pair, 9 and 8.
inline Topology StagesTopology() {
  Topology topology = TestTopology();
  for (IommuSpec& unit : topology.iommus) {
    unit.first_stage = unit.first_stage_leaf_1g = unit.nesting = true;
    unit.supervisor_requests = unit.extended_access = true;
  }
  topology.iommus[1].first_stage_levels_5 = true;
  for (DeviceSpec& device : topology.devices) device.pasid_bits = 20;
  topology.devices[kFunction0].pasid_bits = 9;
  topology.devices[kFunction1].pasid_bits = 8;
  return topology;
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_TEST_TOPOLOGY_H_
