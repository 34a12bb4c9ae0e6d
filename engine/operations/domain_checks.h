// engine/operations/domain_checks.h -- What may refuse a new domain of either kind.
#ifndef VIOMMU_ENGINE_OPERATIONS_DOMAIN_CHECKS_H_
#define VIOMMU_ENGINE_OPERATIONS_DOMAIN_CHECKS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/model/model.h"

namespace viommu {

// kAlreadyExists DOMAIN_EXISTS: the id is that of a static domain.
absl::Status CheckNotStatic(const std::string& id);

// kUnimplemented NESTING_UNAVAILABLE: the unit of the device can not nest.
absl::Status CheckNesting(const Model& model, const Device& device, absl::string_view field);

// kUnimplemented DIRTY_TRACKING_UNAVAILABLE: the unit of the device can not tell what is written.
absl::Status CheckTracking(const Model& model, const Device& device, absl::string_view field);

// kFailedPrecondition PROCESS_ADDRESS_SPACE: only SVA domains show it.
absl::Status CheckNotProcess(const Ioas& ioas, absl::string_view principal);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_DOMAIN_CHECKS_H_
