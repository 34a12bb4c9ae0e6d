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
#include "engine/backend/soft/soft_memory.h"
#include "engine/backend/soft/unit_port.h"
#include "engine/backend/soft/vtd_port.h"
#include "engine/backend/soft/vtd_unit.h"
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
  VtdUnit& unit_of(DeviceIndex device) { return *seats_[device].vtd; }
  const VtdUnit& unit_of(DeviceIndex device) const { return *seats_[device].vtd; }
  uint16_t source_id_of(DeviceIndex device) const {
    return static_cast<uint16_t>(seats_[device].requester);
  }
  // As the unit of any architecture knows the device.
  uint32_t requester_of(DeviceIndex device) const { return seats_[device].requester; }

  // Makes the ports, once, which write by `store` what a device may be reading.
  template <typename Store>
  void MakePorts(const Store& store) {
    for (const auto& unit : units_) {
      ports_.push_back(std::make_unique<VtdPort<Store>>(unit.get(), store));
    }
  }
  // Of a device, once they are made.
  UnitPort& port_of(DeviceIndex device) { return *ports_[seats_[device].port]; }
  const UnitPort& port_of(DeviceIndex device) const { return *ports_[seats_[device].port]; }

  // kInternal: the hardware does not follow.
  absl::Status EnableTranslation();

  HardwareRegisters DescribeHardware(DeviceIndex device) const;
  BackendStats Stats() const;
  std::vector<QueueState> Queues() const;
  DmaOutcome Dma(DeviceIndex device, std::optional<uint32_t> pasid, Iova iova, bool write,
                 absl::Span<char> data);
  std::vector<TableEntryDump> DumpTables(DeviceIndex device, std::optional<uint32_t> pasid,
                                         Iova iova);

 private:
  struct Seat {
    VtdUnit* vtd = nullptr;
    size_t port = 0;  // In ports_.
    uint32_t requester = 0;
  };

  explicit SoftMachine(Topology topology) : topology_(std::move(topology)) {}
  absl::Status AddUnit(const IommuSpec& spec);

  const Topology topology_;
  std::unique_ptr<SoftMemory> memory_;
  std::vector<std::unique_ptr<VtdUnit>> units_;   // As Topology::iommus.
  std::vector<std::unique_ptr<UnitPort>> ports_;  // As Topology::iommus.
  std::vector<Seat> seats_;                       // As Topology::devices.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_MACHINE_H_
