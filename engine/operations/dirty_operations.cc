#include "engine/operations/dirty_operations.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/model/views.h"

namespace viommu {
namespace {

absl::Status NotPaging(const std::string& name) {
  return Error(absl::StatusCode::kFailedPrecondition, "NOT_PAGING",
               absl::StrCat(name, " maps no pages of its own"))
      .Errno("ENOENT")
      .Resource(name)
      .Violation("name a PAGING domain; what devices write through a NESTED one its parent tells");
}

absl::StatusOr<Domain*> FindPaging(const Model& model, const CallContext& context,
                                   const ObjectRef& ref) {
  if (!ref.owner.has_value() && (ref.id == kIdentityDomain || ref.id == kBlockedDomain)) {
    return NotPaging(absl::StrCat("domains/", ref.id));
  }
  ASSIGN_OR_RETURN(Domain * domain, model.Find<Domain>(context, ref));
  if (domain->nested() || domain->sva()) return NotPaging(domain->NameFor(context.principal));
  return domain;
}

absl::Status CheckTracks(const Domain& domain, const CallContext& context) {
  if (domain.properties.dirty_tracking) return absl::OkStatus();
  const std::string name = domain.NameFor(context.principal);
  return Error(absl::StatusCode::kUnimplemented, "DIRTY_TRACKING_UNAVAILABLE",
               absl::StrCat(name, " was made without dirty tracking"))
      .Errno("EOPNOTSUPP")
      .Field("name")
      .Resource(name);
}

absl::Status CheckMultiple(absl::string_view field, uint64_t value, absl::string_view of,
                           uint64_t alignment) {
  if (IsAligned(value, alignment)) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "MISALIGNED",
               absl::StrCat(field, " ", Hex(value), " is not a multiple of ", of, " ",
                            Hex(alignment)))
      .Errno("EINVAL")
      .Field(field)
      .Meta("alignment", Hex(alignment));
}

// No hole in the range, and all of it in force. O(areas in the range).
absl::Status CheckCovered(const Ioas& ioas, const IovaRange& range) {
  absl::Status refusal;
  Iova next = range.first;
  bool covered = false;
  ioas.VisitCommitted(range, [&](const PlacedArea& area) {
    if (area.range.first > next) return false;
    if (area.area.suspended != 0) refusal = NotInForce(area);
    covered = area.range.last >= range.last;
    next = area.range.last + 1;
    return refusal.ok() && !covered;
  });
  RETURN_IF_ERROR(refusal);
  if (covered) return absl::OkStatus();
  return Error(absl::StatusCode::kNotFound, "IOVA_NOT_COVERED",
               absl::StrCat("nothing is mapped at ", Hex(next), " of ", ToString(range)))
      .Errno("ENOENT")
      .Field("iova")
      .Meta("iova", Hex(next));
}

}  // namespace

absl::StatusOr<std::vector<Uid>> SetDirtyTrackingOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Domain* domain, FindPaging(model, context(), ref_));
  return std::vector<Uid>{domain->ioas, domain->uid()};
}

absl::Status SetDirtyTrackingOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(domain_, FindPaging(model, context(), ref_));
  RETURN_IF_ERROR(Model::CheckEtag(etag_, domain_->Etag(), domain_->NameFor(context().principal)));
  RETURN_IF_ERROR(CheckTracks(*domain_, context()));
  changes_ = domain_->dirty_tracking_enabled != enabled_;
  answer() = ViewOf(model, *domain_, context().principal);
  answer().dirty_tracking_enabled = enabled_;
  return absl::OkStatus();
}

LogicalOperation SetDirtyTrackingOperation::Logical() const {
  return record::SetDirtyTracking{domain_->uid(), enabled_};
}

absl::Status SetDirtyTrackingOperation::Apply(Backend& backend) {
  return backend.SetDirtyTracking(domain_->uid(), enabled_);
}

void SetDirtyTrackingOperation::Commit(Model& model) {
  domain_->dirty_tracking_enabled = enabled_;
  model.Bump(*domain_);
  answer() = ViewOf(model, *domain_, context().principal);
}

// ---- Read ----

// In the order of iommufd_check_iova_range (iommufd-semantics.md section 9).
absl::Status ReadDirtyOperation::CheckRange(uint64_t alignment_bytes) const {
  const auto& [iova, length_bytes, page_bytes, keep] = request_;
  if (length_bytes == 0) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_LENGTH", "length is 0")
        .Errno("EINVAL")
        .Field("length");
  }
  if (iova > kMaxAddress - (length_bytes - 1)) {
    return Error(absl::StatusCode::kOutOfRange, "IOVA_OVERFLOW",
                 absl::StrCat("iova ", Hex(iova), " + length ", Hex(length_bytes),
                              " passes the end of the address space"))
        .Errno("EOVERFLOW")
        .Field("iova");
  }
  constexpr absl::string_view kIoas = "the address space's alignment";
  RETURN_IF_ERROR(CheckMultiple("iova", iova, kIoas, alignment_bytes));
  RETURN_IF_ERROR(CheckMultiple("length", length_bytes, kIoas, alignment_bytes));
  if (!IsPowerOfTwo(page_bytes)) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_PAGE_SIZE",
                 absl::StrCat("a page of ", page_bytes, " bytes: it must be a power of two"))
        .Errno("EINVAL")
        .Field("page_size_bytes");
  }
  RETURN_IF_ERROR(CheckMultiple("iova", iova, "the page size", page_bytes));
  RETURN_IF_ERROR(CheckMultiple("length", length_bytes, "the page size", page_bytes));
  if (length_bytes / page_bytes <= kMaxBitmapPages) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "BITMAP_TOO_LARGE",
               absl::StrCat(length_bytes / page_bytes, " pages in one bitmap; at most ",
                            kMaxBitmapPages))
      .Errno("EINVAL")
      .Field("length");
}

absl::StatusOr<std::vector<Uid>> ReadDirtyOperation::Lanes(Model& model) {
  ASSIGN_OR_RETURN(const Domain* domain, FindPaging(model, context(), ref_));
  return std::vector<Uid>{domain->ioas};
}

absl::Status ReadDirtyOperation::Plan(Model& model) {
  ASSIGN_OR_RETURN(const Domain* domain, FindPaging(model, context(), ref_));
  const Ioas& ioas = *model.Get<Ioas>(domain->ioas);
  RETURN_IF_ERROR(CheckRange(ioas.space().alignment_bytes()));
  RETURN_IF_ERROR(CheckTracks(*domain, context()));
  RETURN_IF_ERROR(CheckCovered(ioas, range()));
  domain_ = domain->uid();
  answer() = DirtyBitmap(range(), request_.page_bytes);
  return absl::OkStatus();
}

absl::Status ReadDirtyOperation::Apply(Backend& backend) {
  ASSIGN_OR_RETURN(answer(), backend.ReadDirty(domain_, range(), request_.page_bytes,
                                               /*clear=*/!request_.keep));
  return absl::OkStatus();
}

}  // namespace viommu
