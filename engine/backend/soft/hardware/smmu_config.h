// engine/backend/soft/hardware/smmu_config.h -- How an SMMUv3 finds the configuration of a request:
// its stream table entry and its context descriptor.
//
// Sources: Arm IHI 0070 3.3 (stream and CD tables), 5.1 and 5.3 (first-level descriptors), 7.3
// (which event when).
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_CONFIG_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_CONFIG_H_

#include <cstdint>

#include "engine/backend/soft/hardware/smmu_config_cache.h"
#include "engine/backend/soft/hardware/smmu_counters.h"
#include "engine/backend/soft/hardware/smmu_entries.h"
#include "engine/backend/soft/hardware/smmu_registers.h"
#include "engine/backend/soft/hardware/smmu_spec.h"
#include "engine/backend/soft/hardware/smmu_trace.h"
#include "engine/backend/soft/hardware/smmu_walk.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware::smmu {

// How many streams share a first-level descriptor, log2 (STRTAB_BASE_CFG.SPLIT).
int StreamSplit(const Registers& registers);

// What configurations are looked up with.
struct ConfigLookup {
  const Spec& spec;
  PhysicalMemory& memory;
  const Registers& registers;
  // Null: every structure is read from memory, and nothing is remembered or counted.
  ConfigCache* cache = nullptr;
  Counters* counters = nullptr;
  Trace* trace = nullptr;  // What is read is noted there; null: nowhere.
};

// The entry of a stream. kBadStreamId: the tables do not have it; kSteFetch: no memory answers;
// kBadSte: it is not valid, or illegal.
Fault FindStream(const ConfigLookup& lookup, uint32_t stream_id, StreamEntry* entry);

// The context descriptor `index` of the walk's stream. kBadSubstreamId: the tables do not have it;
// kCdFetch: no memory answers; kBadCd: it is not valid, or illegal; and what stage 2 refuses.
Fault FindContext(const ConfigLookup& lookup, const Walk& walk, uint32_t stream_id, uint32_t index,
                  ContextEntry* entry);

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_CONFIG_H_
