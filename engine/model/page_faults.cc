#include "engine/model/page_faults.h"

namespace viommu {

FaultedPage PageOf(const PageFault& fault) {
  return {fault.address, fault.read, fault.write, fault.execute, fault.privileged};
}

bool PartialFaults::Hold(const PageFault& fault) {
  const auto device = devices_.find(fault.device);
  if (device != devices_.end()) {
    if (device->second.held == kMaxPartialFaults) return false;
    const auto group = device->second.groups.find({fault.pasid, fault.group});
    const bool is_full =
        group != device->second.groups.end() && group->second.size() + 1 == kMaxFaultsPerGroup;
    if (is_full) return false;
  }
  OfDevice& held = devices_[fault.device];
  held.groups[{fault.pasid, fault.group}].push_back(PageOf(fault));
  ++held.held;
  ++size_;
  return true;
}

std::vector<FaultedPage> PartialFaults::Complete(const PageFault& last) {
  std::vector<FaultedPage> pages;
  const auto device = devices_.find(last.device);
  if (device != devices_.end()) {
    const auto group = device->second.groups.find({last.pasid, last.group});
    if (group != device->second.groups.end()) {
      pages = std::move(group->second);
      device->second.groups.erase(group);
      device->second.held -= pages.size();
      size_ -= pages.size();
      if (device->second.held == 0) devices_.erase(device);
    }
  }
  pages.push_back(PageOf(last));
  return pages;
}

size_t PartialFaults::Drop(DeviceIndex device, std::optional<uint32_t> pasid) {
  const auto of_device = devices_.find(device);
  if (of_device == devices_.end()) return 0;
  auto& groups = of_device->second.groups;
  size_t dropped = 0;
  auto it = groups.lower_bound({pasid, 0});
  while (it != groups.end() && it->first.first == pasid) {
    dropped += it->second.size();
    it = groups.erase(it);
  }
  of_device->second.held -= dropped;
  size_ -= dropped;
  if (of_device->second.held == 0) devices_.erase(of_device);
  return dropped;
}

size_t PartialFaults::DropAll(DeviceIndex device) {
  const auto of_device = devices_.find(device);
  if (of_device == devices_.end()) return 0;
  const size_t dropped = of_device->second.held;
  size_ -= dropped;
  devices_.erase(of_device);
  return dropped;
}

void PageFaults::Answer(const PageGroup& group, PageResponse code) {
  answers_.push_back({group, code});
  answers_due_.store(true, std::memory_order_release);
}

std::vector<PageGroupResponse> PageFaults::TakeAnswers() {
  answers_due_.store(false, std::memory_order_release);
  return std::exchange(answers_, {});
}

}  // namespace viommu
