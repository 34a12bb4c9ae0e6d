#include "engine/backend/soft/smmu_event_queue.h"

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

SmmuEventQueue::Taken SmmuEventQueue::Take() {
  absl::MutexLock lock(&mutex_);
  const uint32_t producer = hardware_.Read32(smmu::kEventProducerRegister);
  Taken taken;
  for (; consumer_ != (producer & kIndexMask); consumer_ = (consumer_ + 1) & kIndexMask) {
    taken.events.push_back(EventAt(consumer_));
  }
  taken.lost = (producer & smmu::kEventOverflow) != overflow_;
  overflow_ = producer & smmu::kEventOverflow;
  hardware_.Write32(smmu::kEventConsumerRegister, consumer_ | overflow_);
  return taken;
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
