#include "engine/backend/soft/smmu_page_request_queue.h"

#include <cstddef>

#include "engine/backend/soft/smmu_registers.h"
#include "engine/base/status_macros.h"
#include "engine/entries/smmu_events.h"

namespace viommu {
namespace {

constexpr uint32_t kIndexMask = 2 * SmmuPageRequestQueue::kEntries - 1;  // With the wrap flag.
static_assert(SmmuPageRequestQueue::kEntries * sizeof(smmu::PageRequestRecord) ==
              TableArena::kPageBytes);

bool IsStopMarker(const PageRequestBacklog::Request& request) {
  return request.pasid.has_value() && request.last && !request.read && !request.write;
}

smmu::Command ResponseTo(const PageRequestBacklog::Request& last, smmu::PriAnswer answer) {
  smmu::PageRequestGroup group;
  group.stream_id = last.requester;
  if (last.pasid.has_value()) group.ssid = *last.pasid;
  group.group = static_cast<uint16_t>(last.group);
  return smmu::RespondToPageRequests(group, answer);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SmmuPageRequestQueue>> SmmuPageRequestQueue::Create(
    hardware::SmmuModel* hardware, SmmuCommandQueue* commands, TableArena* arena) {
  ASSIGN_OR_RETURN(const PhysAddr ring, arena->AllocateZeroed());
  std::unique_ptr<SmmuPageRequestQueue> queue(
      new SmmuPageRequestQueue(hardware, commands, arena, ring));
  hardware->Write64(smmu::kPageRequestQueueRegister,
                    ring.value | smmu::kBaseReadAllocate | kEntriesLog2);
  hardware->Write32(smmu::kPageRequestProducerRegister, 0);
  hardware->Write32(smmu::kPageRequestConsumerRegister, 0);
  const uint32_t control = hardware->Read32(smmu::kControlRegister);
  hardware->Write32(smmu::kControlRegister, control | smmu::kControlPageRequestQueue);
  return queue;
}

SmmuPageRequestQueue::~SmmuPageRequestQueue() {
  const uint32_t control = hardware_.Read32(smmu::kControlRegister);
  hardware_.Write32(smmu::kControlRegister, control & ~smmu::kControlPageRequestQueue);
  arena_.Free(ring_);
}

SmmuPageRequestQueue::Request SmmuPageRequestQueue::RequestAt(uint32_t index) const {
  smmu::PageRequestRecord record;
  const uint64_t* words =
      arena_.WordsAt(ring_ + uint64_t{index & (kEntries - 1)} * sizeof(smmu::PageRequestRecord));
  for (size_t i = 0; i < record.size(); ++i) {
    record[i] = __atomic_load_n(words + i, __ATOMIC_ACQUIRE);
  }
  const smmu::PageRequest seen = smmu::DecodePageRequest(record);
  Request request;
  request.requester = seen.stream_id;
  if (seen.ssid.has_value()) request.pasid = *seen.ssid;
  request.group = seen.group;
  request.last = seen.last;
  request.address = seen.address;
  request.read = seen.read;
  request.write = seen.write;
  request.execute = seen.execute;
  request.privileged = seen.privileged;
  return request;
}

void SmmuPageRequestQueue::Read(Commands* answers) {
  // While the flags differ the unit adds nothing: all in the ring came before the loss.
  const uint32_t producer = hardware_.Read32(smmu::kPageRequestProducerRegister);
  const uint32_t overflow = producer & smmu::kQueueOverflow;
  bool lost = overflow != overflow_;
  for (; consumer_ != (producer & kIndexMask); consumer_ = (consumer_ + 1) & kIndexMask) {
    const Request request = RequestAt(consumer_);
    if (IsStopMarker(request) || backlog_.Add(request)) continue;
    lost = true;
    if (!request.last) continue;
    answers->push_back(ResponseTo(request, smmu::PriAnswer::kResponseFailure));
  }
  if (lost) backlog_.Break();
  overflow_ = overflow;
  hardware_.Write32(smmu::kPageRequestConsumerRegister, consumer_ | overflow_);
}

void SmmuPageRequestQueue::Send(const Commands& answers) {
  if (!answers.empty()) commands_.Submit(answers).IgnoreError();
}

void SmmuPageRequestQueue::Serve() {
  Commands answers;
  {
    absl::MutexLock lock(&mutex_);
    Read(&answers);
  }
  Send(answers);
}

SmmuPageRequestQueue::Taken SmmuPageRequestQueue::Take() {
  absl::MutexLock lock(&mutex_);
  return backlog_.Take();
}

void SmmuPageRequestQueue::Drop(absl::FunctionRef<bool(const Request&)> goes) {
  Commands answers;
  {
    absl::MutexLock lock(&mutex_);
    Read(&answers);
    for (const Request& last : backlog_.Drop(goes)) {
      answers.push_back(ResponseTo(last, smmu::PriAnswer::kInvalidRequest));
    }
  }
  Send(answers);
}

absl::Status SmmuPageRequestQueue::Respond(const smmu::PageRequestGroup& group,
                                           smmu::PriAnswer answer) {
  return commands_.Submit({smmu::RespondToPageRequests(group, answer)});
}

}  // namespace viommu
