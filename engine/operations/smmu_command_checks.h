// engine/operations/smmu_command_checks.h -- Which commands a guest may give to its SMMUv3, and
// what may stand in them (R8, Q17; iommufd-semantics.md sections 10, 17.8).
#ifndef VIOMMU_ENGINE_OPERATIONS_SMMU_COMMAND_CHECKS_H_
#define VIOMMU_ENGINE_OPERATIONS_SMMU_COMMAND_CHECKS_H_

#include "absl/status/status.h"
#include "engine/backend/viommus.h"
#include "engine/model/viommu.h"

namespace viommu {

// Each opcode has its list of fields; in any other nothing may stand. `ranges`: the unit takes
// commands for ranges.
// kInvalidArgument, errno EIO: INVALID_COMMAND: no opcode, a field that it does not have, or a
// value that a field can not have; UNKNOWN_STREAM_ID: no Vdevice of the Viommu has it.
absl::Status CheckCommand(const ArmSmmuV3Invalidation& command, const Viommu& viommu, bool ranges);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_SMMU_COMMAND_CHECKS_H_
