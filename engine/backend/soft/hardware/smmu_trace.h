// engine/backend/soft/hardware/smmu_trace.h -- What a cold look of an SMMUv3 reads, entry by entry.
//
// The last step is the entry at which a request that faults was refused, but for permissions of
// stage 1, which are those of all its levels together, judged at the leaf: each step says what it
// takes away.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TRACE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TRACE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/backend/soft/hardware/smmu_event.h"
#include "engine/base/address.h"

namespace viommu::hardware::smmu {

struct TraceStep {
  enum class Table : uint8_t {
    kStreamL1,   // L1STD
    kStream,     // STE
    kContextL1,  // L1CD
    kContext,    // CD
    kStage1,
    kStage2,
  };
  Table table = Table::kStreamL1;
  PhysAddr address;  // Of the entry.
  // Of CDs and their tables, and of stage 1, where there is a stage 2: the IPA of the entry.
  std::optional<uint64_t> ipa;
  // The rest: of an entry of stage 1 or 2.
  int level = 0;  // As Arm counts: 3 is the lowest.
  int granule_shift = 0;
  uint64_t input = 0;  // The address that is looked up.
  uint64_t word = 0;   // As it was read; 0 where nothing answers.
  // Stage 1: it takes this away from all below it, or is a leaf without.
  bool denies_user = false;
  bool denies_write = false;
  // Stage 2 under a stage 1: what is looked up, and whether to mark it.
  bool nested = false;
  EventClass purpose = EventClass::kInput;
  bool marks = false;
};

using Trace = std::vector<TraceStep>;

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TRACE_H_
