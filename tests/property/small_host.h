// tests/property/small_host.h -- The host of the small world: units of every ability, devices with
// and without device TLBs and PASIDs, alone and in pairs.
#ifndef VIOMMU_TESTS_PROPERTY_SMALL_HOST_H_
#define VIOMMU_TESTS_PROPERTY_SMALL_HOST_H_

#include <string>

#include "engine/backend/topology.h"
#include "engine/base/address.h"

namespace viommu::property {

inline constexpr int kDevices = 10;
inline constexpr int kFirstNesting = 6;  // The first of kNesting that are behind such units.
inline constexpr int kNesting = 4;
inline constexpr IovaRange kMsiWindow{0xfee00000, 0xfeefffff};
inline constexpr uint32_t kPasids[] = {1, 70};  // In two PASID tables, one of them the RID's.
inline constexpr uint32_t kWidePasid = 200;     // More than any device issues.

// "near" has second stages of 4 levels, "far" of 5; "nest" and "deep" have first stages (of 4 and 5
// levels) and nesting.
Topology SmallHost();
std::string DeviceId(int device);

}  // namespace viommu::property

#endif  // VIOMMU_TESTS_PROPERTY_SMALL_HOST_H_
