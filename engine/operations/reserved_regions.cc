#include "engine/operations/reserved_regions.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

using Scope = RegionDemand::Scope;

bool IsIn(Scope scope, ReservedRegionType type) {
  if (scope == Scope::kSwMsi) return type == ReservedRegionType::kSwMsi;
  return scope == Scope::kAll && IsEnforced(type);
}

absl::Status CloseOne(Ioas& ioas, const Device& device, const ReservedRegion& region) {
  return CloseRegion(ioas, device, region, device.uid, "reserved region");
}

// Leaves of what a device closes in an Ioas only what belongs to `scope`.
void Reduce(Model& model, Uid ioas_uid, Scope scope, const Device& device) {
  Ioas& ioas = *model.Get<Ioas>(ioas_uid);
  ioas.space().Unreserve(device.uid);
  for (const ReservedRegion& region : device.spec.reserved_regions) {
    // It was closed a moment ago, so nothing can be in the way.
    if (IsIn(scope, region.type)) CloseOne(ioas, device, region).IgnoreError();
  }
}

}  // namespace

bool IsEnforced(ReservedRegionType type) { return type != ReservedRegionType::kDirectRelaxable; }

absl::Status CloseRegion(Ioas& ioas, const Device& device, const ReservedRegion& region,
                         uint64_t holder, absl::string_view what) {
  const std::optional<PlacedArea> area = ioas.FirstOverlap(region.range);
  if (area.has_value()) {
    return Error(absl::StatusCode::kFailedPrecondition, "IOVA_CONFLICT",
                 absl::StrCat("area ", ToString(area->range), " lies in the reserved region ",
                              ToString(region.range), " of ", device.Name()))
        .Errno("EADDRINUSE")
        .Resource(device.Name())
        .Violation(absl::StrCat("unmap ", ToString(area->range)));
  }
  return ioas.space().Reserve(region.range, holder, absl::StrCat(what, " of ", device.Name()));
}

RegionDemand RegionDemandOf(const Model& model, const DomainTarget& target) {
  if (target.kind != DomainTarget::Kind::kDomain) return {};
  const Domain& domain = *model.Get<Domain>(target.domain);
  return {domain.nested() ? Scope::kSwMsi : Scope::kAll, domain.ioas};
}

bool RegionMove::Grows() const {
  if (to_.scope == Scope::kNone) return false;
  return !SameIoas() || to_.scope > from_.scope;
}

absl::Status RegionMove::Close(Model& model, const Device& device) {
  Ioas& ioas = *model.Get<Ioas>(to_.ioas);
  for (const ReservedRegion& region : device.spec.reserved_regions) {
    if (!IsIn(to_.scope, region.type)) continue;
    if (SameIoas() && IsIn(from_.scope, region.type)) continue;
    RETURN_IF_ERROR(CloseOne(ioas, device, region));
  }
  return absl::OkStatus();
}

absl::Status RegionMove::Plan(Model& model) {
  if (!Grows()) return absl::OkStatus();
  for (const DeviceIndex index : devices_) {
    absl::Status closed = Close(model, model.devices[index]);
    if (closed.ok()) continue;
    Unplan(model);
    return closed;
  }
  return absl::OkStatus();
}

void RegionMove::Unplan(Model& model) {
  if (!Grows()) return;
  const Scope before = SameIoas() ? from_.scope : Scope::kNone;
  for (const DeviceIndex index : devices_) Reduce(model, to_.ioas, before, model.devices[index]);
}

void RegionMove::Commit(Model& model) {
  if (from_.scope == Scope::kNone) return;
  if (SameIoas() && to_.scope >= from_.scope) return;
  const Scope after = SameIoas() ? to_.scope : Scope::kNone;
  for (const DeviceIndex index : devices_) Reduce(model, from_.ioas, after, model.devices[index]);
}

std::vector<ReservedRegionView> RegionMove::Only(const Model& model, const RegionDemand& here,
                                                 const RegionDemand& there) const {
  std::vector<ReservedRegionView> regions;
  for (const DeviceIndex index : devices_) {
    const Device& device = model.devices[index];
    for (const ReservedRegion& region : device.spec.reserved_regions) {
      if (!IsIn(here.scope, region.type)) continue;
      if (SameIoas() && IsIn(there.scope, region.type)) continue;
      regions.push_back({region, device.Name()});
    }
  }
  return regions;
}

std::vector<ReservedRegionView> RegionMove::Gained(const Model& model) const {
  return Only(model, to_, from_);
}

std::vector<ReservedRegionView> RegionMove::Lost(const Model& model) const {
  return Only(model, from_, to_);
}

}  // namespace viommu
