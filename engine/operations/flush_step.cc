#include "engine/operations/flush_step.h"

namespace viommu {

void ReleaseFlushed(Model& model, Group& group, const std::vector<PlacedArea>& released) {
  for (const PlacedArea& area : released) {
    group.host.areas.Erase(area.range.first);
    model.Get<MemoryRegion>(area.area.region)->DropReferences(group.uid, 1);
  }
}

void FlushStep::Plan(Group& group, FlushQueue::Cause cause) {
  flush_.reset();  // An operation may be planned again.
  failed_ = false;
  cause_ = cause;
  if (!group.host.queue.empty()) flush_ = group.host.queue.Begin();
}

void FlushStep::Unplan(const Model& model, Group& group) const {
  if (failed_) group.host.queue.Fail(model.env().Now());
}

absl::Status FlushStep::Apply(Backend& backend, DeviceIndex member) {
  if (!flush_.has_value()) return absl::OkStatus();
  absl::Status flushed = backend.simulation()->HostFlush(member);
  failed_ = !flushed.ok();
  return flushed;
}

void FlushStep::Commit(Model& model, Group& group) {
  if (flush_.has_value()) ReleaseFlushed(model, group, group.host.queue.Complete(*flush_, cause_));
}

}  // namespace viommu
