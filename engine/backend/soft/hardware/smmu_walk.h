// engine/backend/soft/hardware/smmu_walk.h -- What one request carries along while an SMMUv3 walks
// the translation tables of both stages, and what the descriptors of both have in common.
//
// Sources: Arm DDI 0487 D8.3 (VMSAv8-64 descriptors), D8.4.5 (hardware updates).
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_WALK_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_WALK_H_

#include <cstdint>

#include "engine/backend/soft/hardware/smmu_counters.h"
#include "engine/backend/soft/hardware/smmu_entries.h"
#include "engine/backend/soft/hardware/smmu_event.h"
#include "engine/backend/soft/hardware/smmu_spec.h"
#include "engine/backend/soft/hardware/smmu_tlb.h"
#include "engine/backend/soft/hardware/smmu_trace.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/base/address.h"

namespace viommu::hardware::smmu {

// Why a walk ended, or that it found what it was for (kNoEvent).
struct Fault {
  EventId id = kNoEvent;
  bool stage2 = false;
  EventClass event_class = EventClass::kInput;
  uint64_t second_address = 0;  // As of an Event.
  bool table_read = false;

  bool none() const { return id == kNoEvent; }
};

enum class WalkMode : uint8_t {
  kUse,        // For a request: marks descriptors.
  kSpeculate,  // Fills the caches; gives up where it would have to mark.
  kCold,       // Only looks: as if it had marked.
};

// One request on its way through the tables of one configuration.
struct Walk {
  const Spec& spec;
  PhysicalMemory& memory;
  const StreamEntry& stream;
  const ContextEntry* context = nullptr;  // Null: stage 1 is bypassed.
  bool write = false;
  bool privileged = false;
  bool instruction = false;
  bool one_privilege = false;  // EL2 without E2H: there are no users, and no ASIDs.
  WalkMode mode = WalkMode::kUse;
  // What the walk starts from, where it can, and adds to, also when it then faults. Null with
  // kCold.
  VmTlb* tlb = nullptr;
  Counters* counters = nullptr;
  Trace* trace = nullptr;  // What is read is noted there; null: nowhere.

  uint16_t asid() const { return one_privilege ? 0 : context->asid; }
};

// Positions in the descriptors of both stages.
constexpr uint64_t kValid = Bit(0);
constexpr uint64_t kTableOrPage = Bit(1);
constexpr uint64_t kAccessFlag = Bit(10);
constexpr uint64_t kDirtyModifier = Bit(51);  // DBM

constexpr bool IsTable(int level, uint64_t word) { return level < 3 && (word & kTableOrPage); }

// Whether a descriptor means anything at its level. Blocks are 1 GiB or 2 MiB, 32 MiB, 512 MiB or,
// with 52-bit addresses, 4 TiB.
bool IsValid(const Spec& spec, int granule_shift, int level, uint64_t word);
// What a descriptor points to.
uint64_t AddressOf(const Spec& spec, int granule_shift, uint64_t word);
// Where the descriptor for `address` in a table of `level` at `base` is. Top tables of stage 2 may
// be several side by side.
uint64_t DescriptorAddress(const TranslationTable& table, int level, uint64_t base,
                           uint64_t address);

// Turns a descriptor that was read as `*word` into `marked`, as one locked operation. False when it
// is no longer that word: it has to be read and judged again. A cold look only changes `*word`.
bool MarkDescriptor(const Walk& walk, PhysAddr address, uint64_t marked, uint64_t* word);

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_WALK_H_
