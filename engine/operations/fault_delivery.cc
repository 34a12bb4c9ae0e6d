#include "engine/operations/fault_delivery.h"

#include <algorithm>
#include <utility>

namespace viommu {
namespace {

// Entry 0 serves requests with PASID 0 as well as those without one.
PasidOrRid PlaceOf(std::optional<uint32_t> pasid) { return pasid == 0u ? std::nullopt : pasid; }

// Null: nobody takes the faults of the device there.
Domain* TakerOf(const Model& model, const PageGroup& group) {
  const Device& device = model.devices[group.device];
  if (!device.present || device.held_back) return nullptr;
  const DomainTarget* const target = model.GroupOf(device).AttachedAt(PlaceOf(group.pasid));
  if (target == nullptr || target->kind != DomainTarget::Kind::kDomain) return nullptr;
  Domain* const domain = model.Get<Domain>(target->domain);
  return domain->fault_queue == 0 ? nullptr : domain;
}

void DeliverGroup(Model& model, const PageFault& last) {
  FaultQueue::Group group;
  group.group = {last.device, last.pasid, last.group};
  group.pages = model.page_faults.partial.Complete(last);
  const PageGroup answered = group.group;
  const Domain* const taker = TakerOf(model, answered);
  if (taker == nullptr) return model.page_faults.Answer(answered, PageResponse::kInvalid);
  group.domain = taker->uid();
  group.time = model.env().Now();
  if (model.Get<FaultQueue>(taker->fault_queue)->Push(std::move(group))) return;
  ++model.page_faults.lost;
  model.page_faults.Answer(answered, PageResponse::kFailure);
}

}  // namespace

void DeliverPageFaults(Model& model, const PageFaultBatch& batch) {
  PageFaults& page_faults = model.page_faults;
  for (const DeviceIndex device : batch.broken) {
    page_faults.dropped += page_faults.partial.DropAll(device);
  }
  for (const PageFault& fault : batch.faults) {
    if (fault.last) {
      DeliverGroup(model, fault);
    } else if (!page_faults.partial.Hold(fault)) {
      ++page_faults.dropped;
    }
  }
}

void WithdrawFaults(Model& model, absl::Span<const DeviceIndex> devices, PasidOrRid pasid,
                    const DomainTarget& from) {
  PageFaults& page_faults = model.page_faults;
  for (const DeviceIndex device : devices) {
    page_faults.dropped += page_faults.partial.Drop(device, pasid);
    if (!pasid.has_value()) page_faults.dropped += page_faults.partial.Drop(device, 0);
  }
  if (from.kind != DomainTarget::Kind::kDomain) return;
  const Domain& domain = *model.Get<Domain>(from.domain);
  if (domain.fault_queue == 0) return;
  FaultQueue& queue = *model.Get<FaultQueue>(domain.fault_queue);
  const auto withdrawn = queue.Withdraw([&](const FaultQueue::Group& waiting) {
    return waiting.domain == domain.uid() && PlaceOf(waiting.group.pasid) == pasid &&
           std::find(devices.begin(), devices.end(), waiting.group.device) != devices.end();
  });
  for (const PageGroup& group : withdrawn) page_faults.Answer(group, PageResponse::kInvalid);
}

void WithdrawAllFaults(Model& model, const Device& device) {
  for (const auto& [pasid, target] : model.GroupOf(device).targets) {
    WithdrawFaults(model, {device.index}, pasid, target);
  }
  model.page_faults.dropped += model.page_faults.partial.DropAll(device.index);
}

}  // namespace viommu
