#include "engine/backend/soft/hardware/smmu_page_requests.h"

namespace viommu::hardware::smmu {
namespace {

constexpr uint32_t kInterruptEnable = 1u << 1;  // IRQ_CTRL.PRIQ_IRQEN

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

PageResponse Failure(const PageRequest& request) {
  return {std::nullopt, request.group, PageAnswer::kResponseFailure};
}

// While the queue overflows (8.1).
PageResponse TryAgain(const PageRequest& request, FindsResponsePasid response_pasid) {
  PageResponse response = {std::nullopt, request.group, PageAnswer::kSuccess};
  if (!request.substream_id.has_value()) return response;
  const std::optional<bool> with_pasid = response_pasid();
  if (!with_pasid.has_value()) return Failure(request);
  if (*with_pasid) response.substream_id = request.substream_id;
  return response;
}

}  // namespace

void PageRequests::Await(const PageRequest& request) {
  if (request.last && !IsStopMarker(request)) requesters_.Await(request);
}

PageRequestFate PageRequests::Lose(const PageRequest& request, const PageResponse& response) {
  ++counters_.page_requests_lost;
  Await(request);
  if (request.last) requesters_.Answer(request.stream_id, response);
  return PageRequestFate::kLost;
}

bool PageRequests::Store(const PageRequest& request) {
  const PhysAddr place = ring_.ProducerAddress();
  const uint64_t second = (request.address & Bits(63, 12)) | request.group;
  return memory_.Store64(place, FirstWordOf(request)) && memory_.Store64(place + 8, second);
}

PageRequestFate PageRequests::Add(const PageRequest& request, FindsResponsePasid response_pasid) {
  if (!IsStopMarker(request) && requesters_.IsOutstanding(request)) {
    return PageRequestFate::kGroupWaits;
  }
  if (!registers_.pri_queue() || registers_.Active(kPriQueueAbort)) {
    return Lose(request, Failure(request));
  }
  if (overflow_ == acknowledged_ && ring_.full()) overflow_ ^= kOverflow;
  if (overflow_ != acknowledged_) return Lose(request, TryAgain(request, response_pasid));
  if (!Store(request)) {
    registers_.Raise(kPriQueueAbort);
    return Lose(request, Failure(request));
  }
  const bool was_empty = ring_.empty();
  ring_.Produce();
  ++counters_.page_requests;
  Await(request);
  if ((was_empty || request.last) && (registers_.irq_control & kInterruptEnable)) {
    registers_.Pulse(Interrupt::kPriQueue);
  }
  return PageRequestFate::kQueued;
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
