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

absl::Status CommandsUnavailable(absl::string_view why) {
  return Error(absl::StatusCode::kUnimplemented, "COMMANDS_UNAVAILABLE", why)
      .Errno("EOPNOTSUPP")
      .Field("commands");
}

}  // namespace viommu
