// clients/client/call_error.h -- What the server said went wrong, for programs and for people.
//
// An error travels as an absl::Status that has the server's google.rpc.Status as a payload, so that
// code which only passes it on loses nothing, and whoever handles it asks ErrorOf.
#ifndef VIOMMU_CLIENTS_CLIENT_CALL_ERROR_H_
#define VIOMMU_CLIENTS_CLIENT_CALL_ERROR_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace viommu {

// A field of the request that is at fault.
struct FieldViolation {
  std::string field;  // "mappings[3].iova".
  std::string description;
};

// What stands in the way, for example an object that refers to the one to be deleted.
struct Precondition {
  std::string type;         // "IN_USE".
  std::string subject;      // "domains/vm0"; may be empty when the description says it.
  std::string description;  // May be empty.
};

// The object that it is about.
struct ResourceInfo {
  std::string type;  // "viommu.v1.Ioas".
  std::string name;  // "ioas/vm0"; empty: the error names none.
  std::string owner;
  std::string description;
};

// The details of an error, each empty where the server gave none.
struct CallError {
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string message;
  std::string reason;  // "IOVA_OCCUPIED"; empty for errors of gRPC and of this library.
  std::map<std::string, std::string> metadata;
  std::vector<FieldViolation> fields;
  std::vector<Precondition> preconditions;
  ResourceInfo resource;
  absl::optional<absl::Duration> retry_delay;  // The same call may succeed after this.

  // Position in its batch of the entry that failed: metadata "index".
  absl::optional<uint64_t> index() const;
};

// `status` with its code and message, and the details kept as a payload.
absl::Status ToStatus(const grpc::Status& status);
// The same for the status inside an answer of a stream.
absl::Status ToStatus(const google::rpc::Status& status);

// `status` with another message.
absl::Status WithMessage(const absl::Status& status, absl::string_view message);

// The details of an error that ToStatus made; of any other just its code and message.
CallError ErrorOf(const absl::Status& status);

// ErrorOf(status).reason.
std::string ReasonOf(const absl::Status& status);

// A few lines for a person, without a newline at the end: code, reason and message on the first;
// then, indented, the field, the values, who refers to the object, whether a repetition may help.
std::string Explain(const absl::Status& status);

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_CLIENT_CALL_ERROR_H_
