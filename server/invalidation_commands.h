// server/invalidation_commands.h -- A guest's commands, from the API to the engine.
#ifndef VIOMMU_SERVER_INVALIDATION_COMMANDS_H_
#define VIOMMU_SERVER_INVALIDATION_COMMANDS_H_

#include "engine/types.h"
#include "viommu/v1/viommu.pb.h"

namespace viommu {

// What is wrong with a command the engine says, when it is that one's turn.
InvalidationBatch ParseCommands(const v1::InvalidationCommands& commands);

}  // namespace viommu

#endif  // VIOMMU_SERVER_INVALIDATION_COMMANDS_H_
