// engine/operations/nested_domain_operations.h -- Creating NESTED domains: a guest's first stage on
// a nest parent. Errors: those of Engine::CreateDomain.
#ifndef VIOMMU_ENGINE_OPERATIONS_NESTED_DOMAIN_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_NESTED_DOMAIN_OPERATIONS_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/pipeline/operation.h"

namespace viommu {

class CreateNestedDomainOperation : public AnsweringOperation<DomainView> {
 public:
  CreateNestedDomainOperation(CallContext context, std::string id, NestedDomainRequest request)
      : AnsweringOperation(std::move(context)), id_(std::move(id)), request_(std::move(request)) {}

  // The parent's, not that of its Ioas: mappings there may go on.
  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  absl::StatusOr<Domain*> FindParent(const Model& model) const;
  // In the order of the kernel: what the unit can not do, the parent, the guest's own values.
  absl::Status CheckRequest(const Model& model, const Device& device, const Domain& parent) const;

  const std::string id_;
  const NestedDomainRequest request_;
  Domain* parent_ = nullptr;  // Stays, as its lane is held.
  Domain* domain_ = nullptr;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_NESTED_DOMAIN_OPERATIONS_H_
