// engine/pagetable/leaf_count.h -- Which leaves a mapping would take, without making it.
//
// The rule is the walker's: each address gets the largest leaf that is aligned in both addresses
// and fits into what is left (kernel: iommu_pgsize).
#ifndef VIOMMU_ENGINE_PAGETABLE_LEAF_COUNT_H_
#define VIOMMU_ENGINE_PAGETABLE_LEAF_COUNT_H_

#include <array>
#include <cstdint>

#include "engine/base/address.h"

namespace viommu {

// How many leaves of 2^index bytes.
using LeafCounts = std::array<uint64_t, 64>;

// Pure. `page_sizes`: bit n set for leaves of 2^n bytes; at least one. Both addresses and the size
// are multiples of the smallest of them, the size is not 0, and neither range wraps.
LeafCounts CountLeaves(uint64_t page_sizes, Iova iova, PhysAddr to, uint64_t size_bytes);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_PAGETABLE_LEAF_COUNT_H_
