#include "engine/operations/batch_checks.h"

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/operations/still_meant.h"

namespace viommu {

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

absl::StatusOr<Ioas*> FindIoas(const Model& model, const CallContext& context, const ObjectRef& ref,
                               Uid only) {
  ASSIGN_OR_RETURN(Ioas * ioas, model.Find<Ioas>(context, ref));
  RETURN_IF_ERROR(CheckStillMeant(*ioas, only, context.principal));
  return ioas;
}

absl::StatusOr<std::vector<Uid>> IoasLane(const Model& model, const CallContext& context,
                                          const ObjectRef& ref, Uid only) {
  ASSIGN_OR_RETURN(const Ioas* ioas, FindIoas(model, context, ref, only));
  return std::vector<Uid>{ioas->uid()};
}

absl::StatusOr<IovaRange> CheckedRange(Iova iova, uint64_t length, absl::string_view iova_field) {
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

std::string EntryField(absl::string_view field, size_t index) {
  return absl::StrCat(field, "[", index, "]");
}

}  // namespace viommu
