#include "engine/backend/soft/smmu_event_queue.h"

#include <algorithm>
#include <utility>

#include "engine/backend/soft/smmu_registers.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr uint32_t kIndexMask = 2 * SmmuEventQueue::kEntries - 1;  // The wrap flag included.
static_assert(SmmuEventQueue::kEntries * sizeof(smmu::EventRecord) == TableArena::kPageBytes);

}  // namespace

absl::StatusOr<std::unique_ptr<SmmuEventQueue>> SmmuEventQueue::Create(
    hardware::SmmuModel* hardware, TableArena* arena) {
  ASSIGN_OR_RETURN(const PhysAddr ring, arena->AllocateZeroed());
  std::unique_ptr<SmmuEventQueue> queue(new SmmuEventQueue(hardware, arena, ring));
  hardware->Write64(smmu::kEventQueueRegister, ring.value | smmu::kBaseReadAllocate | kEntriesLog2);
  hardware->Write32(smmu::kEventProducerRegister, 0);
  hardware->Write32(smmu::kEventConsumerRegister, 0);
  const uint32_t control = hardware->Read32(smmu::kControlRegister);
  hardware->Write32(smmu::kControlRegister, control | smmu::kControlEventQueue);
  return queue;
}

SmmuEventQueue::~SmmuEventQueue() {
  const uint32_t control = hardware_.Read32(smmu::kControlRegister);
  hardware_.Write32(smmu::kControlRegister, control & ~smmu::kControlEventQueue);
  arena_.Free(ring_);
}

void SmmuEventQueue::Read() {
  const uint32_t producer = hardware_.Read32(smmu::kEventProducerRegister);
  for (; consumer_ != (producer & kIndexMask); consumer_ = (consumer_ + 1) & kIndexMask) {
    const smmu::Event event = EventAt(consumer_);
    if (event.stalled) {
      stalls_.push_back(event);
    } else if (untaken_.events.size() < kEntries) {
      untaken_.events.push_back(event);
    } else {
      untaken_.lost = true;
    }
  }
  if ((producer & smmu::kQueueOverflow) != overflow_) untaken_.lost = true;
  overflow_ = producer & smmu::kQueueOverflow;
  hardware_.Write32(smmu::kEventConsumerRegister, consumer_ | overflow_);
}

SmmuEventQueue::Taken SmmuEventQueue::Take() {
  absl::MutexLock lock(&mutex_);
  Read();
  return std::exchange(untaken_, {});
}

void SmmuEventQueue::Forget(uint32_t stream_id) {
  absl::MutexLock lock(&mutex_);
  Read();
  std::vector<smmu::Event>& events = untaken_.events;
  events.erase(
      std::remove_if(events.begin(), events.end(),
                     [&](const smmu::Event& event) { return event.stream_id == stream_id; }),
      events.end());
}

std::vector<smmu::Event> SmmuEventQueue::TakeStalls(
    absl::FunctionRef<bool(const smmu::Event&)> wanted) {
  absl::MutexLock lock(&mutex_);
  Read();
  const auto taken = std::stable_partition(
      stalls_.begin(), stalls_.end(), [&](const smmu::Event& event) { return !wanted(event); });
  std::vector<smmu::Event> events(taken, stalls_.end());
  stalls_.erase(taken, stalls_.end());
  return events;
}

smmu::Event SmmuEventQueue::EventAt(uint32_t index) const {
  smmu::EventRecord record;
  const uint64_t* words =
      arena_.WordsAt(ring_ + uint64_t{index & (kEntries - 1)} * sizeof(smmu::EventRecord));
  for (size_t i = 0; i < record.size(); ++i) {
    record[i] = __atomic_load_n(words + i, __ATOMIC_ACQUIRE);
  }
  return smmu::DecodeEvent(record);
}

}  // namespace viommu
