// engine/model/doorbell_table.h -- Where each owner's domains map interrupt doorbells: one page for
// a doorbell, at the same IOVA in all of them, so that what a device was told stays true when it
// moves (iommufd: iommufd_sw_msi, whose context is an owner here).
//
// A page is kept for as long as a domain, also one under way, maps it. Thread-compatible: guarded
// by the pipeline's lock.
#ifndef VIOMMU_ENGINE_MODEL_DOORBELL_TABLE_H_
#define VIOMMU_ENGINE_MODEL_DOORBELL_TABLE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/address.h"

namespace viommu {

class DoorbellTable {
 public:
  // The page of `window`, which is whole pages, at which the owner's domains map `doorbell`; the
  // lowest free one when none does. One more domain maps it from here on.
  // kOutOfRange DOORBELLS_EXHAUSTED: the owner has kMaxDoorbellPages, or they fill the window.
  absl::StatusOr<Iova> Take(absl::string_view owner, const IovaRange& window, PhysAddr doorbell);
  // One domain fewer maps the page, which was taken before.
  void GiveBack(absl::string_view owner, Iova iova);

 private:
  struct Page {
    PhysAddr doorbell;
    uint64_t domains = 0;
  };
  using Pages = absl::btree_map<Iova, Page>;

  static std::optional<Iova> LowestFree(const Pages& pages, const IovaRange& window);

  absl::flat_hash_map<std::string, Pages> owners_;  // None is empty.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_DOORBELL_TABLE_H_
