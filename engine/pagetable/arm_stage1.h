// engine/pagetable/arm_stage1.h -- The bits of Armv8 stage-1 page tables, which a context
// descriptor of an SMMUv3 points at (TTB0).
//
// Sources as in arm_lpae.h. A table of ours is the half of TTBR0, addresses from 0 upwards; the one
// of TTBR1 is switched off (EPD1). Leaves can be read by whoever may use the table: there is no
// read bit. Nothing but reads and writes is asked for, and reading grants instruction fetches too,
// as iommufd's mappings do under Linux, which sets XN only for IOMMU_NOEXEC.
#ifndef VIOMMU_ENGINE_PAGETABLE_ARM_STAGE1_H_
#define VIOMMU_ENGINE_PAGETABLE_ARM_STAGE1_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/base/address.h"
#include "engine/pagetable/arm_lpae.h"
#include "engine/pagetable/format.h"

namespace viommu {
namespace lpae {

// Bits of a stage-1 leaf [arm D8.3.2, D8.4.1; lpae ARM_LPAE_PTE_*].
inline constexpr int kAttributeShift = 2;                    // AttrIndx 4:2, which byte of MAIR
inline constexpr uint64_t kUnprivileged = uint64_t{1} << 6;  // AP[1] [PTE_AP_UNPRIV]
inline constexpr uint64_t kReadOnly = uint64_t{1} << 7;      // AP[2] [PTE_AP_RDONLY]
inline constexpr uint64_t kNotGlobal = uint64_t{1} << 11;    // nG: of one ASID [PTE_nG]

// The memory attributes by index, and the MAIR of a CD that gives them this meaning [lpae
// ARM_LPAE_MAIR_ATTR_*]: 0x44 non-cacheable, 0xff write-back, 0x04 Device-nGnRE, 0xf4 outer
// write-back and inner non-cacheable.
inline constexpr uint64_t kWriteBackIndex = 1;
inline constexpr uint64_t kDeviceIndex = 2;
inline constexpr uint64_t kMair = 0xf404ff44;

}  // namespace lpae

// A Format (format.h). `kGranuleLog2` is one of kGranule4K, kGranule16K and kGranule64K.
template <int kGranuleLog2>
class ArmStage1 : public ArmLpae<kGranuleLog2> {
 public:
  static constexpr bool kWriteImpliesRead = true;

  struct Options {
    int input_bits = 48;   // As the CD's T0SZ says.
    int output_bits = 48;  // The SMMU's OAS, or the width of the stage-2 input.
    uint64_t page_sizes = lpae::PageSizes(kGranuleLog2);
    // A leaf that may be written starts out clean (DBM set, AP[2] set), and hardware that has HA
    // and HD of the CD clears AP[2] with the first write. Without HD such a leaf is read-only.
    bool track_dirty = false;
  };

  // kInvalidArgument: `page_sizes` lacks the granule or has a size that the granule does not; a
  //   width is not in 32..48.
  static absl::StatusOr<ArmStage1> Create(const Options& options);

  static constexpr int root_tables_log2() { return 0; }

  // AF is set from the start: software that never clears it wants no access flag fault.
  uint64_t LeafEntry(PhysAddr address, int level, PageAccess permission,
                     MemoryType memory = MemoryType::kNormal) const {
    return address.value | this->LeafType(level) | lpae::kAccessed | lpae::kNotGlobal |
           lpae::kUnprivileged | (permission.write ? writable_ : lpae::kReadOnly) |
           (memory == MemoryType::kNormal ? kNormalMemory : kDeviceMemory);
  }

  // What is clean yet may be written: the write makes it dirty.
  static PageAccess PermissionOf(uint64_t entry) {
    return {true, (entry & lpae::kReadOnly) == 0 || (entry & lpae::kDirtyModifier) != 0};
  }

 private:
  static constexpr uint64_t kNormalMemory =
      lpae::kWriteBackIndex << lpae::kAttributeShift | lpae::kInnerShareable;
  static constexpr uint64_t kDeviceMemory =
      lpae::kDeviceIndex << lpae::kAttributeShift | lpae::kOuterShareable;

  explicit ArmStage1(const Options& options);

  uint64_t writable_;  // What a leaf has that may be written.
};

extern template class ArmStage1<kGranule4K>;
extern template class ArmStage1<kGranule16K>;
extern template class ArmStage1<kGranule64K>;

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_ARM_STAGE1_H_
