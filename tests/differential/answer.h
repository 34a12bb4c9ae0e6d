// tests/differential/answer.h -- What a verb answers, as far as both sides must agree.
#ifndef VIOMMU_TESTS_DIFFERENTIAL_ANSWER_H_
#define VIOMMU_TESTS_DIFFERENTIAL_ANSWER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "tests/differential/sheet.h"

namespace viommu::differential {

// Plain value, equal when everything but `made_up` is. An error has a reason and says nothing; a
// success says what is on its sheet.
struct Answer {
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string reason;
  std::optional<uint64_t> index;        // Of the entry that is to blame.
  std::vector<std::string> in_the_way;  // Ascending: who refers to it, what is attached.
  Sheet said;
  // What only the engine can know, and tells the reference: an id that it made up.
  std::string made_up;

  bool ok() const { return code == absl::StatusCode::kOk; }
  friend bool operator==(const Answer& a, const Answer& b) {
    return a.code == b.code && a.reason == b.reason && a.index == b.index &&
           a.in_the_way == b.in_the_way && a.said == b.said;
  }
  friend bool operator!=(const Answer& a, const Answer& b) { return !(a == b); }
};

// The refusals of the reference.
Answer Invalid(absl::string_view reason);        // kInvalidArgument
Answer Missing(absl::string_view reason);        // kNotFound
Answer Exists(absl::string_view reason);         // kAlreadyExists
Answer Precondition(absl::string_view reason);   // kFailedPrecondition
Answer Forbidden(absl::string_view reason);      // kPermissionDenied
Answer Beyond(absl::string_view reason);         // kOutOfRange
Answer Exhausted(absl::string_view reason);      // kResourceExhausted
Answer Unimplemented(absl::string_view reason);  // kUnimplemented
Answer Aborted(absl::string_view reason);        // kAborted
Answer TooLate(absl::string_view reason);        // kDeadlineExceeded
Answer At(uint64_t index, Answer refusal);
Answer Ordered(Answer refusal);  // With what is in the way ascending.

// What the engine's status says; `in_the_way` only where the reference knows all of it.
Answer FromStatus(const absl::Status& status);

// Of a batch whose first commands are done: how many, and why the next one is not.
void PutOutcome(Sheet& sheet, uint64_t handled, const Answer& first_error);

std::string ToString(const Answer& answer);

}  // namespace viommu::differential

#endif  // VIOMMU_TESTS_DIFFERENTIAL_ANSWER_H_
