#include "engine/backend/soft/smmu_command_queue.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/smmu_registers.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/pagetable/store.h"

namespace viommu {
namespace {

constexpr uint32_t kIndexMask = 2 * SmmuCommandQueue::kEntries - 1;  // The wrap flag included.
static_assert(SmmuCommandQueue::kEntries * sizeof(smmu::Command) == TableArena::kPageBytes);

constexpr size_t kMaxPart = SmmuCommandQueue::kEntries - 1;  // One is for the CMD_SYNC.

// The model answers before the write of PROD returns; this many looks are more than enough.
constexpr int kMaxPolls = 10'000;

absl::Status QueueTimeout(absl::string_view why) {
  return Error(absl::StatusCode::kInternal, "QUEUE_TIMEOUT", why).Errno("ETIMEDOUT");
}

absl::Status NoAnswer() { return QueueTimeout("the command queue does not answer"); }

}  // namespace

absl::StatusOr<std::unique_ptr<SmmuCommandQueue>> SmmuCommandQueue::Create(
    hardware::SmmuModel* hardware, TableArena* arena) {
  ASSIGN_OR_RETURN(const PhysAddr ring, arena->AllocateZeroed());
  std::unique_ptr<SmmuCommandQueue> queue(new SmmuCommandQueue(hardware, arena, ring));
  hardware->Write64(smmu::kCommandQueueRegister,
                    ring.value | smmu::kBaseReadAllocate | kEntriesLog2);
  hardware->Write32(smmu::kCommandProducerRegister, 0);
  hardware->Write32(smmu::kCommandConsumerRegister, 0);
  const uint32_t control = hardware->Read32(smmu::kControlRegister);
  hardware->Write32(smmu::kControlRegister, control | smmu::kControlCommandQueue);
  if ((hardware->Read32(smmu::kControlAckRegister) & smmu::kControlCommandQueue) == 0) {
    return NoAnswer();
  }
  return queue;
}

SmmuCommandQueue::~SmmuCommandQueue() {
  const uint32_t control = hardware_.Read32(smmu::kControlRegister);
  hardware_.Write32(smmu::kControlRegister, control & ~smmu::kControlCommandQueue);
  arena_.Free(ring_);
}

absl::Status SmmuCommandQueue::Submit(absl::Span<const smmu::Command> batch, bool* silent) {
  bool ignored = false;
  if (silent == nullptr) silent = &ignored;
  *silent = false;
  while (!batch.empty()) {
    const auto part = batch.first(std::min(batch.size(), kMaxPart));
    batch.remove_prefix(part.size());
    absl::MutexLock lock(&mutex_);
    RETURN_IF_ERROR(SubmitPart(part, silent));
  }
  return absl::OkStatus();
}

absl::Status SmmuCommandQueue::SubmitPart(absl::Span<const smmu::Command> part, bool* silent) {
  const uint32_t consumer = hardware_.Read32(smmu::kCommandConsumerRegister);
  const uint32_t used = (producer_ - consumer) & kIndexMask;
  if (used + part.size() + 1 > kEntries) {
    // Only when an earlier batch timed out: otherwise the ring is empty between two parts.
    hardware_.Write32(smmu::kCommandProducerRegister, producer_);
    RETURN_IF_ERROR(AwaitEmpty(silent));
  }
  for (const smmu::Command& command : part) Push(command);
  Push(smmu::Sync());
  hardware_.Write32(smmu::kCommandProducerRegister, producer_);
  return AwaitEmpty(silent);
}

void SmmuCommandQueue::Push(const smmu::Command& command) {
  // The hardware reads a slot only once PROD has passed it.
  for (size_t i = 0; i < command.size(); ++i) {
    PlainStore().Store64(Slot(producer_) + i, command[i]);
  }
  producer_ = (producer_ + 1) & kIndexMask;
  ++counters_.submitted;
  ++counters_.by_opcode[static_cast<size_t>(smmu::OpcodeOf(command))];
}

absl::Status SmmuCommandQueue::AwaitEmpty(bool* silent) {
  absl::Status result;
  for (int poll = 0; poll < kMaxPolls; ++poll) {
    const uint32_t errors = hardware_.Read32(smmu::kGlobalErrorRegister) ^
                            hardware_.Read32(smmu::kGlobalErrorAckRegister);
    if ((errors & smmu::kGlobalErrorCommandQueue) != 0) {
      result.Update(TakeError(silent));
      continue;
    }
    const uint32_t consumer = hardware_.Read32(smmu::kCommandConsumerRegister);
    if ((consumer & kIndexMask) == producer_) return result;
  }
  if (!result.ok()) return result;
  ++counters_.timeouts;
  return NoAnswer();
}

absl::Status SmmuCommandQueue::TakeError(bool* silent) {
  const uint32_t consumer = hardware_.Read32(smmu::kCommandConsumerRegister);
  const uint32_t reason = consumer >> smmu::kConsumerErrorShift & smmu::kConsumerErrorMask;
  uint64_t* slot = Slot(consumer);
  const std::string words = absl::StrCat(Hex(slot[0]), ", ", Hex(slot[1]));
  if (reason == smmu::kCommandErrorIllegal) {
    const smmu::Command harmless = smmu::Sync();
    for (size_t i = 0; i < harmless.size(); ++i) PlainStore().Store64(slot + i, harmless[i]);
  }
  ++counters_.errors;
  const uint32_t acknowledged = hardware_.Read32(smmu::kGlobalErrorAckRegister);
  // The hardware tries the command once more: it can read it now, or the devices are given up.
  hardware_.Write32(smmu::kGlobalErrorAckRegister, acknowledged ^ smmu::kGlobalErrorCommandQueue);
  if (reason == smmu::kCommandErrorAtcTimeout) {
    ++counters_.timeouts;
    *silent = true;
    return QueueTimeout("a device does not answer an invalidation of its TLB");
  }
  return Error(
             absl::StatusCode::kInternal, "QUEUE_ERROR",
             absl::StrCat("the hardware stopped at the command (", words, ") with reason ", reason))
      .Errno("EINVAL");
}

uint64_t* SmmuCommandQueue::Slot(uint32_t index) const {
  return arena_.WordsAt(ring_ + uint64_t{index & (kEntries - 1)} * sizeof(smmu::Command));
}

SmmuCommandQueue::Counters SmmuCommandQueue::counters() const {
  absl::MutexLock lock(&mutex_);
  return counters_;
}

uint32_t SmmuCommandQueue::head() const {
  return hardware_.Read32(smmu::kCommandConsumerRegister) & (kEntries - 1);
}

uint32_t SmmuCommandQueue::tail() const {
  absl::MutexLock lock(&mutex_);
  return producer_ & (kEntries - 1);
}

}  // namespace viommu
