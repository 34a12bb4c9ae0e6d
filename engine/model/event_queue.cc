#include "engine/model/event_queue.h"

#include <algorithm>

namespace viommu {

bool EventQueue::Report(const ArmSmmuV3Event& event) {
  if (events_.size() >= depth_) {
    ReportLost(1);
    return false;
  }
  marker_.reset();
  events_.push_back({next_++, event});
  ++reported_;
  return true;
}

void EventQueue::ReportLost(uint64_t count) {
  if (count == 0) return;
  next_ += count;
  reported_ += count;
  lost_ += count;
  marker_ = next_ - 1;
}

std::optional<EventQueue::Entry> EventQueue::FirstFrom(uint64_t from) const {
  const auto it = std::lower_bound(
      events_.begin(), events_.end(), from,
      [](const Queued& queued, uint64_t number) { return queued.number < number; });
  if (it != events_.end()) return Entry{it->number, {SequenceOf(it->number), false, it->event}};
  if (!marker_.has_value() || *marker_ < from) return std::nullopt;
  return Entry{*marker_, {SequenceOf(*marker_), true, {}}};
}

void EventQueue::Acknowledge(uint64_t number) {
  while (!events_.empty() && events_.front().number <= number) events_.pop_front();
  if (marker_.has_value() && *marker_ <= number) marker_.reset();
}

std::optional<uint64_t> EventQueue::NumberOf(uint32_t sequence, uint64_t told) {
  if (sequence >= kSequences) return std::nullopt;
  const uint64_t back = (told - sequence) % kSequences;
  if (back > told) return std::nullopt;
  return told - back;
}

}  // namespace viommu
