#include "engine/operations/domain_operations.h"

#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"
#include "engine/operations/claims.h"
#include "engine/operations/domain_checks.h"
#include "engine/operations/doorbells.h"
#include "engine/operations/fault_queues.h"

namespace viommu {
namespace {

constexpr absl::string_view kFaultQueueField = "domain.paging.fault_queue";

}  // namespace

absl::StatusOr<std::vector<Uid>> CreateDomainOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(const Ioas* ioas, model.Find<Ioas>(context(), request_.ioas));
  // Before any lane is entered: nobody waits in another tenant's.
  RETURN_IF_ERROR(CheckClaimed(model, *device, ioas->owner()));
  return std::vector<Uid>{model.GroupOf(*device).uid, ioas->uid()};
}

absl::Status CreateDomainOperation::CheckOptions(const Model& model, const Device& device) const {
  if (request_.dirty_tracking) {
    RETURN_IF_ERROR(CheckTracking(model, device, "domain.paging.dirty_tracking"));
  }
  if (request_.fault_queue.has_value()) {
    if (!request_.nest_parent) return CheckPageFaults(model, device, kFaultQueueField);
    return Error(absl::StatusCode::kUnimplemented, "FAULT_QUEUE_ON_NEST_PARENT",
                 "a nest parent has no fault queue; the NESTED domains on it may")
        .Errno("EOPNOTSUPP")
        .Field(kFaultQueueField);
  }
  if (!request_.nest_parent) return absl::OkStatus();
  return CheckNesting(model, device, "domain.paging.nest_parent");
}

absl::Status CreateDomainOperation::Plan(Model& model) {
  RETURN_IF_ERROR(CheckNotStatic(id_));
  ASSIGN_OR_RETURN(const Device* device, model.FindDevice(request_.device));
  ASSIGN_OR_RETURN(Ioas * ioas, model.Find<Ioas>(context(), request_.ioas));
  RETURN_IF_ERROR(CheckClaimed(model, *device, ioas->owner()));
  RETURN_IF_ERROR(CheckNotProcess(*ioas, context().principal));
  RETURN_IF_ERROR(CheckOptions(model, *device));
  DomainSpec spec{ioas->uid(), device->index};
  spec.nest_parent = request_.nest_parent;
  spec.dirty_tracking = request_.dirty_tracking;
  spec.pasid = request_.pasid;
  RETURN_IF_ERROR(making_.Plan(model, *ioas, id_, spec, /*automatic=*/false));
  if (request_.fault_queue.has_value()) {
    absl::Status taken =
        making_.TakeFaultQueue(model, context(), *request_.fault_queue, kFaultQueueField);
    if (!taken.ok()) {
      making_.Unplan(model);
      return taken;
    }
  }
  answer() = ViewOf(model, making_.domain(), context().principal);
  return absl::OkStatus();
}

void CreateDomainOperation::Unplan(Model& model) { making_.Unplan(model); }

LogicalOperation CreateDomainOperation::Logical() const { return making_.Logical(); }

absl::Status CreateDomainOperation::Apply(Backend& backend) { return making_.Apply(backend); }

void CreateDomainOperation::Commit(Model& model) {
  making_.Commit(model);
  answer() = ViewOf(model, making_.domain(), context().principal);
}

// ---- Delete ----

// What one refers to gets free. Of a NESTED one that is its parent or its Viommu, not the Ioas
// below: deleting one does not wait behind the mappings there.
std::vector<Uid> DeleteDomainOperation::OtherLanes(const Model&, const Domain& domain) {
  return {domain.nested() ? domain.stands_on() : domain.ioas};
}

void DeleteDomainOperation::DropWhatItHolds(Model& model) {
  const Uid uid = object().uid();
  LeaveFaultQueue(model, object());
  TouchFaultQueue(model, object());
  if (object().nested()) {
    Object& base = *model.objects.FindByUid(object().stands_on());
    base.DropReferences(uid, 1);
    model.Touch(base);
    return;
  }
  Ioas& ioas = *model.Get<Ioas>(object().ioas);
  if (object().sva()) model.process_pasids.GiveBack(ioas.uid());
  ioas.domains.erase(uid);
  ioas.DropReferences(uid, 1);
  OpenForDomain(ioas, object());
  DropDoorbells(model, object());
  model.Touch(ioas);
}

}  // namespace viommu
