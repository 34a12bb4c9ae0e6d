// Cutting areas at the ends of a range that is unmapped (VFIO's TYPE1).
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/ioas.h"

namespace viommu {
namespace {

PlacedArea Placed(IntervalMap<Area>::const_iterator it) {
  return {IovaRange{it.first(), it.last()}, it.value()};
}

IovaRange Common(const IovaRange& a, const IovaRange& b) {
  return {std::max(a.first, b.first), std::min(a.last, b.last)};
}

// The part of `area` at `range`, as an area of its own.
PlacedArea Part(const PlacedArea& area, const IovaRange& range) {
  PlacedArea part{range, area.area};
  part.area.offset_bytes += range.first - area.range.first;
  part.area.planned = 1;
  return part;
}

}  // namespace

absl::Status Ioas::CheckCutAt(const PlacedArea& area, Iova first) const {
  const uint64_t alignment = space_.alignment_bytes();
  const uint64_t offset = area.area.offset_bytes + (first - area.range.first);
  if (IsAligned(first, alignment) && IsAligned(offset, alignment)) return absl::OkStatus();
  return Error(
             absl::StatusCode::kInvalidArgument, "MISALIGNED",
             absl::StrCat("area ", ToString(area.range), " can not be cut at ", Hex(first),
                          ": that, or its source offset ", Hex(offset),
                          ", is not a multiple of the address space's alignment ", Hex(alignment)))
      .Errno("EINVAL")
      .Field("iova")
      .Meta("alignment", Hex(alignment));
}

void Ioas::CutOut(const PlacedArea& area, const IovaRange& range, Cut* cut) {
  const auto keep = [&](Iova first, Iova last) {
    const PlacedArea part = Part(area, {first, last});
    areas_.Insert(part.range, part.area);
    cut->remnants.emplace(first, part);
  };
  if (area.range.first < range.first) keep(area.range.first, range.first - 1);
  if (area.range.last > range.last) keep(range.last + 1, area.range.last);
  cut->gone.push_back(Part(area, Common(area.range, range)));
}

absl::Status Ioas::CutOwn(const IovaRange& range, Cut* cut) {
  std::vector<PlacedArea> own;
  auto it = cut->remnants.upper_bound(range.first);
  if (it != cut->remnants.begin()) --it;
  for (; it != cut->remnants.end() && it->first <= range.last; ++it) {
    if (it->second.range.Overlaps(range)) own.push_back(it->second);
  }
  for (const PlacedArea& area : own) {
    if (area.range.first < range.first) RETURN_IF_ERROR(CheckCutAt(area, range.first));
    if (area.range.last > range.last) RETURN_IF_ERROR(CheckCutAt(area, range.last + 1));
    areas_.Erase(area.range.first);
    cut->remnants.erase(area.range.first);
    CutOut(area, range, cut);
  }
  return absl::OkStatus();
}

absl::Status Ioas::CutBorders(const IovaRange& range, Cut* cut) {
  for (const Iova border : {range.first, range.last}) {
    const auto it = areas_.Find(border);
    if (it == areas_.end() || range.Contains(it.range())) continue;
    const PlacedArea area = Placed(it);
    if (area.area.planned) {
      return absl::UnavailableError("an area of the range is still being mapped");
    }
    if (area.range.first < range.first) RETURN_IF_ERROR(CheckCutAt(area, range.first));
    if (area.range.last > range.last) RETURN_IF_ERROR(CheckCutAt(area, range.last + 1));
    areas_.Erase(area.range.first);
    revoked_.Insert(area.range, area.area);
    cut->removed.push_back(area);
    CutOut(area, range, cut);
  }
  return absl::OkStatus();
}

absl::Status Ioas::PlanCut(const IovaRange& range, Cut* cut) {
  RETURN_IF_ERROR(CutOwn(range, cut));
  RETURN_IF_ERROR(CutBorders(range, cut));
  // What is left in the range is whole.
  if (!FirstOverlap(range).has_value()) return absl::OkStatus();
  const auto before = static_cast<ptrdiff_t>(cut->removed.size());
  RETURN_IF_ERROR(PlanRemove(range, &cut->removed));
  cut->gone.insert(cut->gone.end(), cut->removed.begin() + before, cut->removed.end());
  return absl::OkStatus();
}

void Ioas::UndoCut(const Cut& cut) {
  for (const auto& [first, remnant] : cut.remnants) areas_.Erase(first);
  UndoRemove(cut.removed);
}

void Ioas::CommitCut(const Cut& cut) {
  CommitRemove(cut.removed);
  for (const auto& [first, remnant] : cut.remnants) {
    areas_.Find(first).value().planned = 0;
    mapped_bytes_ += remnant.range.size_bytes();
    suspended_count_ += remnant.area.suspended;
  }
  mapping_count_ += cut.remnants.size();
}

}  // namespace viommu
