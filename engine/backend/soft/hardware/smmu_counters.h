// engine/backend/soft/hardware/smmu_counters.h -- What a modelled SMMUv3 has done since it was
// made. Every number only grows.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_COUNTERS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_COUNTERS_H_

#include <array>
#include <cstdint>

namespace viommu::hardware::smmu {

struct Counters {
  std::array<uint64_t, 256> events{};  // Requests refused or stalled, by EventId.
  uint64_t terminated = 0;             // Ended by abort configurations, without an event.
  uint64_t events_recorded = 0;        // That reached the event queue.
  uint64_t events_lost = 0;            // Because it was full, off or could not be written.

  std::array<uint64_t, 256> commands{};  // Consumed from the command queue, by opcode.
  uint64_t command_errors = 0;           // Times the queue stopped.

  uint64_t ste_hits = 0, ste_misses = 0;
  uint64_t cd_hits = 0, cd_misses = 0;
  uint64_t tlb_hits = 0, tlb_misses = 0;
  uint64_t device_tlb_hits = 0, device_tlb_misses = 0;
  uint64_t entries_marked = 0;  // Access flags and dirty state written to memory.

  uint64_t stalls = 0;              // Requests held.
  uint64_t page_requests = 0;       // That reached the PRI queue.
  uint64_t page_requests_lost = 0;  // Answered by the unit, or dropped.
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_COUNTERS_H_
