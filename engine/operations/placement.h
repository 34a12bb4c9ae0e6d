// engine/operations/placement.h -- What attaching and detaching have in common.
#ifndef VIOMMU_ENGINE_OPERATIONS_PLACEMENT_H_
#define VIOMMU_ENGINE_OPERATIONS_PLACEMENT_H_

#include <vector>

#include "absl/types/span.h"
#include "engine/model/model.h"

namespace viommu {

inline bool SameTarget(const DomainTarget& a, const DomainTarget& b) {
  return a.kind == b.kind && a.domain == b.domain;
}

// Adds what an operation works on that gives devices to `target`, or takes them from it.
void AddLanes(const Model& model, const DomainTarget& target, std::vector<Uid>* lanes);

// Ascending, each once.
std::vector<Uid> SortedLanes(std::vector<Uid> lanes);

// The members of a group besides those that are changed anyway: each shows where the group is.
void TouchOthers(Model& model, absl::Span<const DeviceIndex> group,
                 absl::Span<const DeviceIndex> changed);

// The names of the members of a group besides `device` that a switch of the hardware moves: those
// that are there and not held back.
std::vector<std::string> MovedSiblings(const Model& model, absl::Span<const DeviceIndex> group,
                                       DeviceIndex device);

// A domain shows which devices are attached to it; the static ones are no objects.
void TouchDomain(Model& model, const DomainTarget& target);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_PLACEMENT_H_
