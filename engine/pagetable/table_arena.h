// engine/pagetable/table_arena.h -- Hands out the 4 KiB pages that hold hardware-read tables.
//
// All pages lie in one mapped arena, so that physical address <-> pointer is an addition. What the
// arena knows of a page (its place in a list, how many of its entries are live) it keeps beside the
// page, never in it: a page that was unlinked from a table may still be walked by a device through
// its caches until they are flushed, and so must not be written before.
#ifndef VIOMMU_ENGINE_PAGETABLE_TABLE_ARENA_H_
#define VIOMMU_ENGINE_PAGETABLE_TABLE_ARENA_H_

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/base/address.h"

namespace viommu {

// A list of single pages of one arena, chained beside the pages: growing it allocates nothing.
// Whoever holds it owns its pages and must hand them back (TableArena::Free). Thread-compatible.
class PageList {
 public:
  PageList() = default;
  PageList(PageList&& other) noexcept { *this = std::move(other); }
  PageList& operator=(PageList&& other) noexcept;

  uint64_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  friend class TableArena;
  uint32_t first_ = 0;  // Meaningless while size_ is 0.
  uint32_t last_ = 0;
  uint64_t size_ = 0;
};

// Thread-safe, except where a method says otherwise.
class TableArena {
 public:
  static constexpr int kPageShift = 12;
  static constexpr uint64_t kPageBytes = uint64_t{1} << kPageShift;
  static constexpr int kMaxBlockLog2 = 10;  // 4 MiB; a VT-d invalidation queue has at most 512 KiB.

  // Offers [data, data + size_bytes), which answers at physical `base` and outlives the arena. Base
  // and size are multiples of 4 KiB; the size is at most 16 TiB.
  TableArena(char* data, PhysAddr base, uint64_t size_bytes);
  TableArena(const TableArena&) = delete;
  TableArena& operator=(const TableArena&) = delete;

  // Takes one zeroed page.
  // kResourceExhausted: none is left.
  absl::StatusOr<PhysAddr> AllocateZeroed() ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes 2^`pages_log2` zeroed pages that lie together, at a multiple of their size. Blocks are
  // cut from memory never used before or from a block that was freed; single pages are not merged.
  // kInvalidArgument: `pages_log2` is not in 0..kMaxBlockLog2.
  // kResourceExhausted: no such block is left.
  absl::StatusOr<PhysAddr> AllocateBlock(int pages_log2) ABSL_LOCKS_EXCLUDED(mutex_);

  // Adds `count` pages to `pages`, all or none. What they hold is unspecified: meant for tables
  // that are overwritten completely before they are linked. Answers false when too few are left.
  bool TakeUninitialized(uint64_t count, PageList* pages) ABSL_LOCKS_EXCLUDED(mutex_);

  // Give pages back; nothing, no device's cache included, may still lead to them. A block is given
  // back with the size it was taken with.
  void Free(PhysAddr page) ABSL_LOCKS_EXCLUDED(mutex_) { FreeBlock(page, 0); }
  void Free(PageList* pages) ABSL_LOCKS_EXCLUDED(mutex_);  // Leaves `pages` empty.
  void FreeBlock(PhysAddr block, int pages_log2) ABSL_LOCKS_EXCLUDED(mutex_);

  // The words at a physical address inside the arena, and the way back.
  uint64_t* WordsAt(PhysAddr address) const {
    return reinterpret_cast<uint64_t*>(data_ + (address.value - base_.value));
  }
  PhysAddr AddressOf(const uint64_t* word) const {
    return base_ + static_cast<uint64_t>(reinterpret_cast<const char*>(word) - data_);
  }

  // Move one page out of or into a list. The page's owner calls these; `pages` must not be empty
  // for the first. Take only the caller's own pages, so no lock is needed.
  PhysAddr PopFront(PageList* pages) const;
  void PushBack(PhysAddr page, PageList* pages) const;

  // A number that the owner of a page keeps beside it: how many entries of a table are live.
  // Unspecified when the page is taken. No lock: only the owner of the page may use it.
  uint32_t& LiveEntries(PhysAddr page) const { return notes_[IndexOf(page)].live_entries; }

  // Pages taken and not given back, and those there are.
  uint64_t pages_in_use() const ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t pages_total() const { return pages_total_; }

 private:
  struct Note {
    uint32_t next;  // Of the page after this one in its list; of a block after its first page.
    uint32_t live_entries;
  };

  uint32_t IndexOf(PhysAddr page) const {
    return static_cast<uint32_t>((page.value - base_.value) >> kPageShift);
  }
  PhysAddr AddressAt(uint32_t index) const { return base_ + (uint64_t{index} << kPageShift); }
  void Append(uint32_t index, PageList* pages) const;
  // Moves freed blocks before those freed earlier: what was used last is still in the CPU's cache.
  void PutFront(PageList* blocks, int order) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Moves the pages from next_fresh_ up to the first multiple of the block size, if there is room
  // for a block behind them, to the free single pages, and answers the block.
  bool CutFresh(int pages_log2, uint32_t* index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes a freed block of this size or a part of a larger one, whose rest stays free.
  bool CutFreed(int pages_log2, uint32_t* index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  char* const data_;
  const PhysAddr base_;
  const uint64_t pages_total_;
  // Uninitialized on purpose: a note is written before it is read, and untouched ones cost nothing.
  const std::unique_ptr<Note[]> notes_;

  mutable absl::Mutex mutex_;
  // Freed blocks by size; order 0 are the single pages.
  std::array<PageList, kMaxBlockLog2 + 1> free_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_fresh_ ABSL_GUARDED_BY(mutex_) = 0;  // No page from here on was ever handed out.
  uint64_t pages_in_use_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_TABLE_ARENA_H_
