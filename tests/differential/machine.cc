#include "tests/differential/machine.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

#include "engine/backend/fake/fake_backend.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/base/errors.h"
#include "engine/pagetable/store.h"

namespace viommu::differential {
namespace {

constexpr IovaRange kMsiWindow{0xfee00000, 0xfeefffff};
constexpr size_t kFaulting[] = {0, 1, 2, 8};
constexpr int kPhysicalShift = 32;  // The fake puts a region at its uid, this far to the left.

// The fake with as much of a simulation as the host's own mappings and page faults need.
class SimulatedBackend : public FakeBackend, private Simulation {
 public:
  using FakeBackend::FakeBackend;

  Simulation* simulation() override { return this; }
  absl::Status RespondPageGroup(const PageGroupResponse& response) override {
    outstanding_.erase(KeyOf(response.group));
    return FakeBackend::RespondPageGroup(response);
  }

 private:
  using Key = std::tuple<DeviceIndex, std::optional<uint32_t>, uint32_t>;

  static Key KeyOf(const PageGroup& group) { return {group.device, group.pasid, group.group}; }

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
  absl::Status RaisePageFault(const PageFault& fault) override {
    const Key key = KeyOf({fault.device, fault.pasid, fault.group});
    if (outstanding_.count(key) != 0) {
      return Error(absl::StatusCode::kFailedPrecondition, "PAGE_GROUP_OUTSTANDING",
                   "the group waits for its answer");
    }
    if (fault.last) outstanding_.insert(key);
    return ReportPageFault(fault);
  }
  std::vector<PageGroupResponse> PageResponses(DeviceIndex device) override {
    std::vector<PageGroupResponse> told = ResponsesTo(device);
    const size_t kept = std::min(told.size(), kKeptPageResponses);
    return {std::prev(told.end(), static_cast<ptrdiff_t>(kept)), told.end()};
  }
  std::vector<TableEntryDump> DumpTables(DeviceIndex, std::optional<uint32_t>, Iova) override {
    return {};
  }

  std::set<Key> outstanding_;  // Groups whose answers devices wait for.
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

// Paging tables that the processor could walk as well.
bool IsFirstStage(const IommuSpec& unit, const Making& making) {
  const bool first =
      unit.architecture == IommuArchitecture::kSmmuV3 ? unit.smmu_v3.stage1 : unit.first_stage;
  return first && !making.nest_parent;
}

void MakeSmmus(Topology& topology) {
  for (IommuSpec& unit : topology.iommus) {
    unit.architecture = IommuArchitecture::kSmmuV3;
    unit.smmu_v3.nesting = true;
    unit.smmu_v3.substream_id_bits = 20;
  }
  topology.iommus[1].smmu_v3.substream_id_bits = 2;
  topology.iommus[1].smmu_v3.oas_bits = 44;
  SmmuV3Spec& last = topology.iommus[2].smmu_v3;
  last.stage1 = last.nesting = false;
  last.substream_id_bits = 0;
  last.oas_bits = 40;
  for (const size_t device : kFaulting) {
    topology.devices[device].pci_address.clear();
    topology.devices[device].stream_id = 0x4000 + static_cast<uint32_t>(device);
    topology.devices[device].stall = true;
  }
  topology.iommus[0].smmu_v3.stall = true;
}

// Those that FakeViommus knows to be SMMUv3s.
void NameSmmus(Topology& topology) {
  topology.iommus[0].id = "smmu0";
  topology.iommus[1].id = "smmu1";
  for (DeviceSpec& device : topology.devices) {
    if (device.iommu == "unit0") device.iommu = "smmu0";
    if (device.iommu == "unit1") device.iommu = "smmu1";
  }
}

void MakePageRequesters(Topology& topology) {
  for (const size_t device : kFaulting) {
    topology.devices[device].ats = topology.devices[device].pri = true;
  }
  topology.iommus[0].page_requests = true;
}

}  // namespace

Topology MachineTopology(BackendKind kind) {
  Topology topology;
  topology.iommus.resize(3);
  for (size_t i = 0; i < topology.iommus.size(); ++i) {
    topology.iommus[i].id = "unit" + std::to_string(i);
  }
  topology.iommus[0].numa_node = 0;
  topology.iommus[0].first_stage = topology.iommus[0].nesting = true;
  topology.iommus[0].supervisor_requests = true;
  topology.iommus[1].first_stage = topology.iommus[1].nesting = true;
  topology.iommus[1].first_stage_levels_5 = true;
  topology.iommus[1].extended_access = true;
  topology.iommus[1].pasid_bits = 2;
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
  const Hardware hardware{kind, {}};
  if (hardware.IsFake()) devices[4].default_domain = DefaultDomainType::kIdentity;
  devices[5].allow_identity = true;
  devices[6].reserved_regions.push_back({{0x30000, 0x33fff}, ReservedRegionType::kDirectRelaxable});
  devices[7].allow_identity = true;
  devices[0].pasid_bits = devices[5].pasid_bits = devices[7].pasid_bits = 2;
  devices[1].pasid_bits = 6;
  devices[2].pasid_bits = 1;
  devices[6].pasid_bits = 20;
  devices[8].pasid_bits = 4;
  for (const size_t device : {5, 9}) {
    devices[device].reserved_regions.push_back({{0x28000, 0x2bfff}, ReservedRegionType::kSwMsi});
  }
  for (const size_t device : {8, 9}) {
    devices[device].allow_identity = true;
    devices[device].default_domain = DefaultDomainType::kIdentity;
  }
  if (hardware.IsSmmu()) {
    MakeSmmus(topology);
  } else {
    MakePageRequesters(topology);
  }
  if (kind == BackendKind::kFakeSmmu) NameSmmus(topology);
  return topology;
}

OwnerLimits MachineLimits(uint64_t variant) {
  OwnerLimits limits;
  limits.max_memory_regions = 2 + variant % 3;
  limits.max_ioas = 2 + variant / 3 % 3;
  limits.max_domains = 4 + variant / 9 % 3;
  limits.max_mappings = variant % 2 == 0 ? 12 : 30;
  limits.max_mapped_bytes = variant % 5 == 0 ? 0x40000 : 0x800000;
  limits.max_region_bytes_total = variant % 4 == 0 ? 0x500000 : 0x1000000;
  limits.max_pasids = 2 + variant % 3;
  limits.max_fault_queues = 2 + variant % 2;
  limits.max_fault_groups = variant % 3 == 0 ? 300 : 7;
  limits.max_viommus = 1 + variant % 2;
  limits.max_queued_events = 4 + variant % 3;
  limits.max_operations_in_flight = 1;
  limits.max_streams = 1;
  return limits;
}

std::unique_ptr<Backend> MakeBackend(BackendKind kind, const Topology& topology) {
  if (Hardware{kind, {}}.IsFake()) return std::make_unique<SimulatedBackend>(topology);
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

int Hardware::WidthBits(const Making& making) const {
  constexpr int kFakeBits = 48;
  // Half of the addresses of a first stage are a process's, the lower ones.
  if (making.stage1.has_value()) return making.stage1->address_width_bits - 1;
  if (IsFake()) return kFakeBits;
  if (making.guest) return 48;
  const IommuSpec& unit = UnitOf(making.device);
  if (kind == BackendKind::kSoftSmmu) {
    return IsFirstStage(unit, making) ? 48 : unit.smmu_v3.oas_bits;
  }
  if (IsFirstStage(unit, making)) return unit.first_stage_levels_5 ? 56 : 47;
  return unit.guest_address_width_bits;
}

bool Hardware::Holds(const Making& making, uint64_t permission) const {
  // A nest parent of VT-d can not hold what is only read (erratum 772415), a first stage nothing
  // that is only written. The fake takes what is made for PASIDs for a first stage.
  if (permission == 1) return kind == BackendKind::kSoftSmmu || !making.nest_parent;
  if (permission != 2) return true;
  if (IsFake()) return !making.pasid;
  return !IsFirstStage(UnitOf(making.device), making);
}

bool Hardware::Compatible(size_t device, const Making& making) const {
  const IommuSpec& unit = UnitOf(device);
  const IommuSpec& maker = UnitOf(making.device);
  // The fake has a format for each unit, and a domain is of one SMMUv3 alone.
  if (kind != BackendKind::kSoft) return unit.id == maker.id;
  if (making.stage1.has_value()) {
    const VtdStage1& stage1 = *making.stage1;
    return unit.nesting && (stage1.address_width_bits == 48 || unit.first_stage_levels_5) &&
           (!stage1.supervisor_requests || unit.supervisor_requests) &&
           (!stage1.extended_accessed || unit.extended_access);
  }
  // The soft one has tables of so many levels, which a unit walks or does not.
  if (IsFirstStage(maker, making)) {
    return unit.first_stage && (unit.first_stage_levels_5 || !maker.first_stage_levels_5);
  }
  return unit.levels_4 == maker.levels_4 && (unit.nesting || !making.nest_parent);
}

uint32_t Hardware::HighestPasid(const std::vector<size_t>& devices) const {
  int bits = 20;
  for (const size_t device : devices) {
    bits = std::min({bits, topology.devices[device].pasid_bits, PasidBitsOf(device)});
  }
  return (uint32_t{1} << bits) - 1;
}

int Hardware::PasidBitsOf(size_t device) const {
  const IommuSpec& unit = UnitOf(device);
  return IsSmmu() ? unit.smmu_v3.substream_id_bits : unit.pasid_bits;
}

bool Hardware::HasFirstStage(size_t device) const { return IsFirstStage(UnitOf(device), {}); }

bool Hardware::Nests(size_t device) const {
  const IommuSpec& unit = UnitOf(device);
  return IsSmmu() ? unit.smmu_v3.nesting : unit.nesting;
}

bool Hardware::HasPassThrough(size_t device) const {
  return IsSmmu() || UnitOf(device).pass_through;
}

bool Hardware::HasPageFaults(size_t device) const {
  const DeviceSpec& spec = topology.devices[device];
  const IommuSpec& unit = UnitOf(device);
  return IsSmmu() ? unit.smmu_v3.stall && spec.stall : unit.page_requests && spec.ats && spec.pri;
}

bool Hardware::DefersFlushes(size_t device) const { return UnitOf(device).deferred_flush; }

}  // namespace viommu::differential
