// engine/operations/flush_step.h -- The part of an operation that empties a group's flush queue.
#ifndef VIOMMU_ENGINE_OPERATIONS_FLUSH_STEP_H_
#define VIOMMU_ENGINE_OPERATIONS_FLUSH_STEP_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/model/flush_queue.h"
#include "engine/model/model.h"

namespace viommu {

// Frees the addresses of ranges that the group's queue has let go, and drops what they referred to.
void ReleaseFlushed(Model& model, Group& group, const std::vector<PlacedArea>& released);

// Held by the operation, whose steps call those of the same name. Does nothing where nothing waits.
class FlushStep {
 public:
  void Plan(Group& group, FlushQueue::Cause cause);
  void Unplan(const Model& model, Group& group) const;
  // Before what the operation itself does. On an error everything waits as before.
  absl::Status Apply(Backend& backend, DeviceIndex member);
  void Commit(Model& model, Group& group);

 private:
  std::optional<uint64_t> flush_;  // None: nothing waited.
  bool failed_ = false;
  FlushQueue::Cause cause_ = FlushQueue::Cause::kSync;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_FLUSH_STEP_H_
