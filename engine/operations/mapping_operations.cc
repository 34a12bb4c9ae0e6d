#include "engine/operations/mapping_operations.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/operations/dropped_references.h"

namespace viommu {
namespace {

absl::Status CheckBatchSize(size_t entries, absl::string_view field) {
  if (entries == 0) {
    return Error(absl::StatusCode::kInvalidArgument, "EMPTY_BATCH", "the batch has no entries")
        .Errno("EINVAL")
        .Field(field);
  }
  if (entries > kMaxBatchEntries) {
    return Error(absl::StatusCode::kInvalidArgument, "BATCH_TOO_LARGE",
                 absl::StrCat(entries, " entries in one batch; at most ", kMaxBatchEntries))
        .Errno("EINVAL")
        .Field(field);
  }
  return absl::OkStatus();
}

absl::Status CheckPermission(Permission permission) {
  const auto bits = static_cast<unsigned>(permission);
  if (bits >= 1 && bits <= 3) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_PERMISSION",
               absl::StrCat("permission ", bits, " grants neither read nor write, or is unknown"))
      .Errno("EINVAL")
      .Field("permission");
}

// The Ioas that the name means, which must be `only` unless that is 0: a stream does not go on in
// an Ioas that got the name of the one it was opened for.
absl::StatusOr<Ioas*> FindIoas(const Model& model, const CallContext& context, const ObjectRef& ref,
                               Uid only) {
  ASSIGN_OR_RETURN(Ioas * ioas, model.Find<Ioas>(context, ref));
  if (only == 0 || ioas->uid() == only) return ioas;
  const std::string name = ioas->NameFor(context.principal);
  return Error(absl::StatusCode::kNotFound, "IOAS_NOT_FOUND",
               absl::StrCat("the ", name, " that the stream was opened for is gone"))
      .Errno("ENOENT")
      .Resource(name)
      .ToStatus();
}

absl::StatusOr<std::vector<Uid>> IoasLane(const Model& model, const CallContext& context,
                                          const ObjectRef& ref, Uid only) {
  ASSIGN_OR_RETURN(const Ioas* ioas, FindIoas(model, context, ref, only));
  return std::vector<Uid>{ioas->uid()};
}

absl::StatusOr<IovaRange> CheckedRange(Iova iova, uint64_t length,
                                       absl::string_view iova_field = "iova") {
  if (length == 0 || (iova == 0 && length == kMaxAddress)) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_LENGTH",
                 length == 0 ? "length is 0"
                             : "the range (0, 2^64-1) does not mean everything here: say so "
                               "with `all`")
        .Errno("EINVAL")
        .Field("length");
  }
  if (iova > kMaxAddress - (length - 1)) {
    return Error(absl::StatusCode::kOutOfRange, "IOVA_OVERFLOW",
                 absl::StrCat("iova ", Hex(iova), " + length ", Hex(length),
                              " passes the end of the address space"))
        .Errno("EOVERFLOW")
        .Field(iova_field);
  }
  return IovaRange{iova, iova + (length - 1)};
}

// What is left of an owner's limits for the entries of one batch, which are added up here.
class AreaBudget {
 public:
  AreaBudget(const Ledger& ledger, const Account& account)
      : ledger_(ledger),
        account_(account),
        areas_left_(ledger.Left(account, Resource::kMappings)),
        bytes_left_(ledger.Left(account, Resource::kMappedBytes)) {}

  // Adds an entry, which is not longer than a memory region, so that no sum overflows. False: it
  // would pass a limit, and is not added.
  bool Spend(uint64_t length_bytes) {
    wanted_bytes_ = bytes_ + length_bytes;
    if (entries_ == areas_left_ || wanted_bytes_ > bytes_left_) return false;
    ++entries_;
    bytes_ = wanted_bytes_;
    return true;
  }
  // After Spend answered false; says what the batch asks for up to that entry.
  absl::Status Refusal() const {
    if (entries_ == areas_left_) {
      return ledger_.Refusal(account_, Resource::kMappings, entries_ + 1);
    }
    return ledger_.Refusal(account_, Resource::kMappedBytes, wanted_bytes_);
  }

  size_t entries() const { return entries_; }
  uint64_t bytes() const { return bytes_; }

 private:
  const Ledger& ledger_;
  const Account& account_;
  const uint64_t areas_left_;
  const uint64_t bytes_left_;
  size_t entries_ = 0;
  uint64_t bytes_ = 0;
  uint64_t wanted_bytes_ = 0;
};

// `status` about the field `to`, if it was about `from`: for a request that calls it so.
absl::Status RenameField(const absl::Status& status, absl::string_view from, absl::string_view to) {
  const std::optional<ErrorDetail> detail = DetailOf(status);
  if (!detail.has_value() || detail->field != from) return status;
  Error error(status.code(), detail->reason, status.message());
  for (const std::string& violation : detail->violations) error.Violation(violation);
  for (const auto& [key, value] : detail->metadata) {
    Error more = std::move(error).Meta(key, value);
    error = std::move(more);
  }
  return std::move(error).Errno(detail->errno_name).Field(to).Resource(detail->resource);
}

std::string EntryField(absl::string_view field, size_t index) {
  return absl::StrCat(field, "[", index, "]");
}

}  // namespace

// ---- What Map and CopyMappings share ----

absl::Status AddAreasOperation::PlanAll(Model& model, Ioas& ioas,
                                        absl::Span<const Ioas::Addition> additions,
                                        absl::string_view field) {
  std::vector<BackendMapping> areas;
  areas.reserve(additions.size());
  AreaBudget budget(model.ledger, *ioas.account);
  for (const Ioas::Addition& addition : additions) {
    const absl::StatusOr<PlacedArea> placed = ioas.PlanAdd(addition);
    absl::Status refusal = placed.status();
    if (placed.ok()) {
      areas.push_back(placed->ToBackend());
      if (budget.Spend(addition.length_bytes)) continue;
      refusal = budget.Refusal();
    }
    const size_t index = budget.entries();
    for (auto it = areas.rbegin(); it != areas.rend(); ++it) ioas.UndoAdd(it->iova);
    return field.empty() ? refusal : AtIndex(refusal, index, EntryField(field, index));
  }
  ioas_ = &ioas;
  areas_ = std::move(areas);
  bytes_ = budget.bytes();
  model.ledger.Charge(*ioas.account, Charged());
  HoldRegions(additions);
  answer().iovas.resize(areas_.size());
  for (size_t i = 0; i < areas_.size(); ++i) answer().iovas[i] = areas_[i].iova;
  answer().mapping_revision = ioas.mapping_revision;
  if (context().validate_only) PlanLeaves(model);
  return absl::OkStatus();
}

void AddAreasOperation::PlanLeaves(const Model& model) {
  answer().planned_leaves.clear();
  for (const Uid uid : ioas_->domains) {
    const Domain& domain = *model.Get<Domain>(uid);
    DomainProperties properties = domain.properties;
    if (!ioas_->large_pages()) properties.page_sizes &= -properties.page_sizes;
    absl::btree_map<uint64_t, uint64_t, std::greater<>> counts;
    for (const BackendMapping& area : areas_) {
      for (const LeafCount& leaf : model.backend().PlanLeaves(properties, area)) {
        counts[leaf.page_size_bytes] += leaf.count;
      }
    }
    DomainLeaves planned{domain.NameFor(context().principal), {}};
    for (const auto& [size, count] : counts) planned.leaves.push_back({size, count});
    answer().planned_leaves.push_back(std::move(planned));
  }
}

void AddAreasOperation::HoldRegions(absl::Span<const Ioas::Addition> additions) {
  held_.clear();
  for (const Ioas::Addition& addition : additions) {
    if (held_.empty() || held_.back().region != addition.region) {
      held_.push_back({addition.region, 0});
    }
    ++held_.back().areas;
  }
  for (const Held& held : held_) held.region->AddReferences(ioas_->uid(), held.areas);
}

void AddAreasOperation::Unplan(Model& model) {
  model.ledger.GiveBack(*ioas_->account, Charged());
  for (auto it = areas_.rbegin(); it != areas_.rend(); ++it) ioas_->UndoAdd(it->iova);
  for (const Held& held : held_) held.region->DropReferences(ioas_->uid(), held.areas);
}

LogicalOperation AddAreasOperation::Logical() const {
  record::Map logical{ioas_->uid(), {}};
  logical.areas.reserve(areas_.size());
  for (const BackendMapping& area : areas_) {
    logical.areas.push_back(
        {area.range(), area.region, area.offset_bytes, static_cast<uint8_t>(area.permission)});
  }
  return logical;
}

absl::Status AddAreasOperation::Apply(Backend& backend) {
  return backend.Map(ioas_->uid(), areas_);
}

void AddAreasOperation::Commit(Model& model) {
  ioas_->CommitAdd(areas_);
  answer().mapping_revision = model.BumpMappings(*ioas_);
}

// ---- Map ----

absl::StatusOr<std::vector<Uid>> MapOperation::Lanes(Model& model) {
  return IoasLane(model, context(), ref_, only_);
}

absl::Status MapOperation::AtFirstUse(const absl::Status& status, size_t region) const {
  const auto uses = [region](const MapEntry& entry) { return entry.region == region; };
  const auto entry = std::find_if(batch_.entries.begin(), batch_.entries.end(), uses);
  if (entry == batch_.entries.end()) return status;
  const size_t index = entry - batch_.entries.begin();
  return AtIndex(status, index, absl::StrCat(EntryField("mappings", index), ".memory_region"));
}

absl::StatusOr<std::vector<Ioas::Addition>> MapOperation::Resolve(const Model& model) const {
  RETURN_IF_ERROR(CheckBatchSize(batch_.entries.size(), "mappings"));
  std::vector<MemoryRegion*> regions;
  for (const ObjectRef& ref : batch_.regions) {
    const absl::StatusOr<MemoryRegion*> region = model.Find<MemoryRegion>(context(), ref);
    if (!region.ok()) return AtFirstUse(region.status(), regions.size());
    regions.push_back(*region);
  }
  std::vector<Ioas::Addition> additions;
  additions.reserve(batch_.entries.size());
  for (const MapEntry& entry : batch_.entries) {
    const size_t index = additions.size();
    if (entry.region >= regions.size()) {
      return AtIndex(Error(absl::StatusCode::kInvalidArgument, "REGION_INDEX_OUT_OF_RANGE",
                           absl::StrCat("memory region index ", entry.region, " of ",
                                        regions.size(), " named regions"))
                         .Errno("EINVAL")
                         .Field("memory_region"),
                     index, EntryField("mappings", index));
    }
    const absl::Status permission = CheckPermission(entry.permission);
    if (!permission.ok()) return AtIndex(permission, index, EntryField("mappings", index));
    additions.push_back({entry.iova, entry.length_bytes, entry.offset_bytes, entry.permission,
                         regions[entry.region]});
  }
  return additions;
}

absl::Status MapOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(Ioas * ioas, FindIoas(model, context(), ref_, only_));
  ASSIGN_OR_RETURN(const std::vector<Ioas::Addition> additions, Resolve(model));
  return PlanAll(model, *ioas, additions, "mappings");
}

// ---- CopyMappings ----

absl::StatusOr<std::vector<Uid>> CopyMappingsOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Ioas* source, model.Find<Ioas>(context(), request_.source));
  ASSIGN_OR_RETURN(const Ioas* destination, model.Find<Ioas>(context(), ref_));
  std::vector<Uid> lanes{source->uid(), destination->uid()};
  std::sort(lanes.begin(), lanes.end());
  lanes.erase(std::unique(lanes.begin(), lanes.end()), lanes.end());
  return lanes;
}

absl::StatusOr<std::vector<Ioas::Addition>> CopyMappingsOperation::SourcePieces(
    const Model& model, const Ioas& source) const {
  ASSIGN_OR_RETURN(const IovaRange range,
                   CheckedRange(request_.source_iova, request_.length_bytes, "source_iova"));
  std::vector<Ioas::Addition> pieces;
  Iova next = range.first;
  bool complete = false;
  absl::Status refusal;
  source.VisitCommitted(range, [&](const PlacedArea& area) {
    if (area.range.first > next || pieces.size() == kMaxBatchEntries) return false;
    if (area.area.suspended) {
      refusal = RenameField(NotInForce(area), "iova", "source_iova");
      return false;
    }
    const Iova last = std::min(area.range.last, range.last);
    pieces.push_back({std::nullopt, last - next + 1,
                      area.area.offset_bytes + (next - area.range.first), request_.permission,
                      model.Get<MemoryRegion>(area.area.region)});
    complete = last == range.last;
    next = last + 1;
    return !complete;
  });
  RETURN_IF_ERROR(refusal);
  if (complete) return pieces;
  if (pieces.size() == kMaxBatchEntries) return CheckBatchSize(kMaxBatchEntries + 1, "length");
  return Error(absl::StatusCode::kNotFound, "IOVA_NOT_COVERED",
               absl::StrCat("the source range ", ToString(range), " is not mapped at ", Hex(next)))
      .Errno("ENOENT")
      .Field("source_iova");
}

absl::Status CopyMappingsOperation::Plan(Model& model) {
  // What is wrong with what was found in the source is wrong with where it was looked for.
  const absl::Status planned = RenameField(PlanPieces(model), "offset", "source_iova");
  return RenameField(planned, "memory_region", "source_iova");
}

absl::Status CopyMappingsOperation::PlanPieces(Model& model) {
  ASSIGN_OR_RETURN(const Ioas* source, model.Find<Ioas>(context(), request_.source));
  ASSIGN_OR_RETURN(Ioas * destination, model.Find<Ioas>(context(), ref_));
  RETURN_IF_ERROR(CheckPermission(request_.permission));
  ASSIGN_OR_RETURN(std::vector<Ioas::Addition> pieces, SourcePieces(model, *source));
  // The pieces stay as far from each other as they are in the source: one place for all of them.
  Iova iova = 0;
  if (request_.iova.has_value()) {
    RETURN_IF_ERROR(CheckedRange(*request_.iova, request_.length_bytes).status());
    iova = *request_.iova;
  } else {
    ASSIGN_OR_RETURN(iova,
                     destination->Allocate(request_.length_bytes, pieces.front().offset_bytes));
  }
  for (Ioas::Addition& piece : pieces) {
    piece.iova = iova;
    iova += piece.length_bytes;
  }
  return PlanAll(model, *destination, pieces, "");
}

// ---- Unmap ----

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
