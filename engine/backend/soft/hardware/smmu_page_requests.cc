#include "engine/backend/soft/hardware/smmu_page_requests.h"

namespace viommu::hardware::smmu {
namespace {

constexpr uint32_t kInterruptEnable = 1u << 1;  // IRQ_CTRL.PRIQ_IRQEN
constexpr uint16_t kGroupField = 0x1ff;

// Of the first word of a record.
constexpr int kSubstreamShift = 32;
constexpr uint64_t kPrivileged = Bit(58);
constexpr uint64_t kExecute = Bit(59);
constexpr uint64_t kRead = Bit(60);
constexpr uint64_t kWrite = Bit(61);
constexpr uint64_t kLast = Bit(62);
constexpr uint64_t kSubstreamValid = Bit(63);

uint64_t FirstWordOf(const PageRequest& request) {
  uint64_t word = request.stream_id;
  // Privilege and execution are a PASID's to ask for.
  if (request.substream_id.has_value()) {
    word |= kSubstreamValid | (uint64_t{*request.substream_id} & 0xfffff) << kSubstreamShift;
    word |= (request.privileged ? kPrivileged : 0) | (request.execute ? kExecute : 0);
  }
  return word | (request.read ? kRead : 0) | (request.write ? kWrite : 0) |
         (request.last ? kLast : 0);
}

}  // namespace

bool PageRequests::Lose(const PageRequest& request, PageAnswer answer) {
  ++counters_.page_requests_lost;
  if (request.last) {
    answers_.insert_or_assign(Group(request.stream_id, request.group & kGroupField), answer);
  }
  return false;
}

bool PageRequests::Store(const PageRequest& request) {
  const PhysAddr place = ring_.ProducerAddress();
  const uint64_t second = (request.address & Bits(63, 12)) | (request.group & kGroupField);
  return memory_.Store64(place, FirstWordOf(request)) && memory_.Store64(place + 8, second);
}

bool PageRequests::Add(const PageRequest& request) {
  if (!registers_.pri_queue() || registers_.Active(kPriQueueAbort)) {
    return Lose(request, PageAnswer::kResponseFailure);
  }
  if (overflow_ == acknowledged_ && ring_.full()) overflow_ ^= kOverflow;
  if (overflow_ != acknowledged_) return Lose(request, PageAnswer::kSuccess);
  if (!Store(request)) {
    registers_.Raise(kPriQueueAbort);
    return Lose(request, PageAnswer::kResponseFailure);
  }
  const bool was_empty = ring_.empty();
  ring_.Produce();
  ++counters_.page_requests;
  if (request.last) waiting_.insert(Group(request.stream_id, request.group & kGroupField));
  if ((was_empty || request.last) && (registers_.irq_control & kInterruptEnable)) {
    registers_.Pulse(Interrupt::kPriQueue);
  }
  return true;
}

void PageRequests::Answer(uint32_t stream_id, uint16_t group, PageAnswer answer) {
  if (waiting_.erase(Group(stream_id, group)) == 0) return;
  answers_.insert_or_assign(Group(stream_id, group), answer);
}

std::optional<PageAnswer> PageRequests::Take(uint32_t stream_id, uint16_t group) {
  const auto found = answers_.find(Group(stream_id, group));
  if (found == answers_.end()) return std::nullopt;
  const PageAnswer answer = found->second;
  answers_.erase(found);
  return answer;
}

void PageRequests::WriteProducer(uint32_t value) {
  if (registers_.pri_queue()) return;
  ring_.WriteProducer(value);
  overflow_ = value & kOverflow;
}

void PageRequests::WriteConsumer(uint32_t value) {
  ring_.WriteConsumer(value);
  acknowledged_ = value & kOverflow;
}

void PageRequests::WriteBase(uint64_t value) {
  if (!registers_.pri_queue()) ring_.WriteBase(value);
}

}  // namespace viommu::hardware::smmu
