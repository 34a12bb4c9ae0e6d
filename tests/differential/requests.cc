#include "tests/differential/requests.h"

#include "engine/types.h"

namespace viommu::differential {

std::optional<Answer> Requests::Look(const Step& step) const {
  const auto it = remembered_.find({step.caller, step.request});
  if (it == remembered_.end()) return std::nullopt;
  if (it->second.digest == Digest(step)) return it->second.answer;
  return Invalid("REQUEST_ID_REUSED");
}

void Requests::Succeeded(const Step& step, const Answer& answer) {
  remembered_[{step.caller, step.request}] = {Digest(step), answer};
  std::deque<uint32_t>& order = in_order_[step.caller];
  order.push_back(step.request);
  if (order.size() <= kRememberedRequests) return;
  remembered_.erase({step.caller, order.front()});
  order.pop_front();
}

}  // namespace viommu::differential
