// engine/backend/soft/hardware/smmu_request.h -- What devices ask of an SMMUv3, and its answers.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_REQUEST_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_REQUEST_H_

#include <cstdint>
#include <optional>

#include "engine/backend/soft/hardware/smmu_event.h"
#include "engine/base/address.h"

namespace viommu::hardware::smmu {

// AT of a request (PCIe ATS; IHI 0070 3.9).
enum class AddressType : uint8_t {
  kUntranslated = 0,
  kTranslationRequest = 1,  // A device asks where `address` leads to; nothing is accessed.
  kTranslated = 2,          // `address` is a physical one that a device was told.
};

// A memory request, as it arrives.
struct Request {
  uint32_t stream_id = 0;
  std::optional<uint32_t> substream_id;  // 20 bits; none: without SubstreamID.
  uint64_t address = 0;
  bool write = false;
  bool privileged = false;
  bool instruction = false;
  AddressType type = AddressType::kUntranslated;
};

struct Translation {
  Event fault;  // None: the rest holds.
  PhysAddr physical;
  uint64_t size_bytes = 0;  // From `physical` to the end of what this translation covers.
  // What a device may remember: the whole page of this size that `physical` lies in (log2), and
  // what it may do there. A translation request may be answered with neither: not mapped.
  int page_shift = 0;
  bool read = false;
  bool write = false;
  bool global = false;  // Of every ASID: a device may use it for all its PASIDs.

  bool ok() const { return fault.none(); }
};

// How an access ended, or that it has not.
struct Outcome {
  Event fault;                  // Why it stopped, if it did.
  uint64_t fault_address = 0;   // Where.
  uint64_t bytes_done = 0;      // Before it stopped.
  bool memory_missing = false;  // Stopped because no memory answers where it was led.
  // Not 0: it is held (fault.stalled) until software says what becomes of it; see AwaitResume.
  uint64_t stall_id = 0;
};

// What a RESUME says about a stalled access (Ac and Ab of CMD_RESUME; CMD_STALL_TERM aborts).
enum class ResumeAnswer : uint8_t {
  kTerminate = 0,  // It completes as if it were harmless: a read is 0, a write ignored.
  kRetry = 1,      // Make the access again from where it stopped.
  kAbort = 2,
};

// A stalled access that has its answer.
struct Resumed {
  std::optional<uint32_t> substream_id;
  uint16_t tag = 0;
  ResumeAnswer answer = ResumeAnswer::kAbort;
};

// A page request (PCIe PRI).
struct PageRequest {
  uint32_t stream_id = 0;
  std::optional<uint32_t> substream_id;
  uint64_t address = 0;  // Bits 11:0 do not count.
  bool read = false;
  bool write = false;
  bool execute = false;
  bool privileged = false;
  bool last = true;    // Of its group.
  uint16_t group = 0;  // PRG index: 9 bits.
};

// RESP of CMD_PRI_RESP, and of responses that the unit makes itself, by their PCIe names (IHI 0070
// 4.5.2). (Linux calls the first two PRI_RESP_DENY and PRI_RESP_FAIL.)
enum class PageAnswer : uint8_t {
  kResponseFailure = 0,  // Page requests are off until the device is told otherwise.
  kInvalidRequest = 1,
  kSuccess = 2,
};

// A page group response, as a function receives it.
struct PageResponse {
  std::optional<uint32_t> substream_id;  // Its PASID.
  uint16_t group = 0;
  PageAnswer answer = PageAnswer::kSuccess;
};

// What became of a page request.
enum class PageRequestFate : uint8_t {
  kQueued,
  kLost,        // The unit has not queued it and, if an answer was due, has given one.
  kGroupWaits,  // It was not made: the function waits for the answer to its group.
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_REQUEST_H_
