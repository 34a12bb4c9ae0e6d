// engine/pagetable/page_table.h -- One IO page table: what a paging domain gives to the hardware.
#ifndef VIOMMU_ENGINE_PAGETABLE_PAGE_TABLE_H_
#define VIOMMU_ENGINE_PAGETABLE_PAGE_TABLE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "engine/base/address.h"
#include "engine/base/status_macros.h"
#include "engine/pagetable/format.h"
#include "engine/pagetable/table_arena.h"
#include "engine/pagetable/table_walker.h"
#include "engine/pagetable/walker.h"

namespace viommu {

// Owns the root and all tables below it, in an arena that outlives it. Tables are made and freed
// with what is mapped; only the root stays.
//
// Devices walk the tables at any time, also in the middle of a call, and find for each address the
// old or the new translation, nothing else. What they have cached is the caller's business: after
// Unmap it flushes, and only then returns the freed tables to the arena. A map needs no flush: it
// turns non-present entries into present ones and frees no table.
//
// Thread-compatible: the owning domain holds the lock. Moved-from objects may only be destroyed.
class PageTable {
 public:
  // An empty table of `format`, written through `store` (store.h).
  // kResourceExhausted: the arena has no block for the root.
  template <typename Format, typename Store>
  static absl::StatusOr<PageTable> Create(const Format& format, const Store& store,
                                          TableArena* arena) {
    using FormatWalker = Walker<Format, Store>;
    const int root_pages_log2 = FormatWalker::RootPagesLog2(format);
    ASSIGN_OR_RETURN(const PhysAddr root, arena->AllocateBlock(root_pages_log2));
    return PageTable(
        {root, root_pages_log2, format.top_level() + 1, Format::kPageShift, Format::kEntriesLog2,
         format.input_bits(), format.output_bits(), format.page_sizes(), Format::kWriteImpliesRead},
        arena, std::make_unique<FormatWalker>(format, store, arena, root));
  }

  // Frees every table. No device may reach them any more, not even through a cache.
  ~PageTable();
  PageTable(PageTable&&) = default;
  PageTable& operator=(PageTable&&) = delete;

  PhysAddr root() const { return shape_.root; }
  int levels() const { return shape_.levels; }
  // Bytes that one entry of a table of this level spans; level 0 holds the smallest leaves.
  uint64_t EntrySpan(int level) const {
    return uint64_t{1} << (shape_.page_shift + level * shape_.entries_log2);
  }
  uint64_t page_sizes() const { return shape_.page_sizes; }  // Bit n set: leaves of 2^n bytes.
  // A mapping for writing only can be read as well: the format cannot tell them apart.
  bool write_implies_read() const { return shape_.write_implies_read; }
  IovaRange aperture() const { return {0, LowBits(shape_.input_bits)}; }

  // Maps [iova, iova + size_bytes) to [to, to + size_bytes) with the largest leaves that fit both.
  // All or nothing: on an error nothing was changed, at no moment.
  // kInvalidArgument: the size is 0 (INVALID_SIZE), an address or the size is not a multiple of the
  //   smallest page (UNALIGNED), or nothing is permitted (PERMISSION_NONE).
  // kOutOfRange: the range leaves the aperture or wraps (IOVA_OUT_OF_APERTURE), or a physical
  //   address is wider than an entry holds (PHYSICAL_ADDRESS_TOO_WIDE).
  // kFailedPrecondition: a part of the range is mapped already (IOVA_CONFLICT).
  // kResourceExhausted: the arena has no room for the tables (TABLE_MEMORY_EXHAUSTED).
  absl::Status Map(Iova iova, PhysAddr to, uint64_t size_bytes, PageAccess permission,
                   MemoryType memory = MemoryType::kNormal);

  // Whether what is mapped from now on may get leaves above the smallest; at first it does. What is
  // mapped already stays.
  void SetLargeLeaves(bool large_leaves);

  // Removes every leaf that lies wholly in [iova, iova + size_bytes) and answers their bytes; what
  // is not mapped, lies outside the aperture or belongs to a leaf reaching out of the range stays
  // as it is. Never fails and never allocates. Tables that nothing leads to any more are appended
  // to `freed`, contents untouched: after the flush, the caller gives them to TableArena::Free.
  uint64_t Unmap(Iova iova, uint64_t size_bytes, PageList* freed);

  // Where `iova` leads to; nullopt when it is not mapped.
  absl::optional<PageTranslation> Translate(Iova iova) const;

  // The entries that hardware reads for `iova`, from the root to the leaf or to the first one that
  // is not present. Empty outside the aperture.
  std::vector<TableEntry> PathTo(Iova iova) const;

  // Leaves and tables by level; reads every table.
  TableCounts Count() const { return walker_->Count(); }

 private:
  struct Shape {
    PhysAddr root;
    int root_pages_log2;
    int levels;
    int page_shift;
    int entries_log2;
    int input_bits;
    int output_bits;
    uint64_t page_sizes;
    bool write_implies_read;
  };

  PageTable(const Shape& shape, TableArena* arena, std::unique_ptr<TableWalker> walker);

  // All ones below bit `bits`.
  static uint64_t LowBits(int bits) { return kMaxAddress >> (64 - bits); }

  absl::Status CheckMap(Iova iova, PhysAddr to, uint64_t size_bytes, PageAccess permission) const;

  Shape shape_;
  TableArena* arena_;
  std::unique_ptr<TableWalker> walker_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_PAGE_TABLE_H_
