#include "engine/model/flush_queue.h"

#include <algorithm>

namespace viommu {

void FlushQueue::Push(const PlacedArea& area, absl::Time now) {
  waiting_.push_back({area, begun_, now + options_.timeout});
  held_.insert(area.range.first);
  deadline_ = std::min(deadline_, waiting_.back().deadline);
}

std::vector<PlacedArea> FlushQueue::Complete(uint64_t flush, Cause cause) {
  ++flushes_[static_cast<size_t>(cause)];
  completed_ = std::max(completed_, flush);
  std::vector<PlacedArea> released;
  while (!waiting_.empty() && waiting_.front().begun < completed_) {
    released.push_back(waiting_.front().area);
    held_.erase(waiting_.front().area.range.first);
    waiting_.pop_front();
  }
  // What came while the flush was under way is not covered by it.
  deadline_ = waiting_.empty() ? absl::InfiniteFuture() : waiting_.front().deadline;
  return released;
}

void FlushQueue::Fail(absl::Time now) {
  if (waiting_.empty()) return;  // Another flush has done it.
  ++failures_;
  deadline_ = now + options_.timeout;
}

}  // namespace viommu
