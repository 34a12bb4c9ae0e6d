// The registers of an SmmuModel.
#include "engine/backend/soft/hardware/smmu_model.h"

namespace viommu::hardware {
namespace {

using smmu::Bits;

// Register offsets, Arm IHI 0070 6.2. A 64-bit register is its two halves. Those from kPage1 on are
// in the second page.
constexpr uint32_t kPage1 = 0x10000;
enum Register : uint32_t {
  kIdr0 = 0x00,
  kIdr1 = 0x04,
  kIdr3 = 0x0c,
  kIdr5 = 0x14,
  kArchitecture = 0x1c,  // AIDR
  kControl0 = 0x20,
  kControl0Ack = 0x24,
  kControl1 = 0x28,
  kControl2 = 0x2c,
  kBypass = 0x44,  // GBPA
  kIrqControl = 0x50,
  kIrqControlAck = 0x54,
  kGlobalError = 0x60,
  kGlobalErrorAck = 0x64,  // GERRORN
  kStreamTable = 0x80,
  kStreamTableConfig = 0x88,
  kCommandBase = 0x90,
  kCommandProducer = 0x98,
  kCommandConsumer = 0x9c,
  kEventBase = 0xa0,
  kPriBase = 0xc0,
  kEventProducer = kPage1 + 0xa8,
  kEventConsumer = kPage1 + 0xac,
  kPriProducer = kPage1 + 0xc8,
  kPriConsumer = kPage1 + 0xcc,
};

constexpr uint32_t kArchitectureValue = 3;  // SMMUv3.3
constexpr uint32_t kControl0Fields = 0x1f;
constexpr uint32_t kControl0PriQueue = 1u << 1;         // PRIQEN
constexpr uint32_t kControl0CheckTranslated = 1u << 4;  // ATSCHK
constexpr uint32_t kControl2Fields = 0x7;
constexpr uint32_t kBypassFields = 1u << 20;  // ABORT
constexpr uint32_t kBypassUpdate = 1u << 31;  // UPDATE
constexpr uint32_t kIrqControlFields = 0x7;
constexpr uint32_t kGlobalErrorFields = 0x1d;
constexpr uint64_t kStreamTableFields = smmu::Bit(62) | Bits(51, 6);
constexpr uint32_t kStreamTableConfigFields = 0x307ff;

uint32_t Low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t High(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
uint64_t WithLow(uint64_t old, uint32_t low) { return (old & ~uint64_t{0xffffffff}) | low; }
uint64_t WithHigh(uint64_t old, uint32_t high) { return (old & 0xffffffff) | uint64_t{high} << 32; }

}  // namespace

uint32_t SmmuModel::Read32(uint32_t offset) const {
  absl::MutexLock lock(&mutex_);
  return ReadLocked(offset);
}

uint64_t SmmuModel::Read64(uint32_t offset) const {
  absl::MutexLock lock(&mutex_);
  return ReadLocked(offset) | uint64_t{ReadLocked(offset + 4)} << 32;
}

void SmmuModel::Write32(uint32_t offset, uint32_t value) {
  std::vector<Interrupt> interrupts;
  {
    absl::MutexLock lock(&mutex_);
    WriteLocked(offset, value);
    interrupts = TakeInterrupts();
  }
  Raise(interrupts);
}

void SmmuModel::Write64(uint32_t offset, uint64_t value) {
  Write32(offset, Low(value));
  Write32(offset + 4, High(value));
}

uint32_t SmmuModel::ReadLocked(uint32_t offset) const {
  switch (offset) {
    case kIdr0:
      return smmu::Idr0Of(spec_);
    case kIdr1:
      return smmu::Idr1Of(spec_);
    case kIdr3:
      return smmu::Idr3Of(spec_);
    case kIdr5:
      return smmu::Idr5Of(spec_);
    case kArchitecture:
      return kArchitectureValue;
    case kControl0:
    case kControl0Ack:
      return registers_.cr0;
    case kControl1:
      return registers_.cr1;
    case kControl2:
      return registers_.cr2;
    case kBypass:
      return registers_.gbpa;
    case kIrqControl:
    case kIrqControlAck:
      return registers_.irq_control;
    case kGlobalError:
      return registers_.gerror;
    case kGlobalErrorAck:
      return registers_.gerrorn;
    case kStreamTableConfig:
      return registers_.stream_table_config;
  }
  return ReadQueue(offset);
}

uint32_t SmmuModel::ReadQueue(uint32_t offset) const {
  switch (offset) {
    case kStreamTable:
      return Low(registers_.stream_table);
    case kStreamTable + 4:
      return High(registers_.stream_table);
    case kCommandBase:
      return Low(commands_.base());
    case kCommandBase + 4:
      return High(commands_.base());
    case kCommandProducer:
      return commands_.ReadProducer();
    case kCommandConsumer:
      return commands_.ReadConsumer();
    case kEventBase:
      return Low(events_.base());
    case kEventBase + 4:
      return High(events_.base());
    case kEventProducer:
      return events_.ReadProducer();
    case kEventConsumer:
      return events_.ReadConsumer();
    case kPriBase:
      return Low(page_requests_.base());
    case kPriBase + 4:
      return High(page_requests_.base());
    case kPriProducer:
      return page_requests_.ReadProducer();
    case kPriConsumer:
      return page_requests_.ReadConsumer();
  }
  return 0;
}

void SmmuModel::WriteLocked(uint32_t offset, uint32_t value) {
  switch (offset) {
    case kControl0:
      return WriteControl(value);
    case kControl1:
      registers_.cr1 = value;
      return;
    case kControl2:
      if (!registers_.enabled()) registers_.cr2 = value & kControl2Fields;
      return;
    case kBypass:
      if (value & kBypassUpdate) registers_.gbpa = value & kBypassFields;
      return;
    case kIrqControl:
      registers_.irq_control = value & kIrqControlFields;
      return;
    case kGlobalErrorAck:
      registers_.gerrorn = value & kGlobalErrorFields;
      commands_.Run();  // A queue that stopped goes on once its error is acknowledged.
      return RetryUnrecorded();
  }
  WriteQueue(offset, value);
}

void SmmuModel::WriteQueue(uint32_t offset, uint32_t value) {
  switch (offset) {
    case kStreamTable:
      return WriteStreamTable(WithLow(registers_.stream_table, value));
    case kStreamTable + 4:
      return WriteStreamTable(WithHigh(registers_.stream_table, value));
    case kStreamTableConfig:
      if (registers_.enabled()) return;
      registers_.stream_table_config = value & kStreamTableConfigFields;
      return;
    case kCommandBase:
      return commands_.WriteBase(WithLow(commands_.base(), value));
    case kCommandBase + 4:
      return commands_.WriteBase(WithHigh(commands_.base(), value));
    case kCommandProducer:
      commands_.WriteProducer(value);
      return commands_.Run();
    case kCommandConsumer:
      return commands_.WriteConsumer(value);
    case kEventBase:
      return events_.WriteBase(WithLow(events_.base(), value));
    case kEventBase + 4:
      return events_.WriteBase(WithHigh(events_.base(), value));
    case kEventProducer:
      return events_.WriteProducer(value);
    case kEventConsumer:
      events_.WriteConsumer(value);
      return RetryUnrecorded();
    case kPriBase:
      return page_requests_.WriteBase(WithLow(page_requests_.base(), value));
    case kPriBase + 4:
      return page_requests_.WriteBase(WithHigh(page_requests_.base(), value));
    case kPriProducer:
      return page_requests_.WriteProducer(value);
    case kPriConsumer:
      return page_requests_.WriteConsumer(value);
  }
}

void SmmuModel::WriteStreamTable(uint64_t value) {
  if (!registers_.enabled()) registers_.stream_table = value & kStreamTableFields;
}

void SmmuModel::WriteControl(uint32_t value) {
  uint32_t fields = kControl0Fields;
  if (!spec_.ats) fields &= ~kControl0CheckTranslated;
  if (!spec_.ats || !spec_.pri) fields &= ~kControl0PriQueue;
  registers_.cr0 = value & fields;
  if (!registers_.enabled()) stalls_.AbortAll();
  commands_.Run();
  RetryUnrecorded();
}

}  // namespace viommu::hardware
