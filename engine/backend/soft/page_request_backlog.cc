#include "engine/backend/soft/page_request_backlog.h"

#include <algorithm>
#include <iterator>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace viommu {

bool PageRequestBacklog::Add(const Request& request) {
  if (untaken_.requests.size() == kMaxRequests) return false;
  untaken_.requests.push_back(request);
  return true;
}

void PageRequestBacklog::Break() {
  untaken_.broken = true;
  absl::flat_hash_set<std::tuple<uint32_t, std::optional<uint32_t>, uint32_t>> ended;
  std::vector<Request> kept;
  // From the last one back: what is met before the end of its group has none.
  for (auto it = untaken_.requests.rbegin(); it != untaken_.requests.rend(); ++it) {
    const auto group = std::make_tuple(it->requester, it->pasid, it->group);
    if (it->last) ended.insert(group);
    if (ended.contains(group)) kept.push_back(*it);
  }
  std::reverse(kept.begin(), kept.end());
  untaken_.requests = std::move(kept);
}

PageRequestBacklog::Taken PageRequestBacklog::Take() { return std::exchange(untaken_, {}); }

std::vector<PageRequestBacklog::Request> PageRequestBacklog::Drop(
    absl::FunctionRef<bool(const Request&)> goes) {
  std::vector<Request>& requests = untaken_.requests;
  const auto going = std::stable_partition(requests.begin(), requests.end(),
                                           [&](const Request& request) { return !goes(request); });
  std::vector<Request> due;
  std::copy_if(going, requests.end(), std::back_inserter(due),
               [](const Request& request) { return request.last; });
  requests.erase(going, requests.end());
  return due;
}

}  // namespace viommu
