// engine/backend/soft/hardware/smmu_entries.h -- Stream table entries and context descriptors, as
// an SMMUv3 understands their words, and which of them are illegal.
//
// Sources: Arm IHI 0070 5.2 (STE), 5.4 (CD), 5.5 (A, R, S); DDI 0487 D8.2 (start levels of stage
// 2).
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_ENTRIES_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_ENTRIES_H_

#include <array>
#include <cstdint>

#include "engine/backend/soft/hardware/smmu_spec.h"
#include "engine/base/address.h"

namespace viommu::hardware::smmu {

using EntryWords = std::array<uint64_t, 8>;

// Where a walk starts and what it may lead to.
struct TranslationTable {
  int granule_shift = 12;
  int input_bits = 48;
  int start_level = 0;
  int output_bits = 48;
  PhysAddr base;
  bool disabled = false;        // EPD: nothing is translated.
  bool access_flags = false;    // HA: hardware sets access flags,
  bool dirty_state = false;     // HD: and dirty state.
  bool ignores_access = false;  // AFFD: a clear access flag is no fault.
};

// Address bits below what one entry of a table of `level` covers.
constexpr int LevelShift(int granule_shift, int level) {
  return granule_shift + (granule_shift - 3) * (3 - level);
}

struct StreamEntry {
  bool legal = false;   // V, and nothing in it is illegal.
  bool aborts = false;  // Config 0 to 3.
  bool stage1 = false;
  bool stage2 = false;

  uint64_t context_table = 0;   // S1ContextPtr: an IPA with stage 2.
  int context_split = 0;        // Log2 of the CDs of a second-level table; 0: a linear table.
  int context_log2 = 0;         // S1CDMax, as far as substreams are there.
  int default_substream = 0;    // S1DSS
  bool stalls_off = false;      // S1STALLD
  bool el2 = false;             // STRW
  bool full_ats = false;        // EATS
  bool response_pasid = false;  // PPAR

  uint16_t vmid = 0;
  TranslationTable table;         // Stage 2.
  bool stage2_stalls = false;     // S2S
  bool stage2_records = false;    // S2R
  bool protected_walks = false;   // S2PTW
  bool force_write_back = false;  // S2FWB
};

struct ContextEntry {
  bool legal = false;
  TranslationTable low;           // TTB0
  TranslationTable high;          // TTB1
  bool ignores_top_low = false;   // TBI0
  bool ignores_top_high = false;  // TBI1
  bool stalls = false;            // S
  bool records = false;           // R
  bool aborts = false;            // A
  bool privileged_never = false;  // PAN
  uint16_t asid = 0;
};

StreamEntry DecodeStream(const Spec& spec, const EntryWords& words);
// Of a CD that was reached through `stream`, which is legal and has a stage 1.
ContextEntry DecodeContext(const Spec& spec, const StreamEntry& stream, const EntryWords& words);

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_ENTRIES_H_
