// engine/operations/viommu_checks.h -- What may refuse a Viommu, or what shall belong to one.
#ifndef VIOMMU_ENGINE_OPERATIONS_VIOMMU_CHECKS_H_
#define VIOMMU_ENGINE_OPERATIONS_VIOMMU_CHECKS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/model/model.h"

namespace viommu {

// kFailedPrecondition NOT_NEST_PARENT: a Viommu, or a NESTED domain, can not stand on `name`, which
// is `what`.
absl::Status NotNestParent(const std::string& name, absl::string_view what,
                           absl::string_view field);

// kUnimplemented VIOMMU_UNAVAILABLE: the unit of the device has no Viommus.
// VIOMMU_TYPE_UNAVAILABLE: not of this type.
absl::Status CheckViommuType(const Model& model, const Device& device, ViommuType type);

// kFailedPrecondition VIOMMU_EXISTS: `parent` has a Viommu on the unit of `device`.
absl::Status CheckNoViommu(const Model& model, const Device& device, const Domain& parent,
                           const CallContext& context);

// kFailedPrecondition IOMMU_MISMATCH: the device is behind another unit than the Viommu.
absl::Status CheckSameIommu(const Viommu& viommu, const Device& device, absl::string_view field,
                            absl::string_view principal);

// kFailedPrecondition VDEVICE_MISSING: the guest's stage of `domain` translates, and a device of
// `group` that is there has no Vdevice in its Viommu.
absl::Status CheckVdevices(const Model& model, absl::Span<const DeviceIndex> group,
                           const Domain& domain, absl::string_view principal);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_VIOMMU_CHECKS_H_
