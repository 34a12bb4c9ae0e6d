// engine/backend/soft/hardware/smmu_event_queue.h -- The event queue of an SMMUv3: a ring of
// records in memory that the unit writes and software reads.
//
// Sources: Arm IHI 0070 7.2 (recording), 7.4 (overflow).
//
// Thread-compatible: the SmmuModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_EVENT_QUEUE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_EVENT_QUEUE_H_

#include <cstdint>

#include "engine/backend/soft/hardware/smmu_counters.h"
#include "engine/backend/soft/hardware/smmu_event.h"
#include "engine/backend/soft/hardware/smmu_registers.h"
#include "engine/backend/soft/hardware/smmu_ring.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware::smmu {

class EventQueue {
 public:
  // All outlive the queue.
  EventQueue(int max_log2, PhysicalMemory* memory, Registers* registers, Counters* counters)
      : ring_(kEntryLog2, max_log2),
        memory_(*memory),
        registers_(*registers),
        counters_(*counters) {}

  // Whether a record would find its place now.
  bool writable() const {
    return registers_.event_queue() && !ring_.full() && !registers_.Active(kEventQueueAbort);
  }

  // Writes the record of an event. False: it is lost. The queue was full, which OVFLG says once
  // software acknowledged the last time; or off; or no memory took it, which is a global error.
  bool Record(const Event& event);

  // PROD: OVFLG 31, index. Software sets it while the queue is off. CONS: OVACKFLG 31, index.
  uint32_t ReadProducer() const { return ring_.producer() | overflow_; }
  uint32_t ReadConsumer() const { return ring_.consumer() | acknowledged_; }
  void WriteProducer(uint32_t value);
  void WriteConsumer(uint32_t value);
  uint64_t base() const { return ring_.base(); }
  // Fixed while the queue is on.
  void WriteBase(uint64_t value);

 private:
  static constexpr int kEntryLog2 = 5;
  static constexpr uint32_t kOverflow = 1u << 31;

  bool Lose();

  Ring ring_;
  PhysicalMemory& memory_;
  Registers& registers_;
  Counters& counters_;
  uint32_t overflow_ = 0;
  uint32_t acknowledged_ = 0;
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_EVENT_QUEUE_H_
