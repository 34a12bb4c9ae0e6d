#include "engine/backend/soft/hardware/smmu_command_queue.h"

#include "absl/types/optional.h"

namespace viommu::hardware::smmu {
namespace {

constexpr uint64_t kSecure = Bit(10);  // SSec: of a state that the unit does not have.

// CMD_SYNC
constexpr int kSyncInterrupt = 1;  // CS: SIG_IRQ,
constexpr int kSyncReserved = 3;   // which is none.
constexpr uint64_t kSyncAddress = Bits(51, 2);

// CMD_PRI_RESP
constexpr uint64_t kSubstreamValid = Bit(11);  // SSV

// CMD_RESUME
constexpr uint64_t kRetry = Bit(12);    // Ac
constexpr uint64_t kAbortIt = Bit(13);  // Ab

bool SamePage(const Request& a, const Request& b) {
  return a.stream_id == b.stream_id && a.substream_id == b.substream_id &&
         a.address >> 12 == b.address >> 12;
}

}  // namespace

void CommandQueue::WriteConsumer(uint32_t value) {
  if (registers_.command_queue()) return;
  ring_.WriteConsumer(value);
  error_ = static_cast<uint32_t>(Field(value, 30, kErrorShift));
}

void CommandQueue::WriteBase(uint64_t value) {
  if (!registers_.command_queue()) ring_.WriteBase(value);
}

void CommandQueue::Run() {
  while (registers_.command_queue() && !registers_.Active(kCommandError) && !ring_.empty()) {
    if (commands_until_hang_ == 0u) return;
    Command command;
    const Error error = Fetch(&command) ? Consume(command) : kAbort;
    if (error != kNoError) {
      error_ = error;
      ++warm_.counters.command_errors;
      registers_.Raise(kCommandError);
      return;
    }
    ++warm_.counters.commands[command.opcode()];
    ring_.Consume();
    if (commands_until_hang_.has_value()) --*commands_until_hang_;
  }
}

bool CommandQueue::Fetch(Command* command) {
  if (abort_next_fetch_) {
    abort_next_fetch_ = false;
    return false;
  }
  const PhysAddr place = ring_.ConsumerAddress();
  for (size_t i = 0; i < command->word.size(); ++i) {
    const absl::optional<uint64_t> word = memory_.Load64(place + 8 * i);
    if (!word.has_value()) return false;
    command->word[i] = *word;
  }
  return true;
}

CommandQueue::Error CommandQueue::Consume(const Command& command) {
  if (IsInvalidation(command.opcode())) return ConsumeInvalidation(command);
  switch (command.opcode()) {
    case kPrefetchConfig:
    case kPrefetchAddress:
      if (command.word[0] & kSecure) return kIllegal;
      translator_.Prefetch(registers_, command.stream_id(), &warm_);
      return kNoError;
    case kAtcInvalidate:
      return ConsumeAtcInvalidation(command);
    case kPageResponse:
      return ConsumePageResponse(command);
    case kResume:
    case kStallTerminate:
      return ConsumeStallCommand(command);
    case kSync:
      return ConsumeSync(command);
  }
  return kIllegal;
}

CommandQueue::Error CommandQueue::ConsumeInvalidation(const Command& command) {
  const bool names_state = command.opcode() < kTlbiAll;
  if (names_state && (command.word[0] & kSecure)) return kIllegal;
  if (!ApplyInvalidation(spec_, registers_, command, &warm_)) return kIllegal;
  Refill();
  return kNoError;
}

CommandQueue::Error CommandQueue::ConsumeAtcInvalidation(const Command& command) {
  if (!spec_.ats) return kIllegal;
  if (registers_.enabled() && !ApplyAtcInvalidation(command, &warm_.device_tlbs)) {
    unanswered_ = true;
  }
  return kNoError;
}

CommandQueue::Error CommandQueue::ConsumePageResponse(const Command& command) {
  const uint64_t answer = Field(command.word[1], 13, 12);
  if (!spec_.ats || !spec_.pri || answer == 3) return kIllegal;
  if (registers_.enabled()) {
    PageResponse response;
    const bool has_pasid = spec_.substream_id_bits > 0 && (command.word[0] & kSubstreamValid);
    if (has_pasid) response.substream_id = command.substream_id();
    response.group = static_cast<uint16_t>(Field(command.word[1], 8, 0));
    response.answer = static_cast<PageAnswer>(answer);
    page_requests_.Answer(command.stream_id(), response);
  }
  return kNoError;
}

CommandQueue::Error CommandQueue::ConsumeStallCommand(const Command& command) {
  if (spec_.stall_model == StallModel::kTerminateOnly) return kIllegal;
  if (command.word[0] & kSecure) return kIllegal;
  if (command.opcode() == kStallTerminate) {
    stalls_.Abort(command.stream_id());
    return kNoError;
  }
  ResumeAnswer answer = ResumeAnswer::kTerminate;
  if (command.word[0] & kAbortIt) answer = ResumeAnswer::kAbort;
  if (command.word[0] & kRetry) answer = ResumeAnswer::kRetry;
  stalls_.Resume(command.stream_id(), static_cast<uint16_t>(Field(command.word[1], 15, 0)), answer);
  return kNoError;
}

CommandQueue::Error CommandQueue::ConsumeSync(const Command& command) {
  const int signal = static_cast<int>(Field(command.word[0], 13, 12));
  if (signal == kSyncReserved) return kIllegal;
  if (unanswered_) {
    unanswered_ = false;
    return kAtcTimeout;
  }
  if (signal != kSyncInterrupt) return kNoError;
  const PhysAddr address{command.word[1] & kSyncAddress};
  if (!spec_.msi || address.value == 0) {
    registers_.Pulse(Interrupt::kCommandSync);
  } else if (!memory_.Store32(address, static_cast<uint32_t>(command.word[0] >> 32))) {
    registers_.Raise(kCommandSyncAbort);
  }
  return kNoError;
}

void CommandQueue::SetRefills(bool on) {
  refills_ = on;
  recent_.clear();
}

void CommandQueue::NoteRequest(const Request& request) {
  if (!refills_ || request.type == AddressType::kTranslated) return;
  for (const Request& known : recent_) {
    if (SamePage(known, request)) return;
  }
  if (recent_.size() == kMaxRecent) recent_.erase(recent_.begin());
  recent_.push_back(request);
  recent_.back().write = false;
  recent_.back().type = AddressType::kUntranslated;
}

void CommandQueue::Refill() {
  for (const Request& request : recent_) {
    translator_.Translate(registers_, request, WalkMode::kSpeculate, &warm_);
  }
}

}  // namespace viommu::hardware::smmu
