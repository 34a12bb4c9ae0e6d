// tests/differential/attaching.h -- What coming to a domain and leaving it change, in the
// reference, and the checks that verbs of devices share.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_ATTACHING_H_
#define VIOMMU_TESTS_DIFFERENTIAL_ATTACHING_H_

#include <string>

#include "tests/differential/answer.h"
#include "tests/differential/state.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

// The members of a group show where their RIDs are.
void ChangeMembers(State& state, size_t device);
// They show which PASIDs are taken, which no etag tells.
void TouchPasids(State& state, size_t device);
// A domain shows who is attached, its address space what is reserved.
void ChangeTarget(State& state, const Target& target);

// A device that is attached there leaves, and with the last of its group a PASID that was taken by
// being attached.
void Leave(State& state, size_t device, Spot at);

// R1: only an operator, and only when every member of the group may have it and could.
Answer CheckIdentity(const Call& call, const State& state, size_t device);
// The holder of a group may, and an operator for whoever holds it.
Answer CheckHeld(const Call& call, const State& state, size_t device);
// A PASID that the group of the device can use.
Answer CheckPasid(const State& state, size_t device, uint64_t pasid);

// "devices/dev1", "devices/dev1 pasid 2".
std::string NameAt(size_t device, Spot at);

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_ATTACHING_H_
