// engine/model/iova_space.h -- Decides where in one IO address space a mapping may be placed.
//
// An IovaSpace knows what is kept free of mappings: reserved ranges (what lies outside a domain's
// aperture, a device's reserved regions) and the list of ranges that a user wants used. It does not
// own the areas; questions take them as an IntervalMap. Engine-chosen addresses are the lowest that
// fit, so that a journal replays to the same ones.
//
// Facts: iommufd's iopt_reserve_iova, iopt_set_allow_iova, iopt_alloc_iova, iopt_check_iova and
// iopt_calculate_iova_alignment (drivers/iommu/iommufd/io_pagetable.c).
#ifndef VIOMMU_ENGINE_MODEL_IOVA_SPACE_H_
#define VIOMMU_ENGINE_MODEL_IOVA_SPACE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "engine/base/address.h"
#include "engine/base/interval_map.h"
#include "engine/base/status_macros.h"

namespace viommu {

// Invariants: no allowed range intersects a reserved one; alignment_bytes() is a power of two.
// Reserved ranges may overlap, and the same range may be reserved by several owners. An owner is
// the uid of a device or of a domain. Thread-compatible: the owning Ioas holds the lock.
class IovaSpace {
 public:
  // Why addresses are kept free of mappings.
  struct Reservation {
    IovaRange range;
    uint64_t owner = 0;
    std::string why;  // For messages, e.g. "MSI window of devices/0000:00:02.0".
  };

  // The unit in which an engine-chosen address keeps the low bits of what it maps, and the size of
  // the two ends of the address space that are never chosen.
  static constexpr uint64_t kPageBytes = 4096;
  // Engine-chosen addresses are aligned for page-table leaves up to this size.
  static constexpr uint64_t kMaxAlignmentBytes = uint64_t{2} << 20;

  IovaSpace();

  // ---- Reserved ranges

  // Keeps `range` free of mappings until Unreserve(owner). Areas are not looked at: see
  // CheckNoAreas.
  // kFailedPrecondition IOVA_CONFLICT: `range` intersects an allowed range.
  absl::Status Reserve(const IovaRange& range, uint64_t owner, absl::string_view why);

  // Reserves what lies below and above `aperture`, the only addresses that a domain can translate.
  // All or nothing.
  // kFailedPrecondition IOVA_CONFLICT: an allowed range lies outside the aperture.
  absl::Status ReserveOutside(const IovaRange& aperture, uint64_t owner, absl::string_view why);

  // Gives up all that `owner` reserved; nothing else's.
  void Unreserve(uint64_t owner);

  // A reservation that `range` intersects: the lowest one; null when there is none. Valid until the
  // next change.
  const Reservation* ReservedOverlap(const IovaRange& range) const;

  // What is not reserved, ascending. Areas and the allowed list do not count.
  const std::vector<IovaRange>& UsableRanges() const { return usable_; }

  // ---- Allowed ranges

  // Replaces the list of ranges that must stay usable and from which Allocate chooses; an empty
  // list stands for everything usable. On an error the old list stays. Mappings at a given address
  // are not restricted by it.
  // kInvalidArgument RANGE_INVALID: a range does not begin below its end (so one byte is refused);
  // kInvalidArgument RANGE_OVERLAP: it overlaps an earlier one of the list;
  // kFailedPrecondition IOVA_CONFLICT: it intersects a reserved range. The index is given.
  absl::Status SetAllowed(std::vector<IovaRange> allowed);

  // In ascending order.
  const std::vector<IovaRange>& allowed() const { return allowed_; }

  // ---- Alignment

  // Demands that mappings begin and end at multiples of `bytes`, a power of two, until
  // RemoveAlignment(owner). A second demand of the same owner replaces the first.
  void AddAlignment(uint64_t owner, uint64_t bytes);
  void RemoveAlignment(uint64_t owner);

  // The largest demand; 1 without any.
  uint64_t alignment_bytes() const { return alignment_bytes_; }

  // ---- Placing

  // Chooses an address for `size_bytes`; nothing is taken. The result is aligned to the smallest of
  // the size rounded up to a power of two, the alignment of `source` (the address or offset of what
  // is mapped; 0 says nothing) and kMaxAlignmentBytes, and its low in-page bits are those of
  // `source`. O(reserved + allowed ranges), and O(log areas) for each.
  // kOutOfRange SIZE_OUT_OF_RANGE: the size is 0 or at least (2^64 - 1) / 2;
  // kInvalidArgument MISALIGNED: the size or `source` is not a multiple of alignment_bytes();
  // kResourceExhausted IOVA_EXHAUSTED: no free gap is large enough.
  template <typename V>
  absl::StatusOr<Iova> Allocate(const IntervalMap<V>& areas, uint64_t size_bytes,
                                uint64_t source) const;

  // Whether a mapping may be placed at `range` as far as the areas do not matter.
  // kInvalidArgument MISALIGNED: its first address or its size is not a multiple of
  // alignment_bytes();
  // kInvalidArgument IOVA_RESERVED: it intersects a reserved range.
  absl::Status CheckPlaceable(const IovaRange& range) const;

  // Whether a mapping may be placed at `range`.
  // As CheckPlaceable; kAlreadyExists IOVA_OCCUPIED: it overlaps an area.
  template <typename V>
  absl::Status CheckFixed(const IntervalMap<V>& areas, const IovaRange& range) const;

  // Whether `range` could be reserved as far as the areas go.
  // kFailedPrecondition IOVA_CONFLICT: an area overlaps it.
  template <typename V>
  static absl::Status CheckNoAreas(const IntervalMap<V>& areas, const IovaRange& range,
                                   absl::string_view why);

 private:
  // Where an engine-chosen address may lie within a page-table leaf.
  struct Fit {
    uint64_t alignment_bytes;
    uint64_t remainder_bytes;
  };

  absl::StatusOr<Fit> FitFor(uint64_t size_bytes, uint64_t source) const;
  absl::Status Exhausted(uint64_t size_bytes, const Fit& fit) const;
  static absl::Status Occupied(const IovaRange& range, const IovaRange& area);
  static absl::Status AreaInTheWay(const IovaRange& range, const IovaRange& area,
                                   absl::string_view why);
  absl::Status CheckNotAllowed(const IovaRange& range, absl::string_view why) const;
  void Recompute();
  void RecomputeAlignment();

  std::multimap<Iova, Reservation> reserved_;  // By first address.
  std::vector<IovaRange> allowed_;             // Ascending, disjoint.
  std::map<uint64_t, uint64_t> alignments_;    // Bytes by owner.

  // Computed from the above at each change.
  std::vector<IovaRange> usable_;     // Holes between the reserved ranges.
  std::vector<IovaRange> placeable_;  // Where Allocate may choose.
  uint64_t alignment_bytes_ = 1;
};

template <typename V>
absl::StatusOr<Iova> IovaSpace::Allocate(const IntervalMap<V>& areas, uint64_t size_bytes,
                                         uint64_t source) const {
  ASSIGN_OR_RETURN(const Fit fit, FitFor(size_bytes, source));
  for (const IovaRange& window : placeable_) {
    const std::optional<Iova> iova =
        areas.FindGap(window, size_bytes, fit.alignment_bytes, fit.remainder_bytes);
    if (iova.has_value()) return *iova;
  }
  return Exhausted(size_bytes, fit);
}

template <typename V>
absl::Status IovaSpace::CheckFixed(const IntervalMap<V>& areas, const IovaRange& range) const {
  RETURN_IF_ERROR(CheckPlaceable(range));
  const auto area = areas.LowerBound(range.first);
  if (area == areas.end() || area.first() > range.last) return absl::OkStatus();
  return Occupied(range, area.range());
}

template <typename V>
absl::Status IovaSpace::CheckNoAreas(const IntervalMap<V>& areas, const IovaRange& range,
                                     absl::string_view why) {
  const auto area = areas.LowerBound(range.first);
  if (area == areas.end() || area.first() > range.last) return absl::OkStatus();
  return AreaInTheWay(range, area.range(), why);
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_IOVA_SPACE_H_
