#include "engine/operations/mapping_operations.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/operations/batch_checks.h"

namespace viommu {
namespace {

absl::Status CheckPermission(Permission permission) {
  const auto bits = static_cast<unsigned>(permission);
  if (bits >= 1 && bits <= 3) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_PERMISSION",
               absl::StrCat("permission ", bits, " grants neither read nor write, or is unknown"))
      .Errno("EINVAL")
      .Field("permission");
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

}  // namespace viommu
