// engine/backend/soft/hardware/smmu_translator.h -- The path of one request through an SMMUv3, from
// its stream to a physical address.
//
// Sources: Arm IHI 0070 3.3 (overview), 3.4 (address sizes), 3.9 (ATS), 3.12 and 5.5 (faults), 5.2
// (S1DSS), 13.6 (ATS that skips a stage). Order: stream, its configuration, substream, context,
// stage 1 (with what of stage 2 that needs), stage 2.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TRANSLATOR_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TRANSLATOR_H_

#include <cstdint>
#include <optional>

#include "engine/backend/soft/hardware/smmu_config.h"
#include "engine/backend/soft/hardware/smmu_config_cache.h"
#include "engine/backend/soft/hardware/smmu_counters.h"
#include "engine/backend/soft/hardware/smmu_device_tlb.h"
#include "engine/backend/soft/hardware/smmu_entries.h"
#include "engine/backend/soft/hardware/smmu_registers.h"
#include "engine/backend/soft/hardware/smmu_request.h"
#include "engine/backend/soft/hardware/smmu_spec.h"
#include "engine/backend/soft/hardware/smmu_tlb.h"
#include "engine/backend/soft/hardware/smmu_trace.h"
#include "engine/backend/soft/hardware/smmu_walk.h"
#include "engine/backend/soft/physical_memory.h"

namespace viommu::hardware::smmu {

// What the unit remembers while it translates, what the device TLBs behind it do, and where it
// counts. A cold look has nothing of it.
struct WarmState {
  ConfigCache config;
  Tlb tlb;
  DeviceTlbs device_tlbs;
  Counters counters;
};

// Immutable; the memory outlives it.
class Translator {
 public:
  Translator(const Spec& spec, PhysicalMemory* memory) : spec_(spec), memory_(*memory) {}

  // Answers `request`. `warm` is null with kCold and only then. An event says with `stalled` that
  // its configuration asks for a stall, which is the caller's to make. With kCold alone what is
  // read for an untranslated request is appended to `trace`, if there is one.
  Translation Translate(const Registers& registers, const Request& request, WalkMode mode,
                        WarmState* warm, Trace* trace = nullptr) const;

  // Reads the configuration of a stream into the caches, as CMD_PREFETCH_CFG lets a unit do.
  void Prefetch(const Registers& registers, uint32_t stream_id, WarmState* warm) const;

  // Whether responses that the unit itself makes to a stream's page requests have their PASID
  // (STE.PPAR); none: the stream has no valid entry. That is not recorded (8.1, without
  // REC_CFG_ATS).
  std::optional<bool> FindResponsePasid(const Registers& registers, uint32_t stream_id,
                                        WarmState* warm) const;

 private:
  ConfigLookup LookupFor(const Registers& registers, WarmState* warm) const;
  Walk WalkFor(const Registers& registers, const Request& request, const StreamEntry& stream,
               WalkMode mode, WarmState* warm) const;
  Translation Untranslated(const Registers& registers, const Request& request, WalkMode mode,
                           WarmState* warm, Trace* trace) const;
  Translation Asked(const Registers& registers, const Request& request, WalkMode mode,
                    WarmState* warm) const;
  Translation Translated(const Registers& registers, const Request& request, WarmState* warm) const;
  Fault SelectContext(const Request& request, const StreamEntry& stream, bool* bypass,
                      uint32_t* index) const;
  Fault Resolve(const ConfigLookup& lookup, const Request& request, Walk* walk,
                ContextEntry* context, Leaf* leaf) const;
  Fault FindLeaf(const Walk& walk, const Request& request, Leaf* leaf) const;
  bool BeyondOutput(uint64_t address) const { return address >> spec_.output_address_bits; }

  const Spec spec_;
  PhysicalMemory& memory_;
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_TRANSLATOR_H_
