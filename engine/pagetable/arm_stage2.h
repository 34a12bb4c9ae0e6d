// engine/pagetable/arm_stage2.h -- The bits of Armv8 stage-2 page tables, which a stream table
// entry of an SMMUv3 points at (S2TTB).
//
// Sources as in arm_lpae.h. Reading and writing have a bit each. The root may be up to 16 tables
// side by side, which save a level (lpae::ConcatenatedRoot). Reading grants instruction fetches, as
// at stage 1.
#ifndef VIOMMU_ENGINE_PAGETABLE_ARM_STAGE2_H_
#define VIOMMU_ENGINE_PAGETABLE_ARM_STAGE2_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/base/address.h"
#include "engine/pagetable/arm_lpae.h"
#include "engine/pagetable/format.h"

namespace viommu {
namespace lpae {

// Bits of a stage-2 leaf [arm D8.3.2, D8.4.2, D8.6; lpae ARM_LPAE_PTE_HAP_*, PTE_MEMATTR_*].
inline constexpr uint64_t kStage2Read = uint64_t{1} << 6;   // S2AP[0]
inline constexpr uint64_t kStage2Write = uint64_t{1} << 7;  // S2AP[1]
inline constexpr int kMemAttrShift = 2;                     // MemAttr 5:2
// Without S2FWB: an upper bound to what stage 1 asks for.
inline constexpr uint64_t kMemAttrWriteBack = 0xf;
inline constexpr uint64_t kMemAttrNonCacheable = 0x5;
inline constexpr uint64_t kMemAttrDevice = 0x1;  // Device-nGnRE, with S2FWB too.
// With S2FWB: write-back whatever stage 1 asks for.
inline constexpr uint64_t kMemAttrForcedWriteBack = 0x6;

}  // namespace lpae

// A Format (format.h). `kGranuleLog2` is one of kGranule4K, kGranule16K and kGranule64K.
template <int kGranuleLog2>
class ArmStage2 : public ArmLpae<kGranuleLog2> {
 public:
  static constexpr bool kWriteImpliesRead = false;

  struct Options {
    int input_bits = 48;   // IPA bits, as T0SZ of the STE's VTCR says.
    int output_bits = 48;  // The SMMU's OAS.
    uint64_t page_sizes = lpae::PageSizes(kGranuleLog2);
    bool force_write_back = false;  // The STE has S2FWB.
  };

  // kInvalidArgument: `page_sizes` lacks the granule or has a size that the granule does not; a
  //   width is not in 32..48, or the input is wider than the output (the architecture's limit).
  static absl::StatusOr<ArmStage2> Create(const Options& options);

  int root_tables_log2() const { return root_tables_log2_; }
  // The root lies at a multiple of its size.
  uint64_t root_bytes() const { return uint64_t{1} << (kGranuleLog2 + root_tables_log2_); }
  // SL0 of the VTCR: the start level in the granule's own coding [smmu 5.2 STE.S2SL0].
  int sl0() const { return (kGranuleLog2 == kGranule4K ? 2 : 3) - this->start_level(); }

  uint64_t LeafEntry(PhysAddr address, int level, PageAccess permission,
                     MemoryType memory = MemoryType::kNormal) const {
    return address.value | this->LeafType(level) | lpae::kAccessed |
           (permission.read ? lpae::kStage2Read : 0) | (permission.write ? lpae::kStage2Write : 0) |
           (memory == MemoryType::kNormal ? normal_memory_ : kDeviceMemory);
  }

  static PageAccess PermissionOf(uint64_t entry) {
    return {(entry & lpae::kStage2Read) != 0, (entry & lpae::kStage2Write) != 0};
  }

 private:
  static constexpr uint64_t kDeviceMemory =
      lpae::kMemAttrDevice << lpae::kMemAttrShift | lpae::kOuterShareable;

  ArmStage2(const Options& options, const lpae::Root& root);

  int root_tables_log2_;
  uint64_t normal_memory_;  // MemAttr and SH of memory.
};

extern template class ArmStage2<kGranule4K>;
extern template class ArmStage2<kGranule16K>;
extern template class ArmStage2<kGranule64K>;

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_ARM_STAGE2_H_
