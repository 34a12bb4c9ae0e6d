#include "tests/property/small_host.h"

#include "absl/strings/str_format.h"

namespace viommu::property {
namespace {

constexpr int kPasidBits = 7;

IommuSpec Unit(const char* id, bool first_stage, bool five_levels) {
  IommuSpec unit;
  unit.id = id;
  unit.first_stage = first_stage;
  unit.nesting = first_stage;
  unit.levels_5 = five_levels;
  unit.first_stage_levels_5 = first_stage && five_levels;
  unit.guest_address_width_bits = five_levels ? 57 : 48;
  return unit;
}

}  // namespace

Topology SmallHost() {
  Topology host;
  host.iommus = {Unit("near", false, false), Unit("far", false, true), Unit("nest", true, false),
                 Unit("deep", true, true)};
  const struct {
    const char* iommu;
    const char* group;
    bool ats;
    bool pasids;
  } kSeats[kDevices] = {{"near", "a", true, true},      {"near", "pair", false, false},
                        {"near", "pair", true, false},  {"far", "b", false, true},
                        {"far", "c", true, false},      {"near", "fixed", false, false},
                        {"nest", "d", true, true},      {"nest", "twins", true, true},
                        {"nest", "twins", false, true}, {"deep", "e", false, true}};
  for (int i = 0; i < kDevices; ++i) {
    DeviceSpec device;
    device.pci_address = DeviceId(i);
    device.id = device.pci_address;
    device.iommu = kSeats[i].iommu;
    device.group = kSeats[i].group;
    device.ats = kSeats[i].ats;
    device.pasid_bits = kSeats[i].pasids ? kPasidBits : 0;
    device.reserved_regions = {{kMsiWindow, ReservedRegionType::kMsi}};
    host.devices.push_back(device);
  }
  host.devices[4].allow_identity = true;
  host.devices[4].default_domain = DefaultDomainType::kIdentity;
  host.devices[5].reserved_regions.push_back(
      {IovaRange{0x7f000000, 0x7f00ffff}, ReservedRegionType::kDirect});
  host.devices[6].allow_identity = true;
  for (const int nesting : {6, 7}) {
    host.devices[nesting].reserved_regions.push_back(
        {IovaRange{0x40004000, 0x40005fff}, ReservedRegionType::kSwMsi});
  }
  return host;
}

std::string DeviceId(int device) { return absl::StrFormat("0000:%02x:00.0", device + 1); }

}  // namespace viommu::property
