// engine/operations/nested_domain_operations.h -- Creating NESTED domains: a guest's first stage on
// a nest parent, or on a Viommu. Errors: those of Engine::CreateDomain.
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

  // The parent's or the Viommu's, not that of the Ioas below: mappings there may go on.
  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  // What the domain stands on.
  struct Base {
    Domain* parent = nullptr;
    Viommu* viommu = nullptr;  // Null: on the parent itself.

    Object& object() const {
      if (viommu != nullptr) return *viommu;
      return *parent;
    }
  };

  absl::StatusOr<Domain*> FindParent(const Model& model) const;
  absl::StatusOr<Base> FindBase(const Model& model) const;
  // In the order of the kernel: what the unit can not do, the parent, the guest's own values.
  absl::Status CheckOnParent(const Model& model, const Device& device, const Domain& parent) const;
  absl::Status CheckOnViommu(const Model& model, const Device& device, const Viommu& viommu) const;
  DomainSpec SpecFor(const Device& device, const Base& base) const;

  const std::string id_;
  const NestedDomainRequest request_;
  Object* base_ = nullptr;  // Stays, as its lane is held.
  Domain* domain_ = nullptr;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_NESTED_DOMAIN_OPERATIONS_H_
