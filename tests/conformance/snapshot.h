// tests/conformance/snapshot.h -- All that a caller can see of a target; two differ if anything
// did.
#ifndef VIOMMU_TESTS_CONFORMANCE_SNAPSHOT_H_
#define VIOMMU_TESTS_CONFORMANCE_SNAPSHOT_H_

#include <string>
#include <vector>

#include "tests/conformance/world.h"

namespace viommu::conformance {

// One line for each fact: the host's revision; every object, device and attachment with its etag
// and revision; every mapping and usable range; and what claimed devices read at the ends of the
// first mappings and where nothing is mapped (without a simulation: not that).
// The first error of a call.
absl::StatusOr<std::vector<std::string>> TakeSnapshot(World& world);

// Names of all objects, and who has and who is attached to what: what a case must leave as it was.
absl::StatusOr<std::vector<std::string>> TakeInventory(World& world);

// The lines that only one of the two has, "-" before those of `before`; empty: they are equal.
std::string Difference(const std::vector<std::string>& before,
                       const std::vector<std::string>& after);

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_SNAPSHOT_H_
