// server/batches.h -- Map and unmap batches as clients send them, turned into the engine's.
//
// What can not be turned is refused with the place in the request; what a batch means, and whether
// it may be applied, is for the engine to judge. Both forms check the number of entries before they
// are expanded, so that a small message never makes a large batch.
#ifndef VIOMMU_SERVER_BATCHES_H_
#define VIOMMU_SERVER_BATCHES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/types.h"
#include "viommu/v1/ioas.pb.h"
#include "viommu/v1/mapping.pb.h"

namespace viommu {

// ---- IoasService: a list of entries ----

// kInvalidArgument: BATCH_TOO_LARGE, MISSING_FIELD, MALFORMED_NAME, INVALID_PERMISSION; the index
// of the entry is in the error.
absl::StatusOr<MapBatch> ParseMap(const v1::MapRequest& request);
// kInvalidArgument: BATCH_TOO_LARGE, MISSING_FIELD, CONFLICTING_FIELDS.
absl::StatusOr<UnmapBatch> ParseUnmap(const v1::UnmapRequest& request);

// ---- MappingService: parallel arrays ----

// What OpenStream fixes for the batches behind it.
struct StreamDefaults {
  Permission permission = Permission::kReadWrite;
  std::optional<ObjectRef> region;
};

// kInvalidArgument: MALFORMED_NAME, INVALID_PERMISSION, UNKNOWN_ENUM_VALUE.
absl::StatusOr<StreamDefaults> ParseDefaults(const v1::OpenStream& open);

// kInvalidArgument: BATCH_TOO_LARGE, ARRAY_LENGTH_MISMATCH, MISSING_FIELD, MALFORMED_NAME,
// INVALID_PERMISSION, UNKNOWN_ENUM_VALUE, REGION_INDEX_OUT_OF_RANGE.
absl::StatusOr<MapBatch> ParseArrays(const v1::MapBatch& batch, const StreamDefaults& defaults);
// kInvalidArgument: BATCH_TOO_LARGE, ARRAY_LENGTH_MISMATCH, CONFLICTING_FIELDS.
absl::StatusOr<UnmapBatch> ParseArrays(const v1::UnmapBatch& batch);

// Turns the places that the engine names, "mappings[3].iova", into those of the arrays of one
// message, "map.iova[3]". Plain value; outlives the message.
class ArrayNames {
 public:
  explicit ArrayNames(const v1::MapBatch& batch);
  explicit ArrayNames(const v1::UnmapBatch& batch);

  // `status` as the engine gave it for the batch, with its field renamed.
  absl::Status Rename(const absl::Status& status) const;

 private:
  // Of entry `index`, or of the batch as a whole.
  std::string Place(absl::string_view leaf, std::optional<uint64_t> index) const;
  size_t SizeOf(absl::string_view leaf) const;

  bool is_map_;
  size_t iovas_, lengths_;
  size_t offsets_ = 0, permissions_ = 0, region_indexes_ = 0, regions_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_BATCHES_H_
