// engine/pagetable/intel_tables.h -- What both stages of Intel VT-d tables have in common.
//
// Leaves of 4 KiB, 2 MiB and 1 GiB, and physical addresses of the host's width (VT-d 3.6, 3.7).
#ifndef VIOMMU_ENGINE_PAGETABLE_INTEL_TABLES_H_
#define VIOMMU_ENGINE_PAGETABLE_INTEL_TABLES_H_

#include <cstdint>

#include "absl/status/status.h"

namespace viommu {

// `page_sizes`: bit n set, leaves of 2^n bytes.
// kInvalidArgument UNSUPPORTED_PAGE_SIZES: 4 KiB is missing, or there is a size that the formats do
//   not have; UNSUPPORTED_ADDRESS_WIDTH: `host_address_bits` is not in 32..52.
absl::Status CheckIntelTables(uint64_t page_sizes, int host_address_bits);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_INTEL_TABLES_H_
