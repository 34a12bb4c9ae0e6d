#include "clients/device_plugin/preferred.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <tuple>
#include <utility>

namespace viommu {
namespace {

// Devices that can not be told apart, or one that is alone.
struct Group {
  std::vector<std::string> free;  // Ascending.
  std::optional<int> numa_node;   // Of the first of them.
  bool sibling_taken = false;
  bool begun = false;  // A device of it has been chosen.
};

class Chooser {
 public:
  Chooser(const std::map<std::string, Placement>& placements,
          const std::vector<std::string>& available, size_t size)
      : size_(size) {
    const std::set<std::string> sorted(available.begin(), available.end());
    for (const std::string& id : sorted) Add(id, placements);
  }

  // Takes one device, if it is free and wanted.
  void Take(std::string id) {
    const auto found = group_of_.find(id);
    if (found == group_of_.end() || IsFull()) return;
    Group& group = groups_[found->second];
    const auto place = std::find(group.free.begin(), group.free.end(), id);
    if (place == group.free.end()) return;
    group.free.erase(place);
    group.begun = true;
    if (group.numa_node.has_value()) nodes_.insert(*group.numa_node);
    chosen_.push_back(std::move(id));
  }

  // Takes the best device that is left; false: there is none, or none is wanted.
  bool TakeBest() {
    if (IsFull()) return false;
    const FreeDevices free = FreeOfNodes();
    const Group* best = nullptr;
    Price lowest;
    for (const auto& [name, group] : groups_) {
      if (group.free.empty()) continue;
      Price cost = Cost(group, free);
      if (best != nullptr && lowest <= cost) continue;
      best = &group;
      lowest = std::move(cost);
    }
    if (best == nullptr) return false;
    Take(best->free.front());
    return true;
  }

  std::vector<std::string> Chosen() && { return std::move(chosen_); }

 private:
  // Compared from the left; less is better.
  using Price = std::tuple<bool, bool, bool, bool, bool, size_t, size_t, std::string>;
  using FreeDevices = std::map<std::optional<int>, size_t>;  // By node.

  void Add(const std::string& id, const std::map<std::string, Placement>& placements) {
    const auto found = placements.find(id);
    const Placement placement = found == placements.end() ? Placement() : found->second;
    const std::string key = placement.group.empty() ? "device " + id : "group " + placement.group;
    Group& group = groups_[key];
    if (group.free.empty()) group.numa_node = placement.numa_node;
    group.sibling_taken = group.sibling_taken || placement.sibling_taken;
    group.free.push_back(id);
    group_of_[id] = key;
  }

  bool IsFull() const { return chosen_.size() >= size_; }

  // Devices that could still be chosen.
  FreeDevices FreeOfNodes() const {
    FreeDevices free;
    for (const auto& [name, group] : groups_) {
      free[group.numa_node] += group.sibling_taken ? 0 : group.free.size();
    }
    return free;
  }

  Price Cost(const Group& group, const FreeDevices& free) const {
    const size_t wanted = size_ - chosen_.size();
    const bool near = group.numa_node.has_value() && nodes_.count(*group.numa_node) != 0;
    const size_t node_free = free.at(group.numa_node);
    const bool too_small = node_free < wanted;
    return {group.sibling_taken, !group.begun,
            // Nothing is near to what has been chosen before anything has.
            !nodes_.empty() && !near, !group.numa_node.has_value(),
            // A group that must be cut keeps its rest from everybody else.
            group.free.size() > wanted,
            // The smallest node that is enough; if none is, the largest.
            too_small ? SIZE_MAX - node_free : node_free, SIZE_MAX - group.free.size(),
            group.free.front()};
  }

  const size_t size_;
  std::map<std::string, Group> groups_;
  std::map<std::string, std::string> group_of_;
  std::set<int> nodes_;  // Of what has been chosen.
  std::vector<std::string> chosen_;
};

}  // namespace

std::vector<std::string> ChoosePreferred(const std::map<std::string, Placement>& placements,
                                         const std::vector<std::string>& available,
                                         const std::vector<std::string>& must_include,
                                         size_t size) {
  Chooser chooser(placements, available, size);
  for (const std::string& id : must_include) chooser.Take(id);
  while (chooser.TakeBest()) {
  }
  return std::move(chooser).Chosen();
}

}  // namespace viommu
