// engine/backend/soft/soft_machine.h -- The simulated host as it stands: memory, remapping units,
// and which device sits where. Which domain a device is on is SoftBackend's business.
//
// Thread-safe; what is const here never changes.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SOFT_MACHINE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SOFT_MACHINE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/smmu_port.h"
#include "engine/backend/soft/smmu_unit.h"
#include "engine/backend/soft/soft_memory.h"
#include "engine/backend/soft/unit_port.h"
#include "engine/backend/soft/vtd_port.h"
#include "engine/backend/soft/vtd_unit.h"
#include "engine/backend/table_view.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"

namespace viommu {

class SoftMachine {
 public:
  // A machine whose devices are all blocked; translation is not yet enabled.
  // kInvalidArgument, INVALID_TOPOLOGY: the violations say why. Also as SoftMemory::Create.
  // kResourceExhausted: no table memory.
  static absl::StatusOr<std::unique_ptr<SoftMachine>> Create(Topology topology,
                                                             uint64_t arena_bytes);

  const Topology& topology() const { return topology_; }
  SoftMemory& memory() { return *memory_; }
  const SoftMemory& memory() const { return *memory_; }

  // Of a device behind a VT-d unit.
  VtdUnit& unit_of(DeviceIndex device) { return *UnitOf(device).vtd; }
  const VtdUnit& unit_of(DeviceIndex device) const { return *UnitOf(device).vtd; }
  uint16_t source_id_of(DeviceIndex device) const {
    return static_cast<uint16_t>(seats_[device].requester);
  }
  // Null: its unit is another one.
  VtdUnit* find_vtd(DeviceIndex device) { return UnitOf(device).vtd.get(); }
  // Of a device behind an SMMUv3.
  SmmuUnit& smmu_of(DeviceIndex device) { return *UnitOf(device).smmu; }
  const SmmuUnit& smmu_of(DeviceIndex device) const { return *UnitOf(device).smmu; }
  // Null: its unit is another one.
  SmmuUnit* find_smmu(DeviceIndex device) { return UnitOf(device).smmu.get(); }
  // As the unit of any architecture knows the device.
  uint32_t requester_of(DeviceIndex device) const { return seats_[device].requester; }

  // Makes the ports, once, which write by `store` what a device may be reading.
  template <typename Store>
  void MakePorts(const Store& store) {
    for (const Unit& unit : units_) {
      if (unit.smmu != nullptr) {
        ports_.push_back(std::make_unique<SmmuPort<Store>>(unit.smmu.get(), store));
      } else {
        ports_.push_back(std::make_unique<VtdPort<Store>>(unit.vtd.get(), store));
      }
    }
  }
  // Of a device, once they are made.
  UnitPort& port_of(DeviceIndex device) { return *ports_[seats_[device].unit]; }
  const UnitPort& port_of(DeviceIndex device) const { return *ports_[seats_[device].unit]; }

  // kInternal: the hardware does not follow.
  absl::Status EnableTranslation();

  // As Backend::Quarantined, once the ports are made.
  std::vector<DeviceIndex> Quarantined() const;
  HardwareRegisters DescribeHardware(DeviceIndex device) const;
  BackendStats Stats() const;
  std::vector<QueueState> Queues() const;
  DmaOutcome Dma(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova, bool write,
                 absl::Span<char> data);
  std::vector<TableEntryDump> DumpTables(DeviceIndex device, std::optional<uint32_t> pasid,
                                         Iova iova) const;
  TranslationExplanation ExplainTranslation(DeviceIndex device, std::optional<uint32_t> pasid,
                                            Iova iova, bool write) const;
  absl::StatusOr<TableImage> ExportTables() const;

 private:
  // One of the two.
  struct Unit {
    std::unique_ptr<VtdUnit> vtd;
    std::unique_ptr<SmmuUnit> smmu;
  };
  struct Seat {
    size_t unit = 0;  // In units_ and ports_.
    uint32_t requester = 0;
  };

  explicit SoftMachine(Topology topology) : topology_(std::move(topology)) {}
  absl::Status AddVtdUnit(const IommuSpec& spec);
  absl::Status AddSmmu(const IommuSpec& spec);
  Unit& UnitOf(DeviceIndex device) { return units_[seats_[device].unit]; }
  const Unit& UnitOf(DeviceIndex device) const { return units_[seats_[device].unit]; }
  DmaOutcome DmaBehindVtd(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova, bool write,
                          absl::Span<char> data);
  DmaOutcome DmaBehindSmmu(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova, bool write,
                           absl::Span<char> data);

  const Topology topology_;
  std::unique_ptr<SoftMemory> memory_;
  std::vector<Unit> units_;                       // As Topology::iommus.
  std::vector<std::unique_ptr<UnitPort>> ports_;  // As Topology::iommus.
  std::vector<Seat> seats_;                       // As Topology::devices.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_MACHINE_H_
