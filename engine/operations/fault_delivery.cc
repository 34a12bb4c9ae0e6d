#include "engine/operations/fault_delivery.h"

#include <algorithm>
#include <utility>

namespace viommu {
namespace {

// Entry 0 serves requests with PASID 0 as well as those without one.
PasidOrRid PlaceOf(std::optional<uint32_t> pasid) { return pasid == 0u ? std::nullopt : pasid; }

// Null: a static domain, or none.
const Domain* DomainAt(const Model& model, const DomainTarget* target) {
  if (target == nullptr || target->kind != DomainTarget::Kind::kDomain) return nullptr;
  return model.Get<Domain>(target->domain);
}

// Null: nothing that has page faults is attached there.
const Domain* DomainFor(const Model& model, const Group& group, PasidOrRid pasid) {
  if (const DomainTarget* const attached = group.AttachedAt(pasid)) {
    return DomainAt(model, attached);
  }
  const Domain* const below = DomainAt(model, group.AttachedAt(std::nullopt));
  return below != nullptr && below->has_guest_pasids() ? below : nullptr;
}

// Null: nobody takes the faults of the device there.
const Domain* TakerOf(const Model& model, const PageGroup& group) {
  const Device& device = model.devices[group.device];
  if (!device.present || device.held_back) return nullptr;
  const Domain* const domain = DomainFor(model, model.GroupOf(device), PlaceOf(group.pasid));
  return domain == nullptr || domain->fault_queue == 0 ? nullptr : domain;
}

// Of what is attached at `pasid`, whether requests with `asked` are its own.
bool Serves(const Domain* domain, PasidOrRid pasid, std::optional<uint32_t> asked) {
  return PlaceOf(asked) == pasid || (domain != nullptr && domain->has_guest_pasids());
}

size_t DropPartial(PartialFaults& partial, DeviceIndex device, PasidOrRid pasid,
                   const Domain* from) {
  if (from != nullptr && from->has_guest_pasids()) return partial.DropAll(device);
  size_t dropped = partial.Drop(device, pasid);
  if (!pasid.has_value()) dropped += partial.Drop(device, 0);
  return dropped;
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
  const Domain* const domain = DomainAt(model, &from);
  for (const DeviceIndex device : devices) {
    page_faults.dropped += DropPartial(page_faults.partial, device, pasid, domain);
  }
  if (domain == nullptr || domain->fault_queue == 0) return;
  FaultQueue& queue = *model.Get<FaultQueue>(domain->fault_queue);
  const auto withdrawn = queue.Withdraw([&](const FaultQueue::Group& waiting) {
    return waiting.domain == domain->uid() && Serves(domain, pasid, waiting.group.pasid) &&
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
