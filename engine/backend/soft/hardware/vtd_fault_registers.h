// engine/backend/soft/hardware/vtd_fault_registers.h -- The fault registers of a VT-d unit: status
// (FSTS), event control (FECTL) and the fault recording registers (FRCD).
//
// Sources: VT-d 7.3 (recording), 7.4 (events), 11.4.7-11.4.9 and 11.4.14 (layouts); Linux
// intel/dmar.c dmar_fault() for how software drains the records; QEMU vtd_report_frcd_fault for
// overflow. The fault event's message is counted, not sent: there is no processor to receive it.
//
// Thread-compatible: the VtdModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_FAULT_REGISTERS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_FAULT_REGISTERS_H_

#include <cstdint>
#include <vector>

#include "engine/backend/soft/hardware/vtd_counters.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_request.h"

namespace viommu::hardware {

class FaultRegisters {
 public:
  explicit FaultRegisters(int record_count) : records_(record_count) {}

  // Fills the next record and raises the event. Lost, with PFO set, when that record is still in
  // use; nothing is recorded while PFO stands.
  void Record(const Request& request, FaultReason reason, Counters* counters);

  // The invalidation queue met a descriptor it cannot consume (IQE).
  void SetQueueError(Counters* counters);
  bool queue_error() const { return queue_error_; }

  // A device did not answer an invalidation of its TLB (ITE).
  void SetTimeout(uint16_t source_id, Counters* counters);
  bool timed_out() const { return timed_out_; }

  uint32_t ReadStatus() const;
  void WriteStatus(uint32_t value);  // PFO, IQE and ITE are cleared by writing 1.
  // IQERCD, the upper half: ITESID, who did not answer.
  uint32_t ReadTimeoutSource() const { return timeout_source_; }
  uint32_t ReadControl() const;
  void WriteControl(uint32_t value, Counters* counters);

  // A 32-bit word of the recording registers; `offset` counts bytes from the first one. The only
  // bit that takes a write is F: writing 1 frees the record.
  uint32_t ReadRecord(uint32_t offset) const;
  void WriteRecord(uint32_t offset, uint32_t value);
  uint32_t records_bytes() const { return static_cast<uint32_t>(records_.size()) * 16; }

 private:
  struct FaultRecord {
    uint64_t low = 0;
    uint64_t high = 0;
  };

  bool AnyRecordPending() const;
  bool AnyStatus() const { return overflow_ || queue_error_ || timed_out_ || AnyRecordPending(); }
  // Sends the event unless masked. Nothing when an earlier condition still stands unserved.
  void RaiseEvent(bool earlier_unserved, Counters* counters);

  std::vector<FaultRecord> records_;
  size_t next_ = 0;           // Record that the next fault goes to.
  uint32_t first_index_ = 0;  // FRI
  bool overflow_ = false;     // PFO
  bool queue_error_ = false;  // IQE
  bool timed_out_ = false;    // ITE
  uint16_t timeout_source_ = 0;
  bool event_masked_ = true;    // IM: set at reset.
  bool event_pending_ = false;  // IP
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_FAULT_REGISTERS_H_
