// engine/backend/soft/hardware/vtd_page_requests.h -- Page requests: the functions that make them
// (PCIe PRI), and the ring in memory through which a VT-d unit hands them to software.
//
// Sources: VT-d 7.5 (page requests, overflow), 7.5.1.1 (descriptor), 7.7.1 (page group responses),
// 11.4.11 (PQH, PQT, PQA, PRS); Linux intel/prq.c (struct page_req_dsc, prq_event_thread). Not
// modelled: the page request event's interrupt, and that a function stops asking for pages once it
// has been told kFailure.
//
// A request is in the ring, and the tail has moved, when the call that made it returns: so there is
// never one on its way, and a wait descriptor that drains them (PD) has nothing to do.
//
// Thread-compatible: the VtdModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_PAGE_REQUESTS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_PAGE_REQUESTS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "engine/backend/soft/hardware/vtd_invalidation.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware {

// A page request message, as it arrives from the bus.
struct PageRequest {
  uint16_t source_id = 0;
  std::optional<uint32_t> pasid;  // 20 bits.
  uint64_t address = 0;           // 4 KiB aligned.
  bool read = false;
  bool write = false;
  bool execute = false;
  bool privileged = false;
  uint32_t group = 0;  // Page request group index, 9 bits.
  bool last = false;   // LPIG: the function waits for an answer to the group from now on.
};

// Response code of a page group response.
enum class PageGroupCode : uint8_t { kSuccess = 0, kInvalid = 1, kFailure = 15 };

// What functions wait for, and what they were told.
class PageRequesters {
 public:
  struct Response {
    std::optional<uint32_t> pasid;
    uint32_t group = 0;
    PageGroupCode code = PageGroupCode::kSuccess;
  };
  static constexpr size_t kKeptResponses = 64;  // Of each function.

  // Whether the function waits for an answer to the request's group. It makes no other request in
  // that group until it has one.
  bool IsOutstanding(const PageRequest& request) const;
  // The last request of a group was made.
  void Await(const PageRequest& last);
  // A response arrives. One that the function does not wait for is nothing to it.
  void Answer(uint16_t source_id, const Response& response);
  // The last ones that the function was given, oldest first.
  std::vector<Response> Responses(uint16_t source_id) const;

 private:
  using Key = std::pair<std::optional<uint32_t>, uint32_t>;  // PASID, group.
  struct Function {
    absl::flat_hash_set<Key> outstanding;
    std::deque<Response> responses;
  };
  absl::flat_hash_map<uint16_t, Function> functions_;
};

// Delivers a page group response descriptor. False, with nothing done, when it is none: without
// ECAP.PRS, with a reserved bit set, or with a code that there is not.
bool ApplyPageGroupResponse(const Descriptor& descriptor, const Capabilities& capabilities,
                            PageRequesters* requesters);

class PageRequestQueue {
 public:
  // All outlive the queue.
  PageRequestQueue(PhysicalMemory* memory, PageRequesters* requesters)
      : memory_(*memory), requesters_(*requesters) {}

  // Puts a request that passed all checks into the ring. One that finds it full sets PRO, and while
  // that stands none gets in; then the last one of a group is answered kSuccess by the unit itself,
  // so that the function asks again. Without a ring that is kInvalid.
  void Report(const PageRequest& request);

  // PQA: base 63:12, size 2:0 (the ring has 2^size pages). PQH, PQT: byte offsets.
  void WriteBase(uint64_t value);
  uint64_t base() const { return base_; }
  void WriteHead(uint32_t value) { head_ = value & kOffsetField; }
  uint32_t head() const { return head_; }
  void WriteTail(uint32_t value) { tail_ = value & kOffsetField; }
  uint32_t tail() const { return tail_; }
  // PRS: PPR 0 (a request came), PRO 1 (overflow), both cleared by writing 1.
  uint32_t ReadStatus() const { return (pending_ ? 1u : 0) | (overflow_ ? 2u : 0); }
  void WriteStatus(uint32_t value);

 private:
  static constexpr uint32_t kDescriptorBytes = 32;
  static constexpr uint32_t kOffsetField = static_cast<uint32_t>(Bits(18, 5));
  uint32_t ring_bytes() const { return uint32_t{4096} << Field(base_, 2, 0); }
  bool Store(const PageRequest& request);
  void Discard(const PageRequest& request, PageGroupCode code);

  PhysicalMemory& memory_;
  PageRequesters& requesters_;
  uint64_t base_ = 0;
  uint32_t head_ = 0;
  uint32_t tail_ = 0;
  bool pending_ = false;
  bool overflow_ = false;
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_PAGE_REQUESTS_H_
