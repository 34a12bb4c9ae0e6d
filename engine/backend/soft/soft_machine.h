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

  VtdUnit& unit_of(DeviceIndex device) { return *seats_[device].unit; }
  const VtdUnit& unit_of(DeviceIndex device) const { return *seats_[device].unit; }
  uint16_t source_id_of(DeviceIndex device) const { return seats_[device].source_id; }

  // kInternal: the hardware does not follow.
  absl::Status EnableTranslation();

  VtdHardware DescribeHardware(DeviceIndex device) const;
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
  struct Seat {
    VtdUnit* unit = nullptr;
    uint16_t source_id = 0;
  };

  explicit SoftMachine(Topology topology) : topology_(std::move(topology)) {}
  absl::Status AddUnit(const IommuSpec& spec);

  const Topology topology_;
  std::unique_ptr<SoftMemory> memory_;
  std::vector<std::unique_ptr<VtdUnit>> units_;  // As Topology::iommus.
  std::vector<Seat> seats_;                      // As Topology::devices.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_MACHINE_H_
