// engine/operations/pins.h -- Addresses that must stay mapped because hardware reads the memory
// below them by itself.
#ifndef VIOMMU_ENGINE_OPERATIONS_PINS_H_
#define VIOMMU_ENGINE_OPERATIONS_PINS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/address.h"
#include "engine/model/model.h"

namespace viommu {

// The whole pages of `range`, if they can be pinned. Nothing is under way on the Ioas. Contiguous
// is what one memory region shows without a gap (iommufd-semantics.md section 12.4, steps 7 and 8).
// kNotFound IOVA_NOT_COVERED; kPermissionDenied PERMISSION_MISSING: a part can not be read;
// kFailedPrecondition MAPPING_SUSPENDED, MEMORY_UNAVAILABLE: it is not contiguous
absl::StatusOr<IovaRange> PagesToPin(const Ioas& ioas, const IovaRange& range);

// kFailedPrecondition IN_USE: what is planned would unmap a pinned page; who pins it is named.
absl::Status CheckPinsCovered(const Model& model, const Ioas& ioas, const CallContext& context);

// The same for `area`, of which all would go.
absl::Status CheckNotPinned(const Model& model, const Ioas& ioas, const IovaRange& area,
                            const CallContext& context);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_PINS_H_
