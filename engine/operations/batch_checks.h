// engine/operations/batch_checks.h -- What batches of maps and of unmaps are both asked first.
#ifndef VIOMMU_ENGINE_OPERATIONS_BATCH_CHECKS_H_
#define VIOMMU_ENGINE_OPERATIONS_BATCH_CHECKS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/model/model.h"

namespace viommu {

// kInvalidArgument EMPTY_BATCH; BATCH_TOO_LARGE: more than kMaxBatchEntries.
absl::Status CheckBatchSize(size_t entries, absl::string_view field);

// The Ioas that the name means, which must be `only` unless that is 0 (still_meant.h).
// kNotFound IOAS_NOT_FOUND
absl::StatusOr<Ioas*> FindIoas(const Model& model, const CallContext& context, const ObjectRef& ref,
                               Uid only);
// Its lane. As FindIoas.
absl::StatusOr<std::vector<Uid>> IoasLane(const Model& model, const CallContext& context,
                                          const ObjectRef& ref, Uid only);

// kInvalidArgument INVALID_LENGTH: 0, or the range that means everything to the kernel;
// kOutOfRange IOVA_OVERFLOW
absl::StatusOr<IovaRange> CheckedRange(Iova iova, uint64_t length,
                                       absl::string_view iova_field = "iova");

// "mappings[3]"
std::string EntryField(absl::string_view field, size_t index);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_BATCH_CHECKS_H_
