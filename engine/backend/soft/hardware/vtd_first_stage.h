// engine/backend/soft/hardware/vtd_first_stage.h -- How a VT-d unit walks first-stage tables, alone
// or on top of a second stage.
//
// Sources: VT-d 3.6 (first stage), 3.8 (nested), 9.7 (first-stage paging entries), 3.6.4 and 3.6.5
// (access rights, accessed and dirty flags); Linux genpt/fmt/x86_64.h; faults as
// formats-amd-riscv.md A.1, reserved bits as A.3: 51:HAW, PS where no leaf can be, the address bits
// of a large leaf below its size but for PAT (12). 63:52 are ignored, so is XD: no request
// executes.
//
// A is set in every entry that the walk passes, D in a leaf that is written to, EA as A where the
// PASID entry has EAFE. In a nested walk every first-stage entry is read, and marked, at the place
// to which the second stage leads; so is the page itself. Where that lacks R and W the fault is
// that of the second stage (SSS.2); where it has one of them, but not the one needed for a
// first-stage entry, it is SFS.6 to SFS.8.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_FIRST_STAGE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_FIRST_STAGE_H_

#include <cstdint>

#include "engine/backend/soft/hardware/vtd_caches.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_walk.h"

namespace viommu::hardware {

// Finds the page behind `address`, which is canonical, through the entry's first stage and, in a
// nested entry, its second. Remembers tables and inner translations in the walk's cache; the leaf,
// as large as the smaller of the two, is the caller's to remember. Rights are those of all levels
// together; they are judged once the leaf is known.
FaultReason WalkFirstStage(const Walk& walk, uint64_t address, CachedLeaf* leaf);

// Whether a user's or a supervisor's request may use a leaf of any type.
FaultReason CheckLeaf(const Walk& walk, const CachedLeaf& leaf);

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_FIRST_STAGE_H_
