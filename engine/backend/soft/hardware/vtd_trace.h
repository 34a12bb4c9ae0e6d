// engine/backend/soft/hardware/vtd_trace.h -- What a cold look of a VT-d unit reads, entry by
// entry.
//
// The last step is the entry at which a request that faults was refused, but for faults that are
// found only once all rights are known, or when an entry that was passed is to be marked: SGN.2,
// SGN.6 of a first stage and SFS.9.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TRACE_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TRACE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/base/address.h"

namespace viommu::hardware {

struct TraceStep {
  enum class Table : uint8_t {
    kRoot,  // The half that the function number selects.
    kContext,
    kPasidDirectory,
    kPasid,
    kFirstStage,
    kSecondStage,
  };
  Table table = Table::kRoot;
  PhysAddr address;  // Of the entry.
  // The rest: of an entry of the first or second stage.
  int level = 0;        // From 1, the lowest.
  uint64_t input = 0;   // The address that is looked up.
  uint64_t word = 0;    // As it was read; 0 where nothing answers.
  bool nested = false;  // Both stages take part.
  // Of a first-stage entry in a nested walk: where it lies, as the first stage names it.
  std::optional<uint64_t> guest_address;
};

using Trace = std::vector<TraceStep>;

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TRACE_H_
