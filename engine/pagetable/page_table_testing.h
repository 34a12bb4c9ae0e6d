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
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/vtd_second_stage.h"
#include "engine/pagetable/x86_first_stage.h"

namespace viommu {

inline constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;
inline constexpr PageAccess kReadOnly{true, false}, kWriteOnly{false, true}, kReadWrite{true, true};

// Memory with an arena over it, at a physical base that no pointer looks like. Its pages look used:
// full of words that would be leaves, should a table be linked before it is complete.
class TableMemory {
 public:
  static constexpr PhysAddr kBase{0x5'4320'1000};

  explicit TableMemory(uint64_t pages)
      : size_bytes_(pages * 4096),
        data_(static_cast<char*>(std::aligned_alloc(4096, size_bytes_)), &std::free) {
    auto* words = reinterpret_cast<uint64_t*>(data_.get());
    std::fill(words, words + size_bytes_ / 8, 0x000dead000000083);
    arena_ = std::make_unique<TableArena>(data_.get(), kBase, size_bytes_);
  }

  TableArena* arena() { return arena_.get(); }

  // As a device: one aligned word of memory; nullopt when nothing answers at the address.
  absl::optional<uint64_t> Read(uint64_t physical) const {
    if (physical < kBase.value || physical - kBase.value >= size_bytes_) return absl::nullopt;
    return __atomic_load_n(
        reinterpret_cast<const uint64_t*>(data_.get() + (physical - kBase.value)),
        __ATOMIC_ACQUIRE);
  }

 private:
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

// The kinds of table under test. A kind has kLevels, kInputBits, kWriteImpliesRead, MakeFormat(page
// sizes), and Look, the naive reader.
template <int kTableLevels>
struct VtdSecondStageKind {
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
struct X86FirstStageKind {
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

// What a table of this kind grants for what was asked.
template <typename Kind>
constexpr PageAccess Granted(PageAccess permission) {
  return {permission.read || (permission.write && Kind::kWriteImpliesRead), permission.write};
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_PAGE_TABLE_TESTING_H_
