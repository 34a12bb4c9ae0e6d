#include "engine/backend/soft/hardware/vtd_model.h"

#include <algorithm>

#include "engine/backend/soft/hardware/vtd_device_tlb.h"

namespace viommu::hardware {
namespace {

// Register offsets, VT-d 11.4. A 64-bit register is its two halves.
enum Register : uint32_t {
  kVersion = 0x00,
  kCapability = 0x08,
  kExtendedCapability = 0x10,
  kGlobalCommand = 0x18,
  kGlobalStatus = 0x1c,
  kRootTable = 0x20,
  kFaultStatus = 0x34,
  kFaultControl = 0x38,
  kQueueHead = 0x80,
  kQueueTail = 0x88,
  kQueueBase = 0x90,
  kCompletionStatus = 0x9c,
  kQueueErrorRecord = 0xb0,
  kPageRequestHead = 0xc0,
  kPageRequestTail = 0xc8,
  kPageRequestBase = 0xd0,
  kPageRequestStatus = 0xdc,
};

constexpr uint32_t kVersionValue = 0x10;  // 1.0

// GCMD, and GSTS at the same positions.
constexpr uint32_t kTranslationEnable = 1u << 31;  // TE
constexpr uint32_t kSetRootTable = 1u << 30;       // SRTP
constexpr uint32_t kQueueEnable = 1u << 26;        // QIE

constexpr uint64_t kPageBytes = 4096;

uint32_t Low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t High(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
uint64_t WithLow(uint64_t old, uint32_t low) { return (old & ~uint64_t{0xffffffff}) | low; }
uint64_t WithHigh(uint64_t old, uint32_t high) { return (old & 0xffffffff) | uint64_t{high} << 32; }

}  // namespace

VtdModel::VtdModel(const Config& config, PhysicalMemory* memory)
    : capabilities_(config.capability, config.extended_capability, config.host_address_width),
      memory_(*memory),
      translator_(capabilities_, memory),
      faults_(capabilities_.fault_record_count()),
      queue_(&capabilities_, memory, &faults_, &warm_),
      page_requests_(memory, &warm_.page_requesters) {}

uint32_t VtdModel::Read32(uint32_t offset) const {
  absl::MutexLock lock(&mutex_);
  return ReadLocked(offset);
}

uint64_t VtdModel::Read64(uint32_t offset) const {
  absl::MutexLock lock(&mutex_);
  return ReadLocked(offset) | uint64_t{ReadLocked(offset + 4)} << 32;
}

void VtdModel::Write32(uint32_t offset, uint32_t value) {
  absl::MutexLock lock(&mutex_);
  WriteLocked(offset, value);
}

void VtdModel::Write64(uint32_t offset, uint64_t value) {
  absl::MutexLock lock(&mutex_);
  WriteLocked(offset, Low(value));
  WriteLocked(offset + 4, High(value));
}

uint32_t VtdModel::ReadLocked(uint32_t offset) const {
  if (InFaultRecords(offset)) {
    return faults_.ReadRecord(offset - capabilities_.fault_records_offset());
  }
  switch (offset) {
    case kVersion:
      return kVersionValue;
    case kCapability:
      return Low(capabilities_.cap());
    case kCapability + 4:
      return High(capabilities_.cap());
    case kExtendedCapability:
      return Low(capabilities_.ecap());
    case kExtendedCapability + 4:
      return High(capabilities_.ecap());
    case kGlobalStatus:
      return (enabled_ ? kTranslationEnable : 0) | (root_set_ ? kSetRootTable : 0) |
             (queue_.enabled() ? kQueueEnable : 0);
    case kRootTable:
      return Low(root_register_);
    case kRootTable + 4:
      return High(root_register_);
    case kFaultStatus:
      return faults_.ReadStatus();
    case kFaultControl:
      return faults_.ReadControl();
    case kQueueHead:
      return queue_.head();
    case kQueueTail:
      return queue_.tail();
    case kQueueBase:
      return Low(queue_.base());
    case kQueueBase + 4:
      return High(queue_.base());
    case kCompletionStatus:
      return queue_.ReadCompletion();
    case kQueueErrorRecord + 4:
      return faults_.ReadTimeoutSource();
  }
  return capabilities_.page_requests() ? ReadPageRequests(offset) : 0;
}

uint32_t VtdModel::ReadPageRequests(uint32_t offset) const {
  switch (offset) {
    case kPageRequestHead:
      return page_requests_.head();
    case kPageRequestTail:
      return page_requests_.tail();
    case kPageRequestBase:
      return Low(page_requests_.base());
    case kPageRequestBase + 4:
      return High(page_requests_.base());
    case kPageRequestStatus:
      return page_requests_.ReadStatus();
  }
  return 0;
}

void VtdModel::WritePageRequests(uint32_t offset, uint32_t value) {
  switch (offset) {
    case kPageRequestHead:
      return page_requests_.WriteHead(value);
    case kPageRequestTail:
      return page_requests_.WriteTail(value);
    case kPageRequestBase:
      return page_requests_.WriteBase(WithLow(page_requests_.base(), value));
    case kPageRequestBase + 4:
      return page_requests_.WriteBase(WithHigh(page_requests_.base(), value));
    case kPageRequestStatus:
      return page_requests_.WriteStatus(value);
  }
}

void VtdModel::WriteLocked(uint32_t offset, uint32_t value) {
  if (InFaultRecords(offset)) {
    return faults_.WriteRecord(offset - capabilities_.fault_records_offset(), value);
  }
  switch (offset) {
    case kGlobalCommand:
      return Command(value);
    case kRootTable:
      root_register_ = WithLow(root_register_, value);
      return;
    case kRootTable + 4:
      root_register_ = WithHigh(root_register_, value);
      return;
    case kFaultStatus:
      faults_.WriteStatus(value);
      return queue_.Run();  // A queue that stopped goes on once its error is cleared.
    case kFaultControl:
      return faults_.WriteControl(value, &warm_.counters);
    case kQueueTail:
      return queue_.WriteTail(value);
    case kQueueBase:
      return queue_.WriteBase(WithLow(queue_.base(), value));
    case kQueueBase + 4:
      return queue_.WriteBase(WithHigh(queue_.base(), value));
    case kCompletionStatus:
      return queue_.WriteCompletion(value);
  }
  if (capabilities_.page_requests()) WritePageRequests(offset, value);
}

void VtdModel::Command(uint32_t value) {
  enabled_ = (value & kTranslationEnable) != 0;
  if (value & kSetRootTable) {
    root_latched_ = root_register_;
    root_set_ = true;
  }
  queue_.SetEnabled((value & kQueueEnable) && capabilities_.queued_invalidation());
}

bool VtdModel::InFaultRecords(uint32_t offset) const {
  const uint32_t first = capabilities_.fault_records_offset();
  return first != 0 && offset >= first && offset - first < faults_.records_bytes();
}

void VtdModel::SetDeviceTlb(uint16_t source_id, bool on) {
  absl::MutexLock lock(&mutex_);
  if (on) {
    const auto tlb = warm_.device_tlbs.try_emplace(source_id).first;
    tlb->second.SetAnswers(!silent_.contains(source_id));
  } else {
    warm_.device_tlbs.erase(source_id);
  }
}

void VtdModel::SetDeviceTlbAnswers(uint16_t source_id, bool answers) {
  absl::MutexLock lock(&mutex_);
  if (answers) {
    silent_.erase(source_id);
  } else {
    silent_.insert(source_id);
  }
  const auto tlb = warm_.device_tlbs.find(source_id);
  if (tlb != warm_.device_tlbs.end()) tlb->second.SetAnswers(answers);
}

VtdModel::Translation VtdModel::TranslateLocked(const Request& request) {
  bool fault_disable = false;
  const Translation translation =
      translator_.Translate(root_latched_, enabled_, request, &warm_, &fault_disable);
  if (translation.ok()) {
    if (translation.is_interrupt) ++warm_.counters.interrupt_messages;
    return translation;
  }
  const bool asked = request.type == AddressType::kTranslationRequest;
  if (asked && IsRecoverable(translation.fault_reason)) return translation;
  ++warm_.counters.faults[translation.fault_reason];
  if (!fault_disable || !IsQualified(translation.fault_reason)) {
    faults_.Record(request, static_cast<FaultReason>(translation.fault_reason), &warm_.counters);
  }
  return translation;
}

// Whether the device goes through a TLB of its own.
bool VtdModel::AsksFirst(const Request& request) const {
  return enabled_ && request.type == AddressType::kUntranslated &&
         warm_.device_tlbs.contains(request.source_id) && !IsInterruptMessage(request);
}

VtdModel::Translation VtdModel::TranslateThroughDeviceTlb(const Request& request) {
  if (!AsksFirst(request)) return TranslateLocked(request);
  const auto tlb = warm_.device_tlbs.find(request.source_id);
  const auto permits = [&](const DeviceTranslation& known) {
    return request.write ? known.write : known.read;
  };
  const DeviceTranslation* found = tlb->second.Find(request);
  DeviceTranslation known;
  if (found != nullptr && permits(*found)) {
    ++warm_.counters.device_tlb_hits;
    known = *found;
  } else {
    ++warm_.counters.device_tlb_misses;
    Request ask = request;
    ask.type = AddressType::kTranslationRequest;
    const Translation answer = TranslateLocked(ask);
    if (!answer.ok()) {
      return IsRecoverable(answer.fault_reason) ? TranslateLocked(request) : answer;
    }
    // Not what Find says now: that may be a smaller page, kept from before and not permitting this.
    known = tlb->second.Insert(request, answer);
  }
  Request translated = request;
  translated.type = AddressType::kTranslated;
  translated.address =
      known.page.value | (request.address & ((uint64_t{1} << known.page_shift) - 1));
  return TranslateLocked(translated);
}

bool VtdModel::RequestPage(const PageRequest& request) {
  absl::MutexLock lock(&mutex_);
  if (warm_.page_requesters.IsOutstanding(request)) return false;
  bool fault_disable = false;
  const FaultReason fault =
      enabled_ ? translator_.CheckPageRequest(root_latched_, request, &warm_, &fault_disable)
               : kPageRequestsDisabled;
  if (fault == kNoFault) {
    page_requests_.Report(request);
    return true;
  }
  ++warm_.counters.faults[fault];
  Request message;
  message.source_id = request.source_id;
  message.pasid = request.pasid;
  message.address = request.address;
  message.write = request.write;
  if (!fault_disable || !IsQualified(fault)) faults_.Record(message, fault, &warm_.counters);
  if (!request.last) return true;
  warm_.page_requesters.Await(request);
  warm_.page_requesters.Answer(request.source_id,
                               {request.pasid, request.group, PageGroupCode::kInvalid});
  return true;
}

std::vector<PageRequesters::Response> VtdModel::PageResponses(uint16_t source_id) const {
  absl::MutexLock lock(&mutex_);
  return warm_.page_requesters.Responses(source_id);
}

VtdModel::Translation VtdModel::Translate(const Request& request) {
  absl::MutexLock lock(&mutex_);
  return TranslateLocked(request);
}

VtdModel::Translation VtdModel::Probe(const Request& request) const {
  absl::MutexLock lock(&mutex_);
  bool fault_disable = false;
  return translator_.Translate(root_latched_, enabled_, request, nullptr, &fault_disable);
}

VtdModel::Translation VtdModel::Explain(const Request& request, Trace* trace) const {
  absl::MutexLock lock(&mutex_);
  const auto look = [&](const Request& seen) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    trace->clear();
    bool fault_disable = false;
    return translator_.Translate(root_latched_, enabled_, seen, nullptr, &fault_disable, trace);
  };
  if (!AsksFirst(request)) return look(request);
  Request ask = request;
  ask.type = AddressType::kTranslationRequest;
  const Translation answer = look(ask);
  return IsRecoverable(answer.fault_reason) ? look(request) : answer;
}

VtdModel::Outcome VtdModel::Access(const Request& request, absl::Span<char> data) {
  Outcome outcome;
  Request page = request;
  while (outcome.bytes_done < data.size()) {
    page.address = request.address + outcome.bytes_done;
    if (!AccessPage(page, data.subspan(outcome.bytes_done), &outcome)) {
      outcome.fault_address = page.address;
      break;
    }
  }
  return outcome;
}

bool VtdModel::AccessPage(const Request& request, absl::Span<char> data, Outcome* outcome) {
  absl::MutexLock lock(&mutex_);
  const Translation translation = TranslateThroughDeviceTlb(request);
  outcome->fault_reason = translation.fault_reason;
  if (!translation.ok()) return false;
  const uint64_t page_rest = kPageBytes - request.address % kPageBytes;
  data = data.subspan(0, std::min(page_rest, translation.size_bytes));
  if (translation.is_interrupt) {
    outcome->is_interrupt = true;
  } else if (!(request.write ? memory_.Write(translation.physical, data)
                             : memory_.Read(translation.physical, data))) {
    outcome->memory_missing = true;
    return false;
  }
  outcome->bytes_done += data.size();
  return true;
}

VtdModel::Counters VtdModel::counters() const {
  absl::MutexLock lock(&mutex_);
  return warm_.counters;
}

}  // namespace viommu::hardware
