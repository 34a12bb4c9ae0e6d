// tests/differential/making.h -- How PAGING domains come and auto domains go, in the reference.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_MAKING_H_
#define VIOMMU_TESTS_DIFFERENTIAL_MAKING_H_

#include <cstdint>
#include <optional>

#include "tests/differential/answer.h"
#include "tests/differential/state.h"
#include "tests/differential/verb.h"

namespace viommu::differential {

// An id that is free, and a domain more for its owner.
Answer CheckNewDomain(const State& state, const Name& name);

// Puts a PAGING domain over the address space, or refuses it; changes no versions
// (iommufd-semantics.md 3.13).
Answer AddPaging(State& state, const Name& name, const Domain& domain);

// Ends the making of a domain and shows it. With `queue`, an argument of the call, its page faults
// go there; where they can not, there is no such domain.
Answer EndMaking(const Call& call, State& state, const Name& domain, std::optional<uint64_t> queue);

// An auto domain to which nobody is attached any more goes.
void DropIfUnused(State& state, const Target& target);

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_MAKING_H_
