#include "engine/backend/soft/hardware/smmu_model.h"

#include <algorithm>
#include <utility>

#include "engine/backend/soft/hardware/smmu_device_tlb.h"
#include "engine/backend/soft/hardware/smmu_walk.h"

namespace viommu::hardware {
namespace {

using smmu::WalkMode;

constexpr uint64_t kPageBytes = 4096;
constexpr uint16_t kPageGroupField = 0x1ff;  // PRG index.

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

void SmmuModel::RetryUnrecorded() {
  if (events_.writable()) stalls_.RetryUnrecorded();
}

void SmmuModel::SetDeviceTlb(uint32_t stream_id, bool on) {
  absl::MutexLock lock(&mutex_);
  if (on) {
    const auto tlb = warm_.device_tlbs.try_emplace(stream_id).first;
    tlb->second.SetAnswers(!silent_.contains(stream_id));
  } else {
    warm_.device_tlbs.erase(stream_id);
  }
}

void SmmuModel::SetDeviceTlbAnswers(uint32_t stream_id, bool answers) {
  absl::MutexLock lock(&mutex_);
  if (answers) {
    silent_.erase(stream_id);
  } else {
    silent_.insert(stream_id);
  }
  const auto tlb = warm_.device_tlbs.find(stream_id);
  if (tlb != warm_.device_tlbs.end()) tlb->second.SetAnswers(answers);
}

// Holds the request if its configuration asks for that and there is room, and records the event.
void SmmuModel::Report(bool may_stall, smmu::Event* event, uint64_t* stall_id) {
  std::optional<smmu::Stall> stall;
  if (event->stalled && may_stall) stall = stalls_.Begin(event->stream_id, event->substream_id);
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

SmmuModel::Outcome SmmuModel::Touch(const Request& request) {
  Outcome outcome;
  std::vector<Interrupt> interrupts;
  {
    absl::MutexLock lock(&mutex_);
    outcome.fault = TranslateLocked(request, true, &outcome.stall_id).fault;
    interrupts = TakeInterrupts();
  }
  outcome.fault_address = request.address;
  Raise(interrupts);
  return outcome;
}

std::vector<smmu::Resumed> SmmuModel::Resumed(uint32_t stream_id) const {
  absl::MutexLock lock(&mutex_);
  return stalls_.History(stream_id);
}

SmmuModel::Translation SmmuModel::Probe(const Request& request) const {
  smmu::Trace trace;
  return Explain(request, &trace);
}

SmmuModel::Translation SmmuModel::Explain(const Request& request, smmu::Trace* trace) const {
  trace->clear();
  absl::MutexLock lock(&mutex_);
  Translation translation =
      translator_.Translate(registers_, request, WalkMode::kCold, nullptr, trace);
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

smmu::PageRequestFate SmmuModel::RequestPages(smmu::PageRequest request) {
  request.group &= kPageGroupField;
  if (spec_.substream_id_bits == 0) request.substream_id.reset();
  smmu::PageRequestFate fate = smmu::PageRequestFate::kQueued;
  std::vector<Interrupt> interrupts;
  {
    absl::MutexLock lock(&mutex_);
    const auto response_pasid = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return translator_.FindResponsePasid(registers_, request.stream_id, &warm_);
    };
    fate = page_requests_.Add(request, response_pasid);
    interrupts = TakeInterrupts();
  }
  Raise(interrupts);
  return fate;
}

std::vector<smmu::PageResponse> SmmuModel::PageResponses(uint32_t stream_id) const {
  absl::MutexLock lock(&mutex_);
  return page_requests_.Responses(stream_id);
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
