#include "engine/operations/placement.h"

#include <algorithm>

namespace viommu {

void AddLanes(const Model& model, const DomainTarget& target, std::vector<Uid>* lanes) {
  if (target.kind != DomainTarget::Kind::kDomain) return;
  lanes->push_back(target.domain);
  lanes->push_back(model.Get<Domain>(target.domain)->ioas);
}

std::vector<Uid> SortedLanes(std::vector<Uid> lanes) {
  std::sort(lanes.begin(), lanes.end());
  lanes.erase(std::unique(lanes.begin(), lanes.end()), lanes.end());
  return lanes;
}

void TouchOthers(Model& model, absl::Span<const DeviceIndex> group,
                 absl::Span<const DeviceIndex> changed) {
  for (const DeviceIndex index : group) {
    Device& member = model.devices[index];
    if (!member.present || std::find(changed.begin(), changed.end(), index) != changed.end()) {
      continue;
    }
    model.Touch(member);
  }
}

std::vector<std::string> MovedSiblings(const Model& model, absl::Span<const DeviceIndex> group,
                                       DeviceIndex device) {
  std::vector<std::string> names;
  for (const DeviceIndex index : group) {
    const Device& member = model.devices[index];
    if (index != device && member.present && !member.held_back) names.push_back(member.Name());
  }
  return names;
}

void TouchDomain(Model& model, const DomainTarget& target) {
  if (target.kind == DomainTarget::Kind::kDomain) model.Touch(*model.Get<Domain>(target.domain));
}

}  // namespace viommu
