// engine/backend/soft/page_request_backlog.h -- Page requests that a unit's driver, of whatever
// architecture, has read and nobody has taken yet.
//
// Thread-compatible: the owning queue holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_PAGE_REQUEST_BACKLOG_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_PAGE_REQUEST_BACKLOG_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"

namespace viommu {

class PageRequestBacklog {
 public:
  static constexpr size_t kMaxRequests = 1 << 14;

  struct Request {
    uint32_t requester = 0;  // The unit's name for the device: source id, StreamID.
    std::optional<uint32_t> pasid;
    uint32_t group = 0;
    bool last = false;  // Of its group: an answer is due.
    uint64_t address = 0;
    bool read = false;
    bool write = false;
    bool execute = false;
    bool privileged = false;
  };
  struct Taken {
    // Requests were lost: what was taken before of groups that have not ended is not whole. Here
    // is none of a group that the loss has broken.
    bool broken = false;
    std::vector<Request> requests;
  };

  // False: there is no room for it.
  bool Add(const Request& request);
  // Requests were lost behind all that is here: drops those whose group has not ended, so that they
  // do not end up in the next group of that number.
  void Break();
  // All that is there.
  Taken Take();
  // Drops what `goes` picks. Returns the last ones of groups among it: each is to be answered.
  std::vector<Request> Drop(absl::FunctionRef<bool(const Request&)> goes);

 private:
  Taken untaken_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_PAGE_REQUEST_BACKLOG_H_
