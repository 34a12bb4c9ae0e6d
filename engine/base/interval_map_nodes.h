// engine/base/interval_map_nodes.h -- The nodes of an IntervalMap and what can be done with one
// node or two neighbours. Private to interval_map.h.
//
// Leaves and inner nodes have one shape: the first addresses, kept apart so that a search touches
// few cache lines, and one slot beside each. That lets every operation be written once for both.
#ifndef VIOMMU_ENGINE_BASE_INTERVAL_MAP_NODES_H_
#define VIOMMU_ENGINE_BASE_INTERVAL_MAP_NODES_H_

#include <algorithm>
#include <cstdint>
#include <utility>

#include "engine/base/address.h"

namespace viommu::interval_map_internal {

inline constexpr unsigned kFanout = 32;
// First addresses to a cache line.
inline constexpr unsigned kKeysPerLine = 8;
static_assert(kFanout % kKeysPerLine == 0);
// A node holding fewer entries borrows from a sibling or merges with it, unless it is the leftmost
// or the rightmost of its level: those may shrink to one entry, which makes appending and draining
// from an end cheap.
inline constexpr unsigned kMinFill = kFanout / 4;
// Two siblings merge only when this many entries or fewer result, so that one insert and one erase
// in turn do not split and merge the same node for ever.
inline constexpr unsigned kMergedFill = kFanout * 3 / 4;

// What both kinds of node begin with. Which kind it is follows from its level in the tree.
struct NodeBase {
  NodeBase() { Pad(0, kFanout); }

  // Positions [from, to) are out of use: to a search they lie behind everything.
  void Pad(unsigned from, unsigned to) { std::fill(firsts + from, firsts + to, kMaxAddress); }

  uint64_t firsts[kFanout];  // Ascending; the first `count` are in use.
  unsigned count = 0;
};

// Fetches what a search in `node` will read in one go rather than line after line: a search in a
// large map waits for memory more than for anything else.
inline void PrefetchFirsts(const NodeBase& node) {
  for (unsigned i = 0; i < kFanout; i += kKeysPerLine) __builtin_prefetch(node.firsts + i);
}

template <typename Slot>
struct Node : NodeBase {
  Slot slots[kFanout];

  uint64_t last_address() const { return slots[count - 1].last; }

  // Makes a hole at `position`; the caller fills it.
  void Open(unsigned position) {
    std::move_backward(firsts + position, firsts + count, firsts + count + 1);
    std::move_backward(slots + position, slots + count, slots + count + 1);
    ++count;
  }

  // Removes the entry at `position` and lets go of what it holds.
  void Close(unsigned position) {
    std::move(firsts + position + 1, firsts + count, firsts + position);
    std::move(slots + position + 1, slots + count, slots + position);
    --count;
    Pad(count, count + 1);
    slots[count] = Slot();
  }
};

template <typename V>
struct LeafSlot {
  uint64_t last;
  V value;
};

template <typename V>
struct Leaf : Node<LeafSlot<V>> {
  Leaf* previous = nullptr;
  Leaf* next = nullptr;
};

// What an inner node knows about one child. The child's first address is beside it in `firsts`.
struct InnerSlot {
  uint64_t last;  // Last address of the subtree's last entry.
  uint64_t gap;   // Bytes of the largest free range between two entries of the subtree.
  NodeBase* child;
};

using Inner = Node<InnerSlot>;

// How many entries begin at or before `address`. First finds the cache line, then the place in it,
// by comparisons that do not wait for one another and take no branch: their outcome is a coin toss
// to the branch predictor.
inline unsigned CountUpTo(const NodeBase& node, uint64_t address) {
  unsigned line = 0;
  for (unsigned i = kKeysPerLine; i < kFanout; i += kKeysPerLine) {
    line += node.firsts[i] <= address ? 1 : 0;
  }
  const uint64_t* keys = node.firsts + line * kKeysPerLine;
  unsigned count = line * kKeysPerLine;
  for (unsigned i = 0; i < kKeysPerLine; ++i) count += keys[i] <= address ? 1 : 0;
  // Padding is not above the very last address.
  return std::min(count, node.count);
}

// The child under which `address` lies or would be inserted: the last one beginning at or before
// it, else the first one.
inline unsigned ChildFor(const Inner& inner, uint64_t address) {
  const unsigned after = CountUpTo(inner, address);
  return after > 0 ? after - 1 : 0;
}

// The first slot that ends at or after `address`; `count` when there is none.
template <typename Slot>
unsigned FirstEndingFrom(const Node<Slot>& node, uint64_t address) {
  const unsigned after = CountUpTo(node, address);
  return after > 0 && node.slots[after - 1].last >= address ? after - 1 : after;
}

template <typename V>
uint64_t GapInside(const LeafSlot<V>&) {
  return 0;
}
inline uint64_t GapInside(const InnerSlot& slot) { return slot.gap; }

// Bytes of the largest free range between two entries under `node`. The caller knows that none is
// larger than `ceiling`: meeting one of that size ends the search.
template <typename Slot>
uint64_t LargestGap(const Node<Slot>& node, uint64_t ceiling) {
  uint64_t largest = GapInside(node.slots[0]);
  for (unsigned i = 1; i < node.count && largest < ceiling; ++i) {
    const uint64_t before = node.firsts[i] - node.slots[i - 1].last - 1;
    largest = std::max({largest, before, GapInside(node.slots[i])});
  }
  return largest;
}

// Moves the entries of `left` from position `keep` on to the front of `right`.
template <typename Slot>
void MoveTail(Node<Slot>& left, Node<Slot>& right, unsigned keep) {
  const unsigned moved = left.count - keep;
  std::move_backward(right.firsts, right.firsts + right.count, right.firsts + right.count + moved);
  std::move_backward(right.slots, right.slots + right.count, right.slots + right.count + moved);
  std::move(left.firsts + keep, left.firsts + left.count, right.firsts);
  std::move(left.slots + keep, left.slots + left.count, right.slots);
  left.Pad(keep, left.count);
  left.count = keep;
  right.count += moved;
}

// Moves the first `moved` entries of `right` to the end of `left`.
template <typename Slot>
void MoveHead(Node<Slot>& left, Node<Slot>& right, unsigned moved) {
  std::move(right.firsts, right.firsts + moved, left.firsts + left.count);
  std::move(right.slots, right.slots + moved, left.slots + left.count);
  std::move(right.firsts + moved, right.firsts + right.count, right.firsts);
  std::move(right.slots + moved, right.slots + right.count, right.slots);
  right.Pad(right.count - moved, right.count);
  left.count += moved;
  right.count -= moved;
}

// How many of a full node's entries stay in the left half when one is to be inserted at `position`.
// Inserting at either end is taken as a sign of more to come there: the half that will not see
// them stays nearly full.
inline unsigned SplitPoint(unsigned position, bool leftmost, bool rightmost) {
  if (position == kFanout) return rightmost ? kFanout - 1 : kFanout - kMinFill;
  if (position == 0) return leftmost ? 1 : kMinFill;
  return kFanout / 2;
}

}  // namespace viommu::interval_map_internal

#endif  // VIOMMU_ENGINE_BASE_INTERVAL_MAP_NODES_H_
