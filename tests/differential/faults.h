// tests/differential/faults.h -- Where page faults go in the reference (iommufd-semantics.md
// section 11).
#ifndef VIOMMU_TESTS_DIFFERENTIAL_FAULTS_H_
#define VIOMMU_TESTS_DIFFERENTIAL_FAULTS_H_

#include <cstdint>
#include <vector>

#include "engine/types.h"
#include "tests/differential/state.h"

namespace viommu::differential {

// A group of a device is complete: it waits in the queue of what the device is attached to, or is
// answered at once.
void Deliver(State& state, size_t device, Spot pasid, uint32_t group,
             std::vector<FaultedPage> pages);

// The device hears that.
void Tell(State& state, size_t device, Spot pasid, uint32_t group, PageResponse code);

// `members` meet `from` at that place no more: what they asked for there is answered INVALID, what
// they had begun to ask for is forgotten.
void Withdraw(State& state, const std::vector<size_t>& members, Spot at, const Target& from);
// The device has forgotten all that it asked for.
void WithdrawAll(State& state, size_t device);

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_FAULTS_H_
