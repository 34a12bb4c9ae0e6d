// engine/base/dirty_bitmap.h -- Which pages of a range of addresses were written.
#ifndef VIOMMU_ENGINE_BASE_DIRTY_BITMAP_H_
#define VIOMMU_ENGINE_BASE_DIRTY_BITMAP_H_

#include <cstdint>
#include <vector>

#include "engine/base/address.h"

namespace viommu {

// One bit for each page of the range: bit i % 64 of word i / 64 stands for the page i pages above
// the range's first address, so that the page at address 0 has no part in it. The pages are the
// reader's choice: those that the tables have may be smaller or larger. Bits beyond the last page
// are 0. Thread-compatible.
class DirtyBitmap {
 public:
  DirtyBitmap() = default;
  // Nothing is dirty yet. `page_bytes` is a power of two; the range is a multiple of it, not of the
  // whole address space.
  DirtyBitmap(const IovaRange& range, uint64_t page_bytes);

  const IovaRange& range() const { return range_; }
  uint64_t page_bytes() const { return uint64_t{1} << page_log2_; }
  uint64_t page_count() const { return page_count_; }
  const std::vector<uint64_t>& words() const { return words_; }

  // Every page that meets `written` is dirty; what of it lies outside the range is left out.
  void Mark(const IovaRange& written);
  // Whether a page that meets `range` is dirty.
  bool AnyIn(const IovaRange& range) const;
  bool IsDirty(uint64_t page) const { return (words_[page / 64] >> (page % 64) & 1) != 0; }
  uint64_t dirty_count() const;

 private:
  struct Pages {
    uint64_t first;
    uint64_t last;
  };
  // Those that meet a range which overlaps ours.
  Pages PagesOf(const IovaRange& range) const;
  // The bits of one word that stand for these pages.
  static uint64_t BitsIn(uint64_t word, const Pages& pages);

  IovaRange range_;
  int page_log2_ = 0;
  uint64_t page_count_ = 0;
  std::vector<uint64_t> words_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BASE_DIRTY_BITMAP_H_
