// engine/backend/soft/hardware/vtd_second_stage.h -- How a VT-d unit walks second-stage tables.
//
// Sources: VT-d 3.7 and 9.9-9.13 (second-stage paging entries), Linux genpt/fmt/vtdss.h; reserved
// masks as QEMU's vtd_spte_rsvd: bits 61:52 and 63 are ignored, bit 62 (TM) is reserved since the
// model has no such device TLB, bit 11 (SNP) exists in leaves only, and only with snoop control.
// Bits 8 and 9 (A, D) are ignored: the PASID entry cannot switch them on (ECAP.SLADS is 0).
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_SECOND_STAGE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_SECOND_STAGE_H_

#include <cstdint>

#include "engine/backend/soft/hardware/vtd_caches.h"
#include "engine/backend/soft/hardware/vtd_capabilities.h"
#include "engine/backend/soft/hardware/vtd_entries.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware {

// Finds the page behind `address` for a read or a write; the address must be within the width of
// `entry`'s levels. With a `cache` the walk starts at the deepest table remembered there, and
// remembers those it meets, also when it then faults; the leaf is the caller's to remember. Null:
// every table is read from memory. Permissions are the AND over all levels; the first entry that
// denies the request ends the walk.
FaultReason WalkSecondStage(const PhysicalMemory& memory, const Capabilities& capabilities,
                            const PasidEntry& entry, uint64_t address, bool write,
                            DomainCache* cache, CachedLeaf* leaf);

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_SECOND_STAGE_H_
