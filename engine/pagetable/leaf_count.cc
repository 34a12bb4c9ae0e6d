#include "engine/pagetable/leaf_count.h"

#include <algorithm>

namespace viommu {
namespace {

uint64_t LargestBit(uint64_t bits) { return uint64_t{1} << (63 - __builtin_clzll(bits)); }

// Those of `bits` that are not above `most`, which is not 0.
uint64_t UpTo(uint64_t bits, uint64_t most) {
  const uint64_t top = LargestBit(most);
  return bits & (top | (top - 1));
}

}  // namespace

LeafCounts CountLeaves(uint64_t page_sizes, Iova iova, PhysAddr to, uint64_t size_bytes) {
  LeafCounts counts{};
  const uint64_t smallest = page_sizes & -page_sizes;
  // Sizes to which the two addresses can be aligned together, wherever the mapping is.
  const uint64_t apart = iova ^ to.value;
  const uint64_t shared = apart == 0 ? page_sizes : UpTo(page_sizes, apart & -apart);
  while (size_bytes >= smallest) {
    const uint64_t aligned = iova == 0 ? shared : UpTo(shared, iova & -iova);
    const uint64_t leaf = LargestBit(UpTo(aligned, size_bytes));
    // Up to where a larger one may begin.
    const uint64_t larger = shared & ~(leaf | (leaf - 1));
    uint64_t run = size_bytes / leaf;
    if (larger != 0) {
      const uint64_t next = larger & -larger;
      const uint64_t to_border = next - (iova & (next - 1));
      if (to_border < size_bytes) run = std::min(run, to_border / leaf);
    }
    counts[__builtin_ctzll(leaf)] += run;
    iova += run * leaf;
    size_bytes -= run * leaf;
  }
  return counts;
}

}  // namespace viommu
