#include "engine/backend/soft/viommu_domain.h"

#include <utility>

#include "engine/base/status_macros.h"

namespace viommu {

ViommuDomain::ViommuDomain(const ArmSmmuV3Stage1& vste, std::shared_ptr<SoftDomain> parent)
    : UnitDomain(TranslationKind::kNested), vste_(vste), parent_(std::move(parent)) {
  parent_->AddChild(this);
}

ViommuDomain::~ViommuDomain() {
  if (!FlushAbandoned().ok()) {
    for (const Abandoned& use : TakeAbandoned()) parent_->AbandonUnit(use.unit, kRidPasid);
  }
  parent_->RemoveChild(this);
}

UnitTranslation ViommuDomain::TranslationWith(uint32_t tag) const {
  return {kind(), parent_->shared_properties(), parent_->root(), tag, vste_};
}

absl::StatusOr<uint32_t> ViommuDomain::TakeTag(UnitPort* unit) {
  ASSIGN_OR_RETURN(const UnitTranslation parent, parent_->EnterUnit(unit, kRidPasid));
  return parent.tag;
}

void ViommuDomain::ReturnTag(UnitPort* unit, const UnitTag&) {
  parent_->LeaveUnit(unit, kRidPasid);
}

uint32_t ViommuDomain::TagToCome(const UnitPort* unit) const { return parent_->Preview(unit).tag; }

}  // namespace viommu
