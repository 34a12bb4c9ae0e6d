#include "engine/operations/event_queue_operations.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/viommu_views.h"

namespace viommu {
namespace {

void DropFrom(Viommu& viommu, const ViommuEventQueue& queue) {
  viommu.event_queues.erase(queue.type);
  viommu.DropReferences(queue.uid(), 1);
}

}  // namespace

absl::StatusOr<std::vector<Uid>> CreateEventQueueOperation::Lanes(Model& model) {
  RETURN_IF_ERROR(CheckDepth());
  ASSIGN_OR_RETURN(const Viommu* viommu, model.Find<Viommu>(context(), viommu_ref_));
  return std::vector<Uid>{viommu->uid()};
}

absl::Status CreateEventQueueOperation::CheckDepth() const {
  if (depth_ >= 1 && depth_ <= kMaxEventQueueDepth) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_DEPTH",
               absl::StrCat("depth ", depth_, " is not from 1 to ", kMaxEventQueueDepth))
      .Errno("EINVAL")
      .Field("event_queue.depth");
}

absl::Status CreateEventQueueOperation::CheckType(const Model& model) const {
  // Of what type a Viommu is, its events are (Q10).
  const bool fits =
      type_ == ViommuEventType::kArmSmmuV3 || viommu_->type == ViommuType::kTegra241Cmdqv;
  const std::string& principal = context().principal;
  if (!fits) {
    return Error(absl::StatusCode::kUnimplemented, "EVENT_TYPE_UNAVAILABLE",
                 absl::StrCat(viommu_->NameFor(principal), " has no such events"))
        .Errno("EOPNOTSUPP")
        .Field("event_queue.type");
  }
  const auto taken = viommu_->event_queues.find(type_);
  if (taken == viommu_->event_queues.end()) return absl::OkStatus();
  const std::string name = model.Get<ViommuEventQueue>(taken->second)->NameFor(principal);
  return Error(absl::StatusCode::kAlreadyExists, "EVENT_QUEUE_EXISTS",
               absl::StrCat(name, " takes the events of this type"))
      .Errno("EEXIST")
      .Field("event_queue.type")
      .Resource(name);
}

absl::Status CreateEventQueueOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(viommu_, model.Find<Viommu>(context(), viommu_ref_));
  RETURN_IF_ERROR(CheckType(model));
  ASSIGN_OR_RETURN(queue_, model.Reserve(std::make_unique<ViommuEventQueue>(
                               viommu_->owner(),
                               model.ChildIdOrGenerated(*viommu_, id_, ObjectKind::kEventQueue),
                               model.objects.NextUid(), viommu_->uid(), type_, depth_)));
  viommu_->event_queues[type_] = queue_->uid();
  viommu_->AddReferences(queue_->uid(), 1);
  answer() = ViewOf(model, *queue_, context().principal);
  return absl::OkStatus();
}

void CreateEventQueueOperation::Unplan(Model& model) {
  DropFrom(*viommu_, *queue_);
  model.Discard(*queue_);
}

LogicalOperation CreateEventQueueOperation::Logical() const {
  return record::CreateEventQueue{queue_->uid(), queue_->id(), viommu_->uid(),
                                  static_cast<int>(type_), depth_};
}

void CreateEventQueueOperation::Commit(Model& model) {
  model.Publish(*queue_);
  model.Touch(*viommu_);  // It shows its queues.
  answer() = ViewOf(model, *queue_, context().principal);
}

void DeleteEventQueueOperation::DropWhatItHolds(Model& model) {
  Viommu& viommu = *model.Get<Viommu>(object().viommu);
  DropFrom(viommu, object());
  model.Touch(viommu);
}

}  // namespace viommu
