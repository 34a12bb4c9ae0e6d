// engine/operations/stage1_checks.h -- What a guest may ask for as its first stage (R8, Q11).
#ifndef VIOMMU_ENGINE_OPERATIONS_STAGE1_CHECKS_H_
#define VIOMMU_ENGINE_OPERATIONS_STAGE1_CHECKS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/backend/backend.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/model/device.h"

namespace viommu {

// A first stage of VT-d for a device behind `unit`, on a parent that translates `aperture`. What
// the guest wrote wrong is told before what the unit lacks.
// kInvalidArgument MISALIGNED: the table address; INVALID_ADDRESS_WIDTH;
//                  WRITE_PROTECT_WITHOUT_SUPERVISOR
// kOutOfRange      TABLE_OUT_OF_RANGE: the table is not inside the aperture
// kUnimplemented   STAGE1_UNAVAILABLE: the unit lacks what is asked for
absl::Status CheckVtdStage1(const VtdStage1& stage1, const IommuSpec& unit, const Device& device,
                            const IovaRange& aperture);

// kUnimplemented STAGE1_UNAVAILABLE, always.
absl::Status Stage1Unavailable(const Device& device, absl::string_view field,
                               absl::string_view why);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_STAGE1_CHECKS_H_
