// engine/base/interval_map_inl.h -- How an IntervalMap searches, grows and shrinks. Included by
// interval_map.h only.
//
// Inserting first makes room without changing the contents, then puts the entry into its leaf, then
// corrects what the inner nodes above say, from the leaf up, stopping where nothing changes.
// Erasing goes the other way round: entry, inner nodes, then room is given back.
#ifndef VIOMMU_ENGINE_BASE_INTERVAL_MAP_INL_H_
#define VIOMMU_ENGINE_BASE_INTERVAL_MAP_INL_H_

namespace viommu {

// ---- Searching

template <typename V>
const typename IntervalMap<V>::Leaf* IntervalMap<V>::LeafFor(uint64_t address) const {
  const NodeBase* node = root_;
  for (unsigned level = 0; level < height_; ++level) {
    const Inner& inner = *static_cast<const Inner*>(node);
    node = inner.slots[ChildFor(inner, address)].child;
    interval_map_internal::PrefetchFirsts(*node);
  }
  return static_cast<const Leaf*>(node);
}

// Points path_ at the place where an entry that begins at `address` is or would be inserted.
template <typename V>
void IntervalMap<V>::Seek(uint64_t address) {
  if (!PathCovers(address)) {
    Descend(address);
  } else if (path_.position < path_.leaf->count && path_.leaf->firsts[path_.position] == address) {
    // The entry that moved to the place of one just erased: erasing in order needs no search.
    ++path_.position;
    return;
  }
  path_.position = interval_map_internal::CountUpTo(*path_.leaf, address);
}

// What lies beside the path's leaf cannot have changed since: that would have moved path_ there.
template <typename V>
bool IntervalMap<V>::PathCovers(uint64_t address) const {
  if (path_.leaf == nullptr) return false;
  if (path_.previous_last && address <= *path_.previous_last) return false;
  return !path_.next_first || address < *path_.next_first;
}

template <typename V>
void IntervalMap<V>::Descend(uint64_t address) {
  path_.previous_last = std::nullopt;
  path_.next_first = std::nullopt;
  NodeBase* node = root_;
  for (unsigned level = 0; level < height_; ++level) {
    Inner* inner = static_cast<Inner*>(node);
    const unsigned index = ChildFor(*inner, address);
    node = inner->slots[index].child;
    interval_map_internal::PrefetchFirsts(*node);
    path_.steps[level] = {inner, index};
    if (index > 0) path_.previous_last = inner->slots[index - 1].last;
    if (index + 1 < inner->count) path_.next_first = inner->firsts[index + 1];
  }
  path_.leaf = static_cast<Leaf*>(node);
}

// The entries around positions [begin, end) of the path's leaf.
template <typename V>
typename IntervalMap<V>::Neighbours IntervalMap<V>::Around(unsigned begin, unsigned end) const {
  const Leaf& leaf = *path_.leaf;
  Neighbours around{path_.previous_last, path_.next_first};
  if (begin > 0) around.previous_last = leaf.slots[begin - 1].last;
  if (end < leaf.count) around.next_first = leaf.firsts[end];
  return around;
}

template <typename V>
template <typename It>
It IntervalMap<V>::FindIn(uint64_t address) const {
  if (empty()) return It();
  Leaf* leaf = const_cast<Leaf*>(LeafFor(address));
  const unsigned after = interval_map_internal::CountUpTo(*leaf, address);
  if (after == 0 || leaf->slots[after - 1].last < address) return It();
  return It(leaf, after - 1);
}

template <typename V>
template <typename It>
It IntervalMap<V>::LowerBoundIn(uint64_t address) const {
  if (empty()) return It();
  Leaf* leaf = const_cast<Leaf*>(LeafFor(address));
  const unsigned position = FirstEndingFrom(*leaf, address);
  return position < leaf->count ? It(leaf, position) : It(leaf->next, 0);
}

template <typename V>
bool IntervalMap<V>::Overlaps(const IovaRange& range) const {
  if (empty()) return false;
  // Of the entries that begin at or before the end of `range` the last one reaches furthest.
  const Leaf* leaf = LeafFor(range.last);
  const unsigned after = interval_map_internal::CountUpTo(*leaf, range.last);
  return after > 0 && leaf->slots[after - 1].last >= range.first;
}

// ---- Growing

template <typename V>
bool IntervalMap<V>::Insert(const IovaRange& range, V value) {
  if (root_ == nullptr) {
    root_ = new Leaf;
    ++leaves_;
  }
  Seek(range.first);
  const Neighbours around = Around(path_.position, path_.position);
  if (around.previous_last && *around.previous_last >= range.first) return false;
  if (around.next_first && *around.next_first <= range.last) return false;

  const bool full = path_.leaf->count == interval_map_internal::kFanout;
  if (full) MakeRoom();
  path_.leaf->Open(path_.position);
  path_.leaf->firsts[path_.position] = range.first;
  path_.leaf->slots[path_.position] = {range.last, std::move(value)};
  ++size_;
  const bool splits_gap = around.previous_last && around.next_first;
  Widen(range, splits_gap ? *around.next_first - *around.previous_last - 1 : 0);
  if (full) path_.leaf = nullptr;
  return true;
}

template <typename V>
void IntervalMap<V>::MakeRoom() {
  unsigned level = height_;
  while (level > 0 && path_.steps[level - 1].node->count == interval_map_internal::kFanout) --level;
  if (level == 0) {
    GrowRoot();
    level = 1;
  }
  // steps[level - 1] has room for one more child; everything below it on the path is full.
  bool leftmost = true;
  bool rightmost = true;
  for (unsigned above = 1; above <= height_; ++above) {
    Step& parent = path_.steps[above - 1];
    leftmost = leftmost && parent.index == 0;
    rightmost = rightmost && parent.index + 1 == parent.node->count;
    if (above < level) continue;
    if (above < height_) {
      Step& child = path_.steps[above];
      child.node =
          SplitChild(parent, child.node, child.index + 1, child.index, leftmost, rightmost);
    } else {
      path_.leaf =
          SplitChild(parent, path_.leaf, path_.position, path_.position, leftmost, rightmost);
    }
    leftmost = leftmost && parent.index == 0;
    rightmost = rightmost && parent.index + 1 == parent.node->count;
  }
}

template <typename V>
void IntervalMap<V>::GrowRoot() {
  Inner* root = new Inner;
  ++inners_;
  root->count = 1;
  root->slots[0].child = root_;
  if (height_ == 0) {
    Summarize<Leaf>(*root, 0);
  } else {
    Summarize<Inner>(*root, 0);
  }
  std::move_backward(path_.steps, path_.steps + height_, path_.steps + height_ + 1);
  path_.steps[0] = {root, 0};
  root_ = root;
  ++height_;
}

template <typename V>
typename IntervalMap<V>::Leaf* IntervalMap<V>::NewSibling(Leaf* left) {
  Leaf* right = new Leaf;
  ++leaves_;
  right->previous = left;
  right->next = left->next;
  if (left->next != nullptr) left->next->previous = right;
  left->next = right;
  return right;
}

template <typename V>
typename IntervalMap<V>::Inner* IntervalMap<V>::NewSibling(Inner*) {
  ++inners_;
  return new Inner;
}

// Splits the full `child`, at which `parent` points and into which something is about to be
// inserted at `insert_at`. Returns the half in which `index` now lies and moves `index` and
// `parent` there.
template <typename V>
template <typename N>
N* IntervalMap<V>::SplitChild(Step& parent, N* child, unsigned insert_at, unsigned& index,
                              bool leftmost, bool rightmost) {
  const unsigned keep = interval_map_internal::SplitPoint(insert_at, leftmost, rightmost);
  N* right = NewSibling(child);
  MoveTail(*child, *right, keep);
  parent.node->Open(parent.index + 1);
  parent.node->slots[parent.index + 1].child = right;
  Summarize<N>(*parent.node, parent.index);
  Summarize<N>(*parent.node, parent.index + 1);
  if (index < keep) return child;
  index -= keep;
  ++parent.index;
  return right;
}

// Corrects the inner nodes on path_ after `range` was inserted. `split_gap` is the size of the gap
// into which it went, where that had an entry on both sides.
template <typename V>
void IntervalMap<V>::Widen(const IovaRange& range, uint64_t split_gap) {
  for (unsigned level = height_; level > 0; --level) {
    const Step& step = path_.steps[level - 1];
    uint64_t& first = step.node->firsts[step.index];
    interval_map_internal::InnerSlot& slot = step.node->slots[step.index];
    if (range.first < first) {
      slot.gap = std::max(slot.gap, first - range.last - 1);
      first = range.first;
    } else if (range.last > slot.last) {
      slot.gap = std::max(slot.gap, range.first - slot.last - 1);
      slot.last = range.last;
    } else {
      // Inside the subtree. A gap that was not the largest here is not the largest further up.
      if (split_gap != slot.gap) return;
      const uint64_t gap = LargestGap(slot.child, level, split_gap);
      if (gap == slot.gap) return;
      slot.gap = gap;
    }
  }
}

// ---- Shrinking

template <typename V>
bool IntervalMap<V>::Erase(uint64_t first) {
  if (empty()) return false;
  Seek(first);
  if (path_.position == 0 || path_.leaf->firsts[path_.position - 1] != first) return false;
  const unsigned position = --path_.position;
  const IovaRange erased{first, path_.leaf->slots[position].last};
  const Neighbours around = Around(position, position + 1);

  path_.leaf->Close(position);
  --size_;
  if (empty()) {
    Clear();
    return true;
  }
  const unsigned lowest = DropEmptied();
  Narrow(lowest, around, erased);
  // Only nodes at an edge can be emptied, and those are not rebalanced.
  const bool reshaped = lowest < height_ || Rebalance();
  if (reshaped) {
    CollapseRoot();
    path_.leaf = nullptr;
  }
  return true;
}

// Takes emptied nodes out of the tree; only nodes at an edge can be. Returns the level of the
// lowest node on path_ that is left.
template <typename V>
unsigned IntervalMap<V>::DropEmptied() {
  if (path_.leaf->count > 0) return height_;
  Delete(path_.leaf);
  unsigned level = height_ - 1;
  path_.steps[level].node->Close(path_.steps[level].index);
  while (path_.steps[level].node->count == 0) {
    Delete(path_.steps[level].node);
    --level;
    path_.steps[level].node->Close(path_.steps[level].index);
  }
  return level;
}

// Corrects the inner nodes above `level` on path_ after `erased` was taken from under them.
template <typename V>
void IntervalMap<V>::Narrow(unsigned level, const Neighbours& around, const IovaRange& erased) {
  for (; level > 0; --level) {
    const Step& step = path_.steps[level - 1];
    uint64_t& first = step.node->firsts[step.index];
    interval_map_internal::InnerSlot& slot = step.node->slots[step.index];
    uint64_t lost_gap = 0;
    if (erased.first == first) {
      first = slot.child->firsts[0];
      lost_gap = *around.next_first - erased.last - 1;
    } else if (erased.last == slot.last) {
      slot.last = LastAddress(slot.child, level);
      lost_gap = erased.first - *around.previous_last - 1;
    } else {
      const uint64_t merged_gap = *around.next_first - *around.previous_last - 1;
      if (merged_gap <= slot.gap) return;
      slot.gap = merged_gap;
    }
    if (lost_gap != 0 && lost_gap == slot.gap) slot.gap = LargestGap(slot.child, level, lost_gap);
  }
}

// Whether the shape of the tree changed.
template <typename V>
bool IntervalMap<V>::Rebalance() {
  bool reshaped = false;
  for (unsigned level = height_; level > 0; --level) {
    const Step& step = path_.steps[level - 1];
    if (step.node->slots[step.index].child->count >= interval_map_internal::kMinFill) break;
    if (IsAtEdge(level)) break;
    const unsigned left_index = step.index > 0 ? step.index - 1 : 0;
    if (level == height_) {
      BalancePair<Leaf>(*step.node, left_index);
    } else {
      BalancePair<Inner>(*step.node, left_index);
    }
    reshaped = true;
  }
  return reshaped;
}

// Whether the node at `level` of path_ is the first or the last of its level.
template <typename V>
bool IntervalMap<V>::IsAtEdge(unsigned level) const {
  bool leftmost = true;
  bool rightmost = true;
  for (unsigned above = 0; above < level; ++above) {
    const Step& step = path_.steps[above];
    leftmost = leftmost && step.index == 0;
    rightmost = rightmost && step.index + 1 == step.node->count;
  }
  return leftmost || rightmost;
}

// Merges two neighbouring children, or shares their entries evenly when one node would be too full.
template <typename V>
template <typename N>
void IntervalMap<V>::BalancePair(Inner& parent, unsigned left_index) {
  N* left = static_cast<N*>(parent.slots[left_index].child);
  N* right = static_cast<N*>(parent.slots[left_index + 1].child);
  const unsigned total = left->count + right->count;
  if (total <= interval_map_internal::kMergedFill) {
    MoveHead(*left, *right, right->count);
    Delete(right);
    parent.Close(left_index + 1);
  } else {
    if (left->count > total / 2) {
      MoveTail(*left, *right, total / 2);
    } else {
      MoveHead(*left, *right, total / 2 - left->count);
    }
    Summarize<N>(parent, left_index + 1);
  }
  Summarize<N>(parent, left_index);
}

template <typename V>
void IntervalMap<V>::CollapseRoot() {
  while (height_ > 0 && root_->count == 1) {
    Inner* root = static_cast<Inner*>(root_);
    root_ = root->slots[0].child;
    --height_;
    Delete(root);
  }
}

template <typename V>
void IntervalMap<V>::Delete(Leaf* leaf) {
  if (leaf->previous != nullptr) leaf->previous->next = leaf->next;
  if (leaf->next != nullptr) leaf->next->previous = leaf->previous;
  delete leaf;
  --leaves_;
}

template <typename V>
void IntervalMap<V>::Delete(Inner* inner) {
  delete inner;
  --inners_;
}

template <typename V>
void IntervalMap<V>::DeleteSubtree(NodeBase* node, unsigned level) {
  if (level == height_) return Delete(static_cast<Leaf*>(node));
  Inner* inner = static_cast<Inner*>(node);
  for (unsigned i = 0; i < inner->count; ++i) DeleteSubtree(inner->slots[i].child, level + 1);
  Delete(inner);
}

template <typename V>
void IntervalMap<V>::Clear() {
  if (root_ == nullptr) return;
  DeleteSubtree(root_, 0);
  path_.leaf = nullptr;
  root_ = nullptr;
  height_ = 0;
  size_ = 0;
}

template <typename V>
void IntervalMap<V>::Swap(IntervalMap& other) noexcept {
  std::swap(root_, other.root_);
  std::swap(height_, other.height_);
  std::swap(size_, other.size_);
  std::swap(leaves_, other.leaves_);
  std::swap(inners_, other.inners_);
  std::swap(path_, other.path_);
}

// ---- What inner nodes say about their children

template <typename V>
uint64_t IntervalMap<V>::LastAddress(const NodeBase* node, unsigned level) const {
  return level == height_ ? static_cast<const Leaf*>(node)->last_address()
                          : static_cast<const Inner*>(node)->last_address();
}

template <typename V>
uint64_t IntervalMap<V>::LargestGap(const NodeBase* node, unsigned level, uint64_t ceiling) const {
  return level == height_
             ? interval_map_internal::LargestGap(*static_cast<const Leaf*>(node), ceiling)
             : interval_map_internal::LargestGap(*static_cast<const Inner*>(node), ceiling);
}

template <typename V>
template <typename N>
void IntervalMap<V>::Summarize(Inner& parent, unsigned index) {
  interval_map_internal::InnerSlot& slot = parent.slots[index];
  const N& child = *static_cast<const N*>(slot.child);
  parent.firsts[index] = child.firsts[0];
  slot.last = child.last_address();
  slot.gap = interval_map_internal::LargestGap(child, kMaxAddress);
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BASE_INTERVAL_MAP_INL_H_
