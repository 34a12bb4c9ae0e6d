#include "engine/backend/soft/hardware/smmu_model.h"

#include <algorithm>
#include <utility>

#include "engine/backend/soft/hardware/smmu_device_tlb.h"
#include "engine/backend/soft/hardware/smmu_walk.h"

namespace viommu::hardware {
namespace {

using smmu::Bits;
using smmu::WalkMode;

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

constexpr uint64_t kPageBytes = 4096;

uint32_t Low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t High(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
uint64_t WithLow(uint64_t old, uint32_t low) { return (old & ~uint64_t{0xffffffff}) | low; }
uint64_t WithHigh(uint64_t old, uint32_t high) { return (old & 0xffffffff) | uint64_t{high} << 32; }

}  // namespace

SmmuModel::SmmuModel(const Spec& spec, PhysicalMemory* memory)
    : spec_(spec),
      memory_(*memory),
      translator_(spec_, memory),
      events_(spec_.event_queue_log2, memory, &registers_, &warm_.counters),
      page_requests_(spec_.pri_queue_log2, memory, &registers_, &warm_.counters),
      stalls_(spec_.stall_max),
      commands_({&spec_, &translator_, memory, &registers_, &warm_, &page_requests_, &stalls_}) {}

void SmmuModel::SetInterruptHandler(InterruptHandler handler) { handler_ = std::move(handler); }

std::vector<SmmuModel::Interrupt> SmmuModel::TakeInterrupts() {
  std::vector<Interrupt> due;
  for (const Interrupt interrupt : {Interrupt::kGlobalError, Interrupt::kEventQueue,
                                    Interrupt::kPriQueue, Interrupt::kCommandSync}) {
    if (registers_.due_interrupts & (1u << static_cast<int>(interrupt))) due.push_back(interrupt);
  }
  registers_.due_interrupts = 0;
  return due;
}

void SmmuModel::Raise(const std::vector<Interrupt>& interrupts) const {
  if (handler_ == nullptr) return;
  for (const Interrupt interrupt : interrupts) handler_(interrupt);
}

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

void SmmuModel::RetryUnrecorded() {
  if (events_.writable()) stalls_.RetryUnrecorded();
}

void SmmuModel::SetDeviceTlb(uint32_t stream_id, bool on) {
  absl::MutexLock lock(&mutex_);
  if (on) {
    warm_.device_tlbs.try_emplace(stream_id);
  } else {
    warm_.device_tlbs.erase(stream_id);
  }
}

void SmmuModel::SetDeviceTlbAnswers(uint32_t stream_id, bool answers) {
  absl::MutexLock lock(&mutex_);
  const auto tlb = warm_.device_tlbs.find(stream_id);
  if (tlb != warm_.device_tlbs.end()) tlb->second.SetAnswers(answers);
}

// Holds the request if its configuration asks for that and there is room, and records the event.
void SmmuModel::Report(bool may_stall, smmu::Event* event, uint64_t* stall_id) {
  std::optional<smmu::Stall> stall;
  if (event->stalled && may_stall) stall = stalls_.Begin(event->stream_id);
  event->stalled = stall.has_value();
  if (event->id == smmu::kNoEvent) {
    ++warm_.counters.terminated;
    return;
  }
  ++warm_.counters.events[event->id];
  if (stall.has_value()) {
    ++warm_.counters.stalls;
    event->stall_tag = stall->tag;
    *stall_id = stall->id;
  }
  if (!event->recorded || events_.Record(*event) || !stall.has_value()) return;
  stalls_.SetUnrecorded(stall->tag);
}

SmmuModel::Translation SmmuModel::TranslateLocked(const Request& request, bool may_stall,
                                                  uint64_t* stall_id) {
  Translation translation = translator_.Translate(registers_, request, WalkMode::kUse, &warm_);
  commands_.NoteRequest(request);
  if (!translation.ok()) Report(may_stall, &translation.fault, stall_id);
  return translation;
}

SmmuModel::Translation SmmuModel::TranslateThroughDeviceTlb(const Request& request,
                                                            uint64_t* stall_id) {
  const auto tlb = warm_.device_tlbs.find(request.stream_id);
  const bool applies = registers_.enabled() && spec_.ats && tlb != warm_.device_tlbs.end() &&
                       request.type == smmu::AddressType::kUntranslated;
  if (!applies) return TranslateLocked(request, true, stall_id);
  const auto permits = [&](const smmu::DeviceTranslation& known) {
    return request.write ? known.write : known.read;
  };
  const smmu::DeviceTranslation* found = tlb->second.Find(request);
  smmu::DeviceTranslation known;
  if (found != nullptr && permits(*found)) {
    ++warm_.counters.device_tlb_hits;
    known = *found;
  } else {
    ++warm_.counters.device_tlb_misses;
    Request ask = request;
    ask.type = smmu::AddressType::kTranslationRequest;
    const Translation answer = TranslateLocked(ask, false, stall_id);
    const bool granted = answer.ok() && (request.write ? answer.write : answer.read);
    if (!granted) return TranslateLocked(request, true, stall_id);
    // Not what Find says now: that may be a smaller page, kept from before and not permitting this.
    known = tlb->second.Insert(request, answer);
  }
  Request translated = request;
  translated.type = smmu::AddressType::kTranslated;
  translated.address =
      known.page.value | (request.address & ((uint64_t{1} << known.page_shift) - 1));
  return TranslateLocked(translated, false, stall_id);
}

SmmuModel::Translation SmmuModel::Translate(const Request& request) {
  Translation translation;
  std::vector<Interrupt> interrupts;
  {
    absl::MutexLock lock(&mutex_);
    uint64_t stall_id = 0;
    translation = TranslateLocked(request, false, &stall_id);
    interrupts = TakeInterrupts();
  }
  Raise(interrupts);
  return translation;
}

SmmuModel::Translation SmmuModel::Probe(const Request& request) const {
  absl::MutexLock lock(&mutex_);
  Translation translation = translator_.Translate(registers_, request, WalkMode::kCold, nullptr);
  translation.fault.stalled = false;
  return translation;
}

SmmuModel::Outcome SmmuModel::Access(const Request& request, absl::Span<char> data) {
  Outcome outcome;
  Request page = request;
  // An access is never a question.
  if (page.type == smmu::AddressType::kTranslationRequest) {
    page.type = smmu::AddressType::kUntranslated;
  }
  bool goes_on = true;
  while (goes_on && outcome.bytes_done < data.size()) {
    page.address = request.address + outcome.bytes_done;
    std::vector<Interrupt> interrupts;
    {
      absl::MutexLock lock(&mutex_);
      goes_on = AccessPage(page, data.subspan(outcome.bytes_done), &outcome);
      interrupts = TakeInterrupts();
    }
    Raise(interrupts);
  }
  if (!goes_on) outcome.fault_address = page.address;
  return outcome;
}

bool SmmuModel::AccessPage(const Request& request, absl::Span<char> data, Outcome* outcome) {
  const Translation translation = TranslateThroughDeviceTlb(request, &outcome->stall_id);
  outcome->fault = translation.fault;
  if (!translation.ok()) {
    if (translation.fault.reads_zero && !request.write) std::fill(data.begin(), data.end(), 0);
    return false;
  }
  const uint64_t page_rest = kPageBytes - request.address % kPageBytes;
  data = data.subspan(0, std::min(page_rest, translation.size_bytes));
  if (!(request.write ? memory_.Write(translation.physical, data)
                      : memory_.Read(translation.physical, data))) {
    outcome->memory_missing = true;
    return false;
  }
  outcome->bytes_done += data.size();
  return true;
}

std::optional<smmu::ResumeAnswer> SmmuModel::AwaitResume(uint64_t stall_id,
                                                         absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const auto settled = [&]()
                           ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stalls_.Settled(stall_id); };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&settled), timeout)) return std::nullopt;
  return stalls_.Take(stall_id);
}

bool SmmuModel::RequestPages(const smmu::PageRequest& request) {
  bool added = false;
  std::vector<Interrupt> interrupts;
  {
    absl::MutexLock lock(&mutex_);
    added = page_requests_.Add(request);
    interrupts = TakeInterrupts();
  }
  Raise(interrupts);
  return added;
}

std::optional<smmu::PageAnswer> SmmuModel::AwaitPageAnswer(uint32_t stream_id, uint16_t group,
                                                           absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const auto answered = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return page_requests_.Answered(stream_id, group);
  };
  if (!mutex_.AwaitWithTimeout(absl::Condition(&answered), timeout)) return std::nullopt;
  return page_requests_.Take(stream_id, group);
}

void SmmuModel::HangCommandQueueAfter(std::optional<uint64_t> commands) {
  std::vector<Interrupt> interrupts;
  {
    absl::MutexLock lock(&mutex_);
    commands_.HangAfter(commands);
    commands_.Run();
    interrupts = TakeInterrupts();
  }
  Raise(interrupts);
}

void SmmuModel::AbortNextCommandFetch() {
  absl::MutexLock lock(&mutex_);
  commands_.AbortNextFetch();
}

void SmmuModel::SetRefills(bool on) {
  absl::MutexLock lock(&mutex_);
  commands_.SetRefills(on);
}

void SmmuModel::ForgetCaches() {
  absl::MutexLock lock(&mutex_);
  warm_.config = smmu::ConfigCache();
  warm_.tlb = smmu::Tlb();
}

SmmuModel::Counters SmmuModel::counters() const {
  absl::MutexLock lock(&mutex_);
  return warm_.counters;
}

}  // namespace viommu::hardware
