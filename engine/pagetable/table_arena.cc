#include "engine/pagetable/table_arena.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {

PageList& PageList::operator=(PageList&& other) noexcept {
  first_ = other.first_;
  last_ = other.last_;
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
    if (!CutFreed(pages_log2, &index) && !CutFresh(pages_log2, &index)) {
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

bool TableArena::TakeUninitialized(uint64_t count, PageList* pages) {
  if (count == 0) return true;
  absl::MutexLock lock(&mutex_);
  // Every page that is not in use can be had as a single page, so the cuts below cannot fail.
  if (count > pages_total_ - pages_in_use_) return false;
  pages_in_use_ += count;
  for (uint32_t index = 0; count > 0 && (CutFreed(0, &index) || CutFresh(0, &index)); --count) {
    Append(index, pages);
  }
  return true;
}

void TableArena::Free(PageList* pages) {
  if (pages->empty()) return;
  absl::MutexLock lock(&mutex_);
  pages_in_use_ -= pages->size();
  PutFront(pages, 0);
}

void TableArena::FreeBlock(PhysAddr block, int pages_log2) {
  PageList blocks;
  Append(IndexOf(block), &blocks);
  absl::MutexLock lock(&mutex_);
  pages_in_use_ -= uint64_t{1} << pages_log2;
  PutFront(&blocks, pages_log2);
}

PhysAddr TableArena::PopFront(PageList* pages) const {
  const uint32_t index = pages->first_;
  // The last page has no successor; its note's next was never written.
  if (--pages->size_ > 0) pages->first_ = notes_[index].next;
  return AddressAt(index);
}

void TableArena::PushBack(PhysAddr page, PageList* pages) const { Append(IndexOf(page), pages); }

uint64_t TableArena::pages_in_use() const {
  absl::MutexLock lock(&mutex_);
  return pages_in_use_;
}

void TableArena::Append(uint32_t index, PageList* pages) const {
  if (pages->size_ == 0) {
    pages->first_ = index;
  } else {
    notes_[pages->last_].next = index;
  }
  pages->last_ = index;
  ++pages->size_;
}

void TableArena::PutFront(PageList* blocks, int order) {
  PageList& free = free_[order];
  if (!free.empty()) {
    notes_[blocks->last_].next = free.first_;
    blocks->last_ = free.last_;
    blocks->size_ += free.size_;
  }
  free = std::move(*blocks);
}

bool TableArena::CutFresh(int pages_log2, uint32_t* index) {
  const uint64_t pages = uint64_t{1} << pages_log2;
  // The alignment is that of the physical address, which the arena's base need not share.
  const uint64_t base_page = base_.value >> kPageShift;
  const uint64_t first = ((base_page + next_fresh_ + pages - 1) & ~(pages - 1)) - base_page;
  if (first + pages > pages_total_) return false;
  for (; next_fresh_ < first; ++next_fresh_) Append(static_cast<uint32_t>(next_fresh_), &free_[0]);
  next_fresh_ = first + pages;
  *index = static_cast<uint32_t>(first);
  return true;
}

bool TableArena::CutFreed(int pages_log2, uint32_t* index) {
  int order = pages_log2;
  while (order <= kMaxBlockLog2 && free_[order].empty()) ++order;
  if (order > kMaxBlockLog2) return false;
  *index = IndexOf(PopFront(&free_[order]));
  // Halve until it fits: the upper half stays free.
  while (order > pages_log2) {
    --order;
    Append(*index + (uint32_t{1} << order), &free_[order]);
  }
  return true;
}

}  // namespace viommu
