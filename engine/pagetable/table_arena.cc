#include "engine/pagetable/table_arena.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {

PageList& PageList::operator=(PageList&& other) noexcept {
  first_ = other.first_;
  last_ = other.last_;
  pages_log2_ = other.pages_log2_;
  size_ = std::exchange(other.size_, 0);
  return *this;
}

TableArena::TableArena(char* data, PhysAddr base, uint64_t size_bytes)
    : data_(data),
      base_(base),
      pages_total_(size_bytes >> kPageShift),
      notes_(new Note[pages_total_]) {}

absl::StatusOr<PhysAddr> TableArena::AllocateZeroed() { return AllocateBlock(0); }

absl::StatusOr<PhysAddr> TableArena::AllocateBlock(int pages_log2) {
  if (pages_log2 < 0 || pages_log2 > kMaxBlockLog2) {
    return Error(
               absl::StatusCode::kInvalidArgument, "INVALID_BLOCK_SIZE",
               absl::StrCat("a block of 2^", pages_log2, " pages is not in 2^0..2^", kMaxBlockLog2))
        .Errno("EINVAL");
  }
  uint32_t index = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (!Cut(pages_log2, &index)) {
      return Error(absl::StatusCode::kResourceExhausted, "TABLE_MEMORY_EXHAUSTED",
                   absl::StrCat("no block of ", uint64_t{1} << pages_log2, " table pages is left; ",
                                pages_in_use_, " of ", pages_total_, " are in use"))
          .Errno("ENOMEM");
    }
    pages_in_use_ += uint64_t{1} << pages_log2;
  }
  const PhysAddr block = AddressAt(index);
  std::memset(WordsAt(block), 0, kPageBytes << pages_log2);
  return block;
}

bool TableArena::TakeUninitialized(uint64_t count, int pages_log2, PageList* blocks) {
  if (count == 0) return true;
  absl::MutexLock lock(&mutex_);
  // What is not in use can all be had as single pages; larger blocks may still be too few.
  if (count > (pages_total_ - pages_in_use_) >> pages_log2) return false;
  PageList taken;
  uint32_t index = 0;
  for (uint64_t i = 0; i < count; ++i) {
    if (!Cut(pages_log2, &index)) {
      PutFree(&taken);
      return false;
    }
    Append(index, pages_log2, &taken);
  }
  pages_in_use_ += count << pages_log2;
  Splice(&taken, blocks);
  return true;
}

void TableArena::Free(PageList* blocks) {
  if (blocks->empty()) return;
  absl::MutexLock lock(&mutex_);
  pages_in_use_ -= blocks->size() << blocks->pages_log2_;
  PutFree(blocks);
}

void TableArena::FreeBlock(PhysAddr block, int pages_log2) {
  PageList blocks;
  Append(IndexOf(block), pages_log2, &blocks);
  Free(&blocks);
}

PhysAddr TableArena::PopFront(PageList* blocks) const {
  const uint32_t index = blocks->first_;
  // The last block has no successor; its note's next was never written.
  if (--blocks->size_ > 0) blocks->first_ = notes_[index].next;
  return AddressAt(index);
}

void TableArena::PushBack(PhysAddr block, int pages_log2, PageList* blocks) const {
  Append(IndexOf(block), pages_log2, blocks);
}

uint64_t TableArena::pages_in_use() const {
  absl::MutexLock lock(&mutex_);
  return pages_in_use_;
}

void TableArena::Append(uint32_t index, int pages_log2, PageList* blocks) const {
  if (blocks->size_ == 0) {
    blocks->first_ = index;
    blocks->pages_log2_ = pages_log2;
  } else {
    notes_[blocks->last_].next = index;
  }
  assert(blocks->pages_log2_ == pages_log2);
  blocks->last_ = index;
  ++blocks->size_;
}

void TableArena::Splice(PageList* front, PageList* list) const {
  if (front->empty()) return;
  if (!list->empty()) {
    assert(front->pages_log2_ == list->pages_log2_);
    notes_[front->last_].next = list->first_;
    front->last_ = list->last_;
    front->size_ += list->size_;
  }
  *list = std::move(*front);
}

void TableArena::PutFree(PageList* blocks) {
  if (blocks->empty()) return;
  Splice(blocks, &free_[blocks->pages_log2_]);
  merged_ = false;
}

bool TableArena::Cut(int pages_log2, uint32_t* index) {
  if (CutFreed(pages_log2, index) || CutFresh(pages_log2, index)) return true;
  if (pages_log2 == 0 || merged_) return false;
  Merge();
  return CutFreed(pages_log2, index);
}

bool TableArena::CutFresh(int pages_log2, uint32_t* index) {
  const uint64_t pages = uint64_t{1} << pages_log2;
  // The alignment is that of the physical address, which the arena's base need not share.
  const uint64_t base_page = base_.value >> kPageShift;
  const uint64_t first = ((base_page + next_fresh_ + pages - 1) & ~(pages - 1)) - base_page;
  if (first + pages > pages_total_) return false;
  FreeFreshUpTo(first);
  next_fresh_ = first + pages;
  *index = static_cast<uint32_t>(first);
  return true;
}

void TableArena::FreeFreshUpTo(uint64_t end) {
  for (; next_fresh_ < end; ++next_fresh_) {
    Append(static_cast<uint32_t>(next_fresh_), 0, &free_[0]);
    merged_ = false;
  }
}

bool TableArena::CutFreed(int pages_log2, uint32_t* index) {
  int order = pages_log2;
  while (order <= kMaxBlockLog2 && free_[order].empty()) ++order;
  if (order > kMaxBlockLog2) return false;
  *index = IndexOf(PopFront(&free_[order]));
  // Halve until it fits: the upper half stays free.
  while (order > pages_log2) {
    --order;
    Append(*index + (uint32_t{1} << order), order, &free_[order]);
  }
  return true;
}

void TableArena::Merge() {
  // The alignment is that of the physical address, as in CutFresh.
  const uint64_t base_page = base_.value >> kPageShift;
  FreeFreshUpTo(pages_total_);  // Too few for the block that is wanted.
  std::vector<uint32_t> blocks;
  for (int order = 0; order < kMaxBlockLog2; ++order) {
    blocks.clear();
    while (!free_[order].empty()) blocks.push_back(IndexOf(PopFront(&free_[order])));
    std::sort(blocks.begin(), blocks.end());
    const uint32_t pages = uint32_t{1} << order;
    for (size_t i = 0; i < blocks.size(); ++i) {
      const bool lower_half = ((base_page + blocks[i]) & (2 * pages - 1)) == 0;
      const bool both = lower_half && i + 1 < blocks.size() && blocks[i + 1] == blocks[i] + pages;
      Append(blocks[i], both ? order + 1 : order, &free_[both ? order + 1 : order]);
      if (both) ++i;
    }
  }
  merged_ = true;
}

}  // namespace viommu
