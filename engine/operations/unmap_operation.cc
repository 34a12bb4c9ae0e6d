#include "engine/operations/unmap_operation.h"

#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/operations/batch_checks.h"
#include "engine/operations/dropped_references.h"
#include "engine/operations/pins.h"

namespace viommu {

absl::StatusOr<std::vector<Uid>> UnmapOperation::Lanes(Model& model) {
  return IoasLane(model, context(), ref_, only_);
}

absl::Status UnmapOperation::CheckBatch() const {
  if (!batch_.all) return CheckBatchSize(batch_.entries.size(), "ranges");
  if (batch_.entries.empty()) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "CONFLICTING_FIELDS",
               "ranges are given although everything is to be unmapped")
      .Errno("EINVAL")
      .Field("ranges");
}

absl::Status UnmapOperation::PlanRange(const IovaRange& range) {
  if (ioas_->mode == IoasMode::kVfioType1) return ioas_->PlanCut(range, &cut_);
  absl::Status removed = ioas_->PlanRemove(range, &cut_.removed);
  if (removed.ok() || ioas_->mode == IoasMode::kNative) return removed;
  return ioas_->FirstOverlap(range).has_value() ? removed : absl::OkStatus();
}

absl::Status UnmapOperation::PlanEntries() {
  if (batch_.all) return ioas_->PlanRemoveAll(&cut_.removed);
  for (size_t i = 0; i < batch_.entries.size(); ++i) {
    const UnmapEntry& entry = batch_.entries[i];
    const absl::StatusOr<IovaRange> range = CheckedRange(entry.iova, entry.length_bytes);
    const absl::Status removed = range.ok() ? PlanRange(*range) : range.status();
    if (!removed.ok()) return AtIndex(removed, i, EntryField("ranges", i));
  }
  return absl::OkStatus();
}

absl::Status UnmapOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(ioas_, FindIoas(model, context(), ref_, only_));
  RETURN_IF_ERROR(CheckBatch());
  cut_ = {};
  absl::Status planned = PlanEntries();
  if (planned.ok()) planned = CheckPinsCovered(model, *ioas_, context());
  if (!planned.ok()) {
    ioas_->UndoCut(cut_);
    cut_ = {};
    return planned;
  }
  ChargeRemnants(model);
  answer() = {0, cut_.removed.size(), ioas_->mapping_revision};
  for (const PlacedArea& area : cut_.removed) {
    answer().unmapped_bytes += area.range.size_bytes();
  }
  for (const auto& [first, remnant] : cut_.remnants) {
    answer().unmapped_bytes -= remnant.range.size_bytes();
  }
  return absl::OkStatus();
}

void UnmapOperation::ChargeRemnants(Model& model) {
  if (cut_.remnants.empty()) return;
  // Past the limit too: a revoke is not refused for what its caller has. Their bytes are charged.
  model.ledger.Charge(*ioas_->account, Usage::OfMappings(cut_.remnants.size(), 0));
  for (const auto& [first, remnant] : cut_.remnants) {
    model.Get<MemoryRegion>(remnant.area.region)->AddReferences(ioas_->uid(), 1);
  }
}

void UnmapOperation::Unplan(Model& model) {
  ioas_->UndoCut(cut_);
  if (cut_.remnants.empty()) return;
  model.ledger.GiveBack(*ioas_->account, Usage::OfMappings(cut_.remnants.size(), 0));
  for (const auto& [first, remnant] : cut_.remnants) {
    model.Get<MemoryRegion>(remnant.area.region)->DropReferences(ioas_->uid(), 1);
  }
}

LogicalOperation UnmapOperation::Logical() const {
  record::Unmap logical{ioas_->uid(), {}, {}};
  logical.areas.reserve(cut_.removed.size());
  for (const PlacedArea& area : cut_.removed) logical.areas.push_back(area.range);
  for (const auto& [first, remnant] : cut_.remnants) {
    logical.remnants.push_back({remnant.range, remnant.area.region, remnant.area.offset_bytes,
                                static_cast<uint8_t>(remnant.area.permission)});
  }
  return logical;
}

std::vector<IovaRange> UnmapOperation::RangesInForce() const {
  std::vector<IovaRange> ranges;
  ranges.reserve(cut_.removed.size());
  for (const PlacedArea& area : cut_.gone.empty() ? cut_.removed : cut_.gone) {
    if (!area.area.suspended) ranges.push_back(area.range);
  }
  return ranges;
}

absl::Status UnmapOperation::Apply(Backend& backend) {
  const std::vector<IovaRange> ranges = RangesInForce();
  return ranges.empty() ? absl::OkStatus() : backend.Unmap(ioas_->uid(), ranges);
}

void UnmapOperation::Commit(Model& model) {
  ioas_->CommitCut(cut_);
  DroppedReferences dropped(&model, ioas_->uid());
  for (const PlacedArea& area : cut_.removed) dropped.Drop(area.area);
  dropped.Flush();
  model.ledger.GiveBack(*ioas_->account,
                        Usage::OfMappings(cut_.removed.size(), answer().unmapped_bytes));
  answer().mapping_revision = model.BumpMappings(*ioas_);
}

}  // namespace viommu
