// engine/model/page_faults.h -- What is under way of devices' page faults besides the fault queues:
// faults that wait for the last one of their group, and answers that are still to be given.
//
// Nothing here is durable: after a restart the devices are reset and ask again.
#ifndef VIOMMU_ENGINE_MODEL_PAGE_FAULTS_H_
#define VIOMMU_ENGINE_MODEL_PAGE_FAULTS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "engine/backend/backend.h"
#include "engine/types.h"

namespace viommu {

FaultedPage PageOf(const PageFault& fault);

// Guarded by the pipeline's lock; thread-compatible.
class PartialFaults {
 public:
  // Keeps a fault that is not the last of its group. False: the group, or the device, has as many
  // as it may (kMaxFaultsPerGroup with the last one, kMaxPartialFaults), and it is left out.
  bool Hold(const PageFault& fault);
  // The pages of the group that `last` completes, in the order in which they were asked for.
  std::vector<FaultedPage> Complete(const PageFault& last);

  // Forgets what is held of a device, of one PASID (none: without) or all; answers how much it was.
  size_t Drop(DeviceIndex device, std::optional<uint32_t> pasid);
  size_t DropAll(DeviceIndex device);

  size_t size() const { return size_; }

 private:
  using Key = std::pair<std::optional<uint32_t>, uint32_t>;  // PASID, group.
  struct OfDevice {
    absl::btree_map<Key, std::vector<FaultedPage>> groups;
    size_t held = 0;
  };

  absl::btree_map<DeviceIndex, OfDevice> devices_;  // Only those of which something is held.
  size_t size_ = 0;
};

// Guarded by the pipeline's lock, but for `answers_due`.
class PageFaults {
 public:
  PartialFaults partial;
  uint64_t lost = 0;     // Groups that found their queue full.
  uint64_t dropped = 0;  // Faults that were left out of their group, or whose group broke.

  // A group is to be answered so, by whoever holds no lock.
  void Answer(const PageGroup& group, PageResponse code);
  // Hardware did not take that. It is due no more, so that a unit that takes nothing does not cost
  // every operation of the host a try; TakeAnswers has it for whoever takes them all the same.
  void PutBack(const PageGroupResponse& answer) { answers_.push_back(answer); }
  // The device has been told.
  void CountAnswered(PageResponse code) { ++answered_[static_cast<size_t>(code)]; }
  uint64_t Answered(PageResponse code) const { return answered_[static_cast<size_t>(code)]; }

  // Whether there is an answer that was not tried yet. May be asked without the lock.
  bool answers_due() const { return answers_due_.load(std::memory_order_acquire); }
  std::vector<PageGroupResponse> TakeAnswers();

 private:
  std::vector<PageGroupResponse> answers_;
  std::atomic<bool> answers_due_{false};
  std::array<uint64_t, 3> answered_{};  // By PageResponse.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_PAGE_FAULTS_H_
