// engine/entries/smmu_range.h -- The TLB invalidations that cover a range of addresses.
//
// With range commands (IDR3.RIL) a range is cut into chunks of up to 31 * 2^n granules; without,
// each page costs a command. Beyond a bound the whole address space is invalidated instead: one
// command (iommufd-semantics.md 17.8; kernel: arm_smmu_cmdq_batch_add_range).
#ifndef VIOMMU_ENGINE_ENTRIES_SMMU_RANGE_H_
#define VIOMMU_ENGINE_ENTRIES_SMMU_RANGE_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/optional.h"
#include "engine/base/address.h"
#include "engine/entries/smmu_commands.h"
#include "engine/entries/smmu_fields.h"

namespace viommu::smmu {

// Commands of one range at most: the kernel's bound with 4 KiB, taken with larger granules too.
inline constexpr size_t kMaxRangeCommands = 511;

// Whose translations.
struct TlbScope {
  enum class Stage : uint8_t {
    kStage1,  // Of tag.asid under tag.vmid: TLBI NH_VA, or NH_ASID for the whole.
    kStage2,  // Of tag.vmid: TLBI S2_IPA, or S12_VMALL, which takes first stages along.
  };
  Stage stage = Stage::kStage1;
  TlbTag tag;
};

// Which of them. Rounded outwards to whole granules.
struct TlbRange {
  IovaRange range;
  Granule granule = Granule::k4KiB;
  // The size of every leaf that was in the range, a page or block of `granule`; 0: not known, or of
  // several sizes.
  int leaf_log2 = 0;
  bool leaf_only = false;  // No table was unlinked.
};

// The commands, one after the other. Plain value, never allocates: an unmapping cannot fail for
// lack of memory (I4).
class RangeInvalidation {
 public:
  // `range_commands`: IDR3.RIL.
  RangeInvalidation(const TlbScope& scope, const TlbRange& range, bool range_commands);

  // One command for everything of the scope.
  bool whole() const { return whole_; }

  // The next command, at least one and at most kMaxRangeCommands; nullopt after the last.
  absl::optional<Command> Next();

 private:
  Command Whole() const;
  Command At(const TlbiAddress& where) const;
  // Takes the next chunk off the range.
  TlbiAddress NextChunk();

  TlbScope scope_;
  Granule granule_;
  bool leaf_only_;
  bool range_commands_;
  uint8_t ttl_ = 0;  // The level of the leaves; 0: any.
  int step_log2_;    // Of what one command without a range covers.
  bool whole_ = false;
  uint64_t address_;     // Where the next command begins,
  uint64_t steps_left_;  // and the steps (granules, with range commands) that are left.
};

}  // namespace viommu::smmu

#endif  // VIOMMU_ENGINE_ENTRIES_SMMU_RANGE_H_
