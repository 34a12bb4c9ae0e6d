#include "engine/operations/ioas_operations.h"

#include <memory>

#include "engine/model/views.h"
#include "engine/operations/dropped_references.h"

namespace viommu {
namespace {

Error NoLargePages(absl::StatusCode code) {
  return Error(code, "LARGE_PAGES_NOT_ALLOWED", "the mode VFIO_TYPE1 has no large pages")
      .Errno("EINVAL");
}

}  // namespace

absl::Status CreateIoasOperation::Plan(Model& model) {
  const bool type1 = options_.mode == IoasMode::kVfioType1;
  const bool large_pages = options_.large_pages.value_or(!type1);
  if (type1 && large_pages) {
    return NoLargePages(absl::StatusCode::kInvalidArgument).Field("ioas.large_pages");
  }
  ASSIGN_OR_RETURN(ioas_, model.Reserve(std::make_unique<Ioas>(
                              context().principal, model.IdOrGenerated(id_, ObjectKind::kIoas),
                              model.objects.NextUid(), options_.mode, large_pages)));
  answer() = ViewOf(model, *ioas_, context().principal);
  return absl::OkStatus();
}

void CreateIoasOperation::Unplan(Model& model) { model.Discard(*ioas_); }

LogicalOperation CreateIoasOperation::Logical() const {
  return record::CreateIoas{ioas_->uid(), ioas_->id(), static_cast<int>(ioas_->mode),
                            ioas_->large_pages()};
}

absl::Status CreateIoasOperation::Apply(Backend& backend) {
  RETURN_IF_ERROR(backend.CreateIoas(ioas_->uid()));
  if (ioas_->large_pages()) return absl::OkStatus();
  absl::Status set = backend.SetLargePages(ioas_->uid(), false);
  if (!set.ok()) backend.DestroyIoas(ioas_->uid()).IgnoreError();  // It is empty.
  return set;
}

void CreateIoasOperation::Commit(Model& model) {
  model.Publish(*ioas_);
  answer() = ViewOf(model, *ioas_, context().principal);
}

absl::StatusOr<std::vector<Uid>> SetLargePagesOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Ioas* ioas, model.Find<Ioas>(context(), ref_));
  return std::vector<Uid>{ioas->uid()};
}

absl::Status SetLargePagesOperation::CheckMayChange() const {
  if (large_pages_) {
    if (ioas_->mode != IoasMode::kVfioType1) return absl::OkStatus();
    return NoLargePages(absl::StatusCode::kFailedPrecondition)
        .Resource(ioas_->NameFor(context().principal))
        .Violation("make an IO address space of another mode");
  }
  if (ioas_->mapping_count() > 0 && !ioas_->domains.empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "LARGE_PAGES_IN_USE",
                 "there are mappings and domains, whose tables may have large pages")
        .Errno("EINVAL")
        .Resource(ioas_->NameFor(context().principal))
        .Violation("unmap everything, or delete the domains");
  }
  return ioas_->CheckAlignment(IovaSpace::kPageBytes);
}

absl::Status SetLargePagesOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(ioas_, model.Find<Ioas>(context(), ref_));
  RETURN_IF_ERROR(Model::CheckEtag(etag_, ioas_->Etag(), ioas_->NameFor(context().principal)));
  changes_ = ioas_->large_pages() != large_pages_;
  if (changes_) {
    RETURN_IF_ERROR(CheckMayChange());
    ioas_->SetLargePages(large_pages_);
  }
  answer() = ViewOf(model, *ioas_, context().principal);
  return absl::OkStatus();
}

void SetLargePagesOperation::Unplan(Model&) { ioas_->SetLargePages(!large_pages_); }

LogicalOperation SetLargePagesOperation::Logical() const {
  return record::SetLargePages{ioas_->uid(), large_pages_};
}

absl::Status SetLargePagesOperation::Apply(Backend& backend) {
  return backend.SetLargePages(ioas_->uid(), large_pages_);
}

void SetLargePagesOperation::Commit(Model& model) {
  model.Bump(*ioas_);
  answer() = ViewOf(model, *ioas_, context().principal);
}

absl::StatusOr<std::vector<Uid>> SetAllowedRangesOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Ioas* ioas, model.Find<Ioas>(context(), ref_));
  return std::vector<Uid>{ioas->uid()};
}

absl::Status SetAllowedRangesOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(ioas_, model.Find<Ioas>(context(), ref_));
  RETURN_IF_ERROR(Model::CheckEtag(etag_, ioas_->Etag(), ioas_->NameFor(context().principal)));
  if (ranges_.size() > kMaxAllowedRanges) {
    return Error(absl::StatusCode::kInvalidArgument, "TOO_MANY_RANGES",
                 absl::StrCat(ranges_.size(), " ranges; at most ", kMaxAllowedRanges))
        .Errno("EINVAL")
        .Field("ranges");
  }
  previous_ = ioas_->space().allowed();
  RETURN_IF_ERROR(ioas_->space().SetAllowed(ranges_));
  answer() = ViewOf(model, *ioas_, context().principal);
  return absl::OkStatus();
}

void SetAllowedRangesOperation::Unplan(Model&) {
  // It was in force before, so it can not be refused.
  ioas_->space().SetAllowed(previous_).IgnoreError();
}

LogicalOperation SetAllowedRangesOperation::Logical() const {
  return record::SetAllowedRanges{ioas_->uid(), ranges_};
}

void SetAllowedRangesOperation::Commit(Model& model) {
  model.Bump(*ioas_);
  answer() = ViewOf(model, *ioas_, context().principal);
}

void DeleteIoasOperation::DropWhatItHolds(Model& model) {
  DroppedReferences dropped(&model, object().uid());
  object().VisitCommitted(IovaRange{0, kMaxAddress}, [&](const PlacedArea& area) {
    dropped.Drop(area.area);
    return true;
  });
  dropped.Flush();
}

}  // namespace viommu
