#include "engine/model/ioas.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

absl::Status NotCovered(absl::string_view message) {
  return Error(absl::StatusCode::kNotFound, "IOVA_NOT_COVERED", message)
      .Errno("ENOENT")
      .Field("iova");
}

absl::Status Misaligned(absl::string_view what, uint64_t value, uint64_t alignment) {
  return Error(absl::StatusCode::kInvalidArgument, "MISALIGNED",
               absl::StrCat(what, " ", Hex(value),
                            " is not a multiple of the address space's alignment ", Hex(alignment)))
      .Errno("EINVAL")
      .Field(what)
      .Meta("alignment", Hex(alignment));
}

// Whether the tables of a domain can hold a mapping that grants this.
bool CanHold(const DomainProperties& properties, Permission permission) {
  switch (permission) {
    case Permission::kRead:
      return properties.read_only;
    case Permission::kWrite:
      return properties.write_only;
    case Permission::kReadWrite:
      break;
  }
  return true;
}

absl::string_view InWords(Permission permission) {
  return permission == Permission::kRead ? "read only" : "write only";
}

// What iommufd judges once the place is found: iopt_insert_area, iopt_area_fill_domains.
absl::Status CheckContent(const Ioas::Addition& addition, uint64_t alignment, bool is_refused) {
  if (addition.region->read_only && CanWrite(addition.permission)) {
    return addition.region->ReadOnlyError();
  }
  if (!IsAligned(addition.offset_bytes, alignment)) {
    return Misaligned("offset", addition.offset_bytes, alignment);
  }
  if (!is_refused) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "PERMISSION_UNAVAILABLE",
               absl::StrCat("a mapping that is ", InWords(addition.permission),
                            " fits in no table of a domain of the address space"))
      .Errno("EINVAL")
      .Field("permission")
      .Violation("map it for reading and writing, or remove the domains that can not hold it");
}

PlacedArea Placed(IntervalMap<Area>::const_iterator it) {
  return {IovaRange{it.first(), it.last()}, it.value()};
}

// Moves every area of one map to another in which nothing lies there. A million areas may move
// under the engine's one lock, so the smaller map is moved, whichever it is.
void MoveAll(IntervalMap<Area>& from, IntervalMap<Area>& into) {
  if (from.size() > into.size()) std::swap(from, into);
  for (auto it = from.begin(); it != from.end(); ++it) into.Insert(it.range(), it.value());
  from.Clear();
}

}  // namespace

absl::Status NotInForce(const PlacedArea& area) {
  return Error(absl::StatusCode::kFailedPrecondition, "MAPPING_SUSPENDED",
               absl::StrCat("area ", ToString(area.range), " is not in force: its memory is gone"))
      .Errno("ENODEV")
      .Field("iova")
      .Violation(absl::StrCat("unmap ", ToString(area.range), " and map it again"));
}

absl::Status Ioas::CheckSource(const Addition& addition) const {
  if (addition.length_bytes == 0) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_LENGTH", "length is 0")
        .Errno("EINVAL")
        .Field("length");
  }
  if (addition.iova.has_value() && *addition.iova > kMaxAddress - (addition.length_bytes - 1)) {
    return Error(absl::StatusCode::kOutOfRange, "IOVA_OVERFLOW",
                 absl::StrCat("iova ", Hex(*addition.iova), " + length ",
                              Hex(addition.length_bytes), " passes the end of the address space"))
        .Errno("EOVERFLOW")
        .Field("iova");
  }
  if (addition.region->suspended) return addition.region->SuspendedError();
  const uint64_t size = addition.region->size_bytes;
  if (addition.offset_bytes >= size || size - addition.offset_bytes < addition.length_bytes) {
    return Error(absl::StatusCode::kOutOfRange, "SOURCE_OUT_OF_BOUNDS",
                 absl::StrCat("offset ", Hex(addition.offset_bytes), " + length ",
                              Hex(addition.length_bytes), " is not inside the memory region of ",
                              Hex(size), " bytes"))
        .Errno("EINVAL")
        .Field("offset");
  }
  const uint64_t alignment = space_.alignment_bytes();
  if (!IsAligned(addition.length_bytes, alignment)) {
    return Misaligned("length", addition.length_bytes, alignment);
  }
  return absl::OkStatus();
}

absl::StatusOr<PlacedArea> Ioas::PlanAdd(const Addition& addition) {
  RETURN_IF_ERROR(CheckSource(addition));
  Iova iova = 0;
  if (addition.iova.has_value()) {
    iova = *addition.iova;
    RETURN_IF_ERROR(space_.CheckPlaceable(IovaRange{iova, iova + (addition.length_bytes - 1)}));
  } else {
    ASSIGN_OR_RETURN(iova, space_.Allocate(areas_, addition.length_bytes, addition.offset_bytes));
  }
  const PlacedArea placed{IovaRange{iova, iova + (addition.length_bytes - 1)},
                          Area(addition.region->uid(), addition.offset_bytes, addition.permission,
                               /*is_planned=*/true)};
  // Inserting finds an area in the way by itself; a check before would walk the tree twice.
  if (!areas_.Insert(placed.range, placed.area)) return space_.CheckFixed(areas_, placed.range);
  absl::Status content =
      CheckContent(addition, space_.alignment_bytes(), Refuses(addition.permission));
  if (!content.ok()) {
    areas_.Erase(iova);
    return content;
  }
  return placed;
}

absl::StatusOr<Iova> Ioas::Allocate(uint64_t length_bytes, uint64_t offset_bytes) const {
  return space_.Allocate(areas_, length_bytes, offset_bytes);
}

void Ioas::UndoAdd(Iova first) { areas_.Erase(first); }

void Ioas::CommitAdd(absl::Span<const BackendMapping> areas) {
  IntervalMap<Area>::iterator at;
  for (const BackendMapping& area : areas) {
    // Mostly the next one of the tree is meant, and no search is needed.
    if (at != areas_.end()) ++at;
    if (at == areas_.end() || at.first() != area.iova) at = areas_.Find(area.iova);
    at.value().planned = 0;
    mapped_bytes_ += area.size_bytes;
  }
  mapping_count_ += areas.size();
}

absl::Status Ioas::PlanRemove(const IovaRange& range, std::vector<PlacedArea>* removed) {
  const size_t before = removed->size();
  for (auto it = areas_.LowerBound(range.first); it != areas_.end() && it.first() <= range.last;
       ++it) {
    const PlacedArea area = Placed(it);
    absl::Status refusal;
    if (!range.Contains(area.range)) {
      refusal = NotCovered(
          absl::StrCat("area ", ToString(area.range), " lies only partly in ", ToString(range)));
    } else if (area.area.planned) {
      refusal = absl::UnavailableError("an area of the range is still being mapped");
    }
    if (!refusal.ok()) {
      removed->resize(before);
      return refusal;
    }
    removed->push_back(area);
  }
  if (removed->size() == before) {
    return NotCovered(absl::StrCat("no area in ", ToString(range)));
  }
  if (removed->size() - before > areas_.size() / 2) {
    RevokeAround(range);
    return absl::OkStatus();
  }
  for (size_t i = before; i < removed->size(); ++i) {
    const PlacedArea& area = (*removed)[i];
    areas_.Erase(area.range.first);
    revoked_.Insert(area.range, area.area);
  }
  return absl::OkStatus();
}

absl::Status Ioas::PlanRemoveAll(std::vector<PlacedArea>* removed) {
  if (areas_.empty()) return absl::OkStatus();
  return PlanRemove(IovaRange{0, kMaxAddress}, removed);
}

void Ioas::RevokeAround(const IovaRange& range) {
  std::vector<PlacedArea> kept;
  for (auto it = areas_.begin(); it != areas_.end() && it.first() < range.first; ++it) {
    kept.push_back(Placed(it));
  }
  auto it = range.last == kMaxAddress ? areas_.end() : areas_.LowerBound(range.last + 1);
  for (; it != areas_.end(); ++it) kept.push_back(Placed(it));
  // Out of both: one that is planned may lie where one is revoked.
  for (const PlacedArea& area : kept) areas_.Erase(area.range.first);
  MoveAll(areas_, revoked_);
  for (const PlacedArea& area : kept) areas_.Insert(area.range, area.area);
}

void Ioas::UndoRemove(absl::Span<const PlacedArea> removed) {
  if (removed.size() == revoked_.size()) {
    MoveAll(revoked_, areas_);
    return;
  }
  for (auto it = removed.rbegin(); it != removed.rend(); ++it) {
    revoked_.Erase(it->range.first);
    areas_.Insert(it->range, it->area);
  }
}

void Ioas::CommitRemove(absl::Span<const PlacedArea> removed) {
  const bool all = removed.size() == revoked_.size();
  if (all) revoked_.Clear();
  for (const PlacedArea& area : removed) {
    if (!all) revoked_.Erase(area.range.first);
    mapped_bytes_ -= area.range.size_bytes();
    suspended_count_ -= area.area.suspended;
  }
  mapping_count_ -= removed.size();
}

std::optional<PlacedArea> Ioas::FindCommitted(Iova iova) const {
  const auto revoked = revoked_.Find(iova);
  if (revoked != revoked_.end()) return Placed(revoked);
  const auto it = areas_.Find(iova);
  if (it == areas_.end() || it.value().planned) return std::nullopt;
  return Placed(it);
}

void Ioas::VisitCommitted(const IovaRange& window,
                          const std::function<bool(const PlacedArea&)>& visit) const {
  auto current = areas_.LowerBound(window.first);
  auto revoked = revoked_.LowerBound(window.first);
  const auto in_window = [&](const IntervalMap<Area>& map, IntervalMap<Area>::const_iterator it) {
    return it != map.end() && it.first() <= window.last;
  };
  while (true) {
    while (in_window(areas_, current) && current.value().planned) ++current;
    const bool has_current = in_window(areas_, current);
    const bool has_revoked = in_window(revoked_, revoked);
    if (!has_current && !has_revoked) return;
    const bool take_revoked = has_revoked && (!has_current || revoked.first() < current.first());
    if (!visit(Placed(take_revoked ? revoked : current))) return;
    if (take_revoked) {
      ++revoked;
    } else {
      ++current;
    }
  }
}

std::vector<IovaRange> Ioas::AreasBeyond(Uid region, uint64_t size_bytes) const {
  std::vector<IovaRange> beyond;
  for (auto it = areas_.begin(); it != areas_.end(); ++it) {
    const Area& area = it.value();
    if (area.region != region || area.suspended) continue;
    if (area.offset_bytes + (it.last() - it.first()) >= size_bytes) beyond.push_back(it.range());
  }
  return beyond;
}

void Ioas::Suspend(absl::Span<const IovaRange> areas) {
  for (const IovaRange& area : areas) areas_.Find(area.first).value().suspended = 1;
  suspended_count_ += areas.size();
}

void Ioas::SetLargePages(bool large_pages) {
  large_pages_ = large_pages;
  if (large_pages) {
    space_.RemoveAlignment(uid());
  } else {
    space_.AddAlignment(uid(), IovaSpace::kPageBytes);
  }
}

std::vector<PlacedArea> Ioas::CommittedAreas() const {
  std::vector<PlacedArea> areas;
  areas.reserve(mapping_count_);
  VisitCommitted(IovaRange{0, kMaxAddress}, [&](const PlacedArea& area) {
    if (!area.area.suspended) areas.push_back(area);
    return true;
  });
  return areas;
}

std::optional<PlacedArea> Ioas::FirstOverlap(const IovaRange& range) const {
  const auto it = areas_.LowerBound(range.first);
  if (it == areas_.end() || it.first() > range.last) return std::nullopt;
  return Placed(it);
}

bool Ioas::Covers(const IovaRange& range) const {
  Iova next = range.first;
  for (auto it = areas_.LowerBound(range.first); it != areas_.end() && it.first() <= next; ++it) {
    if (it.last() >= range.last) return true;
    next = it.last() + 1;
  }
  return false;
}

void Ioas::AddPermissionLimits(const DomainProperties& properties) {
  for (const Permission p : {Permission::kRead, Permission::kWrite}) {
    if (!CanHold(properties, p)) ++refusing_[static_cast<size_t>(p)];
  }
}

void Ioas::RemovePermissionLimits(const DomainProperties& properties) {
  for (const Permission p : {Permission::kRead, Permission::kWrite}) {
    if (!CanHold(properties, p)) --refusing_[static_cast<size_t>(p)];
  }
}

absl::Status Ioas::CheckPermissions(const DomainProperties& properties) const {
  if (properties.read_only && properties.write_only) return absl::OkStatus();
  for (auto it = areas_.begin(); it != areas_.end(); ++it) {
    const Permission permission = it.value().permissions();
    // What is suspended does not come into the tables.
    if (it.value().suspended != 0 || CanHold(properties, permission)) continue;
    const std::string where = ToString(it.range());
    return Error(absl::StatusCode::kFailedPrecondition, "PERMISSION_UNAVAILABLE",
                 absl::StrCat("area ", where, " is ", InWords(permission),
                              ", which the domain's tables can not hold"))
        .Errno("EINVAL")
        .Violation(absl::StrCat("unmap ", where));
  }
  return absl::OkStatus();
}

absl::Status Ioas::CheckAlignment(uint64_t alignment_bytes) const {
  for (auto it = areas_.begin(); it != areas_.end(); ++it) {
    const PlacedArea area = Placed(it);
    if (IsAligned(area.range.first, alignment_bytes) &&
        IsAligned(area.range.last + 1, alignment_bytes) &&
        IsAligned(area.area.offset_bytes, alignment_bytes)) {
      continue;
    }
    return Error(absl::StatusCode::kFailedPrecondition, "IOVA_CONFLICT",
                 absl::StrCat("area ", ToString(area.range), " with source offset ",
                              Hex(area.area.offset_bytes), " is not aligned to ",
                              Hex(alignment_bytes)))
        .Errno("EADDRINUSE")
        .Violation(absl::StrCat("unmap ", ToString(area.range)));
  }
  return absl::OkStatus();
}

}  // namespace viommu
