// engine/backend/soft/image_pages.h -- The pages of a table image while it is being collected, each
// copied once, so that the image holds what was walked.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_IMAGE_PAGES_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_IMAGE_PAGES_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/table_view.h"
#include "engine/base/address.h"

namespace viommu {

// Thread-compatible.
class ImagePages {
 public:
  using Words = TableImage::Words;

  // `memory` outlives it. No more than `limit` pages are taken.
  explicit ImagePages(const PhysicalMemory* memory, uint64_t limit = kMaxImagePages)
      : memory_(*memory), limit_(limit) {}

  // What the page at `address`, a multiple of 4 KiB, held when it was first asked for; null where
  // no memory answers. Valid while this lives.
  // kResourceExhausted, IMAGE_TOO_LARGE: it would be one too many.
  absl::StatusOr<const Words*> Copy(PhysAddr address);

  // All of them, ascending. This is empty then.
  std::vector<TableImage::MemoryPage> Take();

 private:
  const PhysicalMemory& memory_;
  const uint64_t limit_;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Words>> pages_;  // By address.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_IMAGE_PAGES_H_
