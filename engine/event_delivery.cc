#include "engine/event_delivery.h"

#include <cstdint>
#include <vector>

namespace viommu {

void EventDelivery::Deliver() {
  if (viommus_ == nullptr) return;
  absl::MutexLock in_order(&order_);
  const std::vector<ViommuEvent> events = viommus_->TakeEvents();
  if (events.empty()) return;
  absl::MutexLock lock(&mutex_);
  for (const ViommuEvent& event : events) Report(event);
}

RaiseAnswer EventDelivery::Report(const ViommuEvent& event) {
  // A Viommu that went meanwhile has no reader any more.
  const Object* const object = model_.objects.FindByUid(event.viommu);
  const RaiseAnswer dropped{RaiseAnswer::Outcome::kDropped, 0};
  if (object == nullptr) return dropped;
  const auto& queues = static_cast<const Viommu&>(*object).event_queues;
  const auto it = queues.find(event.type);
  if (it == queues.end()) return dropped;
  EventQueue& queue = model_.Get<ViommuEventQueue>(it->second)->events;
  RaiseAnswer answer;
  answer.sequence = EventQueue::SequenceOf(queue.next());
  const uint64_t lost_before = queue.lost();
  if (event.lost > 0) {
    queue.ReportLost(event.lost);
    answer.outcome = RaiseAnswer::Outcome::kLost;
  } else if (!queue.Report(event.event)) {
    answer.outcome = RaiseAnswer::Outcome::kLost;
  }
  model_.events_lost += queue.lost() - lost_before;
  arrived_.SignalAll();
  return answer;
}

}  // namespace viommu
