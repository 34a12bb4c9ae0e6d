#include "engine/backend/soft/invalidation_queue.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/pagetable/store.h"

namespace viommu {
namespace {

constexpr int kRingPagesLog2 = 1;  // IQA.QS: 2 pages of 128 wide descriptors.
constexpr uint32_t kDescriptorBytes = sizeof(vtd::Descriptor);
static_assert(InvalidationQueue::kEntries * kDescriptorBytes == TableArena::kPageBytes
                                                                    << kRingPagesLog2);

// One slot stays empty, so that head == tail means an empty ring, and one is for the wait.
constexpr size_t kMaxPart = InvalidationQueue::kEntries - 2;

// The model answers before the write of the tail returns; this many looks are more than enough.
constexpr int kMaxPolls = 10'000;

// A wait that neither writes nor interrupts: a descriptor without effect.
constexpr vtd::Descriptor kNoOperation = {0x45};

absl::Status QueueTimeout() {
  return Error(absl::StatusCode::kInternal, "QUEUE_TIMEOUT",
               "the invalidation queue does not answer")
      .Errno("ETIMEDOUT");
}

}  // namespace

absl::StatusOr<std::unique_ptr<InvalidationQueue>> InvalidationQueue::Create(
    hardware::VtdModel* hardware, TableArena* arena) {
  ASSIGN_OR_RETURN(const PhysAddr ring, arena->AllocateBlock(kRingPagesLog2));
  const auto status = arena->AllocateZeroed();
  if (!status.ok()) {
    arena->FreeBlock(ring, kRingPagesLog2);
    return status.status();
  }
  std::unique_ptr<InvalidationQueue> queue(new InvalidationQueue(hardware, arena, ring, *status));
  hardware->Write64(vtd::kQueueTailRegister, 0);
  hardware->Write64(vtd::kQueueAddressRegister,
                    ring.value | vtd::kQueueWideDescriptors | kRingPagesLog2);
  const uint32_t commands = hardware->Read32(vtd::kGlobalStatusRegister) & vtd::kLastingCommands;
  hardware->Write32(vtd::kGlobalCommandRegister, commands | vtd::kQueueEnable);
  if ((hardware->Read32(vtd::kGlobalStatusRegister) & vtd::kQueueEnable) == 0) {
    return QueueTimeout();
  }
  return queue;
}

InvalidationQueue::InvalidationQueue(hardware::VtdModel* hardware, TableArena* arena, PhysAddr ring,
                                     PhysAddr status)
    : hardware_(*hardware), arena_(*arena), ring_(ring), status_(status) {}

InvalidationQueue::~InvalidationQueue() {
  const uint32_t commands = hardware_.Read32(vtd::kGlobalStatusRegister) & vtd::kLastingCommands;
  hardware_.Write32(vtd::kGlobalCommandRegister, commands & ~vtd::kQueueEnable);
  arena_.Free(status_);
  arena_.FreeBlock(ring_, kRingPagesLog2);
}

absl::Status InvalidationQueue::Submit(absl::Span<const vtd::Descriptor> batch,
                                       std::optional<uint16_t>* silent) {
  while (!batch.empty()) {
    const auto part = batch.first(std::min(batch.size(), kMaxPart));
    batch.remove_prefix(part.size());
    absl::MutexLock lock(&mutex_);
    RETURN_IF_ERROR(SubmitPart(part, silent));
  }
  return absl::OkStatus();
}

absl::Status InvalidationQueue::SubmitPart(absl::Span<const vtd::Descriptor> part,
                                           std::optional<uint16_t>* silent) {
  // Full only when an earlier batch timed out: otherwise the ring is empty between two parts.
  const uint32_t used = (tail_ + kEntries - head()) % kEntries;
  if (used + part.size() + 1 >= kEntries) {
    ++counters_.timeouts;
    return QueueTimeout();
  }
  for (const vtd::Descriptor& descriptor : part) Push(descriptor);
  if (++sequence_ == 0) ++sequence_;  // 0 is what the status word holds at first.
  Push(vtd::Wait(status_, sequence_));
  hardware_.Write64(vtd::kQueueTailRegister, tail_ * kDescriptorBytes);
  return AwaitStatus(sequence_, silent);
}

void InvalidationQueue::Push(const vtd::Descriptor& descriptor) {
  // The hardware reads a slot only once the tail has passed it.
  for (size_t i = 0; i < descriptor.size(); ++i) {
    PlainStore().Store64(Slot(tail_) + i, descriptor[i]);
  }
  tail_ = (tail_ + 1) % kEntries;
  ++counters_.submitted;
  ++counters_.by_kind[static_cast<size_t>(vtd::KindOf(descriptor))];
}

absl::Status InvalidationQueue::AwaitStatus(uint32_t sequence, std::optional<uint16_t>* silent) {
  absl::Status result;
  const auto* status = reinterpret_cast<const uint32_t*>(arena_.WordsAt(status_));
  for (int poll = 0; poll < kMaxPolls; ++poll) {
    if (__atomic_load_n(status, __ATOMIC_ACQUIRE) == sequence) return result;
    const uint32_t faults = hardware_.Read32(vtd::kFaultStatusRegister);
    if ((faults & vtd::kFaultTimeout) != 0) return TakeTimeout(silent);
    if ((faults & vtd::kFaultQueueError) != 0) result = SkipRefused();
  }
  if (!result.ok()) return result;
  ++counters_.timeouts;
  return QueueTimeout();
}

absl::Status InvalidationQueue::SkipRefused() {
  uint64_t* slot = Slot(head());
  const std::string words = absl::StrCat(Hex(slot[0]), ", ", Hex(slot[1]));
  for (size_t i = 0; i < kNoOperation.size(); ++i) PlainStore().Store64(slot + i, kNoOperation[i]);
  ++counters_.errors;
  hardware_.Write32(vtd::kFaultStatusRegister, vtd::kFaultQueueError);
  return Error(absl::StatusCode::kInternal, "QUEUE_ERROR",
               absl::StrCat("the hardware refused the invalidation descriptor (", words, ")"))
      .Errno("EINVAL");
}

absl::Status InvalidationQueue::TakeTimeout(std::optional<uint16_t>* silent) {
  const auto source = static_cast<uint16_t>(hardware_.Read64(vtd::kQueueErrorRecordRegister) >>
                                            vtd::kTimeoutSourceShift);
  hardware_.Write32(vtd::kFaultStatusRegister, vtd::kFaultTimeout);
  ++counters_.timeouts;
  if (silent != nullptr) *silent = source;
  return Error(absl::StatusCode::kInternal, "QUEUE_TIMEOUT",
               absl::StrCat("the device with source id ", Hex(source),
                            " does not answer an invalidation of its TLB"))
      .Errno("ETIMEDOUT")
      .Meta("source_id", Hex(source));
}

uint64_t* InvalidationQueue::Slot(uint32_t index) const {
  return arena_.WordsAt(ring_ + uint64_t{index} * kDescriptorBytes);
}

InvalidationQueue::Counters InvalidationQueue::counters() const {
  absl::MutexLock lock(&mutex_);
  return counters_;
}

uint32_t InvalidationQueue::head() const {
  return static_cast<uint32_t>(hardware_.Read64(vtd::kQueueHeadRegister) / kDescriptorBytes);
}

uint32_t InvalidationQueue::tail() const {
  absl::MutexLock lock(&mutex_);
  return tail_;
}

}  // namespace viommu
