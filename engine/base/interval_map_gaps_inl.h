// engine/base/interval_map_gaps_inl.h -- How an IntervalMap finds room. Included by interval_map.h
// only.
#ifndef VIOMMU_ENGINE_BASE_INTERVAL_MAP_GAPS_INL_H_
#define VIOMMU_ENGINE_BASE_INTERVAL_MAP_GAPS_INL_H_

namespace viommu {

template <typename V>
std::optional<uint64_t> IntervalMap<V>::FindGap(const IovaRange& window, uint64_t size_bytes,
                                                uint64_t alignment_bytes,
                                                uint64_t remainder_bytes) const {
  if (size_bytes == 0 || !IsPowerOfTwo(alignment_bytes)) return std::nullopt;
  if (remainder_bytes >= alignment_bytes) return std::nullopt;
  constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();
  const Fit fit{size_bytes, alignment_bytes, remainder_bytes};

  std::optional<IovaRange> rest = window;
  if (auto found = ProbeGaps(rest, fit, size_bytes, kTightProbes)) return found;
  if (!rest.has_value()) return std::nullopt;
  if (size_bytes <= kMaxAddress - (alignment_bytes - 1)) {
    std::optional<IovaRange> roomy = rest;
    if (auto found = ProbeGaps(roomy, fit, size_bytes + (alignment_bytes - 1), kNoLimit)) {
      return found;
    }
  }
  return ProbeGaps(rest, fit, size_bytes, kNoLimit);
}

// Tries at most `probes` gaps of at least `min_bytes` in `rest`, lowest first. What was not looked
// at is left in `rest`: nullopt when nothing is.
template <typename V>
std::optional<uint64_t> IntervalMap<V>::ProbeGaps(std::optional<IovaRange>& rest, const Fit& fit,
                                                  uint64_t min_bytes, uint64_t probes) const {
  for (; probes > 0 && rest.has_value(); --probes) {
    const std::optional<IovaRange> gap = FirstGap(rest->first, min_bytes);
    if (!gap.has_value() || gap->first > rest->last) {
      rest = std::nullopt;
      break;
    }
    if (auto found = PlaceIn({gap->first, std::min(gap->last, rest->last)}, fit)) return found;
    if (gap->last >= rest->last) {
      rest = std::nullopt;
    } else {
      rest->first = gap->last + 1;
    }
  }
  return std::nullopt;
}

// The lowest address in `gap` that satisfies `fit`.
template <typename V>
std::optional<uint64_t> IntervalMap<V>::PlaceIn(const IovaRange& gap, const Fit& fit) {
  uint64_t address = (gap.first & ~(fit.alignment_bytes - 1)) | fit.remainder_bytes;
  if (address < gap.first) {
    if (address > kMaxAddress - fit.alignment_bytes) return std::nullopt;
    address += fit.alignment_bytes;
  }
  if (address > gap.last || gap.last - address < fit.size_bytes - 1) return std::nullopt;
  return address;
}

// The lowest free range that, cut off below `from`, has at least `min_bytes`.
template <typename V>
std::optional<IovaRange> IntervalMap<V>::FirstGap(uint64_t from, uint64_t min_bytes) const {
  if (!empty()) {
    const std::optional<IovaRange> gap =
        height_ == 0 ? GapUnder(*static_cast<const Leaf*>(root_), 0, from, min_bytes)
                     : GapUnder(*static_cast<const Inner*>(root_), 0, from, min_bytes);
    if (gap.has_value()) return gap;
    // No address is left above an entry that ends at the very last one.
    if (LastAddress(root_, 0) == kMaxAddress) return std::nullopt;
  }
  if (kMaxAddress - from < min_bytes - 1) return std::nullopt;
  return IovaRange{from, kMaxAddress};
}

// FirstGap below the last entry under `node`. Where there is none, `from` is moved behind that
// entry. At most one child per level is searched in vain: the one that `from` cuts in two.
template <typename V>
template <typename N>
std::optional<IovaRange> IntervalMap<V>::GapUnder(const N& node, unsigned level, uint64_t& from,
                                                  uint64_t min_bytes) const {
  for (unsigned i = FirstEndingFrom(node, from); i < node.count; ++i) {
    const uint64_t first = node.firsts[i];
    if (first > from && first - from >= min_bytes) return IovaRange{from, first - 1};
    if constexpr (std::is_same_v<N, Inner>) {
      if (node.slots[i].gap >= min_bytes) {
        const NodeBase* child = node.slots[i].child;
        const std::optional<IovaRange> gap =
            level + 1 == height_
                ? GapUnder(*static_cast<const Leaf*>(child), level + 1, from, min_bytes)
                : GapUnder(*static_cast<const Inner*>(child), level + 1, from, min_bytes);
        if (gap.has_value()) return gap;
      }
    }
    // Wraps to 0 behind the map's last entry only, where FirstGap looks no further.
    from = node.slots[i].last + 1;
  }
  return std::nullopt;
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BASE_INTERVAL_MAP_GAPS_INL_H_
