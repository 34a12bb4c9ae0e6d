// server/request_check.h -- What is wrong with a request whatever its RPC.
//
// A field or an enum value that this daemon does not know comes from a newer client that counts on
// it: accepting and ignoring it would be a lie (R6).
#ifndef VIOMMU_SERVER_REQUEST_CHECK_H_
#define VIOMMU_SERVER_REQUEST_CHECK_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace viommu {

// kInvalidArgument: UNKNOWN_FIELD, UNKNOWN_ENUM_VALUE; the path of the field is in the error.
absl::Status CheckKnown(const google::protobuf::Message& request);

// Empty is fine. kInvalidArgument: MALFORMED_REQUEST_ID, not 1..128 printable ASCII characters
// without spaces.
absl::Status CheckRequestId(absl::string_view request_id);

// kInvalidArgument: MISSING_FIELD, unless `present`.
absl::Status Require(bool present, absl::string_view field);

}  // namespace viommu

#endif  // VIOMMU_SERVER_REQUEST_CHECK_H_
