// engine/pagetable/page_table_testing.h -- For tests: table memory, formats to try, and a naive
// reader of tables that shares no code with the writers.
#ifndef VIOMMU_ENGINE_PAGETABLE_PAGE_TABLE_TESTING_H_
#define VIOMMU_ENGINE_PAGETABLE_PAGE_TABLE_TESTING_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <ostream>

#include "absl/types/optional.h"
#include "engine/base/address.h"
#include "engine/pagetable/arm_stage1.h"
#include "engine/pagetable/arm_stage2.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/vtd_second_stage.h"
#include "engine/pagetable/x86_first_stage.h"

namespace viommu {

inline constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;
inline constexpr PageAccess kReadOnly{true, false}, kWriteOnly{false, true}, kReadWrite{true, true};

// Memory with an arena over it, at a physical base that no pointer looks like. Its pages look used:
// full of words that would be leaves, should a table be linked before it is complete, or lead to
// tables where there is no memory.
class TableMemory {
 public:
  static constexpr PhysAddr kBase{0x5'4320'1000};
  // Aligned to any block, so that blocks of one size fill the memory to the last page.
  static constexpr PhysAddr kAlignedBase{0x5'4340'0000};

  explicit TableMemory(uint64_t pages, PhysAddr base = kBase)
      : base_(base),
        size_bytes_(pages * 4096),
        data_(static_cast<char*>(std::aligned_alloc(4096, size_bytes_)), &std::free) {
    auto* words = reinterpret_cast<uint64_t*>(data_.get());
    std::fill(words, words + size_bytes_ / 8, 0x0000dead000004e7);
    arena_ = std::make_unique<TableArena>(data_.get(), base, size_bytes_);
  }

  TableArena* arena() { return arena_.get(); }
  PhysAddr base() const { return base_; }

  // As a device: one aligned word of memory; nullopt when nothing answers at the address.
  absl::optional<uint64_t> Read(uint64_t physical) const {
    if (physical < base_.value || physical - base_.value >= size_bytes_) return absl::nullopt;
    return __atomic_load_n(
        reinterpret_cast<const uint64_t*>(data_.get() + (physical - base_.value)),
        __ATOMIC_ACQUIRE);
  }

 private:
  PhysAddr base_;
  uint64_t size_bytes_;
  std::unique_ptr<char, decltype(&std::free)> data_;
  std::unique_ptr<TableArena> arena_;
};

// What a device finds for an address.
struct Seen {
  bool mapped = false;
  uint64_t physical = 0;
  uint64_t leaf_bytes = 0;
  bool read = false;
  bool write = false;

  friend bool operator==(const Seen& a, const Seen& b) {
    return a.mapped == b.mapped && a.physical == b.physical && a.leaf_bytes == b.leaf_bytes &&
           a.read == b.read && a.write == b.write;
  }
  friend std::ostream& operator<<(std::ostream& out, const Seen& s) {
    if (!s.mapped) return out << "not mapped";
    return out << Hex(s.physical) << " by a leaf of " << Hex(s.leaf_bytes) << (s.read ? " R" : " -")
               << (s.write ? "W" : "-");
  }
};

// What must never be seen: an entry that no hardware of the kind would take.
inline constexpr Seen kBroken{true, ~uint64_t{0}, 0, false, false};

// The kinds of table under test. A kind has kPageShift, kEntriesLog2, kLevels, kRootTablesLog2,
// kLeafLevels (so many levels from the lowest may have leaves), kInputBits, kOutputBits,
// kWriteImpliesRead, MakeFormat(page sizes), and Look, the naive reader.
struct IntelKind {
  static constexpr int kPageShift = 12;
  static constexpr int kEntriesLog2 = 9;
  static constexpr int kRootTablesLog2 = 0;
  static constexpr int kLeafLevels = 3;
  static constexpr int kOutputBits = 52;
};

template <int kTableLevels>
struct VtdSecondStageKind : IntelKind {
  static constexpr int kLevels = kTableLevels;
  static constexpr int kInputBits = 12 + 9 * kLevels;
  static constexpr bool kWriteImpliesRead = false;

  static VtdSecondStage MakeFormat(uint64_t page_sizes) {
    VtdSecondStage::Options options;
    options.levels = kLevels;
    options.page_sizes = page_sizes;
    return *VtdSecondStage::Create(options);
  }

  // A second-stage walk from the facts alone: R bit 0, W bit 1, PS bit 7, address 51:12, nine bits
  // per level; permissions are the AND over all levels; nothing is mapped beyond the width.
  static Seen Look(const TableMemory& memory, uint64_t root, uint64_t iova) {
    if (iova >> kInputBits != 0) return {};
    bool read = true, write = true;
    uint64_t table = root;
    for (int shift = 12 + 9 * (kLevels - 1); shift >= 12; shift -= 9) {
      const absl::optional<uint64_t> entry = memory.Read(table + ((iova >> shift) & 511) * 8);
      if (!entry.has_value() || (*entry & 3) == 0) return {};
      read = read && (*entry & 1) != 0;
      write = write && (*entry & 2) != 0;
      const uint64_t address = (*entry << 12) >> 24 << 12;
      if (shift == 12 || (*entry & 0x80) != 0) {
        const uint64_t size = 1ull << shift;
        return {true, address + iova % size, size, read, write};
      }
      table = address;
    }
    return {};
  }
};

template <int kTableLevels>
struct X86FirstStageKind : IntelKind {
  static constexpr int kLevels = kTableLevels;
  static constexpr int kInputBits = 12 + 9 * kLevels - 1;
  static constexpr bool kWriteImpliesRead = true;

  static X86FirstStage MakeFormat(uint64_t page_sizes) {
    X86FirstStage::Options options;
    options.levels = kLevels;
    options.page_sizes = page_sizes;
    return *X86FirstStage::Create(options);
  }

  // A first-stage walk from the facts alone, for a device that is neither privileged nor executes:
  // P bit 0, R/W 1, U/S 2, PS 7, address 51:12, nine bits per level; the address is sign extended.
  // Hardware would have to set A (5) on its way, and D (6) for a write: they must be there already.
  static Seen Look(const TableMemory& memory, uint64_t root, uint64_t iova) {
    const int unused = 64 - (12 + 9 * kLevels);
    if (static_cast<uint64_t>(static_cast<int64_t>(iova << unused) >> unused) != iova) return {};
    bool write = true;
    uint64_t table = root;
    for (int shift = 12 + 9 * (kLevels - 1); shift >= 12; shift -= 9) {
      const absl::optional<uint64_t> entry = memory.Read(table + ((iova >> shift) & 511) * 8);
      if (!entry.has_value() || (*entry & 0x25) != 0x25) return {};
      write = write && (*entry & 2) != 0;
      const uint64_t address = (*entry << 12) >> 24 << 12;
      if (shift == 12 || (*entry & 0x80) != 0) {
        if (write != ((*entry & 0x40) != 0)) return {};
        const uint64_t size = 1ull << shift;
        return {true, address + iova % size, size, true, write};
      }
      table = address;
    }
    return {};
  }
};

// What the architecture says of a table of Arm's: written by hand, not by the code under test.
template <int kGranule, int kBits, int kTableLevels, int kRootLog2>
struct ArmKind {
  static constexpr int kPageShift = kGranule;
  static constexpr int kEntriesLog2 = kGranule - 3;
  static constexpr int kLevels = kTableLevels;
  static constexpr int kRootTablesLog2 = kRootLog2;
  static constexpr int kLeafLevels = kGranule == 12 ? 3 : 2;
  static constexpr int kInputBits = kBits;
  static constexpr int kOutputBits = 48;

 protected:
  // A walk from the facts alone. Type in 1:0 (1 a block, 3 a table or, at the last level, a page),
  // address 47 down to the granule, AF 10; whatever else is in a table's entry or in the address of
  // a leaf must be 0. The index of the root has all bits that are left. `decode` reads a leaf.
  template <typename Decode>
  static Seen Walk(const TableMemory& memory, uint64_t root, uint64_t iova, const Decode& decode) {
    if (iova >> kBits != 0) return {};
    uint64_t table = root;
    for (int level = kLevels - 1;; --level) {
      const int shift = kGranule + level * kEntriesLog2;
      uint64_t index = iova >> shift;
      if (level < kLevels - 1) index %= 1 << kEntriesLog2;
      const absl::optional<uint64_t> entry = memory.Read(table + index * 8);
      if (!entry.has_value()) return kBroken;
      if ((*entry & 1) == 0) return {};
      const bool wide = (*entry & 2) != 0;
      const uint64_t low =
          (*entry << 16 >> 16) % (1ull << (level == 0 || !wide ? shift : kGranule));
      const uint64_t address = (*entry << 16 >> 16) - low;
      if (level > 0 && wide) {
        if (*entry != address + 3) return kBroken;
        table = address;
        continue;
      }
      const uint64_t attributes = *entry - address;
      if (level >= kLeafLevels || wide != (level == 0) || (attributes & 0x400) == 0) return kBroken;
      if ((attributes & 0xfff) != low) return kBroken;
      Seen seen{true, address + iova % (1ull << shift), 1ull << shift, false, false};
      return decode(attributes, &seen.read, &seen.write) ? seen : kBroken;
    }
  }
};

template <int kGranule, int kBits, int kTableLevels, bool kTrackDirty = false>
struct ArmStage1Kind : ArmKind<kGranule, kBits, kTableLevels, 0> {
  static constexpr bool kWriteImpliesRead = true;

  static ArmStage1<kGranule> MakeFormat(uint64_t page_sizes) {
    typename ArmStage1<kGranule>::Options options;
    options.input_bits = kBits;
    options.page_sizes = page_sizes;
    options.track_dirty = kTrackDirty;
    return *ArmStage1<kGranule>::Create(options);
  }

  // Stage 1 for a device that is not privileged: AP[1] (6) lets it in, AP[2] (7) forbids to write,
  // unless DBM (51) says that hardware clears it; nG (11) and no more; memory is attribute 1 (4:2),
  // inner shareable (9:8).
  static Seen Look(const TableMemory& memory, uint64_t root, uint64_t iova) {
    return ArmStage1Kind::Walk(memory, root, iova, [](uint64_t bits, bool* read, bool* write) {
      const bool clean = kTrackDirty && bits >> 51 == 1 && (bits & 0x80) != 0;
      *read = true;
      *write = clean || (bits & 0x80) == 0;
      const bool dirty = kTrackDirty && *write && !clean;
      return (bits & 0xf7c) == 0xf44 && (clean || bits >> 12 == 0) && !dirty;
    });
  }
};

template <int kGranule, int kBits, int kTableLevels, int kRootLog2>
struct ArmStage2Kind : ArmKind<kGranule, kBits, kTableLevels, kRootLog2> {
  static constexpr bool kWriteImpliesRead = false;

  static ArmStage2<kGranule> MakeFormat(uint64_t page_sizes) {
    typename ArmStage2<kGranule>::Options options;
    options.input_bits = kBits;
    options.page_sizes = page_sizes;
    return *ArmStage2<kGranule>::Create(options);
  }

  // Stage 2: read bit 6, write bit 7; memory is MemAttr (5:2) 15, inner shareable (9:8).
  static Seen Look(const TableMemory& memory, uint64_t root, uint64_t iova) {
    return ArmStage2Kind::Walk(memory, root, iova, [](uint64_t bits, bool* read, bool* write) {
      *read = (bits & 0x40) != 0;
      *write = (bits & 0x80) != 0;
      return (bits & ~uint64_t{0xc2}) == 0x73d;
    });
  }
};

// Bytes that an entry of a level spans; a whole table spans as much as an entry above it.
template <typename Kind>
constexpr uint64_t SpanOf(int level) {
  return uint64_t{1} << (Kind::kPageShift + level * Kind::kEntriesLog2);
}

// The leaves of a kind: pages, blocks one level up, and the largest, which may be those.
template <typename Kind>
inline constexpr uint64_t kPageOf = SpanOf<Kind>(0);
template <typename Kind>
inline constexpr uint64_t kBlockOf = SpanOf<Kind>(1);
template <typename Kind>
inline constexpr uint64_t kLargestOf = SpanOf<Kind>(Kind::kLeafLevels - 1);
template <typename Kind>
inline constexpr uint64_t kAllSizesOf = kPageOf<Kind> | kBlockOf<Kind> | kLargestOf<Kind>;

template <typename Kind>
inline constexpr uint64_t kEntriesOf = uint64_t{1} << Kind::kEntriesLog2;

// Pages of the arena: those of a table, of a root, and of a root and tables, `tables` together.
template <typename Kind>
inline constexpr uint64_t kTablePagesOf = kEntriesOf<Kind> * 8 / 4096;
template <typename Kind>
inline constexpr uint64_t kRootPagesOf = kTablePagesOf<Kind> << Kind::kRootTablesLog2;
template <typename Kind>
constexpr uint64_t PagesFor(uint64_t tables) {
  return kRootPagesOf<Kind> + (tables - 1) * kTablePagesOf<Kind>;
}

// What a table of this kind grants for what was asked.
template <typename Kind>
constexpr PageAccess Granted(PageAccess permission) {
  return {permission.read || (permission.write && Kind::kWriteImpliesRead), permission.write};
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_PAGE_TABLE_TESTING_H_
