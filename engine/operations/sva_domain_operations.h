// engine/operations/sva_domain_operations.h -- Creating SVA domains: a device shares the address
// space of a (simulated) process, under the PASID of that process.
// Errors: those of Engine::CreateDomain.
#ifndef VIOMMU_ENGINE_OPERATIONS_SVA_DOMAIN_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_SVA_DOMAIN_OPERATIONS_H_

#include <string>
#include <vector>

#include "engine/operations/domain_making.h"
#include "engine/pipeline/operation.h"

namespace viommu {

class CreateSvaDomainOperation : public AnsweringOperation<DomainView> {
 public:
  CreateSvaDomainOperation(CallContext context, std::string id, SvaDomainRequest request)
      : AnsweringOperation(std::move(context)), id_(std::move(id)), request_(std::move(request)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  // The process's PASID, one use more, when the device can issue it.
  absl::Status TakePasid(Model& model, const Device& device);

  const std::string id_;
  const SvaDomainRequest request_;
  Ioas* process_ = nullptr;  // Stays, as its lane is held.
  uint32_t pasid_ = 0;
  DomainMaking making_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_SVA_DOMAIN_OPERATIONS_H_
