// engine/backend/soft/viommu_domain.h -- What a guest's SMMUv3 entry asks for, on a nest parent:
// its first stage, the nest parent alone, or nothing.
//
// It has no tag of its own: everything of the guest is cached under the nest parent's VMID
// (iommufd-semantics.md 12.1). While the domain is used behind a unit, so is the nest parent; what
// units cache of a guest's stage they drop with the nest parent's (invariant I9). What the guest
// itself has changed it says by commands.
//
// Thread-safe. Lock order: this domain's lock, then the parent's over its uses, then a unit's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_VIOMMU_DOMAIN_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_VIOMMU_DOMAIN_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/soft_domain.h"
#include "engine/backend/soft/unit_domain.h"
#include "engine/backend/soft/unit_port.h"

namespace viommu {

class ViommuDomain final : public UnitDomain, private SoftDomain::Child {
 public:
  // `vste` was found to be allowed.
  ViommuDomain(const ArmSmmuV3Stage1& vste, std::shared_ptr<SoftDomain> parent);
  // No unit is to use it any more. One that may do so nevertheless is the parent's from now on.
  ~ViommuDomain() override;

 private:
  UnitTranslation TranslationWith(uint32_t tag) const override;
  absl::StatusOr<uint32_t> TakeTag(UnitPort* unit) override;
  void ReturnTag(UnitPort* unit, const UnitTag& tag) override;
  uint32_t TagToCome(const UnitPort* unit) const override;
  absl::Status FlushParentChange() override { return absl::OkStatus(); }

  const ArmSmmuV3Stage1 vste_;
  const std::shared_ptr<SoftDomain> parent_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_VIOMMU_DOMAIN_H_
