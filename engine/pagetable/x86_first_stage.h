// engine/pagetable/x86_first_stage.h -- The bits of x86-64 page tables, which Intel VT-d reads as
// its first stage.
//
// Sources: [spec] Intel Virtualization Technology for Directed I/O, section 9.7 "First-Stage Paging
// Entries"; [x86_64] Linux drivers/iommu/generic_pt/fmt/x86_64.h, whose writer sets the same bits.
// Tables have 512 entries of 8 bytes in 4 KiB, with 4 (48 bit) or 5 (57 bit) levels. Addresses are
// sign extended: a table of ours maps the lower canonical half, the one that IOVAs of ours lie in,
// so an input has one bit less than the levels index, and the upper half of the root stays empty.
//
// There is no read bit: whatever is present can be read.
#ifndef VIOMMU_ENGINE_PAGETABLE_X86_FIRST_STAGE_H_
#define VIOMMU_ENGINE_PAGETABLE_X86_FIRST_STAGE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/base/address.h"
#include "engine/pagetable/format.h"

namespace viommu {

// A Format (format.h).
class X86FirstStage {
 public:
  static constexpr int kPageShift = 12;
  static constexpr int kEntriesLog2 = 9;
  static constexpr bool kWriteImpliesRead = true;

  // Bits of an entry.
  static constexpr uint64_t kPresent = uint64_t{1} << 0;   // P    [spec 9.7, x86_64 X86_64_FMT_P]
  static constexpr uint64_t kWrite = uint64_t{1} << 1;     // R/W  [X86_64_FMT_RW]
  static constexpr uint64_t kUser = uint64_t{1} << 2;      // U/S  [X86_64_FMT_U]
  static constexpr uint64_t kAccessed = uint64_t{1} << 5;  // A    [X86_64_FMT_A]
  static constexpr uint64_t kDirty = uint64_t{1} << 6;     // D    [X86_64_FMT_D]
  static constexpr uint64_t kPageSize = uint64_t{1}
                                        << 7;  // PS: a leaf above level 0 [X86_64_FMT_PS]
  static constexpr uint64_t kAddress = 0x000ffffffffff000;  // 51:12 [X86_64_FMT_OA]

  // The leaves that the format knows: 4 KiB and 2 MiB always, 1 GiB as CAP.FL1GP (bit 56) says
  // [spec 10.4.2].
  static constexpr uint64_t kPage4K = uint64_t{1} << 12;
  static constexpr uint64_t kPage2M = uint64_t{1} << 21;
  static constexpr uint64_t kPage1G = uint64_t{1} << 30;

  struct Options {
    int levels = 4;
    uint64_t page_sizes = kPage4K | kPage2M | kPage1G;
    int host_address_bits = 52;  // HAW: address bits from here to 51 are reserved.
  };

  // kInvalidArgument: `levels` is not 4 or 5; `page_sizes` lacks 4 KiB or has a size that the
  //   format does not; `host_address_bits` is not in 32..52.
  static absl::StatusOr<X86FirstStage> Create(const Options& options);

  int top_level() const { return levels_ - 1; }
  static constexpr int root_tables_log2() { return 0; }
  int input_bits() const { return kPageShift + levels_ * kEntriesLog2 - 1; }
  int output_bits() const { return host_address_bits_; }
  uint64_t page_sizes() const { return page_sizes_; }

  // Accessed and dirty are set from the start: nobody asks a first stage of ours what was used, and
  // so the hardware never has to write into it. XD is left alone: no request of ours executes.
  // The memory type is that of PAT entry 0 (PWT, PCD and PAT clear), as in Linux.
  uint64_t LeafEntry(PhysAddr address, int level, PageAccess permission,
                     MemoryType /*memory*/ = MemoryType::kNormal) const {
    return address.value | kPresent | kUser | kAccessed | (permission.write ? kWrite | kDirty : 0) |
           (level > 0 ? kPageSize : 0);
  }
  // Tables grant all: the effective permission is the AND over all levels [spec 3.6.1].
  uint64_t TableEntry(PhysAddr table) const {
    return table.value | kPresent | kWrite | kUser | kAccessed;
  }

  static bool IsPresent(uint64_t entry) { return (entry & kPresent) != 0; }
  // Bit 7 of a smallest leaf is PAT [spec 9.7].
  static bool IsLeaf(uint64_t entry, int level) { return level == 0 || (entry & kPageSize) != 0; }
  static PhysAddr LeafAddress(uint64_t entry, int level) {
    return PhysAddr{entry & kAddress & ~(Geometry<X86FirstStage>::Span(level) - 1)};
  }
  static PhysAddr TableAddress(uint64_t entry) { return PhysAddr{entry & kAddress}; }
  static PageAccess PermissionOf(uint64_t entry) { return {true, (entry & kWrite) != 0}; }

 private:
  explicit X86FirstStage(const Options& options);

  int levels_;
  int host_address_bits_;
  uint64_t page_sizes_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_X86_FIRST_STAGE_H_
