// engine/operations/memory_region_operations.h -- Creating and destroying memory regions.
// Errors: those of Engine::CreateMemoryRegion and Engine::DeleteMemoryRegion.
#ifndef VIOMMU_ENGINE_OPERATIONS_MEMORY_REGION_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_MEMORY_REGION_OPERATIONS_H_

#include <optional>
#include <string>
#include <vector>

#include "engine/operations/delete_operation.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class CreateMemoryRegionOperation : public AnsweringOperation<MemoryRegionView> {
 public:
  CreateMemoryRegionOperation(CallContext context, std::string id, uint64_t size_bytes,
                              std::optional<int32_t> numa_node, bool read_only)
      : AnsweringOperation(std::move(context)),
        id_(std::move(id)),
        size_bytes_(size_bytes),
        numa_node_(numa_node),
        read_only_(read_only) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model&) override { return std::vector<Uid>(); }
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  absl::Status Validate(const Model& model) const;

  const std::string id_;
  const uint64_t size_bytes_;
  const std::optional<int32_t> numa_node_;
  const bool read_only_;
  MemoryRegion* region_ = nullptr;
};

class DeleteMemoryRegionOperation : public DeleteOperation<MemoryRegion> {
 public:
  using DeleteOperation::DeleteOperation;
  absl::Status Apply(Backend& backend) override {
    return backend.DestroyMemoryRegion(object().uid());
  }
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_MEMORY_REGION_OPERATIONS_H_
