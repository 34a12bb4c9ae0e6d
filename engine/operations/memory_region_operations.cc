#include "engine/operations/memory_region_operations.h"

#include <algorithm>
#include <memory>

#include "engine/model/views.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;

}  // namespace

absl::Status CreateMemoryRegionOperation::Validate(const Model& model) const {
  if (size_bytes_ == 0 || size_bytes_ % kPageBytes != 0 || size_bytes_ > kMaxRegionBytes) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_SIZE",
                 absl::StrCat("size ", size_bytes_, " is not a multiple of 4096 from 4096 to ",
                              kMaxRegionBytes))
        .Errno("EINVAL")
        .Field("memory_region.size_bytes");
  }
  if (!numa_node_.has_value()) return absl::OkStatus();
  const std::vector<IommuSpec>& iommus = model.backend().topology().iommus;
  const std::vector<DeviceSpec>& devices = model.backend().topology().devices;
  const auto on_node = [&](const auto& spec) { return spec.numa_node == numa_node_; };
  if (std::any_of(iommus.begin(), iommus.end(), on_node) ||
      std::any_of(devices.begin(), devices.end(), on_node)) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_NUMA_NODE",
               absl::StrCat("the host has no NUMA node ", *numa_node_))
      .Errno("EINVAL")
      .Field("memory_region.numa_node");
}

absl::Status CreateMemoryRegionOperation::Plan(Model& model) {
  RETURN_IF_ERROR(Validate(model));
  ASSIGN_OR_RETURN(region_,
                   model.Reserve(std::make_unique<MemoryRegion>(
                       context().principal, model.IdOrGenerated(id_, ObjectKind::kMemoryRegion),
                       model.objects.NextUid(), size_bytes_, numa_node_, read_only_)));
  answer() = ViewOf(*region_, context().principal);
  return absl::OkStatus();
}

void CreateMemoryRegionOperation::Unplan(Model& model) { model.Discard(*region_); }

LogicalOperation CreateMemoryRegionOperation::Logical() const {
  return record::CreateMemoryRegion{region_->uid(), region_->id(), size_bytes_, numa_node_,
                                    read_only_};
}

absl::Status CreateMemoryRegionOperation::Apply(Backend& backend) {
  return backend.CreateMemoryRegion(region_->uid(), size_bytes_, numa_node_);
}

void CreateMemoryRegionOperation::Commit(Model& model) {
  model.Publish(*region_);
  answer() = ViewOf(*region_, context().principal);
}

}  // namespace viommu
