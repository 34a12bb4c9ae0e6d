// engine/backend/soft/hardware/vtd_second_stage.h -- How a VT-d unit walks second-stage tables.
//
// Sources: VT-d 3.7 and 9.9-9.13 (second-stage paging entries), Linux genpt/fmt/vtdss.h; reserved
// masks as QEMU's vtd_spte_rsvd: bits 61:52 and 63 are ignored, bit 62 (TM) is reserved since no
// device TLB of the model forgets by itself, bit 11 (SNP) exists in leaves only, and only with
// snoop control. Bits 8 and 9 (A, D) are ignored unless the PASID entry has SSADE: then A is set in
// every entry that a permitted request passes, D in the leaf that it writes to.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_SECOND_STAGE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_SECOND_STAGE_H_

#include <cstdint>

#include "engine/backend/soft/hardware/vtd_caches.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_walk.h"

namespace viommu::hardware {

// Finds the page behind `address` for a read or a write (whatever `walk.write` says: a nested walk
// reads first-stage entries for a request that writes); the address must be within the width of the
// entry's levels. With a cache the walk starts at the deepest table remembered there, and remembers
// those it meets; the leaf is the caller's to remember. Permissions are the AND over all levels;
// the first entry that denies the request ends the walk.
FaultReason WalkSecondStage(const Walk& walk, uint64_t address, bool write, CachedLeaf* leaf);

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_SECOND_STAGE_H_
