// engine/operations/fault_delivery.h -- The way of page faults from devices into fault queues, and
// out of them when what the device was attached to goes (iommufd-semantics.md section 11).
//
// Nothing here waits: what can not be delivered is answered at once, so that a device is never held
// up by who should have read its faults (invariant I10). The answers are put down in the model
// (PageFaults) and given by whoever comes by without a lock.
#ifndef VIOMMU_ENGINE_OPERATIONS_FAULT_DELIVERY_H_
#define VIOMMU_ENGINE_OPERATIONS_FAULT_DELIVERY_H_

#include "absl/types/span.h"
#include "engine/model/model.h"

namespace viommu {

// Puts what devices have reported where it belongs. A fault waits for the last one of its group;
// then the group goes to the queue of the domain that the device's group is attached to, at the RID
// or the PASID of the request (PASID 0 is the RID's). With a PASID that is not attached it goes
// where the RID's goes if the guest has the PASIDs there (Domain::has_guest_pasids). Nothing
// attached, or a domain without fault queue: kInvalid. A queue that is full: kFailure, and the loss
// is counted.
void DeliverPageFaults(Model& model, const PageFaultBatch& batch);

// `devices` do not meet `from` any more with `pasid`, or (none) without: the groups of theirs that
// wait there are answered kInvalid.
void WithdrawFaults(Model& model, absl::Span<const DeviceIndex> devices, PasidOrRid pasid,
                    const DomainTarget& from);
// The same for all that the device is attached to: it has forgotten what it asked for.
void WithdrawAllFaults(Model& model, const Device& device);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_FAULT_DELIVERY_H_
