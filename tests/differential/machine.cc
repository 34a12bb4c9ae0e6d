#include "tests/differential/machine.h"

#include <algorithm>
#include <utility>

#include "engine/backend/fake/fake_backend.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/pagetable/store.h"

namespace viommu::differential {
namespace {

constexpr IovaRange kMsiWindow{0xfee00000, 0xfeefffff};
constexpr int kPhysicalShift = 32;  // The fake puts a region at its uid, this far to the left.

// The fake with as much of a simulation as the host's own mappings need.
class SimulatedBackend : public FakeBackend, private Simulation {
 public:
  using FakeBackend::FakeBackend;

  Simulation* simulation() override { return this; }

 private:
  DmaOutcome Dma(DeviceIndex, std::optional<uint32_t>, Iova, bool, absl::Span<char>) override {
    return {};
  }
  absl::Status ReadMemory(Uid, uint64_t, absl::Span<char>) override { return absl::OkStatus(); }
  absl::Status WriteMemory(Uid, uint64_t, absl::Span<const char>) override {
    return absl::OkStatus();
  }
  absl::StatusOr<PhysAddr> PhysicalAddress(Uid region, uint64_t offset_bytes) override {
    return PhysAddr{(region << kPhysicalShift) + offset_bytes};
  }
  absl::Status HostMap(DeviceIndex, const BackendMapping&) override { return absl::OkStatus(); }
  absl::Status HostUnmap(DeviceIndex, IovaRange) override { return absl::OkStatus(); }
  absl::Status HostUnmapDeferred(DeviceIndex, IovaRange) override { return absl::OkStatus(); }
  absl::Status HostFlush(DeviceIndex) override { return absl::OkStatus(); }
  std::vector<TableEntryDump> DumpTables(DeviceIndex, std::optional<uint32_t>, Iova) override {
    return {};
  }
};

DeviceSpec MakeDevice(int number, const std::string& iommu, const std::string& group) {
  DeviceSpec device;
  device.id = "dev" + std::to_string(number);
  device.iommu = iommu;
  device.group = group;
  device.pci_address = "0000:0" + std::to_string(number) + ":00.0";
  device.reserved_regions = {{kMsiWindow, ReservedRegionType::kMsi}};
  return device;
}

}  // namespace

Topology MachineTopology(BackendKind kind) {
  Topology topology;
  topology.iommus.resize(3);
  for (size_t i = 0; i < topology.iommus.size(); ++i) {
    topology.iommus[i].id = "unit" + std::to_string(i);
  }
  topology.iommus[0].numa_node = 0;
  topology.iommus[2].levels_3 = true;
  topology.iommus[2].levels_4 = false;
  topology.iommus[2].guest_address_width_bits = 39;
  topology.iommus[2].pass_through = false;
  topology.iommus[2].deferred_flush = false;
  topology.devices = {MakeDevice(0, "unit0", "g0"), MakeDevice(1, "unit0", "g1"),
                      MakeDevice(2, "unit0", "g1"), MakeDevice(3, "unit0", "g3"),
                      MakeDevice(4, "unit0", "g4"), MakeDevice(5, "unit1", "g5"),
                      MakeDevice(6, "unit1", "g6"), MakeDevice(7, "unit2", "g7"),
                      MakeDevice(8, "unit0", "g8"), MakeDevice(9, "unit0", "g8")};
  std::vector<DeviceSpec>& devices = topology.devices;
  devices[2].reserved_regions.push_back({{0x20000, 0x23fff}, ReservedRegionType::kReserved});
  devices[3].reserved_regions.push_back({{0x10000, 0x1ffff}, ReservedRegionType::kDirect});
  devices[4].untrusted = true;
  if (kind == BackendKind::kFake) devices[4].default_domain = DefaultDomainType::kIdentity;
  devices[5].allow_identity = true;
  devices[6].reserved_regions.push_back({{0x30000, 0x33fff}, ReservedRegionType::kDirectRelaxable});
  devices[7].allow_identity = true;
  for (const size_t device : {8, 9}) {
    devices[device].allow_identity = true;
    devices[device].default_domain = DefaultDomainType::kIdentity;
  }
  return topology;
}

OwnerLimits MachineLimits(uint64_t variant) {
  OwnerLimits limits;
  limits.max_memory_regions = 2 + variant % 3;
  limits.max_ioas = 2 + variant / 3 % 3;
  limits.max_domains = 2 + variant / 9 % 3;
  limits.max_mappings = variant % 2 == 0 ? 12 : 30;
  limits.max_mapped_bytes = variant % 5 == 0 ? 0x40000 : 0x800000;
  limits.max_region_bytes_total = variant % 4 == 0 ? 0x500000 : 0x1000000;
  limits.max_operations_in_flight = 1;
  limits.max_streams = 1;
  return limits;
}

std::unique_ptr<Backend> MakeBackend(BackendKind kind, const Topology& topology) {
  if (kind == BackendKind::kFake) return std::make_unique<SimulatedBackend>(topology);
  SoftBackendOptions options;
  options.table_arena_bytes = uint64_t{64} << 20;
  auto backend = SoftBackend::Create(topology, options, PlainStore());
  return backend.ok() ? *std::move(backend) : nullptr;
}

const IommuSpec& Hardware::UnitOf(size_t device) const {
  return *std::find_if(topology.iommus.begin(), topology.iommus.end(), [&](const IommuSpec& unit) {
    return unit.id == topology.devices[device].iommu;
  });
}

int Hardware::WidthBits(size_t device) const {
  if (kind == BackendKind::kFake) return 48;
  return UnitOf(device).guest_address_width_bits;
}

bool Hardware::Compatible(size_t device, size_t maker) const {
  // The fake has a format for each unit. The soft one has tables of so many levels, which a unit
  // walks or does not.
  if (kind == BackendKind::kFake) return UnitOf(device).id == UnitOf(maker).id;
  return UnitOf(device).levels_4 == UnitOf(maker).levels_4;
}

bool Hardware::HasPassThrough(size_t device) const { return UnitOf(device).pass_through; }

bool Hardware::DefersFlushes(size_t device) const { return UnitOf(device).deferred_flush; }

}  // namespace viommu::differential
