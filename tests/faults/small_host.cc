#include "tests/faults/small_host.h"

#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace viommu::faults {

Topology SmallHost() {
  Topology host;
  host.iommus.resize(2);
  host.iommus[0].id = "near";
  host.iommus[0].first_stage = true;
  host.iommus[0].nesting = true;
  host.iommus[1].id = "far";
  host.iommus[1].domain_id_bits = 4;
  const char* const groups[kDevices] = {"a", "pair", "pair", "b", "c"};
  const int pasid_bits[kDevices] = {8, 6, 7, 0, 0};
  for (int i = 0; i < kDevices; ++i) {
    DeviceSpec device;
    device.pci_address = absl::StrFormat("0000:%02x:00.0", i + 1);
    device.id = DeviceId(i);
    device.iommu = i < 3 ? "near" : "far";
    device.group = groups[i];
    device.pasid_bits = pasid_bits[i];
    device.ats = i % 2 == 0;
    device.allow_identity = i == 0 || i == 4;
    device.reserved_regions = {{IovaRange{0xfee00000, 0xfeefffff}, ReservedRegionType::kMsi}};
    if (i == 0) {
      device.reserved_regions.push_back(
          {IovaRange{0x50000000, 0x500fffff}, ReservedRegionType::kSwMsi});
    }
    host.devices.push_back(device);
  }
  return host;
}

std::string GuestTable() {
  constexpr uint64_t kRights = 7;  // Present, writable, user.
  uint64_t entries[kPage / 8] = {};
  entries[0] = entries[1] = kGuestTable | kRights;
  for (uint64_t page = 0; page < 8; ++page) {
    entries[kPlaces[0] / kPage + page] = (kPlaces[1] + page * kPage) | kRights;
  }
  std::string bytes(kPage, '\0');
  std::memcpy(&bytes[0], entries, kPage);
  return bytes;
}

ObjectRef Named(const char* kind, uint64_t number) {
  return {absl::StrCat(kind, number), std::nullopt};
}

std::string DeviceId(uint64_t device) { return absl::StrCat("dev", device); }

}  // namespace viommu::faults
