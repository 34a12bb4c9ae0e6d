#include "engine/backend/soft/hardware/smmu_page_requesters.h"

namespace viommu::hardware::smmu {

bool PageRequesters::IsOutstanding(const PageRequest& request) const {
  const auto function = functions_.find(request.stream_id);
  return function != functions_.end() &&
         function->second.outstanding.contains({request.group, request.substream_id});
}

void PageRequesters::Await(const PageRequest& last) {
  functions_[last.stream_id].outstanding.insert({last.group, last.substream_id});
}

void PageRequesters::Settle(const Group& group, PageAnswer answer, Function* function) {
  if (function->outstanding.erase(group) == 0) return;
  function->responses.push_back({group.second, group.first, answer});
  if (function->responses.size() > kKeptResponses) function->responses.pop_front();
}

void PageRequesters::Answer(uint32_t stream_id, const PageResponse& response) {
  const auto function = functions_.find(stream_id);
  if (function == functions_.end()) return;
  const bool of_any_pasid =
      response.answer == PageAnswer::kResponseFailure && !response.substream_id.has_value();
  if (!of_any_pasid) {
    return Settle({response.group, response.substream_id}, response.answer, &function->second);
  }
  std::vector<Group> groups;
  for (const Group& group : function->second.outstanding) {
    if (group.first == response.group) groups.push_back(group);
  }
  for (const Group& group : groups) Settle(group, response.answer, &function->second);
}

std::vector<PageResponse> PageRequesters::Responses(uint32_t stream_id) const {
  const auto function = functions_.find(stream_id);
  if (function == functions_.end()) return {};
  return {function->second.responses.begin(), function->second.responses.end()};
}

}  // namespace viommu::hardware::smmu
