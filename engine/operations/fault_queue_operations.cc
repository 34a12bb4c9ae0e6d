#include "engine/operations/fault_queue_operations.h"

#include <memory>

#include "engine/model/views.h"

namespace viommu {

absl::Status CreateFaultQueueOperation::Plan(Model& model) {
  if (depth_ > kMaxFaultQueueDepth) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_DEPTH",
                 absl::StrCat("depth ", depth_, " is above ", kMaxFaultQueueDepth))
        .Errno("EINVAL")
        .Field("fault_queue.depth");
  }
  ASSIGN_OR_RETURN(queue_,
                   model.Reserve(std::make_unique<FaultQueue>(
                       context().principal, model.IdOrGenerated(id_, ObjectKind::kFaultQueue),
                       model.objects.NextUid(), depth_ == 0 ? kDefaultFaultQueueDepth : depth_)));
  answer() = ViewOf(model, *queue_, context().principal);
  return absl::OkStatus();
}

void CreateFaultQueueOperation::Unplan(Model& model) { model.Discard(*queue_); }

LogicalOperation CreateFaultQueueOperation::Logical() const {
  return record::CreateFaultQueue{queue_->uid(), queue_->id(), queue_->depth};
}

void CreateFaultQueueOperation::Commit(Model& model) {
  model.Publish(*queue_);
  answer() = ViewOf(model, *queue_, context().principal);
}

absl::Status DeleteFaultQueueOperation::Plan(Model& model) {
  RETURN_IF_ERROR(DeleteOperation::Plan(model));
  if (!object().streamed()) return absl::OkStatus();
  Unplan(model);
  const std::string name = object().NameFor(context().principal);
  return Error(absl::StatusCode::kFailedPrecondition, "IN_USE",
               absl::StrCat("a stream of the faults in ", name, " is open"))
      .Errno("EBUSY")
      .Resource(name)
      .Violation("end the stream of its faults");
}

}  // namespace viommu
