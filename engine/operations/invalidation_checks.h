// engine/operations/invalidation_checks.h -- What invalidations of domains and of Viommus have in
// common.
#ifndef VIOMMU_ENGINE_OPERATIONS_INVALIDATION_CHECKS_H_
#define VIOMMU_ENGINE_OPERATIONS_INVALIDATION_CHECKS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/model/object.h"
#include "engine/types.h"

namespace viommu {

// kInvalidArgument BATCH_TOO_LARGE
absl::Status CheckInvalidationSize(const InvalidationBatch& batch);

// kNotFound <KIND>_NOT_FOUND: `only` is not 0, and the object is another.
absl::Status CheckStillMeant(const Object& object, Uid only, absl::string_view principal);

// kUnimplemented COMMANDS_UNAVAILABLE, always.
absl::Status CommandsUnavailable(absl::string_view why);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_INVALIDATION_CHECKS_H_
