#include "engine/backend/soft/hardware/vtd_page_requests.h"

namespace viommu::hardware {
namespace {

// Page request descriptor, first word: type 7:0, PASID_present 8, requester 31:16, PASID 51:32,
// execute 52, privileged 53.
constexpr uint64_t kTypePageRequest = 1;
constexpr int kRequesterShift = 16;
constexpr int kPasidShift = 32;
// Second word: read 0, write 1, LPIG 2, group 11:3, address 63:12.
constexpr int kGroupShift = 3;

// Page group response descriptor: PASID_P 4, code 15:12, requester 31:16, PASID 51:32; second word:
// group 11:3.
constexpr uint64_t kResponsePasidPresent = Bit(4);
constexpr uint64_t kResponseReserved0 = Bits(11, 5) | Bits(63, 52);
constexpr uint64_t kResponseReserved1 = Bits(2, 0) | Bits(63, 12);

bool IsCode(uint64_t code) {
  return code == static_cast<uint64_t>(PageGroupCode::kSuccess) ||
         code == static_cast<uint64_t>(PageGroupCode::kInvalid) ||
         code == static_cast<uint64_t>(PageGroupCode::kFailure);
}

uint64_t Flag(bool set, int position) { return set ? Bit(position) : 0; }

}  // namespace

bool PageRequesters::IsOutstanding(const PageRequest& request) const {
  const auto function = functions_.find(request.source_id);
  return function != functions_.end() &&
         function->second.outstanding.contains({request.pasid, request.group});
}

void PageRequesters::Await(const PageRequest& last) {
  functions_[last.source_id].outstanding.insert({last.pasid, last.group});
}

void PageRequesters::Answer(uint16_t source_id, const Response& response) {
  const auto function = functions_.find(source_id);
  if (function == functions_.end() ||
      function->second.outstanding.erase({response.pasid, response.group}) == 0) {
    return;
  }
  std::deque<Response>& responses = function->second.responses;
  responses.push_back(response);
  if (responses.size() > kKeptResponses) responses.pop_front();
}

std::vector<PageRequesters::Response> PageRequesters::Responses(uint16_t source_id) const {
  const auto function = functions_.find(source_id);
  if (function == functions_.end()) return {};
  return {function->second.responses.begin(), function->second.responses.end()};
}

bool ApplyPageGroupResponse(const Descriptor& descriptor, const Capabilities& capabilities,
                            PageRequesters* requesters) {
  const uint64_t* const word = descriptor.word;
  const uint64_t code = Field(word[0], 15, 12);
  if (!capabilities.page_requests() || (word[0] & kResponseReserved0) ||
      (word[1] & kResponseReserved1) || word[2] || word[3] || !IsCode(code)) {
    return false;
  }
  PageRequesters::Response response;
  if (word[0] & kResponsePasidPresent) {
    response.pasid = static_cast<uint32_t>(Field(word[0], 51, 32));
  }
  response.group = static_cast<uint32_t>(Field(word[1], 11, 3));
  response.code = static_cast<PageGroupCode>(code);
  requesters->Answer(static_cast<uint16_t>(Field(word[0], 31, 16)), response);
  return true;
}

void PageRequestQueue::WriteBase(uint64_t value) { base_ = value & (Bits(63, 12) | Bits(2, 0)); }

void PageRequestQueue::WriteStatus(uint32_t value) {
  if (value & 1) pending_ = false;
  if (value & 2) overflow_ = false;
}

void PageRequestQueue::Report(const PageRequest& request) {
  if (request.last) requesters_.Await(request);
  if (Field(base_, 63, 12) == 0) return Discard(request, PageGroupCode::kInvalid);
  const uint32_t next = (tail_ + kDescriptorBytes) % ring_bytes();
  if (next == head_ % ring_bytes()) overflow_ = true;
  if (overflow_) return Discard(request, PageGroupCode::kSuccess);
  if (!Store(request)) return Discard(request, PageGroupCode::kInvalid);
  tail_ = next;
  pending_ = true;
}

bool PageRequestQueue::Store(const PageRequest& request) {
  const uint64_t words[4] = {kTypePageRequest | Flag(request.pasid.has_value(), 8) |
                                 uint64_t{request.source_id} << kRequesterShift |
                                 uint64_t{request.pasid.value_or(0)} << kPasidShift |
                                 Flag(request.execute, 52) | Flag(request.privileged, 53),
                             Flag(request.read, 0) | Flag(request.write, 1) |
                                 Flag(request.last, 2) | uint64_t{request.group} << kGroupShift |
                                 (request.address & Bits(63, 12)),
                             0, 0};
  PhysAddr slot = PhysAddr{base_ & Bits(63, 12)} + tail_;
  for (const uint64_t word : words) {
    if (!memory_.Store64(slot, word)) return false;
    slot = slot + sizeof(word);
  }
  return true;
}

void PageRequestQueue::Discard(const PageRequest& request, PageGroupCode code) {
  if (request.last) requesters_.Answer(request.source_id, {request.pasid, request.group, code});
}

}  // namespace viommu::hardware
