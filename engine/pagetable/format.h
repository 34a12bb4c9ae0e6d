// engine/pagetable/format.h -- What the walker asks of a page-table format: the contract.
//
// A format is a small copyable value that knows the bits of one architecture's tables and nothing
// of walking, storing or memory. Tables have 2^kEntriesLog2 entries of 8 bytes and lie at a
// multiple of their size, which is at least one page of the arena; level 0 holds the smallest
// leaves, and one entry of level n spans kPageShift + n * kEntriesLog2 bits of address. The root
// may be several tables side by side, which count as one with so many times the entries. An
// all-zero entry is not present in every format, so that a zeroed page is an empty table, and
// tables never restrict what their leaves permit.
//
//   static constexpr int kPageShift;              log2 of the smallest leaf
//   static constexpr int kEntriesLog2;            log2 of the entries of one table
//   static constexpr bool kWriteImpliesRead;      a leaf that may be written may be read too
//   int top_level() const;                        level of the root
//   int root_tables_log2() const;                 the root is 2^n tables; a constant 0 costs
//   nothing int input_bits() const;                       IOVAs are below 2^input_bits; less than
//   64 int output_bits() const;                      physical addresses are below 2^output_bits
//   uint64_t page_sizes() const;                  bit n set: leaves of 2^n bytes may be used
//   uint64_t LeafEntry(PhysAddr, int level, PageAccess, MemoryType) const;
//   uint64_t TableEntry(PhysAddr table) const;    points to a table one level below
//   static bool IsPresent(uint64_t entry);
//   static bool IsLeaf(uint64_t entry, int level);            of a present entry
//   static PhysAddr LeafAddress(uint64_t entry, int level);   inverse of LeafEntry
//   static PhysAddr TableAddress(uint64_t entry);             inverse of TableEntry
//   static PageAccess PermissionOf(uint64_t entry);           of a leaf
//
// LeafEntry must be linear in the address: the walker fills a run of leaves by adding the
// difference of two neighbours. What other architectures add, joins here when its format does:
// leaves of several equal entries (AMDv1, Arm contiguous) set the stride of a run.
#ifndef VIOMMU_ENGINE_PAGETABLE_FORMAT_H_
#define VIOMMU_ENGINE_PAGETABLE_FORMAT_H_

#include <cstdint>

#include "engine/base/address.h"

namespace viommu {

// What a device may do with a mapping.
struct PageAccess {
  bool read = false;
  bool write = false;

  bool none() const { return !read && !write; }
  friend bool operator==(PageAccess a, PageAccess b) {
    return a.read == b.read && a.write == b.write;
  }
  friend bool operator!=(PageAccess a, PageAccess b) { return !(a == b); }
};

// What lies at a physical address. Formats without memory attributes make no difference.
enum class MemoryType : uint8_t {
  kNormal,  // Memory: accesses take part in the processors' coherency.
  kDevice,  // Registers (another device's BAR, a doorbell): never cached, never merged.
};

// The address arithmetic that follows from a format's two constants.
template <typename Format>
struct Geometry {
  static constexpr uint64_t kEntries = uint64_t{1} << Format::kEntriesLog2;
  static constexpr int kTableBytesLog2 = Format::kEntriesLog2 + 3;

  static constexpr int Shift(int level) {
    return Format::kPageShift + level * Format::kEntriesLog2;
  }
  // Bytes that one entry of a level spans.
  static constexpr uint64_t Span(int level) { return uint64_t{1} << Shift(level); }
  // In a single table, as all but the root are.
  static constexpr uint64_t Index(Iova iova, int level) {
    return iova >> Shift(level) & (kEntries - 1);
  }
  // The last address that the entry of this level for `iova` spans.
  static constexpr Iova LastOfEntry(Iova iova, int level) { return iova | (Span(level) - 1); }
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_FORMAT_H_
