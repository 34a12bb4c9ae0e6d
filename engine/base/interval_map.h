// engine/base/interval_map.h -- Disjoint inclusive address ranges, each with a value, and the
// lowest gap between them found without a scan.
//
// A B+-tree whose inner nodes carry, beside each child, the first and last address under it and the
// size of the largest gap between two of its entries. A search for a gap of N bytes descends only
// where one is known to be.
#ifndef VIOMMU_ENGINE_BASE_INTERVAL_MAP_H_
#define VIOMMU_ENGINE_BASE_INTERVAL_MAP_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

#include "engine/base/address.h"
#include "engine/base/interval_map_nodes.h"

namespace viommu {

// Invariants: the entries are disjoint, in ascending order, first <= last in each. Adjacent entries
// are not merged. V is default constructible and movable without throwing; the map owns its values.
// n is size(). Every Insert that answers true and every Erase that answers true invalidates all
// iterators. Thread-compatible.
template <typename V>
class IntervalMap {
  using Leaf = interval_map_internal::Leaf<V>;
  using Inner = interval_map_internal::Inner;
  using NodeBase = interval_map_internal::NodeBase;
  template <bool kConst>
  class BasicIterator;

 public:
  // How many gaps FindGap tries that are large enough but may fail by their alignment, before it
  // asks for gaps in which any alignment fits.
  static constexpr unsigned kTightProbes = 64;

  using iterator = BasicIterator<false>;
  using const_iterator = BasicIterator<true>;

  IntervalMap() = default;
  ~IntervalMap() { Clear(); }
  IntervalMap(IntervalMap&& other) noexcept { Swap(other); }
  IntervalMap& operator=(IntervalMap&& other) noexcept {
    IntervalMap(std::move(other)).Swap(*this);
    return *this;
  }
  IntervalMap(const IntervalMap&) = delete;
  IntervalMap& operator=(const IntervalMap&) = delete;

  // Adds an entry. False, and nothing changes, when `range` overlaps an entry. O(log n).
  bool Insert(const IovaRange& range, V value);

  // Removes the entry that begins at `first`. False when there is none. O(log n).
  bool Erase(uint64_t first);

  // Removes the entry at `position`, which is not end(). O(log n).
  void Erase(const_iterator position) { Erase(position.first()); }

  // Removes every entry. O(n).
  void Clear();

  // The entry that contains `address`, else end(). O(log n).
  iterator Find(uint64_t address) { return FindIn<iterator>(address); }
  const_iterator Find(uint64_t address) const { return FindIn<const_iterator>(address); }

  // The first entry that ends at or after `address`, else end(): the first one that a range
  // beginning there can overlap. O(log n).
  iterator LowerBound(uint64_t address) { return LowerBoundIn<iterator>(address); }
  const_iterator LowerBound(uint64_t address) const {
    return LowerBoundIn<const_iterator>(address);
  }

  // Whether any entry has an address in common with `range`. O(log n).
  bool Overlaps(const IovaRange& range) const;

  // An address a with a % alignment_bytes == remainder_bytes such that [a, a + size_bytes - 1] lies
  // in `window` and overlaps no entry; nullopt exactly when there is none. It is the lowest such
  // address unless kTightProbes gaps below it were large enough and failed by their alignment
  // alone; then it may be a higher one. The answer depends on the entries only, not on how they
  // came to be. O(log n) per gap tried; after kTightProbes of them only the answer "none" can
  // cost more.
  // A zero size, an alignment that is not a power of two and a remainder that is not below it are
  // answered nullopt.
  std::optional<uint64_t> FindGap(const IovaRange& window, uint64_t size_bytes,
                                  uint64_t alignment_bytes, uint64_t remainder_bytes = 0) const;

  // Ascending order; a step is O(1).
  iterator begin() { return LowerBound(0); }
  iterator end() { return iterator(); }
  const_iterator begin() const { return LowerBound(0); }
  const_iterator end() const { return const_iterator(); }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // Bytes of the tree's nodes, not counting what values own nor the allocator's overhead.
  size_t MemoryBytes() const { return leaves_ * sizeof(Leaf) + inners_ * sizeof(Inner); }

 private:
  template <typename>
  friend class IntervalMapInvariants;

  // Enough for kMinFill^kMaxHeight leaves, more than memory can hold.
  static constexpr unsigned kMaxHeight = 16;

  struct Step {
    Inner* node;
    unsigned index;
  };
  // The way from the root to a place in a leaf, and what lies on either side of that leaf.
  struct Path {
    Step steps[kMaxHeight];  // [0, height_) are in use.
    Leaf* leaf = nullptr;    // Null: no path is known.
    unsigned position = 0;
    std::optional<uint64_t> previous_last;  // Last address of the leaf before.
    std::optional<uint64_t> next_first;     // First address of the leaf after.
  };
  // The entries around a place in the tree.
  struct Neighbours {
    std::optional<uint64_t> previous_last;
    std::optional<uint64_t> next_first;
  };
  // What a free address has to satisfy.
  struct Fit {
    uint64_t size_bytes;
    uint64_t alignment_bytes;
    uint64_t remainder_bytes;
  };

  const Leaf* LeafFor(uint64_t address) const;
  void Seek(uint64_t address);
  void Descend(uint64_t address);
  bool PathCovers(uint64_t address) const;
  Neighbours Around(unsigned begin, unsigned end) const;
  template <typename It>
  It FindIn(uint64_t address) const;
  template <typename It>
  It LowerBoundIn(uint64_t address) const;

  // Growing. MakeRoom leaves the contents as they are and path_ at the same place.
  void MakeRoom();
  void GrowRoot();
  Leaf* NewSibling(Leaf* left);
  Inner* NewSibling(Inner* left);
  template <typename N>
  N* SplitChild(Step& parent, N* child, unsigned insert_at, unsigned& index, bool leftmost,
                bool rightmost);
  void Widen(const IovaRange& range, uint64_t split_gap);

  // Shrinking.
  unsigned DropEmptied();
  void Narrow(unsigned level, const Neighbours& around, const IovaRange& erased);
  bool Rebalance();
  bool IsAtEdge(unsigned level) const;
  template <typename N>
  void BalancePair(Inner& parent, unsigned left_index);
  void CollapseRoot();
  void Delete(Leaf* leaf);
  void Delete(Inner* inner);
  void DeleteSubtree(NodeBase* node, unsigned level);

  // What an inner node says about the child at `index`. `level` is that of the child; the root has
  // level 0 and leaves have level height_.
  uint64_t LastAddress(const NodeBase* node, unsigned level) const;
  uint64_t LargestGap(const NodeBase* node, unsigned level, uint64_t ceiling) const;
  template <typename N>
  static void Summarize(Inner& parent, unsigned index);

  // Gaps.
  std::optional<IovaRange> FirstGap(uint64_t from, uint64_t min_bytes) const;
  template <typename N>
  std::optional<IovaRange> GapUnder(const N& node, unsigned level, uint64_t& from,
                                    uint64_t min_bytes) const;
  std::optional<uint64_t> ProbeGaps(std::optional<IovaRange>& rest, const Fit& fit,
                                    uint64_t min_bytes, uint64_t probes) const;
  static std::optional<uint64_t> PlaceIn(const IovaRange& gap, const Fit& fit);

  void Swap(IntervalMap& other) noexcept;

  NodeBase* root_ = nullptr;  // A leaf when height_ is 0; null when nothing was ever inserted.
  unsigned height_ = 0;       // Levels of inner nodes.
  size_t size_ = 0;
  size_t leaves_ = 0;
  size_t inners_ = 0;
  // Where the last Insert or Erase was, unless it changed the shape of the tree: the next one is
  // often in the same leaf, and then needs no way down.
  Path path_;
};

// A place in the map. Also the entry there: range() and value().
template <typename V>
template <bool kConst>
class IntervalMap<V>::BasicIterator {
  using ValueRef = std::conditional_t<kConst, const V&, V&>;

 public:
  // What * answers, for range-based loops. `value` refers into the map.
  struct Entry {
    IovaRange range;
    ValueRef value;
  };
  using iterator_category = std::input_iterator_tag;
  using value_type = Entry;
  using difference_type = std::ptrdiff_t;
  using pointer = void;
  using reference = Entry;

  BasicIterator() = default;
  operator BasicIterator<true>() const {  // NOLINT(google-explicit-constructor): as std has it.
    return BasicIterator<true>(leaf_, position_);
  }

  uint64_t first() const { return leaf_->firsts[position_]; }
  uint64_t last() const { return leaf_->slots[position_].last; }
  IovaRange range() const { return {first(), last()}; }
  ValueRef value() const { return leaf_->slots[position_].value; }
  Entry operator*() const { return {range(), value()}; }

  BasicIterator& operator++() {
    if (++position_ == leaf_->count) *this = BasicIterator(leaf_->next, 0);
    return *this;
  }

  friend bool operator==(const BasicIterator& a, const BasicIterator& b) {
    return a.leaf_ == b.leaf_ && a.position_ == b.position_;
  }
  friend bool operator!=(const BasicIterator& a, const BasicIterator& b) { return !(a == b); }

 private:
  friend class IntervalMap;
  BasicIterator(Leaf* leaf, unsigned position) : leaf_(leaf), position_(position) {}

  Leaf* leaf_ = nullptr;
  unsigned position_ = 0;
};

}  // namespace viommu

#include "engine/base/interval_map_gaps_inl.h"  // IWYU pragma: export
#include "engine/base/interval_map_inl.h"       // IWYU pragma: export

#endif  // VIOMMU_ENGINE_BASE_INTERVAL_MAP_H_
