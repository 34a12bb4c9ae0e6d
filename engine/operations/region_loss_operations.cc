#include "engine/operations/region_loss_operations.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/pins.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;

}  // namespace

absl::StatusOr<std::vector<Uid>> RegionLossOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const MemoryRegion* region, model.Find<MemoryRegion>(context(), ref_));
  std::vector<Uid> lanes{region->uid()};
  for (const auto& [holder, count] : region->referrers()) lanes.push_back(holder);
  std::sort(lanes.begin(), lanes.end());
  return lanes;
}

absl::Status RegionLossOperation::CheckSize() const {
  if (region_->suspended) return region_->SuspendedError();
  const uint64_t most = region_->capacity_bytes;
  if (*size_bytes_ != 0 && IsAligned(*size_bytes_, kPageBytes) && *size_bytes_ <= most) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_SIZE",
               absl::StrCat("size ", *size_bytes_, " is not a multiple of 4096 from 4096 to ", most,
                            ", the size it was made with"))
      .Errno("EINVAL")
      .Field("size_bytes");
}

absl::Status RegionLossOperation::CheckHost(const Model& model) const {
  const uint64_t end = size_bytes_.value_or(0);
  for (const Group& group : model.groups) {
    const std::string device = model.devices[group.members[0]].Name();
    for (auto it = group.host.areas.begin(); it != group.host.areas.end(); ++it) {
      const Area& area = it.value();
      if (area.region != region_->uid()) continue;
      if (area.offset_bytes + (it.last() - it.first()) < end) continue;
      return Error(absl::StatusCode::kFailedPrecondition, "HOST_MAPPINGS",
                   absl::StrCat("the host maps ", region_->NameFor(context().principal), " at ",
                                ToString(it.range()), " for ", device))
          .Errno("EBUSY")
          .Resource(device)
          .Violation(absl::StrCat("unmap ", ToString(it.range()), " as the host"));
    }
  }
  return absl::OkStatus();
}

void RegionLossOperation::FindLosses(const Model& model) {
  losses_.clear();
  for (const auto& [holder, count] : region_->referrers()) {
    Object* const object = model.objects.FindByUid(holder);
    if (object == nullptr || object->kind() != ObjectKind::kIoas) continue;  // The host's group.
    Ioas* const ioas = static_cast<Ioas*>(object);
    std::vector<IovaRange> areas = ioas->AreasBeyond(region_->uid(), size_bytes_.value_or(0));
    if (!areas.empty()) losses_.push_back({ioas, std::move(areas)});
  }
}

absl::Status RegionLossOperation::CheckPins(const Model& model) const {
  for (const Loss& loss : losses_) {
    for (const IovaRange& area : loss.areas) {
      RETURN_IF_ERROR(CheckNotPinned(model, *loss.ioas, area, context()));
    }
  }
  return absl::OkStatus();
}

absl::Status RegionLossOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(region_, model.Find<MemoryRegion>(context(), ref_));
  RETURN_IF_ERROR(Model::CheckEtag(etag_, region_->Etag(), region_->NameFor(context().principal)));
  if (size_bytes_.has_value()) RETURN_IF_ERROR(CheckSize());
  RETURN_IF_ERROR(CheckHost(model));
  previous_bytes_ = region_->size_bytes;
  changes_ = size_bytes_.has_value() ? *size_bytes_ != previous_bytes_ : !region_->suspended;
  if (!changes_) {
    answer() = ViewOf(*region_, context().principal);
    return absl::OkStatus();
  }
  FindLosses(model);
  RETURN_IF_ERROR(CheckPins(model));
  // Maps that are planned meanwhile may use neither what is about to go nor what is yet to come.
  if (size_bytes_.has_value() && shrinks()) region_->size_bytes = *size_bytes_;
  if (!size_bytes_.has_value()) region_->suspended = true;
  answer() = ViewOf(*region_, context().principal);
  answer().size_bytes = size_bytes_.value_or(previous_bytes_);
  return absl::OkStatus();
}

void RegionLossOperation::Unplan(Model&) {
  region_->size_bytes = previous_bytes_;
  region_->suspended = false;
}

LogicalOperation RegionLossOperation::Logical() const {
  return record::ResizeMemoryRegion{region_->uid(), size_bytes_.value_or(0)};
}

absl::Status RegionLossOperation::Apply(Backend& backend) {
  absl::Status result;
  // Nobody keeps what is gone because somebody else's flush failed.
  for (const Loss& loss : losses_) result.Update(backend.Unmap(loss.ioas->uid(), loss.areas));
  return result;
}

void RegionLossOperation::Commit(Model& model) {
  if (size_bytes_.has_value()) region_->size_bytes = *size_bytes_;
  model.Bump(*region_);
  for (const Loss& loss : losses_) {
    loss.ioas->Suspend(loss.areas);
    loss.ioas->mapping_revision = model.revision;
  }
  answer() = ViewOf(*region_, context().principal);
}

}  // namespace viommu
