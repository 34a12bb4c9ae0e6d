#include "engine/operations/pins.h"

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr uint64_t kPageMask = 0xfff;

absl::Status InUse(const Model& model, const Ioas& ioas, const Ioas::Pin& pin,
                   const CallContext& context) {
  const Object& holder = *model.objects.FindByUid(pin.holder);
  const bool may_know = context.is_operator || holder.owner() == context.principal;
  const std::string by =
      may_know ? holder.NameFor(context.principal) : std::string("another owner's object");
  const std::string name = ioas.NameFor(context.principal);
  return Error(absl::StatusCode::kFailedPrecondition, "IN_USE",
               absl::StrCat(ToString(pin.range), " of ", name, " is in use by ", by))
      .Errno("EBUSY")
      .Resource(name)
      .Violation(by);
}

absl::Status CheckPinnable(const PlacedArea& area) {
  if (area.area.suspended != 0) {
    return Error(
               absl::StatusCode::kFailedPrecondition, "MAPPING_SUSPENDED",
               absl::StrCat("area ", ToString(area.range), " is not in force: its memory is gone"))
        .Errno("ENODEV")
        .Field("hardware_queue.base")
        .Violation(absl::StrCat("unmap ", ToString(area.range)));
  }
  if (CanRead(area.area.permissions())) return absl::OkStatus();
  return Error(absl::StatusCode::kPermissionDenied, "PERMISSION_MISSING",
               absl::StrCat("area ", ToString(area.range), " can not be read"))
      .Errno("EPERM")
      .Field("hardware_queue.base");
}

absl::Status NotContiguous(const PlacedArea& area) {
  return Error(absl::StatusCode::kFailedPrecondition, "MEMORY_UNAVAILABLE",
               absl::StrCat("the memory at ", Hex(area.range.first),
                            " does not follow on that before it"))
      .Errno("EFAULT")
      .Field("hardware_queue.base")
      .Violation("map the queue from one memory region, without a gap");
}

}  // namespace

absl::StatusOr<IovaRange> PagesToPin(const Ioas& ioas, const IovaRange& range) {
  const IovaRange pages{range.first & ~kPageMask, range.last | kPageMask};
  std::optional<PlacedArea> before;
  for (Iova at = pages.first;;) {
    const std::optional<PlacedArea> area = ioas.FindCommitted(at);
    if (!area.has_value()) {
      return Error(absl::StatusCode::kNotFound, "IOVA_NOT_COVERED",
                   absl::StrCat("no area covers ", Hex(at)))
          .Errno("ENOENT")
          .Field("hardware_queue.base")
          .ToStatus();
    }
    RETURN_IF_ERROR(CheckPinnable(*area));
    if (before.has_value()) {
      const uint64_t follows = before->area.offset_bytes + before->range.size_bytes();
      const bool contiguous =
          area->area.region == before->area.region && area->area.offset_bytes == follows;
      if (!contiguous) return NotContiguous(*area);
    }
    if (area->range.last >= pages.last) return pages;
    at = area->range.last + 1;
    before = area;
  }
}

absl::Status CheckPinsCovered(const Model& model, const Ioas& ioas, const CallContext& context) {
  for (const Ioas::Pin& pin : ioas.pins) {
    if (!ioas.Covers(pin.range)) return InUse(model, ioas, pin, context);
  }
  return absl::OkStatus();
}

absl::Status CheckNotPinned(const Model& model, const Ioas& ioas, const IovaRange& area,
                            const CallContext& context) {
  for (const Ioas::Pin& pin : ioas.pins) {
    if (pin.range.Overlaps(area)) return InUse(model, ioas, pin, context);
  }
  return absl::OkStatus();
}

}  // namespace viommu
