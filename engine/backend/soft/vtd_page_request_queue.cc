#include "engine/backend/soft/vtd_page_request_queue.h"

#include "engine/backend/soft/vtd_registers.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr int kRingPagesLog2 = 2;  // PQA.PQS: 4 pages of 128 descriptors.
constexpr uint32_t kDescriptorBytes = 32;
static_assert(VtdPageRequestQueue::kEntries * kDescriptorBytes == TableArena::kPageBytes
                                                                      << kRingPagesLog2);
constexpr uint32_t kRingBytes = VtdPageRequestQueue::kEntries * kDescriptorBytes;

// First word.
constexpr uint64_t kPasidPresent = uint64_t{1} << 8;
constexpr int kRequesterShift = 16;  // Bits 31:16.
constexpr int kPasidShift = 32;      // Bits 51:32.
constexpr uint64_t kPasidMask = (1 << 20) - 1;
constexpr uint64_t kExecute = uint64_t{1} << 52;
constexpr uint64_t kPrivileged = uint64_t{1} << 53;
// Second word.
constexpr uint64_t kRead = 1 << 0;
constexpr uint64_t kWrite = 1 << 1;
constexpr uint64_t kLast = 1 << 2;  // LPIG.
constexpr int kGroupShift = 3;      // Bits 11:3.
constexpr uint64_t kGroupMask = (1 << 9) - 1;
constexpr uint64_t kAddressMask = ~uint64_t{0xfff};

constexpr int kCanonicalBits = 57;  // Of the widest first stage.

bool IsCanonical(uint64_t address) {
  const auto upper = static_cast<int64_t>(address) >> (kCanonicalBits - 1);
  return upper == 0 || upper == -1;
}

bool IsWellFormed(const VtdPageRequestQueue::Request& request) {
  return IsCanonical(request.address) && !(request.privileged && (request.read || request.write)) &&
         !(request.execute && request.read);
}

VtdPageRequestQueue::Request Decode(const uint64_t* words) {
  VtdPageRequestQueue::Request request;
  request.requester = static_cast<uint16_t>(words[0] >> kRequesterShift);
  if ((words[0] & kPasidPresent) != 0) {
    request.pasid = static_cast<uint32_t>(words[0] >> kPasidShift & kPasidMask);
  }
  request.execute = (words[0] & kExecute) != 0;
  request.privileged = (words[0] & kPrivileged) != 0;
  request.read = (words[1] & kRead) != 0;
  request.write = (words[1] & kWrite) != 0;
  request.last = (words[1] & kLast) != 0;
  request.group = static_cast<uint32_t>(words[1] >> kGroupShift & kGroupMask);
  request.address = words[1] & kAddressMask;
  return request;
}

}  // namespace

absl::StatusOr<std::unique_ptr<VtdPageRequestQueue>> VtdPageRequestQueue::Create(
    hardware::VtdModel* hardware, InvalidationQueue* queue, TableArena* arena) {
  ASSIGN_OR_RETURN(const PhysAddr ring, arena->AllocateBlock(kRingPagesLog2));
  hardware->Write64(vtd::kPageRequestHeadRegister, 0);
  hardware->Write64(vtd::kPageRequestTailRegister, 0);
  hardware->Write64(vtd::kPageRequestAddressRegister, ring.value | kRingPagesLog2);
  return std::unique_ptr<VtdPageRequestQueue>(
      new VtdPageRequestQueue(hardware, queue, arena, ring));
}

VtdPageRequestQueue::~VtdPageRequestQueue() {
  hardware_.Write64(vtd::kPageRequestAddressRegister, 0);
  arena_.FreeBlock(ring_, kRingPagesLog2);
}

bool VtdPageRequestQueue::Accept(const Request& request, std::vector<vtd::Descriptor>* answers) {
  if (!request.read && !request.write) return true;  // A stop marker: nobody waits.
  const bool well_formed = IsWellFormed(request);
  if (well_formed && backlog_.Add(request)) return true;
  // Of a group one of whose requests is refused the rest still comes.
  if (request.last) {
    answers->push_back(vtd::PageGroupResponse(
        static_cast<uint16_t>(request.requester), request.pasid, request.group,
        well_formed ? vtd::PageGroupCode::kFailure : vtd::PageGroupCode::kInvalid));
  }
  return !well_formed;
}

void VtdPageRequestQueue::Read(std::vector<vtd::Descriptor>* answers) {
  hardware_.Write32(vtd::kPageRequestStatusRegister, vtd::kPageRequestPending);
  // Where it stands, the tail does too until it is cleared: all in the ring came before the loss.
  const bool overflow =
      (hardware_.Read32(vtd::kPageRequestStatusRegister) & vtd::kPageRequestOverflow) != 0;
  bool lost = overflow;
  const auto tail = static_cast<uint32_t>(hardware_.Read64(vtd::kPageRequestTailRegister));
  while (head_ != tail) {
    lost |= !Accept(Decode(arena_.WordsAt(ring_ + head_)), answers);
    head_ = (head_ + kDescriptorBytes) % kRingBytes;
  }
  hardware_.Write64(vtd::kPageRequestHeadRegister, head_);
  if (lost) backlog_.Break();
  if (overflow) {
    hardware_.Write32(vtd::kPageRequestStatusRegister, vtd::kPageRequestOverflow);
  }
}

void VtdPageRequestQueue::Serve() {
  std::vector<vtd::Descriptor> answers;
  {
    absl::MutexLock lock(&mutex_);
    Read(&answers);
  }
  // A function that is not answered waits until it is reset; nothing better can be done for it.
  queue_.Submit(answers).IgnoreError();
}

VtdPageRequestQueue::Taken VtdPageRequestQueue::Take() {
  absl::MutexLock lock(&mutex_);
  return backlog_.Take();
}

void VtdPageRequestQueue::Drop(uint16_t source_id, std::optional<uint32_t> pasid) {
  DropIf([&](const Request& request) {
    return request.requester == source_id && request.pasid == pasid;
  });
}

void VtdPageRequestQueue::DropAll(uint16_t source_id) {
  DropIf([&](const Request& request) { return request.requester == source_id; });
}

void VtdPageRequestQueue::DropIf(absl::FunctionRef<bool(const Request&)> is_dropped) {
  queue_.Submit({vtd::DrainPageRequests()}).IgnoreError();
  std::vector<vtd::Descriptor> answers;
  {
    absl::MutexLock lock(&mutex_);
    Read(&answers);
    for (const Request& last : backlog_.Drop(is_dropped)) {
      answers.push_back(vtd::PageGroupResponse(static_cast<uint16_t>(last.requester), last.pasid,
                                               last.group, vtd::PageGroupCode::kInvalid));
    }
  }
  queue_.Submit(answers).IgnoreError();
}

absl::Status VtdPageRequestQueue::Respond(uint16_t source_id, std::optional<uint32_t> pasid,
                                          uint32_t group, vtd::PageGroupCode code) {
  return queue_.Submit({vtd::PageGroupResponse(source_id, pasid, group, code)});
}

}  // namespace viommu
