// engine/pagetable/arm_lpae.h -- What both stages of Armv8 page tables (VMSAv8-64, "LPAE") share.
//
// Sources: [arm] Arm Architecture Reference Manual for A-profile, DDI 0487, chapter D8: D8.2 sizes
// and lookup levels, D8.3 descriptors; [lpae] Linux drivers/iommu/io-pgtable-arm.c, whose writer
// sets the same bits; [smmu] Arm SMMUv3, IHI 0070, 5.2 and 5.4 for what STE and CD say of a table.
//
// A granule is the size of the smallest leaf and of a table: 4 KiB (512 entries), 16 KiB (2048) or
// 64 KiB (8192). Arm counts levels from 0, the widest, to 3, whatever level the root has; ours
// count from the leaves, so that Arm's level is 3 minus ours. Addresses have at most 48 bits:
// FEAT_LPA and FEAT_LPA2, which put bits 51:48 elsewhere in an entry, are left out.
#ifndef VIOMMU_ENGINE_PAGETABLE_ARM_LPAE_H_
#define VIOMMU_ENGINE_PAGETABLE_ARM_LPAE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "engine/base/address.h"
#include "engine/pagetable/format.h"

namespace viommu {

// log2 of the granules.
inline constexpr int kGranule4K = 12;
inline constexpr int kGranule16K = 14;
inline constexpr int kGranule64K = 16;

namespace lpae {

// Bits of an entry that both stages have [arm D8.3.1, D8.3.2].
inline constexpr uint64_t kValid = uint64_t{1} << 0;           // [lpae ARM_LPAE_PTE_VALID]
inline constexpr uint64_t kTableOrPage = uint64_t{1} << 1;     // Clear in a block [PTE_TYPE_*]
inline constexpr uint64_t kOuterShareable = uint64_t{2} << 8;  // SH 9:8 [PTE_SH_OS]
inline constexpr uint64_t kInnerShareable = uint64_t{3} << 8;  // [PTE_SH_IS]
inline constexpr uint64_t kShareabilityMask = uint64_t{3} << 8;
inline constexpr uint64_t kAccessed = uint64_t{1} << 10;       // AF [PTE_AF]
inline constexpr uint64_t kDirtyModifier = uint64_t{1} << 51;  // DBM [PTE_DBM]
inline constexpr uint64_t kExecuteNever = uint64_t{3} << 53;   // XN, PXN [PTE_XN]

inline constexpr uint64_t kAddress = 0x0000fffffffff000;  // 47:12 [PTE_ADDR_MASK]

// The root of a table: how many levels there are, and how many tables lie side by side as the root.
struct Root {
  int levels = 0;
  int tables_log2 = 0;
};

// The leaves of a granule [arm table D8-21]: 4 KiB, 2 MiB, 1 GiB; 16 KiB, 32 MiB; 64 KiB, 512 MiB.
constexpr uint64_t PageSizes(int granule_log2) {
  const uint64_t block = uint64_t{1} << (2 * granule_log2 - 3);
  const uint64_t page = uint64_t{1} << granule_log2;
  return granule_log2 == kGranule4K ? page | block | uint64_t{1} << 30 : page | block;
}

// The fewest levels whose indices hold `input_bits`.
constexpr Root PlainRoot(int granule_log2, int input_bits) {
  const int bits = granule_log2 - 3;
  return {(input_bits - granule_log2 + bits - 1) / bits, 0};
}

// The same for stage 2, where up to 16 tables side by side may stand for a table above them [arm
// D8.2.2 "Concatenated translation tables"]. They do so wherever the table above would have 2 to 16
// entries, none of which can be a leaf: so no leaf size is lost for the level that is won. That has
// every case in which the architecture forbids the table above: 4 KiB granule up to 42 bits of
// output, 16 KiB with 48 bits or up to 40 [arm R_DXBSH, R_SRKBC; lpae arm_lpae_concat_mandatory].
constexpr Root ConcatenatedRoot(int granule_log2, int input_bits) {
  constexpr int kMaxTablesLog2 = 4;
  const int bits = granule_log2 - 3;
  const Root plain = PlainRoot(granule_log2, input_bits);
  const int below = granule_log2 + (plain.levels - 1) * bits;
  const bool leaves = (PageSizes(granule_log2) >> below & 1) != 0;
  if (input_bits - below > kMaxTablesLog2 || leaves) return plain;
  return {plain.levels - 1, input_bits - below};
}

// TG0 of a CD, TG of a VTCR [smmu 5.4 CD.TG0, 5.2 STE.S2TG].
constexpr int GranuleCode(int granule_log2) {
  return granule_log2 == kGranule4K ? 0 : granule_log2 == kGranule64K ? 1 : 2;
}

// IPS of a CD, PS of a VTCR: the smallest size that holds `bits`, which are at most 48.
constexpr int AddressSizeCode(int bits) {
  constexpr int kSizes[] = {32, 36, 40, 42, 44, 48};
  int code = 0;
  while (kSizes[code] < bits) ++code;
  return code;
}

// `page_sizes`: bit n set, leaves of 2^n bytes.
// kInvalidArgument UNSUPPORTED_PAGE_SIZES: the granule is missing, or there is a size that it does
//   not have; UNSUPPORTED_ADDRESS_WIDTH: `input_bits` or `output_bits` is not in 32..48.
absl::Status Check(int granule_log2, int input_bits, int output_bits, uint64_t page_sizes);

}  // namespace lpae

// The part of a Format (format.h) that is the same for both stages.
template <int kGranuleLog2>
class ArmLpae {
 public:
  static_assert(kGranuleLog2 == kGranule4K || kGranuleLog2 == kGranule16K ||
                kGranuleLog2 == kGranule64K);
  static constexpr int kPageShift = kGranuleLog2;
  static constexpr int kEntriesLog2 = kGranuleLog2 - 3;

  int top_level() const { return levels_ - 1; }
  int input_bits() const { return input_bits_; }
  int output_bits() const { return output_bits_; }
  uint64_t page_sizes() const { return page_sizes_; }

  // What the STE or CD that points at a table says of it.
  int t0sz() const { return 64 - input_bits_; }
  int granule_code() const { return lpae::GranuleCode(kGranuleLog2); }
  int output_size_code() const { return lpae::AddressSizeCode(output_bits_); }
  int start_level() const { return 4 - levels_; }  // As Arm counts.

  // Tables limit nothing: APTable, XNTable and NSTable (63:59) stay clear.
  uint64_t TableEntry(PhysAddr table) const {
    return table.value | lpae::kValid | lpae::kTableOrPage;
  }

  static bool IsPresent(uint64_t entry) { return (entry & lpae::kValid) != 0; }
  static bool IsLeaf(uint64_t entry, int level) {
    return level == 0 || (entry & lpae::kTableOrPage) == 0;
  }
  static PhysAddr LeafAddress(uint64_t entry, int level) {
    return PhysAddr{entry & lpae::kAddress & -Geometry<ArmLpae>::Span(level)};
  }
  static PhysAddr TableAddress(uint64_t entry) { return LeafAddress(entry, 0); }

 protected:
  ArmLpae(int levels, int input_bits, int output_bits, uint64_t page_sizes)
      : levels_(levels),
        input_bits_(input_bits),
        output_bits_(output_bits),
        page_sizes_(page_sizes) {}
  ~ArmLpae() = default;
  ArmLpae(const ArmLpae&) = default;
  ArmLpae& operator=(const ArmLpae&) = default;

  // The type bits of a leaf.
  static uint64_t LeafType(int level) {
    return level == 0 ? lpae::kValid | lpae::kTableOrPage : lpae::kValid;
  }

 private:
  int levels_;
  int input_bits_;
  int output_bits_;
  uint64_t page_sizes_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_ARM_LPAE_H_
