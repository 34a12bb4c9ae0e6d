#include "tests/differential/answer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/errors.h"

namespace viommu::differential {
namespace {

Answer Refuse(absl::StatusCode code, absl::string_view reason) {
  Answer answer;
  answer.code = code;
  answer.reason = std::string(reason);
  return answer;
}

}  // namespace

Answer Invalid(absl::string_view reason) {
  return Refuse(absl::StatusCode::kInvalidArgument, reason);
}
Answer Missing(absl::string_view reason) { return Refuse(absl::StatusCode::kNotFound, reason); }
Answer Exists(absl::string_view reason) { return Refuse(absl::StatusCode::kAlreadyExists, reason); }
Answer Precondition(absl::string_view reason) {
  return Refuse(absl::StatusCode::kFailedPrecondition, reason);
}
Answer Forbidden(absl::string_view reason) {
  return Refuse(absl::StatusCode::kPermissionDenied, reason);
}
Answer Beyond(absl::string_view reason) { return Refuse(absl::StatusCode::kOutOfRange, reason); }
Answer Exhausted(absl::string_view reason) {
  return Refuse(absl::StatusCode::kResourceExhausted, reason);
}
Answer Unimplemented(absl::string_view reason) {
  return Refuse(absl::StatusCode::kUnimplemented, reason);
}

Answer Aborted(absl::string_view reason) { return Refuse(absl::StatusCode::kAborted, reason); }
Answer TooLate(absl::string_view reason) {
  return Refuse(absl::StatusCode::kDeadlineExceeded, reason);
}

Answer Ordered(Answer refusal) {
  std::sort(refusal.in_the_way.begin(), refusal.in_the_way.end());
  return refusal;
}

Answer At(uint64_t index, Answer refusal) {
  refusal.index = index;
  return refusal;
}

Answer FromStatus(const absl::Status& status) {
  Answer answer = Refuse(status.code(), "");
  const std::optional<ErrorDetail> detail = DetailOf(status);
  if (!detail.has_value()) return answer;
  answer.reason = detail->reason;
  answer.index = detail->index;
  if (detail->reason == "IN_USE" || detail->reason == "STILL_ATTACHED") {
    answer.in_the_way = detail->violations;
    return Ordered(std::move(answer));
  }
  return answer;
}

void PutOutcome(Sheet& sheet, uint64_t handled, const Answer& first_error) {
  constexpr uint64_t kNone = ~uint64_t{0};
  sheet.Put("handled", handled);
  sheet.Put("code", static_cast<uint64_t>(first_error.code));
  sheet.Put("reason", first_error.reason);
  sheet.Put("at", first_error.index.value_or(kNone));
}

std::string ToString(const Answer& answer) {
  std::string text = absl::StrCat(absl::StatusCodeToString(answer.code), " ", answer.reason);
  if (answer.index.has_value()) absl::StrAppend(&text, " #", *answer.index);
  if (!answer.in_the_way.empty()) {
    absl::StrAppend(&text, " because of ", absl::StrJoin(answer.in_the_way, ", "));
  }
  return absl::StrCat(text, answer.said.words());
}

}  // namespace viommu::differential
