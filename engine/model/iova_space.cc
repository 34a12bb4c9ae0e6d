#include "engine/model/iova_space.h"

#include <algorithm>
#include <utility>

#include "absl/numeric/bits.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

using absl::StatusCode;

std::string Describe(const IovaSpace::Reservation& reservation) {
  return absl::StrCat("the reserved range ", ToString(reservation.range), " (", reservation.why,
                      ")");
}

absl::Status Misaligned(absl::string_view what, uint64_t value, uint64_t alignment_bytes,
                        absl::string_view field) {
  return Error(StatusCode::kInvalidArgument, "MISALIGNED",
               absl::StrCat(what, " ", Hex(value), " is not a multiple of this address space's ",
                            "alignment ", Hex(alignment_bytes)))
      .Errno("EINVAL")
      .Field(field)
      .Meta("alignment", Hex(alignment_bytes));
}

}  // namespace

IovaSpace::IovaSpace() { Recompute(); }

absl::Status IovaSpace::Reserve(const IovaRange& range, uint64_t owner, absl::string_view why) {
  RETURN_IF_ERROR(CheckNotAllowed(range, why));
  reserved_.emplace(range.first, Reservation{range, owner, std::string(why)});
  Recompute();
  return absl::OkStatus();
}

absl::Status IovaSpace::ReserveOutside(const IovaRange& aperture, uint64_t owner,
                                       absl::string_view why) {
  std::vector<IovaRange> outside;
  if (aperture.first > 0) outside.push_back({0, aperture.first - 1});
  if (aperture.last < kMaxAddress) outside.push_back({aperture.last + 1, kMaxAddress});
  for (const IovaRange& range : outside) RETURN_IF_ERROR(CheckNotAllowed(range, why));
  for (const IovaRange& range : outside) RETURN_IF_ERROR(Reserve(range, owner, why));
  return absl::OkStatus();
}

void IovaSpace::Unreserve(uint64_t owner) {
  for (auto it = reserved_.begin(); it != reserved_.end();) {
    it = it->second.owner == owner ? reserved_.erase(it) : std::next(it);
  }
  Recompute();
}

const IovaSpace::Reservation* IovaSpace::ReservedOverlap(const IovaRange& range) const {
  for (const auto& [first, reservation] : reserved_) {
    if (first > range.last) break;
    if (reservation.range.Overlaps(range)) return &reservation;
  }
  return nullptr;
}

absl::Status IovaSpace::CheckNotAllowed(const IovaRange& range, absl::string_view why) const {
  for (const IovaRange& allowed : allowed_) {
    if (!allowed.Overlaps(range)) continue;
    return Error(StatusCode::kFailedPrecondition, "IOVA_CONFLICT",
                 absl::StrCat("cannot reserve ", ToString(range), " (", why,
                              "): it intersects the allowed range ", ToString(allowed)))
        .Errno("EADDRINUSE")
        .Violation(absl::StrCat("allowed range ", ToString(allowed)));
  }
  return absl::OkStatus();
}

absl::Status IovaSpace::SetAllowed(std::vector<IovaRange> allowed) {
  IntervalMap<size_t> seen;
  for (size_t i = 0; i < allowed.size(); ++i) {
    const IovaRange& range = allowed[i];
    if (range.first >= range.last) {
      return Error(StatusCode::kInvalidArgument, "RANGE_INVALID",
                   absl::StrCat("range ", ToString(range), " does not begin below its end"))
          .Errno("EINVAL")
          .Field(absl::StrCat("ranges[", i, "]"))
          .Index(i);
    }
    if (!seen.Insert(range, i)) {
      return Error(StatusCode::kInvalidArgument, "RANGE_OVERLAP",
                   absl::StrCat("range ", ToString(range), " overlaps ",
                                ToString(seen.LowerBound(range.first).range())))
          .Errno("EINVAL")
          .Field(absl::StrCat("ranges[", i, "]"))
          .Index(i);
    }
  }
  // A list that is wrong in itself is told before what it meets (iommufd-semantics.md 3.4).
  for (size_t i = 0; i < allowed.size(); ++i) {
    const IovaRange& range = allowed[i];
    if (const Reservation* reservation = ReservedOverlap(range)) {
      return Error(StatusCode::kFailedPrecondition, "IOVA_CONFLICT",
                   absl::StrCat("range ", ToString(range), " intersects ", Describe(*reservation)))
          .Errno("EADDRINUSE")
          .Field(absl::StrCat("ranges[", i, "]"))
          .Index(i)
          .Violation(Describe(*reservation));
    }
  }
  std::sort(allowed.begin(), allowed.end(),
            [](const IovaRange& a, const IovaRange& b) { return a.first < b.first; });
  allowed_ = std::move(allowed);
  Recompute();
  return absl::OkStatus();
}

void IovaSpace::AddAlignment(uint64_t owner, uint64_t bytes) {
  alignments_[owner] = bytes;
  RecomputeAlignment();
}

void IovaSpace::RemoveAlignment(uint64_t owner) {
  alignments_.erase(owner);
  RecomputeAlignment();
}

void IovaSpace::RecomputeAlignment() {
  alignment_bytes_ = 1;
  for (const auto& [owner, bytes] : alignments_) {
    alignment_bytes_ = std::max(alignment_bytes_, bytes);
  }
}

absl::StatusOr<IovaSpace::Fit> IovaSpace::FitFor(uint64_t size_bytes, uint64_t source) const {
  if (size_bytes == 0 || size_bytes >= kMaxAddress / 2) {
    return Error(StatusCode::kOutOfRange, "SIZE_OUT_OF_RANGE",
                 absl::StrCat("size ", Hex(size_bytes), " is 0 or too large to place"))
        .Errno("EOVERFLOW")
        .Field("length");
  }
  const uint64_t required = alignment_bytes();
  if (!IsAligned(size_bytes, required)) return Misaligned("size", size_bytes, required, "length");
  if (!IsAligned(source, required)) return Misaligned("source", source, required, "offset");

  uint64_t alignment = std::min(absl::bit_ceil(size_bytes), kMaxAlignmentBytes);
  if (source != 0) alignment = std::min(alignment, source & -source);
  const uint64_t in_page = source % kPageBytes;
  if (in_page != 0) alignment = kPageBytes;
  return Fit{std::max(alignment, required), in_page};
}

absl::Status IovaSpace::CheckPlaceable(const IovaRange& range) const {
  const uint64_t required = alignment_bytes();
  if (!IsAligned(range.first, required)) {
    return Misaligned("iova", range.first, required, "iova");
  }
  if (!IsAligned(range.size_bytes(), required)) {
    return Misaligned("size", range.size_bytes(), required, "length");
  }
  // The first hole that ends at or after the range's end is the only one that can hold it.
  const auto hole =
      std::lower_bound(usable_.begin(), usable_.end(), range.last,
                       [](const IovaRange& usable, Iova address) { return usable.last < address; });
  if (hole != usable_.end() && hole->Contains(range)) return absl::OkStatus();
  const Reservation& reservation = *ReservedOverlap(range);
  return Error(StatusCode::kInvalidArgument, "IOVA_RESERVED",
               absl::StrCat(ToString(range), " intersects ", Describe(reservation)))
      .Errno("EINVAL")
      .Field("iova")
      .Meta("reserved_range", ToString(reservation.range))
      .Meta("reserved_for", reservation.why);
}

absl::Status IovaSpace::Exhausted(uint64_t size_bytes, const Fit& fit) const {
  return Error(StatusCode::kResourceExhausted, "IOVA_EXHAUSTED",
               absl::StrCat("no free gap holds ", Hex(size_bytes), " bytes aligned to ",
                            Hex(fit.alignment_bytes),
                            allowed_.empty() ? "" : " inside the allowed ranges"))
      .Errno("ENOSPC");
}

absl::Status IovaSpace::Occupied(const IovaRange& range, const IovaRange& area) {
  return Error(StatusCode::kAlreadyExists, "IOVA_OCCUPIED",
               absl::StrCat(ToString(range), " overlaps the mapping at ", ToString(area)))
      .Errno("EEXIST")
      .Field("iova")
      .Meta("existing_range", ToString(area));
}

absl::Status IovaSpace::AreaInTheWay(const IovaRange& range, const IovaRange& area,
                                     absl::string_view why) {
  return Error(StatusCode::kFailedPrecondition, "IOVA_CONFLICT",
               absl::StrCat("cannot reserve ", ToString(range), " (", why, "): ", ToString(area),
                            " is mapped"))
      .Errno("EADDRINUSE")
      .Violation(absl::StrCat("mapping at ", ToString(area)));
}

void IovaSpace::Recompute() {
  usable_.clear();
  std::optional<Iova> free_from = 0;
  for (const auto& [first, reservation] : reserved_) {
    if (!free_from.has_value()) break;
    if (first > *free_from) usable_.push_back({*free_from, first - 1});
    // Nothing lies above the last address, and `last + 1` would wrap to 0.
    if (reservation.range.last == kMaxAddress) {
      free_from = std::nullopt;
    } else {
      free_from = std::max(*free_from, reservation.range.last + 1);
    }
  }
  if (free_from.has_value()) usable_.push_back({*free_from, kMaxAddress});

  // No allowed range intersects a reserved one, so where there are any they are usable throughout.
  constexpr IovaRange kChoosable{kPageBytes, kMaxAddress - kPageBytes};
  placeable_.clear();
  for (const IovaRange& range : allowed_.empty() ? usable_ : allowed_) {
    if (!range.Overlaps(kChoosable)) continue;
    placeable_.push_back(
        {std::max(range.first, kChoosable.first), std::min(range.last, kChoosable.last)});
  }
}

}  // namespace viommu
