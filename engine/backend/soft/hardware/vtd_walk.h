// engine/backend/soft/hardware/vtd_walk.h -- What the walks through page tables have in common:
// what they read, what they remember, and how they mark entries.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_WALK_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_WALK_H_

#include <cstdint>

#include "engine/backend/soft/hardware/vtd_caches.h"
#include "engine/backend/soft/hardware/vtd_capabilities.h"
#include "engine/backend/soft/hardware/vtd_entries.h"
#include "engine/backend/soft/hardware/vtd_trace.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/base/address.h"

namespace viommu::hardware {

// One request on its way through the tables of one PASID entry.
struct Walk {
  const Capabilities& capabilities;
  PhysicalMemory& memory;
  const PasidEntry& entry;
  uint32_t pasid = 0;  // Tags what a first stage leaves in the caches.
  bool write = false;
  bool privileged = false;
  // What the walk starts from, where it can, and adds to, also when it then faults. Null: a cold
  // look, which reads every table from memory and marks none.
  DomainCache* cache = nullptr;
  Trace* trace = nullptr;  // Of a cold look, for those who ask what it read; else null.
};

// Sets `bits` in the entry at `address`, which was read as `*word`, as one locked operation. False
// when the entry is no longer that word: it has to be read and judged again. A cold look only
// changes `*word`.
inline bool MarkEntry(const Walk& walk, PhysAddr address, uint64_t bits, uint64_t* word) {
  const uint64_t marked = *word | bits;
  if (walk.cache != nullptr && !walk.memory.Exchange64(address, *word, marked)) return false;
  *word = marked;
  return true;
}

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_WALK_H_
