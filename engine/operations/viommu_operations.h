// engine/operations/viommu_operations.h -- Creating and destroying Viommus. Errors: those of
// Engine::CreateViommu and DeleteViommu.
#ifndef VIOMMU_ENGINE_OPERATIONS_VIOMMU_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_VIOMMU_OPERATIONS_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/operations/delete_operation.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class CreateViommuOperation : public AnsweringOperation<ViommuView> {
 public:
  CreateViommuOperation(CallContext context, std::string id, ViommuRequest request)
      : AnsweringOperation(std::move(context)), id_(std::move(id)), request_(std::move(request)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  // What can be said without the parent, in the order of the kernel; then the parent.
  absl::StatusOr<Domain*> FindParent(Model& model, const Device& device) const;

  const std::string id_;
  const ViommuRequest request_;
  Domain* parent_ = nullptr;  // Stays, as its lane is held.
  Viommu* viommu_ = nullptr;
};

class DeleteViommuOperation : public DeleteOperation<Viommu> {
 public:
  using DeleteOperation::DeleteOperation;
  absl::Status Apply(Backend& backend) override {
    return backend.viommus()->DestroyViommu(object().uid());
  }

 private:
  std::vector<Uid> OtherLanes(const Model&, const Viommu& viommu) override {
    return {viommu.parent};
  }
  void DropWhatItHolds(Model& model) override;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_VIOMMU_OPERATIONS_H_
