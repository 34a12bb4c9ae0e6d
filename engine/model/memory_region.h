// engine/model/memory_region.h -- Memory that may be mapped.
#ifndef VIOMMU_ENGINE_MODEL_MEMORY_REGION_H_
#define VIOMMU_ENGINE_MODEL_MEMORY_REGION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "engine/model/object.h"

namespace viommu {

// Referred to by each Ioas (and host group) that maps it, once an area.
class MemoryRegion : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kMemoryRegion;

  MemoryRegion(std::string owner, std::string id, Uid uid, uint64_t size_bytes,
               std::optional<int32_t> numa_node)
      : Object(kKind, std::move(owner), std::move(id), uid),
        size_bytes(size_bytes),
        numa_node(numa_node) {}

  Usage Holds() const override {
    Usage usage(Resource::kMemoryRegions, 1);
    usage[Resource::kRegionBytes] = size_bytes;
    return usage;
  }

  const uint64_t size_bytes;
  const std::optional<int32_t> numa_node;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_MEMORY_REGION_H_
