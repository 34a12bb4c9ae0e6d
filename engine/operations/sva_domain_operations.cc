#include "engine/operations/sva_domain_operations.h"

#include <optional>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"
#include "engine/operations/domain_checks.h"
#include "engine/operations/pasids.h"

namespace viommu {

absl::StatusOr<std::vector<Uid>> CreateSvaDomainOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(const Ioas* process, model.Find<Ioas>(context(), request_.process));
  // Before any lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckClaimed(model, *device, process->owner()));
  return std::vector<Uid>{model.GroupOf(*device).uid, process->uid()};
}

absl::Status CreateSvaDomainOperation::TakePasid(Model& model, const Device& device) {
  ASSIGN_OR_RETURN(const uint32_t highest, HighestPasid(model, device));
  absl::flat_hash_set<uint32_t> taken;  // Gone through once: there may be many, in many groups.
  for (const Group& group : model.groups) {
    for (const auto& [number, entry] : group.pasids) taken.insert(number);
  }
  const std::optional<uint32_t> pasid = model.process_pasids.Take(
      process_->uid(), highest, [&](uint32_t number) { return !taken.contains(number); });
  if (!pasid.has_value()) {
    return Error(absl::StatusCode::kResourceExhausted, "PASIDS_EXHAUSTED",
                 absl::StrCat("every PASID up to ", highest, " is taken"))
        .Errno("ENOSPC")
        .Resource(device.Name());
  }
  pasid_ = *pasid;
  if (pasid_ <= highest) return absl::OkStatus();
  model.process_pasids.GiveBack(process_->uid());
  return Error(absl::StatusCode::kOutOfRange, "PASID_OUT_OF_RANGE",
               absl::StrCat("the process has PASID ", pasid_, ", and the group of ", device.Name(),
                            " can use those up to ", highest))
      .Errno("EOVERFLOW")
      .Resource(device.Name());
}

absl::Status CreateSvaDomainOperation::Plan(Model& model) {
  RETURN_IF_ERROR(CheckNotStatic(id_));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(process_, model.Find<Ioas>(context(), request_.process));
  RETURN_IF_ERROR(CheckClaimed(model, *device, process_->owner()));
  if (process_->mode != IoasMode::kProcess) {
    const std::string name = process_->NameFor(context().principal);
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_A_PROCESS",
                 absl::StrCat(name, " is not the address space of a process"))
        .Errno("EINVAL")
        .Field("domain.sva.process")
        .Resource(name)
        .Violation("name an address space of mode PROCESS");
  }
  DomainSpec spec{process_->uid(), device->index};
  spec.kind = DomainSpec::Kind::kSva;
  spec.pasid = true;
  RETURN_IF_ERROR(TakePasid(model, *device));
  absl::Status planned = making_.Plan(model, *process_, id_, spec, /*automatic=*/false);
  if (!planned.ok()) {
    model.process_pasids.GiveBack(process_->uid());
    return planned;
  }
  answer() = ViewOf(model, making_.domain(), context().principal);
  return absl::OkStatus();
}

void CreateSvaDomainOperation::Unplan(Model& model) {
  making_.Unplan(model);
  model.process_pasids.GiveBack(process_->uid());
}

LogicalOperation CreateSvaDomainOperation::Logical() const {
  const Domain& domain = making_.domain();
  return record::CreateSvaDomain{domain.uid(), domain.id(), process_->uid(), request_.device,
                                 pasid_};
}

absl::Status CreateSvaDomainOperation::Apply(Backend& backend) { return making_.Apply(backend); }

void CreateSvaDomainOperation::Commit(Model& model) {
  making_.Commit(model);
  answer() = ViewOf(model, making_.domain(), context().principal);
}

}  // namespace viommu
