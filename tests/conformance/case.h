// tests/conformance/case.h -- What one row of the suite says.
#ifndef VIOMMU_TESTS_CONFORMANCE_CASE_H_
#define VIOMMU_TESTS_CONFORMANCE_CASE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "tests/conformance/world.h"

namespace viommu::conformance {

// Something that is done to a target, or looked up there. Its error is the call's, or says what did
// not hold.
using Step = std::function<absl::Status(World&)>;

// How a call is refused. What is left empty is not looked at.
struct Refusal {
  absl::StatusCode code = absl::StatusCode::kUnknown;
  std::string reason = {};
  std::string errno_name = {};
  std::string field = {};              // ErrorInfo metadata "field".
  std::optional<uint64_t> index = {};  // ErrorInfo metadata "index".
  std::string value = {};              // The offending value, somewhere in the message.
  std::string blamed = {};             // Named by a PreconditionFailure, or as the resource.
  bool shows_only_when_done = false;   // validate_only can not know: common.proto.

  Refusal&& Field(std::string path) && { return field = std::move(path), std::move(*this); }
  Refusal&& Index(uint64_t at) && { return index = at, std::move(*this); }
  Refusal&& Says(std::string text) && { return value = std::move(text), std::move(*this); }
  Refusal&& Blames(std::string name) && { return blamed = std::move(name), std::move(*this); }
  Refusal&& WhenDone() && { return shows_only_when_done = true, std::move(*this); }
};

inline Refusal Invalid(std::string reason, std::string errno_name = "EINVAL") {
  return {absl::StatusCode::kInvalidArgument, std::move(reason), std::move(errno_name)};
}
inline Refusal OutOfRange(std::string reason, std::string errno_name = "EOVERFLOW") {
  return {absl::StatusCode::kOutOfRange, std::move(reason), std::move(errno_name)};
}
inline Refusal NotFound(std::string reason) {
  return {absl::StatusCode::kNotFound, std::move(reason), "ENOENT"};
}
inline Refusal Exists(std::string reason) {
  return {absl::StatusCode::kAlreadyExists, std::move(reason), "EEXIST"};
}
inline Refusal Precondition(std::string reason, std::string errno_name) {
  return {absl::StatusCode::kFailedPrecondition, std::move(reason), std::move(errno_name)};
}
inline Refusal Conflict() { return Precondition("IOVA_CONFLICT", "EADDRINUSE"); }
inline Refusal Denied(std::string reason) {
  return {absl::StatusCode::kPermissionDenied, std::move(reason), "EPERM"};
}
inline Refusal Unimplemented(std::string reason) {
  return {absl::StatusCode::kUnimplemented, std::move(reason), "EOPNOTSUPP"};
}
inline Refusal Exhausted(std::string reason) {
  return {absl::StatusCode::kResourceExhausted, std::move(reason), "ENOSPC"};
}

// What of a unit not every architecture has yet.
enum class Feature { kDirtyTracking, kPageFaults };

// Whether rows that need it can be run. What SMMUv3s come to have is taken out here, and nowhere
// else: they have all of it now.
constexpr bool HasFeature(Architecture architecture, Feature feature) {
  constexpr std::array<Feature, 0> kNotBehindSmmuV3 = {};
  for (const Feature lacking : kNotBehindSmmuV3) {
    if (architecture == Architecture::kSmmuV3 && lacking == feature) return false;
  }
  return true;
}

struct Case {
  std::string section;  // Of the reference, with the number of the check: "3.5/9b".
  std::string name;     // What is done, in words.
  std::vector<Step> set_up;
  Step call;
  std::optional<Refusal> refusal = {};    // None: it must be accepted.
  std::vector<Step> checks = {};          // What holds once it is accepted.
  std::optional<Architecture> only = {};  // None: it is the same on all.
  std::optional<Feature> needs = {};      // None: what every unit has.
};

inline bool AppliesTo(const Case& row, Architecture architecture) {
  if (row.only.has_value() && *row.only != architecture) return false;
  return !row.needs.has_value() || HasFeature(architecture, *row.needs);
}

inline Case Refused(std::string section, std::string name, std::vector<Step> set_up, Step call,
                    Refusal refusal) {
  return {std::move(section), std::move(name),    std::move(set_up),
          std::move(call),    std::move(refusal), {}};
}
inline Case Accepted(std::string section, std::string name, std::vector<Step> set_up, Step call,
                     std::vector<Step> checks = {}) {
  return {std::move(section), std::move(name), std::move(set_up),
          std::move(call),    std::nullopt,    std::move(checks)};
}

// The row is about one architecture; another row says what the other one answers, unless it has
// nothing of the kind.
inline Case OnVtd(Case row) { return row.only = Architecture::kVtd, row; }
inline Case OnSmmuV3(Case row) { return row.only = Architecture::kSmmuV3, row; }
inline std::vector<Case> AllOnSmmuV3(std::vector<Case> rows) {
  for (Case& row : rows) row.only = Architecture::kSmmuV3;
  return rows;
}
// Rows that need it in their set-up, too.
inline Case Needing(Feature feature, Case row) { return row.needs = feature, row; }

}  // namespace viommu::conformance

#endif  // VIOMMU_TESTS_CONFORMANCE_CASE_H_
