// engine/backend/soft/hardware/vtd_counters.h -- What a modelled VT-d unit has done since it was
// made. Every number only grows.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_COUNTERS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_COUNTERS_H_

#include <array>
#include <cstdint>

namespace viommu::hardware {

struct Counters {
  std::array<uint64_t, 256> faults{};  // Requests refused, by FaultReason.
  uint64_t faults_recorded = 0;        // That reached a fault recording register.
  uint64_t faults_overflowed = 0;      // Lost because the registers were full.
  uint64_t fault_events = 0;           // Fault-event interrupts sent.

  std::array<uint64_t, 16> descriptors{};  // Consumed from the invalidation queue, by type.
  uint64_t queue_errors = 0;               // Times the queue stopped (IQE).

  uint64_t context_hits = 0, context_misses = 0;
  uint64_t pasid_hits = 0, pasid_misses = 0;
  uint64_t iotlb_hits = 0, iotlb_misses = 0;
  uint64_t device_tlb_hits = 0, device_tlb_misses = 0;

  uint64_t interrupt_messages = 0;  // Writes of devices to the interrupt address range.
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_COUNTERS_H_
