// engine/pagetable/table_arena.h -- Hands out the memory that holds hardware-read tables: 4 KiB
// pages and blocks of 2^n of them.
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

// A list of blocks of one arena, all of one size, chained beside their pages: growing it allocates
// nothing. The first block decides the size. Whoever holds the list owns the blocks and must hand
// them back (TableArena::Free). Thread-compatible.
class PageList {
 public:
  PageList() = default;
  PageList(PageList&& other) noexcept { *this = std::move(other); }
  PageList& operator=(PageList&& other) noexcept;

  uint64_t size() const { return size_; }  // In blocks.
  bool empty() const { return size_ == 0; }

 private:
  friend class TableArena;
  uint32_t first_ = 0;  // Meaningless while size_ is 0.
  uint32_t last_ = 0;
  int pages_log2_ = 0;  // Of every block; meaningless while size_ is 0.
  uint64_t size_ = 0;
};

// Thread-safe, except where a method says otherwise.
class TableArena {
 public:
  static constexpr int kPageShift = 12;
  static constexpr uint64_t kPageBytes = uint64_t{1} << kPageShift;
  static constexpr int kMaxBlockLog2 = 10;  // 4 MiB; a VT-d invalidation queue has at most 512 KiB.

  // Log2 of the pages of the smallest block that holds so many bytes.
  static constexpr int PagesLog2(uint64_t size_bytes) {
    int log2 = 0;
    while (kPageBytes << log2 < size_bytes) ++log2;
    return log2;
  }

  // Offers [data, data + size_bytes), which answers at physical `base` and outlives the arena. Base
  // and size are multiples of 4 KiB; the size is at most 16 TiB.
  TableArena(char* data, PhysAddr base, uint64_t size_bytes);
  TableArena(const TableArena&) = delete;
  TableArena& operator=(const TableArena&) = delete;

  // Takes one zeroed page.
  // kResourceExhausted: none is left.
  absl::StatusOr<PhysAddr> AllocateZeroed() ABSL_LOCKS_EXCLUDED(mutex_);

  // Takes 2^`pages_log2` zeroed pages that lie together, at a multiple of their size. Blocks are
  // cut from memory never used before or from what was freed; free neighbours are put together
  // again when nothing else is left.
  // kInvalidArgument: `pages_log2` is not in 0..kMaxBlockLog2.
  // kResourceExhausted: no such block is left.
  absl::StatusOr<PhysAddr> AllocateBlock(int pages_log2) ABSL_LOCKS_EXCLUDED(mutex_);

  // Adds `count` blocks as AllocateBlock gives them to `blocks`, all or none. What they hold is
  // unspecified: meant for tables that are overwritten completely before they are linked. Answers
  // false when too few are left. `pages_log2` is in 0..kMaxBlockLog2 and that of the list.
  bool TakeUninitialized(uint64_t count, int pages_log2, PageList* blocks)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Give pages back; nothing, no device's cache included, may still lead to them. A block is given
  // back with the size it was taken with.
  void Free(PhysAddr page) ABSL_LOCKS_EXCLUDED(mutex_) { FreeBlock(page, 0); }
  void Free(PageList* blocks) ABSL_LOCKS_EXCLUDED(mutex_);  // Leaves `blocks` empty.
  void FreeBlock(PhysAddr block, int pages_log2) ABSL_LOCKS_EXCLUDED(mutex_);

  // The words at a physical address inside the arena, and the way back.
  uint64_t* WordsAt(PhysAddr address) const {
    return reinterpret_cast<uint64_t*>(data_ + (address.value - base_.value));
  }
  PhysAddr AddressOf(const uint64_t* word) const {
    return base_ + static_cast<uint64_t>(reinterpret_cast<const char*>(word) - data_);
  }

  // Move one block out of or into a list. The block's owner calls these; `blocks` must not be empty
  // for the first, and has blocks of the same size for the second. Take only the caller's own
  // blocks, so no lock is needed.
  PhysAddr PopFront(PageList* blocks) const;
  void PushBack(PhysAddr block, int pages_log2, PageList* blocks) const;

  // A number that the owner of a block keeps beside it: how many entries of a table are live.
  // Unspecified when the block is taken. No lock: only the owner of the block may use it.
  uint32_t& LiveEntries(PhysAddr block) const { return notes_[IndexOf(block)].live_entries; }

  // Pages taken and not given back, and those there are.
  uint64_t pages_in_use() const ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t pages_total() const { return pages_total_; }

 private:
  struct Note {
    uint32_t next;  // The first page of the block after this one in its list.
    uint32_t live_entries;
  };

  uint32_t IndexOf(PhysAddr page) const {
    return static_cast<uint32_t>((page.value - base_.value) >> kPageShift);
  }
  PhysAddr AddressAt(uint32_t index) const { return base_ + (uint64_t{index} << kPageShift); }
  void Append(uint32_t index, int pages_log2, PageList* blocks) const;
  // Puts the blocks of `front` before those of `list`; leaves `front` empty.
  void Splice(PageList* front, PageList* list) const;
  // Moves blocks before those freed earlier: what was used last is still in the CPU's cache.
  void PutFree(PageList* blocks) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Takes a block from wherever there is one.
  bool Cut(int pages_log2, uint32_t* index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // Takes the pages from the first multiple of the block size at or behind next_fresh_, if there
  // are enough. Those before become free single pages.
  bool CutFresh(int pages_log2, uint32_t* index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FreeFreshUpTo(uint64_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes a freed block of this size or a part of a larger one, whose rest stays free.
  bool CutFreed(int pages_log2, uint32_t* index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes blocks of twice the size from free neighbours, as far as it goes. Looks at all that is
  // free, so only when a block is not to be had otherwise and something may have changed since.
  void Merge() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  char* const data_;
  const PhysAddr base_;
  const uint64_t pages_total_;
  // Uninitialized on purpose: a note is written before it is read, and untouched ones cost nothing.
  const std::unique_ptr<Note[]> notes_;

  mutable absl::Mutex mutex_;
  // Freed blocks by size; order 0 are the single pages.
  std::array<PageList, kMaxBlockLog2 + 1> free_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_fresh_ ABSL_GUARDED_BY(mutex_) = 0;  // No page from here on was ever handed out.
  bool merged_ ABSL_GUARDED_BY(mutex_) = false;      // Merge would find nothing more to do.
  uint64_t pages_in_use_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_TABLE_ARENA_H_
