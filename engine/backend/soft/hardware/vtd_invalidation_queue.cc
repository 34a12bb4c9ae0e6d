#include "engine/backend/soft/hardware/vtd_invalidation_queue.h"

#include "absl/numeric/int128.h"
#include "absl/types/optional.h"
#include "engine/base/address.h"

namespace viommu::hardware {
namespace {

// IQA bits that hold something: base 63:12, DW 11, QS 2:0.
constexpr uint64_t kBaseFields = Bits(63, 11) | Bits(2, 0);
constexpr uint32_t kTailField = static_cast<uint32_t>(Bits(18, 4));

// Wait descriptor. FN (6) has nothing to do: descriptors are consumed one after the other anyway.
constexpr uint64_t kWaitInterrupt = Bit(4);     // IF
constexpr uint64_t kWaitStatusWrite = Bit(5);   // SW
constexpr uint64_t kWaitPageRequests = Bit(7);  // PD: needs ECAP.PDS. None is on its way.
constexpr uint64_t kWaitReserved0 = Bits(31, 8);
constexpr uint64_t kWaitReserved1 = Bits(1, 0);

}  // namespace

void InvalidationQueue::SetEnabled(bool enabled) {
  if (enabled == enabled_) return;
  enabled_ = enabled;
  head_ = 0;
  Run();
}

void InvalidationQueue::WriteBase(uint64_t value) {
  if (!enabled_) base_ = value & kBaseFields;
}

void InvalidationQueue::WriteTail(uint32_t value) {
  tail_ = value & kTailField;
  Run();
}

void InvalidationQueue::WriteCompletion(uint32_t value) {
  if (value & 1) wait_completed_ = false;
}

void InvalidationQueue::Run() {
  if (!enabled_ || Stopped()) return;
  if (tail_ % descriptor_bytes() != 0 || tail_ >= ring_bytes()) {
    faults_.SetQueueError(&warm_.counters);
    return;
  }
  while (head_ != tail_ && !Stopped()) {
    Descriptor descriptor;
    if (!Fetch(&descriptor) || !Consume(descriptor)) {
      faults_.SetQueueError(&warm_.counters);
      return;
    }
    ++warm_.counters.descriptors[descriptor.type()];
    head_ = (head_ + descriptor_bytes()) % ring_bytes();
  }
}

bool InvalidationQueue::Fetch(Descriptor* descriptor) const {
  const PhysAddr address = PhysAddr{base_ & Bits(63, 12)} + head_;
  for (uint32_t unit = 0; unit < descriptor_bytes() / 16; ++unit) {
    const absl::optional<absl::uint128> pair = memory_.Load128(address + unit * uint64_t{16});
    if (!pair.has_value()) return false;
    descriptor->word[2 * unit] = absl::Uint128Low64(*pair);
    descriptor->word[2 * unit + 1] = absl::Uint128High64(*pair);
  }
  return true;
}

bool InvalidationQueue::Consume(const Descriptor& descriptor) {
  if (descriptor.type() == kWait) return ConsumeWait(descriptor);
  if (descriptor.type() == kPageGroupResponse) {
    return ApplyPageGroupResponse(descriptor, capabilities_, &warm_.page_requesters);
  }
  if (!ApplyInvalidation(descriptor, capabilities_, &warm_.caches, &warm_.device_tlbs)) {
    return false;
  }
  const std::optional<uint16_t> target = DeviceTlbTargetOf(descriptor);
  if (!target.has_value() || unanswered_.has_value()) return true;
  const auto tlb = warm_.device_tlbs.find(*target);
  if (tlb != warm_.device_tlbs.end() && !tlb->second.answers()) unanswered_ = target;
  return true;
}

bool InvalidationQueue::ConsumeWait(const Descriptor& descriptor) {
  const uint64_t* word = descriptor.word;
  uint64_t reserved0 = kWaitReserved0;
  if (!capabilities_.page_request_drain()) reserved0 |= kWaitPageRequests;
  if ((word[0] & reserved0) || (word[1] & kWaitReserved1) || word[2] || word[3]) return false;
  if (unanswered_.has_value()) {
    faults_.SetTimeout(*unanswered_, &warm_.counters);
    unanswered_.reset();
    return true;
  }
  if (word[0] & kWaitStatusWrite) {
    const auto data = static_cast<uint32_t>(Field(word[0], 63, 32));
    if (!memory_.Store32(PhysAddr{word[1]}, data)) return false;
  }
  if (word[0] & kWaitInterrupt) wait_completed_ = true;
  return true;
}

}  // namespace viommu::hardware
