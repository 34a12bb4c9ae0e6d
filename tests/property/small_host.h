// tests/property/small_host.h -- The hosts of the small world: units of every ability, devices with
// and without device TLBs and PASIDs, alone and in pairs.
#ifndef VIOMMU_TESTS_PROPERTY_SMALL_HOST_H_
#define VIOMMU_TESTS_PROPERTY_SMALL_HOST_H_

#include <cstdint>
#include <string>
#include <vector>

#include "engine/backend/topology.h"
#include "engine/base/address.h"

namespace viommu::property {

inline constexpr int kDevices = 10;
inline constexpr int kFirstNesting = 6;  // The first of kNesting that are behind such units.
inline constexpr int kNesting = 4;
inline constexpr IovaRange kMsiWindow{0xfee00000, 0xfeefffff};

struct SmallHost {
  Topology topology;
  std::vector<uint32_t> pasids;  // In two tables, one of them that of requests without.
  uint32_t wide_pasid = 0;       // More than any device issues.
  // What requests can be on, as World::Count calls it.
  std::vector<std::string> kinds;
};

// "near" has second stages of 4 levels, "far" of 5; "nest" and "deep" have first stages (of 4 and 5
// levels) and nesting.
SmallHost VtdHost();
// "near" has first stages, "far" second stages alone; "nest" and "old" have nesting, "old" without
// what came to SMMUv3 later.
SmallHost SmmuHost();
std::string DeviceId(int device);

}  // namespace viommu::property

#endif  // VIOMMU_TESTS_PROPERTY_SMALL_HOST_H_
