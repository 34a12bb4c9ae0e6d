// engine/base/errors.h -- One error: an absl::Status whose payload says the rule that was broken.
//
// The payload carries what google.rpc.ErrorInfo and its companions want, without engine/ knowing
// them: a stable UPPER_SNAKE reason, the errno name iommufd would give, the request field at fault,
// the index of the failing entry of a batch, and key/value metadata. server/ turns it into details.
#ifndef VIOMMU_ENGINE_BASE_ERRORS_H_
#define VIOMMU_ENGINE_BASE_ERRORS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace viommu {

// What an error says beyond its code and message. Plain value.
struct ErrorDetail {
  std::string reason;             // Stable identifier, e.g. "IOVA_CONFLICT".
  std::string errno_name;         // "EADDRINUSE"; empty where iommufd has no such error.
  std::string field;              // Request field at fault, e.g. "mappings[3].iova"; may be empty.
  std::optional<uint64_t> index;  // Failing entry of a batch.
  // The object that the error is about, as a resource name; may be empty.
  std::string resource;
  // What must be changed first (FAILED_PRECONDITION), e.g. the names of the referrers.
  std::vector<std::string> violations;
  std::map<std::string, std::string> metadata;
};

// Builds a Status with its ErrorDetail. Use as
//   return Error(absl::StatusCode::kNotFound, "IOVA_NOT_COVERED", "no area at 0x1000")
//       .Errno("ENOENT").Field("iova");
class Error {
 public:
  Error(absl::StatusCode code, absl::string_view reason, absl::string_view message);

  Error&& Errno(absl::string_view name) &&;
  Error&& Field(absl::string_view path) &&;
  Error&& Index(uint64_t index) &&;
  Error&& Resource(absl::string_view name) &&;
  Error&& Violation(absl::string_view description) &&;
  Error& Violation(absl::string_view description) &;  // For loops.
  Error&& Meta(absl::string_view key, absl::string_view value) &&;

  absl::Status ToStatus() const;
  operator absl::Status() const { return ToStatus(); }  // NOLINT: meant to be implicit.

 private:
  absl::StatusCode code_;
  std::string message_;
  ErrorDetail detail_;
};

// The detail of a Status made by Error; nullopt for any other Status.
std::optional<ErrorDetail> DetailOf(const absl::Status& status);

// `status` with the index of the failing entry set and `field_prefix` put before its field, as a
// batch does for the error of one of its entries. A Status without detail is returned unchanged.
absl::Status AtIndex(const absl::Status& status, uint64_t index, absl::string_view field_prefix);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BASE_ERRORS_H_
