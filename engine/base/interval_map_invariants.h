// engine/base/interval_map_invariants.h -- Looks over a whole IntervalMap for tests: every rule
// that its nodes must keep, and every summary recomputed from the entries below it.
#ifndef VIOMMU_ENGINE_BASE_INTERVAL_MAP_INVARIANTS_H_
#define VIOMMU_ENGINE_BASE_INTERVAL_MAP_INVARIANTS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/address.h"
#include "engine/base/interval_map.h"

namespace viommu {

template <typename V>
class IntervalMapInvariants {
 public:
  // The first rule found broken, in words; empty when the map is sound. O(n log n).
  static std::string FirstBroken(const IntervalMap<V>& map) {
    IntervalMapInvariants check(map);
    if (map.root_ != nullptr) check.Visit(map.root_, 0, true, true);
    check.CompareWithIteration();
    return check.broken_;
  }

 private:
  using Map = IntervalMap<V>;
  using Leaf = typename Map::Leaf;
  using Inner = typename Map::Inner;
  using NodeBase = typename Map::NodeBase;

  struct Summary {
    uint64_t first;
    uint64_t last;
    uint64_t gap;
  };

  explicit IntervalMapInvariants(const Map& map) : map_(map) {}

  void Require(bool holds, const std::string& rule) {
    if (!holds && broken_.empty()) broken_ = rule;
  }

  Summary Visit(const NodeBase* node, unsigned level, bool leftmost, bool rightmost) {
    const std::string where = absl::StrCat("node at level ", level, ": ");
    Require(node->count <= interval_map_internal::kFanout, where + "too many entries");
    Require(map_.empty() || node->count > 0, where + "empty");
    for (unsigned i = node->count; i < interval_map_internal::kFanout; ++i) {
      Require(node->firsts[i] == kMaxAddress, where + "unused keys are not padded");
    }
    if (!leftmost && !rightmost) {
      Require(node->count >= interval_map_internal::kMinFill, where + "too few entries");
    }
    if (level == 0 && map_.height_ > 0) Require(node->count > 1, "the root has one child");
    return level == map_.height_
               ? VisitLeaf(static_cast<const Leaf*>(node))
               : VisitInner(static_cast<const Inner*>(node), level, leftmost, rightmost);
  }

  Summary VisitLeaf(const Leaf* leaf) {
    Require(leaf->previous == last_leaf_, "leaf: wrong link to the previous one");
    if (last_leaf_ != nullptr)
      Require(last_leaf_->next == leaf, "leaf: wrong link to the next one");
    last_leaf_ = leaf;
    ++leaves_;
    std::vector<Summary> parts;
    for (unsigned i = 0; i < leaf->count; ++i) {
      parts.push_back({leaf->firsts[i], leaf->slots[i].last, 0});
      entries_.push_back({leaf->firsts[i], leaf->slots[i].last});
    }
    return Join(parts);
  }

  Summary VisitInner(const Inner* inner, unsigned level, bool leftmost, bool rightmost) {
    ++inners_;
    std::vector<Summary> parts;
    for (unsigned i = 0; i < inner->count; ++i) {
      const Summary part = Visit(inner->slots[i].child, level + 1, leftmost && i == 0,
                                 rightmost && i + 1 == inner->count);
      Require(inner->firsts[i] == part.first, absl::StrCat("stale first above level ", level + 1));
      Require(inner->slots[i].last == part.last,
              absl::StrCat("stale last above level ", level + 1));
      Require(inner->slots[i].gap == part.gap, absl::StrCat("stale gap above level ", level + 1));
      parts.push_back(part);
    }
    return Join(parts);
  }

  Summary Join(const std::vector<Summary>& parts) {
    if (parts.empty()) return {0, 0, 0};
    Summary all = parts.front();
    for (size_t i = 1; i < parts.size(); ++i) {
      Require(parts[i].first > all.last, "entries overlap or are out of order");
      all.gap = std::max({all.gap, parts[i].gap, parts[i].first - all.last - 1});
      all.last = parts[i].last;
    }
    return all;
  }

  void CompareWithIteration() {
    Require(map_.size() == entries_.size(), "size() is not the number of entries");
    Require(last_leaf_ == nullptr || last_leaf_->next == nullptr, "the last leaf has a next one");
    Require(map_.MemoryBytes() == leaves_ * sizeof(Leaf) + inners_ * sizeof(Inner),
            "MemoryBytes() is not the sum over the nodes");
    std::vector<IovaRange> walked;
    for (auto it = map_.begin(); it != map_.end(); ++it) walked.push_back(it.range());
    Require(walked == entries_, "iteration differs from the tree");
  }

  const Map& map_;
  const Leaf* last_leaf_ = nullptr;
  size_t leaves_ = 0;
  size_t inners_ = 0;
  std::vector<IovaRange> entries_;
  std::string broken_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BASE_INTERVAL_MAP_INVARIANTS_H_
