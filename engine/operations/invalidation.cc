#include "engine/operations/invalidation.h"

#include <variant>

namespace viommu {

absl::Status CheckInvalidationSize(const InvalidationBatch& batch) {
  const size_t size = std::visit([](const auto& commands) { return commands.size(); }, batch);
  if (size <= kMaxBatchEntries) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "BATCH_TOO_LARGE",
               absl::StrCat(size, " commands in one batch; at most ", kMaxBatchEntries))
      .Errno("EINVAL")
      .Field("commands");
}

absl::Status CheckStillMeant(const Object& object, Uid only, absl::string_view principal) {
  if (only == 0 || object.uid() == only) return absl::OkStatus();
  const std::string name = object.NameFor(principal);
  return Error(absl::StatusCode::kNotFound, absl::StrCat(ReasonPrefix(object.kind()), "_NOT_FOUND"),
               absl::StrCat("the ", name, " that the stream was opened for is gone"))
      .Errno("ENOENT")
      .Resource(name);
}

absl::Status CommandsUnavailable(absl::string_view why) {
  return Error(absl::StatusCode::kUnimplemented, "COMMANDS_UNAVAILABLE", why)
      .Errno("EOPNOTSUPP")
      .Field("commands");
}

}  // namespace viommu
