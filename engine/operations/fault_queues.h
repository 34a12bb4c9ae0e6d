// engine/operations/fault_queues.h -- What may refuse a domain with a fault queue, and what ties
// the two.
#ifndef VIOMMU_ENGINE_OPERATIONS_FAULT_QUEUES_H_
#define VIOMMU_ENGINE_OPERATIONS_FAULT_QUEUES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "engine/model/model.h"

namespace viommu {

// "iommus/iommu0 takes no page faults of devices/0000:01:00.0": neither page requests nor stalls.
std::string NoPageFaults(const Model& model, const Device& device);

// Of a domain to be made. kUnimplemented FAULT_QUEUE_UNAVAILABLE: the device's unit takes no page
// faults of it.
absl::Status CheckPageFaults(const Model& model, const Device& device, absl::string_view field);

// Of a domain to be attached. kFailedPrecondition PAGE_REQUESTS_UNAVAILABLE: the domain has a fault
// queue, and no page faults are taken of one of the devices; VIRTUAL_FUNCTION: or one has page
// requests that are its physical function's.
absl::Status CheckPageFaultsOf(const Model& model, absl::Span<const DeviceIndex> devices,
                               const Domain& domain);

// The domain, which is being made, takes its page faults to the queue that `ref` names.
// kNotFound FAULT_QUEUE_NOT_FOUND
// kFailedPrecondition FAULT_QUEUE_OWNER: the queue belongs to another owner than the domain
absl::Status UseFaultQueue(const Model& model, const CallContext& context, const ObjectRef& ref,
                           absl::string_view field, Domain& domain);
// The domain goes, or is not made.
void LeaveFaultQueue(const Model& model, Domain& domain);
// The queue, if any, shows the domain, or shows it no more.
void TouchFaultQueue(Model& model, const Domain& domain);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_FAULT_QUEUES_H_
