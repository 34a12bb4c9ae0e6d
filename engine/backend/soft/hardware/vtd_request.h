// engine/backend/soft/hardware/vtd_request.h -- What a device asks of a VT-d unit, and the answer.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_REQUEST_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_REQUEST_H_

#include <cstdint>
#include <optional>

#include "engine/base/address.h"

namespace viommu::hardware {

// AT of a request (PCIe ATS; VT-d 4.1).
enum class AddressType : uint8_t {
  kUntranslated = 0,
  kTranslationRequest = 1,  // A device TLB asks where `address` leads to; nothing is accessed.
  kTranslated = 2,          // `address` is a physical one, from a device TLB.
};

// A memory request, as it arrives from the bus.
struct Request {
  uint16_t source_id = 0;         // Bus 15:8, device 7:3, function 2:0.
  std::optional<uint32_t> pasid;  // 20 bits; none: a request without PASID.
  uint64_t address = 0;
  bool write = false;
  bool privileged = false;  // PR, of requests with PASID: made for a supervisor.
  AddressType type = AddressType::kUntranslated;
};

struct Translation {
  uint8_t fault_reason = 0;   // FaultReason; 0: none, and the rest holds.
  bool is_interrupt = false;  // The write is an interrupt message, not memory: no `physical`.
  PhysAddr physical;
  uint64_t size_bytes = 0;  // From `physical` to the end of what this translation covers.
  // What a device TLB may remember: the whole page of this size that `physical` lies in (log2), and
  // what it may do there.
  int page_shift = 0;
  bool read = false;
  bool write = false;

  bool ok() const { return fault_reason == 0; }
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_REQUEST_H_
