// engine/operations/domain_operations.h -- Creating PAGING domains, and destroying domains.
// Errors: those of Engine::CreateDomain and DeleteDomain.
#ifndef VIOMMU_ENGINE_OPERATIONS_DOMAIN_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_DOMAIN_OPERATIONS_H_

#include <string>
#include <vector>

#include "engine/operations/delete_operation.h"
#include "engine/operations/domain_making.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class CreateDomainOperation : public AnsweringOperation<DomainView> {
 public:
  CreateDomainOperation(CallContext context, std::string id, PagingDomainRequest request)
      : AnsweringOperation(std::move(context)), id_(std::move(id)), request_(std::move(request)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  absl::Status CheckOptions(const Model& model, const Device& device) const;

  const std::string id_;
  const PagingDomainRequest request_;
  DomainMaking making_;
};

class DeleteDomainOperation : public DeleteOperation<Domain> {
 public:
  using DeleteOperation::DeleteOperation;
  absl::Status Apply(Backend& backend) override { return backend.DestroyDomain(object().uid()); }

 private:
  std::vector<Uid> OtherLanes(const Model&, const Domain& domain) override;
  void DropWhatItHolds(Model& model) override;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_DOMAIN_OPERATIONS_H_
