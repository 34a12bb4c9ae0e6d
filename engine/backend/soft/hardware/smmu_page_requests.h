// engine/backend/soft/hardware/smmu_page_requests.h -- The PRI queue of an SMMUv3, and the
// responses that it makes itself.
//
// Sources: Arm IHI 0070 8 (records), 8.1 (overflow, STE.PPAR), 8.2 (other automatic responses),
// 4.5.2 (CMD_PRI_RESP). EATS does not count for page requests (8.2).
//
// Thread-compatible: the SmmuModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_PAGE_REQUESTS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_PAGE_REQUESTS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/backend/soft/hardware/smmu_counters.h"
#include "engine/backend/soft/hardware/smmu_page_requesters.h"
#include "engine/backend/soft/hardware/smmu_registers.h"
#include "engine/backend/soft/hardware/smmu_request.h"
#include "engine/backend/soft/hardware/smmu_ring.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware::smmu {

// Whether a response to a request with a PASID has it, too (STE.PPAR); none: nobody can tell, for
// the stream has no valid entry.
using FindsResponsePasid = absl::FunctionRef<std::optional<bool>()>;

class PageRequests {
 public:
  // All outlive the object.
  PageRequests(int max_log2, PhysicalMemory* memory, Registers* registers, Counters* counters)
      : ring_(kEntryLog2, max_log2),
        memory_(*memory),
        registers_(*registers),
        counters_(*counters) {}

  // Writes the record of a page request. Where it can not, the last of a group is answered: with
  // success where the queue is full, or was and nobody has acknowledged it, so that the function
  // tries again; with a response failure where it is off or memory does not take it, and where
  // `response_pasid` is to be looked up and is not known.
  PageRequestFate Add(const PageRequest& request, FindsResponsePasid response_pasid);

  // CMD_PRI_RESP. Nothing happens when no such group waits.
  void Answer(uint32_t stream_id, const PageResponse& response) {
    requesters_.Answer(stream_id, response);
  }
  std::vector<PageResponse> Responses(uint32_t stream_id) const {
    return requesters_.Responses(stream_id);
  }

  // As of an EventQueue.
  uint32_t ReadProducer() const { return ring_.producer() | overflow_; }
  uint32_t ReadConsumer() const { return ring_.consumer() | acknowledged_; }
  void WriteProducer(uint32_t value);
  void WriteConsumer(uint32_t value);
  uint64_t base() const { return ring_.base(); }
  void WriteBase(uint64_t value);

 private:
  static constexpr int kEntryLog2 = 4;
  static constexpr uint32_t kOverflow = 1u << 31;

  // Waits for the answer that is due to the last one of a group.
  void Await(const PageRequest& request);
  PageRequestFate Lose(const PageRequest& request, const PageResponse& response);
  bool Store(const PageRequest& request);

  Ring ring_;
  PhysicalMemory& memory_;
  Registers& registers_;
  Counters& counters_;
  uint32_t overflow_ = 0;
  uint32_t acknowledged_ = 0;
  PageRequesters requesters_;
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_PAGE_REQUESTS_H_
