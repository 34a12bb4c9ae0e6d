#include "engine/operations/hardware_queue_operations.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/viommu_views.h"
#include "engine/operations/pins.h"

namespace viommu {
namespace {

Ioas& IoasBelow(const Model& model, const Viommu& viommu) {
  return *model.Get<Ioas>(model.Get<Domain>(viommu.parent)->ioas);
}

// What a queue, which is about to be discarded, holds.
void DropQueue(Model& model, const HardwareQueue& queue) {
  Viommu& viommu = *model.Get<Viommu>(queue.viommu);
  viommu.hardware_queues.erase(queue.spec.index);
  viommu.DropReferences(queue.uid(), 1);
  if (queue.spec.index > 0) {
    const Uid before = viommu.hardware_queues.at(queue.spec.index - 1);
    model.Get<HardwareQueue>(before)->DropReferences(queue.uid(), 1);
  }
  std::vector<Ioas::Pin>& pins = IoasBelow(model, viommu).pins;
  pins.erase(std::remove_if(pins.begin(), pins.end(),
                            [&](const Ioas::Pin& pin) { return pin.holder == queue.uid(); }),
             pins.end());
}

}  // namespace

absl::StatusOr<IovaRange> CreateHardwareQueueOperation::CheckedRange() const {
  const HardwareQueueSpec& spec = request_.spec;
  if (spec.length_bytes == 0) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_LENGTH", "the length is 0")
        .Errno("EINVAL")
        .Field("hardware_queue.length")
        .ToStatus();
  }
  if (spec.base > kMaxAddress - (spec.length_bytes - 1)) {
    return Error(absl::StatusCode::kOutOfRange, "IOVA_OVERFLOW",
                 absl::StrCat("base ", Hex(spec.base), " + length ", Hex(spec.length_bytes),
                              " passes the end of the address space"))
        .Errno("EOVERFLOW")
        .Field("hardware_queue.base")
        .ToStatus();
  }
  return IovaRange{spec.base, spec.base + (spec.length_bytes - 1)};
}

absl::Status CreateHardwareQueueOperation::CheckAvailable(const Model& model,
                                                          const Viommu& viommu) const {
  if (model.backend().DescribeViommus(viommu.device).hardware_queues > 0) return absl::OkStatus();
  return Error(absl::StatusCode::kUnimplemented, "HARDWARE_QUEUES_UNAVAILABLE",
               absl::StrCat("iommus/", viommu.iommu, " reads no command queues of guests"))
      .Errno("EOPNOTSUPP")
      .Field("hardware_queue.type")
      .Resource(viommu.NameFor(context().principal));
}

absl::StatusOr<std::vector<Uid>> CreateHardwareQueueOperation::Lanes(Model& model) {
  RETURN_IF_ERROR(CheckedRange().status());
  ASSIGN_OR_RETURN(const Viommu* viommu, model.Find<Viommu>(context(), viommu_ref_));
  RETURN_IF_ERROR(CheckAvailable(model, *viommu));
  return std::vector<Uid>{viommu->uid(), IoasBelow(model, *viommu).uid()};
}

absl::Status CreateHardwareQueueOperation::CheckIndex(const Model& model) const {
  const uint32_t index = request_.spec.index;
  const uint32_t count = model.backend().DescribeViommus(viommu_->device).hardware_queues;
  const std::string& principal = context().principal;
  if (index >= count) {
    return Error(absl::StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE",
                 absl::StrCat("index ", index, " is not below ", count))
        .Errno("EINVAL")
        .Field("hardware_queue.index");
  }
  const auto taken = viommu_->hardware_queues.find(index);
  if (taken != viommu_->hardware_queues.end()) {
    const std::string name = model.Get<HardwareQueue>(taken->second)->NameFor(principal);
    return Error(absl::StatusCode::kAlreadyExists, "HARDWARE_QUEUE_EXISTS",
                 absl::StrCat(name, " has index ", index))
        .Errno("EEXIST")
        .Field("hardware_queue.index")
        .Resource(name);
  }
  if (index == 0 || viommu_->hardware_queues.contains(index - 1)) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "QUEUE_ORDER",
               absl::StrCat(viommu_->NameFor(principal), " has no queue with index ", index - 1))
      .Errno("EIO")
      .Field("hardware_queue.index")
      .Violation(absl::StrCat("make the queue with index ", index - 1, " first"));
}

absl::Status CreateHardwareQueueOperation::CheckLength(const Model& model) const {
  const ViommuSupport support = model.backend().DescribeViommus(viommu_->device);
  const HardwareQueueSpec& spec = request_.spec;
  if (!IsPowerOfTwo(spec.length_bytes) || spec.length_bytes < support.min_hardware_queue_bytes ||
      spec.length_bytes > support.max_hardware_queue_bytes) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_LENGTH",
                 absl::StrCat("length ", spec.length_bytes, " is no power of two from ",
                              support.min_hardware_queue_bytes, " to ",
                              support.max_hardware_queue_bytes))
        .Errno("EINVAL")
        .Field("hardware_queue.length");
  }
  if (IsAligned(spec.base, spec.length_bytes)) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "MISALIGNED",
               absl::StrCat("base ", Hex(spec.base), " is not a multiple of the length ",
                            Hex(spec.length_bytes)))
      .Errno("EINVAL")
      .Field("hardware_queue.base")
      .Meta("alignment", Hex(spec.length_bytes));
}

absl::Status CreateHardwareQueueOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const IovaRange range, CheckedRange());
  ASSIGN_OR_RETURN(viommu_, model.Find<Viommu>(context(), viommu_ref_));
  RETURN_IF_ERROR(CheckAvailable(model, *viommu_));
  Ioas& ioas = IoasBelow(model, *viommu_);
  ASSIGN_OR_RETURN(const IovaRange pages, PagesToPin(ioas, range));
  RETURN_IF_ERROR(CheckIndex(model));
  RETURN_IF_ERROR(CheckLength(model));
  ASSIGN_OR_RETURN(queue_, model.Reserve(std::make_unique<HardwareQueue>(
                               viommu_->owner(),
                               model.ChildIdOrGenerated(*viommu_, id_, ObjectKind::kHardwareQueue),
                               model.objects.NextUid(), viommu_->uid(), request_)));
  ioas.pins.push_back({pages, queue_->uid()});
  viommu_->AddReferences(queue_->uid(), 1);
  const uint32_t index = request_.spec.index;
  if (index > 0) {
    model.Get<HardwareQueue>(viommu_->hardware_queues.at(index - 1))
        ->AddReferences(queue_->uid(), 1);
  }
  viommu_->hardware_queues[index] = queue_->uid();
  answer() = ViewOf(model, *queue_, context().principal);
  return absl::OkStatus();
}

void CreateHardwareQueueOperation::Unplan(Model& model) {
  DropQueue(model, *queue_);
  model.Discard(*queue_);
}

LogicalOperation CreateHardwareQueueOperation::Logical() const {
  const HardwareQueueSpec& spec = queue_->spec;
  return record::CreateHardwareQueue{
      queue_->uid(), queue_->id(), viommu_->uid(),   static_cast<int>(queue_->type),
      spec.index,    spec.base,    spec.length_bytes};
}

absl::Status CreateHardwareQueueOperation::Apply(Backend& backend) {
  return backend.viommus()->CreateHardwareQueue(queue_->uid(), viommu_->uid(), queue_->spec);
}

void CreateHardwareQueueOperation::Commit(Model& model) {
  model.Publish(*queue_);
  model.Touch(*viommu_);  // It shows its queues.
  answer() = ViewOf(model, *queue_, context().principal);
}

// ---- Delete ----

std::vector<Uid> DeleteHardwareQueueOperation::OtherLanes(const Model& model,
                                                          const HardwareQueue& queue) {
  const Viommu& viommu = *model.Get<Viommu>(queue.viommu);
  return {viommu.uid(), IoasBelow(model, viommu).uid()};
}

void DeleteHardwareQueueOperation::DropWhatItHolds(Model& model) {
  DropQueue(model, object());
  model.Touch(*model.Get<Viommu>(object().viommu));
}

}  // namespace viommu
