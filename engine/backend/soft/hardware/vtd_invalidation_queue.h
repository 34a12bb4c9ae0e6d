// engine/backend/soft/hardware/vtd_invalidation_queue.h -- The invalidation queue of a VT-d unit,
// as the device side sees it: a ring of descriptors in memory, consumed in order.
//
// Sources: VT-d 6.5.2 (queue, wait descriptor, errors), 11.4.9 (IQH, IQT, IQA, ICS); Linux
// intel/dmar.c (qi_submit_sync, __dmar_enable_qi).
//
// Descriptors are consumed in the thread that moves the tail, so when that write returns everything
// up to the tail has happened, or the queue has stopped with an error.
//
// Thread-compatible: the VtdModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_INVALIDATION_QUEUE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_INVALIDATION_QUEUE_H_

#include <cstdint>
#include <optional>

#include "engine/backend/soft/hardware/vtd_capabilities.h"
#include "engine/backend/soft/hardware/vtd_fault_registers.h"
#include "engine/backend/soft/hardware/vtd_invalidation.h"
#include "engine/backend/soft/hardware/vtd_translator.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware {

class InvalidationQueue {
 public:
  // All outlive the queue.
  InvalidationQueue(const Capabilities* capabilities, PhysicalMemory* memory,
                    FaultRegisters* faults, WarmState* warm)
      : capabilities_(*capabilities), memory_(*memory), faults_(*faults), warm_(*warm) {}

  // GCMD.QIE. Disabling resets the head to 0.
  void SetEnabled(bool enabled);
  bool enabled() const { return enabled_; }

  // IQA: base 63:12, DW 11 (256-bit descriptors), QS 2:0 (the ring has 2^QS pages). Fixed while the
  // queue is enabled.
  void WriteBase(uint64_t value);
  uint64_t base() const { return base_; }

  // IQT, IQH: byte offsets into the ring.
  void WriteTail(uint32_t value);
  uint32_t tail() const { return tail_; }
  uint32_t head() const { return head_; }

  // ICS.IWC: a wait descriptor that asked for the completion event (IF) has been consumed. Cleared
  // by writing 1.
  uint32_t ReadCompletion() const { return wait_completed_ ? 1 : 0; }
  void WriteCompletion(uint32_t value);

  // Consumes from head to tail. Stops with IQE, head on the culprit, at a descriptor that cannot be
  // read or is not valid, a tail that is no descriptor of the ring, or a status write that no
  // memory takes. Does nothing while disabled or while IQE stands.
  //
  // A device TLB that does not answer is found out at the next wait descriptor: that is aborted,
  // its status not written, and nothing further is fetched while ITE stands (VT-d 6.5.2.11; Linux
  // qi_check_fault).
  void Run();

 private:
  bool wide() const { return base_ & Bit(11); }
  uint32_t ring_bytes() const { return uint32_t{4096} << Field(base_, 2, 0); }
  uint32_t descriptor_bytes() const { return wide() ? 32 : 16; }
  bool Fetch(Descriptor* descriptor) const;
  bool Consume(const Descriptor& descriptor);
  bool Stopped() const { return faults_.queue_error() || faults_.timed_out(); }
  bool ConsumeWait(const Descriptor& descriptor);

  const Capabilities& capabilities_;
  PhysicalMemory& memory_;
  FaultRegisters& faults_;
  WarmState& warm_;

  bool enabled_ = false;
  uint64_t base_ = 0;
  uint32_t head_ = 0;
  uint32_t tail_ = 0;
  bool wait_completed_ = false;
  std::optional<uint16_t> unanswered_;  // The first device that a wait will be in vain for.
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_INVALIDATION_QUEUE_H_
