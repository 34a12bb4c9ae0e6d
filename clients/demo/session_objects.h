// clients/demo/session_objects.h -- What the demo makes, twice: once for the domain that is
// replaced, once for the one that replaces it.
#ifndef VIOMMU_CLIENTS_DEMO_SESSION_OBJECTS_H_
#define VIOMMU_CLIENTS_DEMO_SESSION_OBJECTS_H_

#include <cstdint>

namespace viommu {

// A memory region, the IO address space that shows it, and a domain over that.
struct Side {
  const char* id;  // Of all three.
  const char* region;
  const char* ioas;
  const char* domain;
  uint64_t seed;  // Of the bytes in the region (pattern.h).
};

inline constexpr Side kOld = {"demo-old", "memoryRegions/demo-old", "ioas/demo-old",
                              "domains/demo-old", 1};
inline constexpr Side kNew = {"demo-new", "memoryRegions/demo-new", "ioas/demo-new",
                              "domains/demo-new", 2};
inline constexpr Side kSides[] = {kOld, kNew};

inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint64_t kRegionBytes = uint64_t{1} << 30;
// Both sides are mapped here, so that a replacement changes what the device sees.
inline constexpr uint64_t kIova = uint64_t{4} << 30;

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_SESSION_OBJECTS_H_
