// engine/model/memory_region.h -- Memory that may be mapped.
#ifndef VIOMMU_ENGINE_MODEL_MEMORY_REGION_H_
#define VIOMMU_ENGINE_MODEL_MEMORY_REGION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "engine/model/object.h"

namespace viommu {

// Referred to by each Ioas (and host group) that maps it, once an area.
class MemoryRegion : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kMemoryRegion;

  MemoryRegion(std::string owner, std::string id, Uid uid, uint64_t size_bytes,
               std::optional<int32_t> numa_node, bool read_only = false)
      : Object(kKind, std::move(owner), std::move(id), uid),
        capacity_bytes(size_bytes),
        numa_node(numa_node),
        read_only(read_only),
        size_bytes(size_bytes) {}

  Usage Holds() const override {
    Usage usage(Resource::kMemoryRegions, 1);
    usage[Resource::kRegionBytes] = capacity_bytes;
    return usage;
  }

  const uint64_t capacity_bytes;  // As it was made, and what its owner is charged for.
  const std::optional<int32_t> numa_node;
  const bool read_only;  // For devices: it is never mapped for writing.

  // kPermissionDenied REGION_READ_ONLY, for who would map it for writing.
  absl::Status ReadOnlyError() const;
  // kFailedPrecondition REGION_SUSPENDED, for who would use it while it is.
  absl::Status SuspendedError() const;

  // What can be mapped of it, up to the capacity; it shrinks and grows as a file does. What is
  // mapped beyond it is suspended, and does not come back by itself.
  uint64_t size_bytes;
  bool suspended = false;  // Revoked, for good: none of it can be mapped.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_MEMORY_REGION_H_
