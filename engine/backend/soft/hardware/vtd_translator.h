// engine/backend/soft/hardware/vtd_translator.h -- The path of one request through a VT-d unit,
// from its source-id to a physical address.
//
// Sources: VT-d 3.4 (root, context), 3.5 (RID_PASID), 3.14 (interrupt address range), 4.1 (requests
// of device TLBs), 6.2 (use of caches), 7 (which fault when). Order: interrupt range, context, DTE,
// PASID limits, PASID entry, privilege, input width, IOTLB, page walk, output range. A translated
// request is over after DTE, but for its output range.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TRANSLATOR_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TRANSLATOR_H_

#include <cstdint>

#include "engine/backend/soft/hardware/vtd_caches.h"
#include "engine/backend/soft/hardware/vtd_capabilities.h"
#include "engine/backend/soft/hardware/vtd_counters.h"
#include "engine/backend/soft/hardware/vtd_device_tlb.h"
#include "engine/backend/soft/hardware/vtd_entries.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_page_requests.h"
#include "engine/backend/soft/hardware/vtd_request.h"
#include "engine/backend/soft/hardware/vtd_trace.h"
#include "engine/backend/soft/hardware/vtd_walk.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware {

// What the unit remembers while it translates, what the device TLBs and the functions behind it
// do, and where it counts. A cold look has nothing of it.
struct WarmState {
  TranslationCaches caches;
  DeviceTlbs device_tlbs;
  PageRequesters page_requesters;
  Counters counters;
};

// Whether a request goes to the interrupt address range as it is: never translated.
bool IsInterruptMessage(const Request& request);

// Immutable; the memory outlives it.
class Translator {
 public:
  Translator(const Capabilities& capabilities, PhysicalMemory* memory)
      : capabilities_(capabilities), memory_(*memory) {}

  // `root` is the latched root-table address register; `enabled` is GSTS.TES, and requests pass
  // untranslated without it. `warm` may be null: then every table is read from memory, and nothing
  // is remembered or marked. `*fault_disable` says whether an FPD bit met on the way asks for
  // silence. `trace`, for a cold look alone, takes what it reads; it may be null.
  Translation Translate(uint64_t root, bool enabled, const Request& request, WarmState* warm,
                        bool* fault_disable, Trace* trace = nullptr) const;

  // Whether software is to hear of a page request: the context entry lets its function make them,
  // and such ones. `*fault_disable` as above.
  FaultReason CheckPageRequest(uint64_t root, const PageRequest& request, WarmState* warm,
                               bool* fault_disable) const;

 private:
  FaultReason FindContext(uint64_t root, const Request& request, WarmState* warm, Trace* trace,
                          ContextEntry* context) const;
  FaultReason FindPasidEntry(const ContextEntry& context, const Request& request, uint32_t pasid,
                             WarmState* warm, Trace* trace, PasidEntry* entry) const;
  FaultReason CheckInput(const PasidEntry& entry, uint64_t address) const;
  FaultReason FindLeaf(const Walk& walk, uint64_t address, WarmState* warm, CachedLeaf* leaf) const;
  FaultReason WalkTables(const Walk& walk, uint64_t address, CachedLeaf* leaf) const;
  FaultReason Resolve(uint64_t root, const Request& request, WarmState* warm, bool* fault_disable,
                      Trace* trace, CachedLeaf* leaf) const;
  Translation CheckTranslated(uint64_t root, const Request& request, WarmState* warm,
                              bool* fault_disable, Trace* trace) const;

  const Capabilities capabilities_;
  PhysicalMemory& memory_;
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TRANSLATOR_H_
