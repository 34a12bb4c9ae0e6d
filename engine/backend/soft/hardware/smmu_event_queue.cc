#include "engine/backend/soft/hardware/smmu_event_queue.h"

namespace viommu::hardware::smmu {
namespace {

constexpr uint32_t kInterruptEnable = 1u << 2;  // IRQ_CTRL.EVENTQ_IRQEN

}  // namespace

bool EventQueue::Lose() {
  ++counters_.events_lost;
  return false;
}

bool EventQueue::Record(const Event& event) {
  if (!writable()) {
    const bool overflows = registers_.event_queue() && ring_.full();
    if (overflows && overflow_ == acknowledged_) overflow_ ^= kOverflow;
    return Lose();
  }
  const PhysAddr place = ring_.ProducerAddress();
  uint64_t offset = 0;
  for (const uint64_t word : EncodeEvent(event)) {
    if (!memory_.Store64(place + offset, word)) {
      registers_.Raise(kEventQueueAbort);
      return Lose();
    }
    offset += sizeof(word);
  }
  const bool was_empty = ring_.empty();
  ring_.Produce();
  ++counters_.events_recorded;
  if (was_empty && (registers_.irq_control & kInterruptEnable)) {
    registers_.Pulse(Interrupt::kEventQueue);
  }
  return true;
}

void EventQueue::WriteProducer(uint32_t value) {
  if (registers_.event_queue()) return;
  ring_.WriteProducer(value);
  overflow_ = value & kOverflow;
}

void EventQueue::WriteConsumer(uint32_t value) {
  ring_.WriteConsumer(value);
  acknowledged_ = value & kOverflow;
}

void EventQueue::WriteBase(uint64_t value) {
  if (!registers_.event_queue()) ring_.WriteBase(value);
}

}  // namespace viommu::hardware::smmu
