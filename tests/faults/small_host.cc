#include "tests/faults/small_host.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_ste.h"

namespace viommu::faults {

namespace {

constexpr uint64_t kDescriptorOffset = 2048;  // No entry that leads anywhere is there.

std::vector<DeviceSpec> Devices(ReservedRegionType interrupts) {
  const char* const groups[kDevices] = {"a", "pair", "pair", "b", "c"};
  const int pasid_bits[kDevices] = {8, 6, 7, 0, 0};
  std::vector<DeviceSpec> devices;
  for (int i = 0; i < kDevices; ++i) {
    DeviceSpec device;
    device.pci_address = absl::StrFormat("0000:%02x:00.0", i + 1);
    device.id = DeviceId(i);
    device.iommu = i < 3 ? "near" : "far";
    device.group = groups[i];
    device.pasid_bits = pasid_bits[i];
    device.ats = i % 2 == 0;
    device.allow_identity = i == 0 || i == 4;
    device.reserved_regions = {{IovaRange{0xfee00000, 0xfeefffff}, interrupts}};
    if (i == 0) {
      device.reserved_regions.push_back(
          {IovaRange{0x50000000, 0x500fffff}, ReservedRegionType::kSwMsi});
    }
    devices.push_back(device);
  }
  return devices;
}

}  // namespace

Topology VtdHost() {
  Topology host;
  host.iommus.resize(2);
  host.iommus[0].id = "near";
  host.iommus[0].first_stage = true;
  host.iommus[0].nesting = true;
  host.iommus[1].id = "far";
  host.iommus[1].domain_id_bits = 4;
  host.devices = Devices(ReservedRegionType::kMsi);
  return host;
}

Topology SmmuHost() {
  Topology host;
  host.iommus.resize(2);
  for (IommuSpec& unit : host.iommus) unit.architecture = IommuArchitecture::kSmmuV3;
  host.iommus[0].id = "near";
  host.iommus[0].smmu_v3.nesting = true;
  host.iommus[0].smmu_v3.substream_id_bits = 20;
  host.iommus[1].id = "far";
  host.iommus[1].smmu_v3.stage1 = false;
  host.devices = Devices(ReservedRegionType::kReserved);
  return host;
}

std::string GuestTable(IommuArchitecture architecture) {
  const bool arm = architecture == IommuArchitecture::kSmmuV3;
  // x86-64: present, writable, user. Arm: a table; a page, for users, accessed, not global.
  const uint64_t table = arm ? 0x3 : 0x7;
  const uint64_t leaf = arm ? 0xc43 : 0x7;
  uint64_t entries[kPage / 8] = {};
  entries[0] = entries[1] = kGuestTable | table;
  for (uint64_t page = 0; page < 8; ++page) {
    entries[kPlaces[0] / kPage + page] = (kPlaces[1] + page * kPage) | leaf;
  }
  if (arm) {
    smmu::CdFields fields;
    fields.root = PhysAddr{kGuestTable};  // The guest knows no other address.
    fields.asid = 7;
    const smmu::Cd descriptor = smmu::MakeCd(fields);
    std::copy(descriptor.begin(), descriptor.end(), entries + kDescriptorOffset / 8);
  }
  std::string bytes(kPage, '\0');
  std::memcpy(&bytes[0], entries, kPage);
  return bytes;
}

ArmSmmuV3Stage1 GuestEntry() {
  ArmSmmuV3Stage1 entry;
  entry.ste[0] = smmu::kSteValid | (kGuestTable + kDescriptorOffset) |
                 smmu::kSteConfig.Put(static_cast<uint64_t>(smmu::SteConfig::kStage1));
  entry.ste[1] = smmu::kSteEats.Put(static_cast<uint64_t>(smmu::AtsTreatment::kTranslate));
  return entry;
}

ObjectRef Named(const char* kind, uint64_t number) {
  return {absl::StrCat(kind, number), std::nullopt};
}

std::string DeviceId(uint64_t device) { return absl::StrCat("dev", device); }

}  // namespace viommu::faults
