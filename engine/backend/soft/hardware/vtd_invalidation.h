// engine/backend/soft/hardware/vtd_invalidation.h -- What one descriptor of the invalidation queue
// takes out of the caches.
//
// Sources: VT-d 6.5.2 (descriptors), Linux intel/iommu.h (QI_*) and QEMU intel_iommu_internal.h
// (reserved masks). Type 4 (interrupt entries) belongs to a feature that the model does not offer,
// so it is unknown to it; 3 and 8 are without ECAP.DT. Type 9: vtd_page_requests.h.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_INVALIDATION_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_INVALIDATION_H_

#include <cstdint>
#include <optional>

#include "engine/backend/soft/hardware/vtd_caches.h"
#include "engine/backend/soft/hardware/vtd_capabilities.h"
#include "engine/backend/soft/hardware/vtd_device_tlb.h"

namespace viommu::hardware {

struct Descriptor {
  uint64_t word[4] = {};  // The last two are 0 in a 128-bit descriptor.

  // Type 11:9 and 3:0.
  uint64_t type() const { return Field(word[0], 3, 0) | Field(word[0], 11, 9) << 4; }
};

enum DescriptorType : uint64_t {
  kContextCache = 1,
  kIotlb = 2,
  kDeviceTlb = 3,
  kWait = 5,
  kPasidIotlb = 6,
  kPasidCache = 7,
  kPasidDeviceTlb = 8,
  kPageGroupResponse = 9,
};

// Drops what `descriptor`, of any type but kWait and kPageGroupResponse, covers. False, with
// nothing dropped, when it is no valid descriptor: unknown type or granularity, a reserved bit set,
// and for type 2 an address mask above CAP.MAMV, or page-selective without CAP.PSI. A function that
// has no device TLB has nothing to drop and answers at once; one that does not answer drops
// nothing.
bool ApplyInvalidation(const Descriptor& descriptor, const Capabilities& capabilities,
                       TranslationCaches* caches, DeviceTlbs* device_tlbs);

// The function whose device TLB a descriptor is for; none for other types.
std::optional<uint16_t> DeviceTlbTargetOf(const Descriptor& descriptor);

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_INVALIDATION_H_
