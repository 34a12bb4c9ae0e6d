#include "engine/operations/ioas_operations.h"

#include <memory>

#include "engine/model/views.h"
#include "engine/operations/dropped_references.h"

namespace viommu {

absl::Status CreateIoasOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(ioas_, model.Reserve(std::make_unique<Ioas>(
                              context().principal, model.IdOrGenerated(id_, ObjectKind::kIoas),
                              model.objects.NextUid())));
  answer() = ViewOf(model, *ioas_, context().principal);
  return absl::OkStatus();
}

void CreateIoasOperation::Unplan(Model& model) { model.Discard(*ioas_); }

LogicalOperation CreateIoasOperation::Logical() const {
  return record::CreateIoas{ioas_->uid(), ioas_->id()};
}

absl::Status CreateIoasOperation::Apply(Backend& backend) {
  return backend.CreateIoas(ioas_->uid());
}

void CreateIoasOperation::Commit(Model& model) {
  model.Publish(*ioas_);
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
