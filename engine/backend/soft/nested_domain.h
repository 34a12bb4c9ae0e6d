// engine/backend/soft/nested_domain.h -- A guest's first stage on a nest parent. Its tables are the
// guest's, in memory that the parent maps; what it has of its own is a tag per unit, since what
// caches make of both stages is neither the parent's nor another child's.
//
// Where a flush that the guest asked for failed, its next one drops everything.
//
// Thread-safe. Lock order: the parent's locks, then this domain's, then a unit's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_NESTED_DOMAIN_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_NESTED_DOMAIN_H_

#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/soft_domain.h"
#include "engine/backend/soft/unit_domain.h"
#include "engine/backend/soft/unit_port.h"

namespace viommu {

class NestedDomain final : public UnitDomain, private SoftDomain::Child {
 public:
  // A domain of `stage1`, which the units that use it can walk, on `parent`, a nest parent.
  NestedDomain(const VtdStage1& stage1, std::shared_ptr<SoftDomain> parent);
  // No unit is to use it any more. One that may do so nevertheless is the parent's from now on.
  ~NestedDomain() override;

  // Drops what caches hold of the guest's stage (R4).
  // kInternal: a flush failed, this one or one that AbandonUnit left to be done.
  absl::Status Invalidate(absl::Span<const VtdStage1Invalidation> invalidations)
      ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  UnitTranslation TranslationWith(uint32_t tag) const override;
  absl::Status FlushParentChange() override;

  const VtdStage1 stage1_;
  const std::shared_ptr<SoftDomain> parent_;

  absl::Mutex mutex_;
  bool flush_failed_ ABSL_GUARDED_BY(mutex_) = false;  // What the guest changed may be cached.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_NESTED_DOMAIN_H_
