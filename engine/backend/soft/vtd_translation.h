// engine/backend/soft/vtd_translation.h -- A UnitTranslation as the PASID-table entry that says it.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_VTD_TRANSLATION_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_VTD_TRANSLATION_H_

#include "engine/backend/soft/unit_port.h"
#include "engine/backend/topology.h"
#include "engine/entries/vtd_entries.h"

namespace viommu::vtd {

// Pure. The entry for `unit`, a VT-d one; of kNested the guest's stage is a VtdStage1.
PasidEntry EntryOf(const IommuSpec& unit, const UnitTranslation& translation);

}  // namespace viommu::vtd

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_VTD_TRANSLATION_H_
