#include "engine/backend/soft/hardware/vtd_fault_registers.h"

#include <algorithm>

namespace viommu::hardware {
namespace {

// FSTS
constexpr uint32_t kOverflow = 1u << 0;    // PFO
constexpr uint32_t kPending = 1u << 1;     // PPF
constexpr uint32_t kQueueError = 1u << 4;  // IQE
constexpr uint32_t kTimeout = 1u << 6;     // ITE
constexpr int kFirstIndexShift = 8;        // FRI 15:8
// FECTL
constexpr uint32_t kEventMask = 1u << 31;     // IM
constexpr uint32_t kEventPending = 1u << 30;  // IP
// FRCD, upper 64 bits: SID 15:0, PP 31, FR 39:32, PASID 59:40, AT 61:60 (0: untranslated),
// T1 62 (with T2 = bit 28 clear: 1 read, 0 write), F 63.
constexpr uint64_t kPasidPresent = uint64_t{1} << 31;
constexpr int kReasonShift = 32;
constexpr int kPasidShift = 40;
constexpr int kAddressTypeShift = 60;
constexpr uint64_t kPrivileged = uint64_t{1} << 29;
constexpr uint64_t kIsRead = uint64_t{1} << 62;
constexpr uint64_t kRecordFault = uint64_t{1} << 63;
constexpr uint64_t kPageMask = ~uint64_t{0xfff};

}  // namespace

void FaultRegisters::Record(const Request& request, FaultReason reason, Counters* counters) {
  FaultRecord& record = records_[next_];
  const bool earlier_unserved = AnyStatus();
  if (overflow_ || (record.high & kRecordFault)) {
    overflow_ = true;
    ++counters->faults_overflowed;
    RaiseEvent(earlier_unserved, counters);
    return;
  }
  if (!AnyRecordPending()) first_index_ = static_cast<uint32_t>(next_);
  record.low = request.address & kPageMask;
  record.high = request.source_id | uint64_t{reason} << kReasonShift | kRecordFault;
  if (!request.write) record.high |= kIsRead;
  if (request.pasid.has_value()) {
    record.high |= kPasidPresent | uint64_t{*request.pasid} << kPasidShift;
    if (request.privileged) record.high |= kPrivileged;
  }
  record.high |= static_cast<uint64_t>(request.type) << kAddressTypeShift;
  next_ = (next_ + 1) % records_.size();
  ++counters->faults_recorded;
  RaiseEvent(earlier_unserved, counters);
}

void FaultRegisters::SetQueueError(Counters* counters) {
  const bool earlier_unserved = AnyStatus();
  queue_error_ = true;
  ++counters->queue_errors;
  RaiseEvent(earlier_unserved, counters);
}

void FaultRegisters::SetTimeout(uint16_t source_id, Counters* counters) {
  const bool earlier_unserved = AnyStatus();
  timed_out_ = true;
  timeout_source_ = source_id;
  RaiseEvent(earlier_unserved, counters);
}

void FaultRegisters::RaiseEvent(bool earlier_unserved, Counters* counters) {
  if (earlier_unserved) return;
  if (event_masked_) {
    event_pending_ = true;
  } else {
    ++counters->fault_events;
  }
}

uint32_t FaultRegisters::ReadStatus() const {
  return (overflow_ ? kOverflow : 0) | (AnyRecordPending() ? kPending : 0) |
         (queue_error_ ? kQueueError : 0) | (timed_out_ ? kTimeout : 0) |
         first_index_ << kFirstIndexShift;
}

void FaultRegisters::WriteStatus(uint32_t value) {
  if (value & kOverflow) overflow_ = false;
  if (value & kQueueError) queue_error_ = false;
  if (value & kTimeout) timed_out_ = false;
  if (!AnyStatus()) event_pending_ = false;
}

uint32_t FaultRegisters::ReadControl() const {
  return (event_masked_ ? kEventMask : 0) | (event_pending_ ? kEventPending : 0);
}

void FaultRegisters::WriteControl(uint32_t value, Counters* counters) {
  event_masked_ = (value & kEventMask) != 0;
  if (event_masked_ || !event_pending_) return;
  event_pending_ = false;
  ++counters->fault_events;
}

uint32_t FaultRegisters::ReadRecord(uint32_t offset) const {
  const FaultRecord& record = records_[offset / 16];
  const uint64_t word = offset % 16 < 8 ? record.low : record.high;
  return static_cast<uint32_t>(offset % 8 == 0 ? word : word >> 32);
}

void FaultRegisters::WriteRecord(uint32_t offset, uint32_t value) {
  const bool holds_fault_bit = offset % 16 == 12;
  if (!holds_fault_bit || !(value & (1u << 31))) return;
  records_[offset / 16].high &= ~kRecordFault;
  if (!AnyStatus()) event_pending_ = false;
}

bool FaultRegisters::AnyRecordPending() const {
  return std::any_of(records_.begin(), records_.end(),
                     [](const FaultRecord& record) { return record.high & kRecordFault; });
}

}  // namespace viommu::hardware
