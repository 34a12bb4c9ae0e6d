// tests/faults/small_host.h -- The host of the fault tests, and the names that its verbs use.
#ifndef VIOMMU_TESTS_FAULTS_SMALL_HOST_H_
#define VIOMMU_TESTS_FAULTS_SMALL_HOST_H_

#include <cstdint>
#include <string>

#include "engine/backend/backend.h"
#include "engine/backend/topology.h"
#include "engine/types.h"

namespace viommu::faults {

inline constexpr int kDevices = 5;
inline constexpr int kNames = 3;  // Of each kind of object.
inline constexpr uint64_t kPage = 4096;
inline constexpr uint64_t kRegionBytes = uint64_t{4} << 20;
inline constexpr uint32_t kPasids[] = {1, 2, 3};

// Far enough from each other to need tables of their own, at each level.
inline constexpr Iova kPlaces[] = {0x10000,    0x200000,     0x3fffe000,
                                   0x40000000, 0x8000000000, 0x7ffffffff000};

// A guest's first stage in one page, which is its table of every level. It puts the first 8 pages
// of kPlaces[0] on those of kPlaces[1].
inline constexpr char kGuestRegion[] = "guest";
inline constexpr Iova kGuestTable = 0x600000;

// "near" has a first stage and nests, and its devices issue PASIDs, a group of two among them;
// "far" has neither, and hardly any domain ids.
Topology VtdHost();
// The same of SMMUv3s; "far" has second stages alone.
Topology SmmuHost();

// The guest's page: its entries, and for an SMMUv3 its context descriptor among them.
std::string GuestTable(IommuArchitecture architecture);
// What a guest of an SMMUv3 asks for.
ArmSmmuV3Stage1 GuestEntry();

ObjectRef Named(const char* kind, uint64_t number);
std::string DeviceId(uint64_t device);

}  // namespace viommu::faults

#endif  // VIOMMU_TESTS_FAULTS_SMALL_HOST_H_
