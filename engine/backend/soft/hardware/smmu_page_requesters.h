// engine/backend/soft/hardware/smmu_page_requesters.h -- Functions that make page requests (PCIe
// PRI) behind an SMMUv3: what they wait for, and what they were told.
//
// They are functions whose "PRG Response PASID Required" is set: an answer to a request with a
// PASID has to have that PASID (Arm IHI 0070 8.1, STE.PPAR). A response failure counts without one:
// a unit that can not queue anything does not know better (8.2). Not modelled: that a function asks
// for nothing more once it has been told of a failure.
//
// Thread-compatible: the SmmuModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_PAGE_REQUESTERS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_PAGE_REQUESTERS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "engine/backend/soft/hardware/smmu_request.h"

namespace viommu::hardware::smmu {

// PCIe's end of a use of a PASID: asks for nothing, and nobody answers it. Without a PASID it is a
// page request like others (8).
inline bool IsStopMarker(const PageRequest& request) {
  return request.substream_id.has_value() && request.last && !request.read && !request.write;
}

class PageRequesters {
 public:
  static constexpr size_t kKeptResponses = 64;  // Of each function.

  // Whether the function waits for an answer to the request's group. It makes no other request in
  // that group until it has one.
  bool IsOutstanding(const PageRequest& request) const;
  // The last request of a group was made.
  void Await(const PageRequest& last);
  // A response arrives. One that the function does not wait for is nothing to it.
  void Answer(uint32_t stream_id, const PageResponse& response);
  // The last ones that the function was given, oldest first.
  std::vector<PageResponse> Responses(uint32_t stream_id) const;

 private:
  using Group = std::pair<uint16_t, std::optional<uint32_t>>;  // PRG index, PASID.
  struct Function {
    absl::btree_set<Group> outstanding;
    std::deque<PageResponse> responses;
  };

  static void Settle(const Group& group, PageAnswer answer, Function* function);

  absl::btree_map<uint32_t, Function> functions_;  // By StreamID.
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_PAGE_REQUESTERS_H_
