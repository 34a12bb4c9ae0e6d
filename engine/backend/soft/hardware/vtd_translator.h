// engine/backend/soft/hardware/vtd_translator.h -- The path of one request through a VT-d unit,
// from its source-id to a physical address.
//
// Sources: VT-d 3.4 (root, context), 3.5 (RID_PASID), 3.14 (interrupt address range), 6.2 (use of
// caches), 7 (which fault when). Order: interrupt range, context, PASID limits, PASID entry, input
// width, IOTLB, page walk, output range.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TRANSLATOR_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TRANSLATOR_H_

#include <cstdint>

#include "engine/backend/soft/hardware/vtd_caches.h"
#include "engine/backend/soft/hardware/vtd_capabilities.h"
#include "engine/backend/soft/hardware/vtd_counters.h"
#include "engine/backend/soft/hardware/vtd_entries.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_request.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware {

// What the unit remembers while it translates, and where it counts. A cold look has neither.
struct WarmState {
  TranslationCaches caches;
  Counters counters;
};

// Immutable; the memory outlives it.
class Translator {
 public:
  Translator(const Capabilities& capabilities, const PhysicalMemory* memory)
      : capabilities_(capabilities), memory_(*memory) {}

  // `root` is the latched root-table address register; `enabled` is GSTS.TES, and requests pass
  // untranslated without it. `warm` may be null: then every table is read from memory and nothing
  // is remembered. `*fault_disable` says whether an FPD bit met on the way asks for silence.
  Translation Translate(uint64_t root, bool enabled, const Request& request, WarmState* warm,
                        bool* fault_disable) const;

 private:
  FaultReason FindContext(uint64_t root, const Request& request, WarmState* warm,
                          ContextEntry* context) const;
  FaultReason FindPasidEntry(const ContextEntry& context, const Request& request, uint32_t pasid,
                             WarmState* warm, PasidEntry* entry) const;
  FaultReason FindLeaf(const PasidEntry& entry, uint32_t pasid, const Request& request,
                       WarmState* warm, CachedLeaf* leaf) const;
  FaultReason Resolve(uint64_t root, const Request& request, WarmState* warm, bool* fault_disable,
                      CachedLeaf* leaf) const;

  const Capabilities capabilities_;
  const PhysicalMemory& memory_;
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TRANSLATOR_H_
