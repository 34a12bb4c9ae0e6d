// engine/backend/soft/domain_ids.h -- The domain ids of one VT-d unit, the ASIDs or the VMIDs of
// one SMMUv3: which of them tag something.
//
// Those below the first are never handed out: VT-d's 0 is unused and 1 belongs to pass-through
// (vtd/pasid.h, vtd/iommu.h), SMMUv3's VMID 0 to first stages without a second. An id comes back
// only after every cache entry that it tags has been flushed; the one given back last is taken
// first, so that a flush that was forgotten shows early.
//
// Thread-compatible: the unit holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_DOMAIN_IDS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_DOMAIN_IDS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/entries/vtd_entries.h"

namespace viommu {

class DomainIds {
 public:
  // Ids from `first`, below 2^`bits`, 4 <= bits <= 16.
  explicit DomainIds(int bits, uint16_t first = vtd::kFirstPagingDomainId)
      : end_(uint32_t{1} << bits), next_(first) {}

  // nullopt: all are taken.
  std::optional<uint16_t> Take() {
    const std::optional<uint16_t> id = Next();
    if (!returned_.empty()) {
      returned_.pop_back();
    } else if (id.has_value()) {
      ++next_;
    }
    return id;
  }

  // What Take would answer.
  std::optional<uint16_t> Next() const {
    if (!returned_.empty()) return returned_.back();
    if (next_ == end_) return std::nullopt;
    return static_cast<uint16_t>(next_);
  }

  // `id` was taken and tags nothing any more, in no cache.
  void Return(uint16_t id) { returned_.push_back(id); }

 private:
  const uint32_t end_;
  uint32_t next_;  // This and higher ones were never taken.
  std::vector<uint16_t> returned_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_DOMAIN_IDS_H_
