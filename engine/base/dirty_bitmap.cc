#include "engine/base/dirty_bitmap.h"

#include <algorithm>

namespace viommu {

DirtyBitmap::DirtyBitmap(const IovaRange& range, uint64_t page_bytes)
    : range_(range), page_log2_(__builtin_ctzll(page_bytes)) {
  page_count_ = range.size_bytes() >> page_log2_;
  words_.resize((page_count_ + 63) / 64);
}

DirtyBitmap::Pages DirtyBitmap::PagesOf(const IovaRange& range) const {
  return {(std::max(range.first, range_.first) - range_.first) >> page_log2_,
          (std::min(range.last, range_.last) - range_.first) >> page_log2_};
}

uint64_t DirtyBitmap::BitsIn(uint64_t word, const Pages& pages) {
  uint64_t bits = ~uint64_t{0};
  if (word == pages.first / 64) bits &= ~uint64_t{0} << (pages.first % 64);
  if (word == pages.last / 64) bits &= ~uint64_t{0} >> (63 - pages.last % 64);
  return bits;
}

void DirtyBitmap::Mark(const IovaRange& written) {
  if (page_count_ == 0 || !range_.Overlaps(written)) return;
  const Pages pages = PagesOf(written);
  for (uint64_t word = pages.first / 64; word <= pages.last / 64; ++word) {
    words_[word] |= BitsIn(word, pages);
  }
}

bool DirtyBitmap::AnyIn(const IovaRange& range) const {
  if (page_count_ == 0 || !range_.Overlaps(range)) return false;
  const Pages pages = PagesOf(range);
  for (uint64_t word = pages.first / 64; word <= pages.last / 64; ++word) {
    if ((words_[word] & BitsIn(word, pages)) != 0) return true;
  }
  return false;
}

uint64_t DirtyBitmap::dirty_count() const {
  uint64_t count = 0;
  for (const uint64_t word : words_) count += __builtin_popcountll(word);
  return count;
}

}  // namespace viommu
