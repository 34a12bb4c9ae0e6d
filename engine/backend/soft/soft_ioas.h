// engine/backend/soft/soft_ioas.h -- The domains of one Ioas, which all map the same.
//
// Thread-safe. Lock order: the Ioas's lock, then a domain's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SOFT_IOAS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SOFT_IOAS_H_

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/soft/soft_domain.h"
#include "engine/base/address.h"

namespace viommu {

class SoftIoas {
 public:
  // Maps into every domain or into none.
  // As SoftDomain::Map.
  absl::Status Map(absl::Span<const PhysicalMapping> mappings) ABSL_LOCKS_EXCLUDED(mutex_);

  // Unmaps from every domain; when it answers OK no unit caches any of it (R4).
  // kInternal: it is removed everywhere, but a flush failed.
  absl::Status Unmap(absl::Span<const IovaRange> ranges) ABSL_LOCKS_EXCLUDED(mutex_);

  // Of every domain; one that is to be added has it as large_pages() says.
  void SetLargePages(bool large_pages) ABSL_LOCKS_EXCLUDED(mutex_);
  bool large_pages() const ABSL_LOCKS_EXCLUDED(mutex_);

  // The domain maps what the others map, or nothing if it is the first.
  void Add(std::shared_ptr<SoftDomain> domain) ABSL_LOCKS_EXCLUDED(mutex_);
  void Remove(const SoftDomain* domain) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  mutable absl::Mutex mutex_;
  std::vector<std::shared_ptr<SoftDomain>> domains_ ABSL_GUARDED_BY(mutex_);
  bool large_pages_ ABSL_GUARDED_BY(mutex_) = true;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_IOAS_H_
