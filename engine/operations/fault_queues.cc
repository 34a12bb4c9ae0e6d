#include "engine/operations/fault_queues.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/backend/topology.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {

std::string NoPageFaults(const Model& model, const Device& device) {
  return absl::StrCat("iommus/", model.UnitOf(device).id, " takes no page faults of ",
                      device.Name());
}

absl::Status CheckPageFaults(const Model& model, const Device& device, absl::string_view field) {
  if (HasPageFaults(model.UnitOf(device), device.spec)) return absl::OkStatus();
  return Error(absl::StatusCode::kUnimplemented, "FAULT_QUEUE_UNAVAILABLE",
               NoPageFaults(model, device))
      .Errno("EOPNOTSUPP")
      .Field(field)
      .Resource(device.Name());
}

absl::Status CheckPageFaultsOf(const Model& model, absl::Span<const DeviceIndex> devices,
                               const Domain& domain) {
  if (domain.fault_queue == 0) return absl::OkStatus();
  for (const DeviceIndex index : devices) {
    const Device& device = model.devices[index];
    if (device.spec.pri && device.spec.virtual_function) {
      return Error(absl::StatusCode::kFailedPrecondition, "VIRTUAL_FUNCTION",
                   absl::StrCat("the domain has a fault queue, and the page requests of ",
                                device.Name(), " are its physical function's"))
          .Errno("EINVAL")
          .Resource(device.Name())
          .Violation("attach it to a domain without fault queue");
    }
    if (HasPageFaults(model.UnitOf(device), device.spec)) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "PAGE_REQUESTS_UNAVAILABLE",
                 absl::StrCat("the domain has a fault queue, and ", NoPageFaults(model, device)))
        .Errno("ENODEV")
        .Resource(device.Name())
        .Violation("attach it to a domain without fault queue");
  }
  return absl::OkStatus();
}

absl::Status UseFaultQueue(const Model& model, const CallContext& context, const ObjectRef& ref,
                           absl::string_view field, Domain& domain) {
  ASSIGN_OR_RETURN(FaultQueue * queue, model.Find<FaultQueue>(context, ref));
  if (queue->owner() != domain.owner()) {
    const std::string name = queue->NameFor(context.principal);
    return Error(absl::StatusCode::kFailedPrecondition, "FAULT_QUEUE_OWNER",
                 absl::StrCat(name, " does not belong to the owner of the domain"))
        .Errno("EPERM")
        .Field(field)
        .Resource(name)
        .Violation("name a fault queue of the domain's owner");
  }
  queue->AddReferences(domain.uid(), 1);
  domain.fault_queue = queue->uid();
  return absl::OkStatus();
}

void LeaveFaultQueue(const Model& model, Domain& domain) {
  if (domain.fault_queue == 0) return;
  model.Get<FaultQueue>(domain.fault_queue)->DropReferences(domain.uid(), 1);
}

void TouchFaultQueue(Model& model, const Domain& domain) {
  if (domain.fault_queue != 0) model.Touch(*model.Get<FaultQueue>(domain.fault_queue));
}

}  // namespace viommu
