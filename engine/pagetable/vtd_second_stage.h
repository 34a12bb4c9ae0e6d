// engine/pagetable/vtd_second_stage.h -- The bits of Intel VT-d second-stage page tables.
//
// Sources: [spec] Intel Virtualization Technology for Directed I/O, section 9.8 "Second-Stage
// Paging Entries"; [vtdss] Linux drivers/iommu/generic_pt/fmt/vtdss.h, whose writer sets the same
// bits. Tables have 512 entries of 8 bytes in 4 KiB, with 3 (39 bit), 4 (48 bit) or 5 (57 bit)
// levels. There is no present bit: an entry with neither R nor W grants nothing, and we never
// write one, so that present means not zero.
#ifndef VIOMMU_ENGINE_PAGETABLE_VTD_SECOND_STAGE_H_
#define VIOMMU_ENGINE_PAGETABLE_VTD_SECOND_STAGE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/base/address.h"
#include "engine/pagetable/format.h"

namespace viommu {

// A Format (format.h).
class VtdSecondStage {
 public:
  static constexpr int kPageShift = 12;
  static constexpr int kEntriesLog2 = 9;
  static constexpr bool kWriteImpliesRead = false;

  // Bits of an entry.
  static constexpr uint64_t kRead = uint64_t{1} << 0;   // R  [spec 9.8, vtdss VTDSS_FMT_R]
  static constexpr uint64_t kWrite = uint64_t{1} << 1;  // W  [spec 9.8, vtdss VTDSS_FMT_W]
  static constexpr uint64_t kPageSize = uint64_t{1}
                                        << 7;  // PS: a leaf above level 0 [VTDSS_FMT_PS]
  static constexpr uint64_t kAccessed = uint64_t{1} << 8;   // A, set by hardware [VTDSS_FMT_A]
  static constexpr uint64_t kDirty = uint64_t{1} << 9;      // D, set by hardware [VTDSS_FMT_D]
  static constexpr uint64_t kSnoop = uint64_t{1} << 11;     // SNP, leaves only [VTDSS_FMT_SNP]
  static constexpr uint64_t kAddress = 0x000ffffffffff000;  // 51:12 [VTDSS_FMT_OA]

  // The leaves that the format knows: 4 KiB always, 2 MiB and 1 GiB as CAP.SLLPS (bits 34, 35)
  // says [spec 10.4.2].
  static constexpr uint64_t kPage4K = uint64_t{1} << 12;
  static constexpr uint64_t kPage2M = uint64_t{1} << 21;
  static constexpr uint64_t kPage1G = uint64_t{1} << 30;

  struct Options {
    int levels = 4;
    uint64_t page_sizes = kPage4K | kPage2M | kPage1G;
    int host_address_bits = 52;  // HAW: address bits from here to 51 are reserved.
    bool force_snoop = false;    // SNP in every leaf: accesses snoop the processors' caches.
  };

  // kInvalidArgument: `levels` is not 3, 4 or 5; `page_sizes` lacks 4 KiB or has a size that the
  //   format does not; `host_address_bits` is not in 32..52.
  static absl::StatusOr<VtdSecondStage> Create(const Options& options);

  int top_level() const { return levels_ - 1; }
  static constexpr int root_tables_log2() { return 0; }
  int input_bits() const { return kPageShift + levels_ * kEntriesLog2; }
  int output_bits() const { return host_address_bits_; }
  uint64_t page_sizes() const { return page_sizes_; }

  // One memory type for all: EMT (5:3) stays 0, as Linux leaves it.
  uint64_t LeafEntry(PhysAddr address, int level, PageAccess permission,
                     MemoryType /*memory*/ = MemoryType::kNormal) const {
    return address.value | snoop_ | (permission.read ? kRead : 0) |
           (permission.write ? kWrite : 0) | (level > 0 ? kPageSize : 0);
  }
  // Tables grant both: the effective permission is the AND over all levels [spec 3.7.1].
  uint64_t TableEntry(PhysAddr table) const { return table.value | kRead | kWrite; }

  static bool IsPresent(uint64_t entry) { return entry != 0; }
  // Bit 7 means PS only above level 0 and is ignored in level 0 [spec 9.8].
  static bool IsLeaf(uint64_t entry, int level) { return level == 0 || (entry & kPageSize) != 0; }
  static PhysAddr LeafAddress(uint64_t entry, int level) {
    return PhysAddr{entry & kAddress & ~(Geometry<VtdSecondStage>::Span(level) - 1)};
  }
  static PhysAddr TableAddress(uint64_t entry) { return PhysAddr{entry & kAddress}; }
  static PageAccess PermissionOf(uint64_t entry) {
    return {(entry & kRead) != 0, (entry & kWrite) != 0};
  }

 private:
  explicit VtdSecondStage(const Options& options);

  int levels_;
  int host_address_bits_;
  uint64_t page_sizes_;
  uint64_t snoop_;  // kSnoop or 0.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_VTD_SECOND_STAGE_H_
