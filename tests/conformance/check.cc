#include "tests/conformance/check.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "clients/client/call_error.h"

namespace viommu::conformance {
namespace {

std::string Metadata(const CallError& error, const std::string& key) {
  const auto it = error.metadata.find(key);
  return it == error.metadata.end() ? "" : it->second;
}

bool Blames(const CallError& error, const std::string& name) {
  if (absl::StrContains(error.resource.name, name)) return true;
  return std::any_of(error.preconditions.begin(), error.preconditions.end(),
                     [&](const ::viommu::Precondition& precondition) {
                       return absl::StrContains(precondition.subject, name) ||
                              absl::StrContains(precondition.description, name);
                     });
}

}  // namespace

std::string CompareRefusal(const Refusal& expected, const absl::Status& status) {
  const CallError error = ErrorOf(status);
  std::string problems;
  const auto compare = [&](absl::string_view what, const std::string& want,
                           const std::string& got) {
    if (want != got) absl::StrAppend(&problems, what, " is \"", got, "\", not \"", want, "\"\n");
  };
  compare("the code", absl::StatusCodeToString(expected.code),
          absl::StatusCodeToString(error.code));
  compare("the reason", expected.reason, error.reason);
  compare("the errno", expected.errno_name, Metadata(error, "errno"));
  if (!expected.field.empty()) compare("the field", expected.field, Metadata(error, "field"));
  if (expected.index.has_value()) {
    compare("the index", absl::StrCat(*expected.index), Metadata(error, "index"));
  }
  if (!absl::StrContains(error.message, expected.value)) {
    absl::StrAppend(&problems, "the message does not say \"", expected.value, "\"\n");
  }
  if (!expected.blamed.empty() && !Blames(error, expected.blamed)) {
    absl::StrAppend(&problems, "\"", expected.blamed, "\" is not blamed\n");
  }
  return problems;
}

}  // namespace viommu::conformance
