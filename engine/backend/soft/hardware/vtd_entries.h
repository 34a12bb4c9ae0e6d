// engine/backend/soft/hardware/vtd_entries.h -- How a VT-d unit reads the tables that lead from a
// request to its translation: root, context, PASID directory, PASID table.
//
// Each entry is fetched in units that memory promises to be whole: 128 bits for root, context and
// PASID-table entries, 64 bits for PASID-directory entries. The unit that holds the present bit is
// always fetched first, so an entry seen present is seen with what was stored before that bit.
//
// Sources: VT-d 9.2 (scalable root), 9.4 (scalable context), 9.5 (PASID directory), 9.6 (PASID
// table); Linux intel/iommu.h, intel/pasid.h; order of tests and reserved masks as in QEMU
// intel_iommu.c. Where a field belongs to a feature that CAP or ECAP does not offer it is reserved.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_ENTRIES_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_ENTRIES_H_

#include <cstdint>

#include "engine/backend/soft/hardware/vtd_capabilities.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_trace.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/base/address.h"

namespace viommu::hardware {

// A scalable-mode context entry that passed all checks.
struct ContextEntry {
  bool fault_disable = false;   // FPD
  bool pasids_enabled = false;  // PASIDE
  bool device_tlb = false;      // DTE
  bool page_requests = false;   // PRE
  bool rid_privileged = false;  // RID_PRIV: requests without PASID are a supervisor's.
  uint32_t rid_pasid = 0;       // The PASID that stands in for requests without one.
  uint32_t pasid_limit = 0;     // One past the last PASID that the directory covers (PDTS).
  PhysAddr directory;
};

// PGTT
enum class TranslationType : uint8_t {
  kFirstStage = 1,
  kSecondStage = 2,
  kNested = 3,
  kPassThrough = 4,
};

// A PASID-table entry that passed all checks.
struct PasidEntry {
  bool fault_disable = false;  // FPD of this entry or of its directory entry.
  TranslationType type = TranslationType::kSecondStage;
  uint16_t domain_id = 0;
  bool walk_snoop = false;  // PWSNP: without, walks may read tables but not mark them.

  // Of a second stage, where the type has one.
  int levels = 0;  // 3, 4 or 5. Of a pass-through entry too.
  PhysAddr second_stage;
  bool second_stage_dirty = false;  // SSADE: entries are marked accessed and dirty.

  // Of a first stage, where the type has one.
  int first_stage_levels = 0;    // 4 or 5.
  PhysAddr first_stage;          // In a nested entry an input of the second stage.
  bool supervisor = false;       // SRE
  bool write_protect = false;    // WPE: supervisors respect R/W too.
  bool extended_access = false;  // EAFE: EA is set as A is.

  bool has_first_stage() const {
    return type == TranslationType::kFirstStage || type == TranslationType::kNested;
  }
  bool has_second_stage() const {
    return type == TranslationType::kSecondStage || type == TranslationType::kNested;
  }
};

// Each fetches one entry into `*entry` and answers kNoFault, or the first fault found. FPD bits
// that were reached are in `entry->fault_disable` even then, also those of an entry not present.
// Every entry that is looked at is appended to `*trace`, unless that is null.
FaultReason FetchContextEntry(const PhysicalMemory& memory, const Capabilities& capabilities,
                              PhysAddr root_table, uint16_t source_id, ContextEntry* entry,
                              Trace* trace);
FaultReason FetchPasidEntry(const PhysicalMemory& memory, const Capabilities& capabilities,
                            const ContextEntry& context, uint32_t pasid, PasidEntry* entry,
                            Trace* trace);

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_ENTRIES_H_
