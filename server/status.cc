#include "server/status.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "engine/base/errors.h"
#include "google/rpc/error_details.pb.h"
#include "server/names.h"

namespace viommu {
namespace {

constexpr absl::string_view kDomain = "viommu";
constexpr int kRetryDelaySeconds = 1;

// Base64 adds a third; together they stay below 6 KiB.
constexpr size_t kMaxMessageBytes = 640;
constexpr size_t kMaxValueBytes = 160;
constexpr size_t kMaxViolations = 8;
constexpr size_t kMaxMetadata = 8;
constexpr size_t kMaxKeyBytes = 40;

// `text` without what is too long, and with nothing that is not ASCII: protobuf strings are UTF-8
// and a cut may fall inside a character.
std::string Cut(absl::string_view text, size_t max_bytes) {
  std::string out(text.substr(0, max_bytes));
  for (char& c : out) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  if (text.size() > max_bytes) out.append("...");
  return out;
}

// "RESOURCE_EXHAUSTED" for kResourceExhausted: absl's names are those of google.rpc.Code.
std::string ReasonOf(const absl::Status& status, const ErrorDetail& detail) {
  return detail.reason.empty() ? absl::StatusCodeToString(status.code()) : detail.reason;
}

void AddErrorInfo(const absl::Status& status, const ErrorDetail& detail, google::rpc::Status* out) {
  google::rpc::ErrorInfo info;
  info.set_reason(ReasonOf(status, detail));
  info.set_domain(std::string(kDomain));
  auto& metadata = *info.mutable_metadata();
  for (const auto& [key, value] : detail.metadata) {
    if (metadata.size() == kMaxMetadata) break;
    metadata[Cut(key, kMaxKeyBytes)] = Cut(value, kMaxValueBytes);
  }
  if (!detail.errno_name.empty()) metadata["errno"] = detail.errno_name;
  if (!detail.field.empty()) metadata["field"] = Cut(detail.field, kMaxValueBytes);
  if (detail.index.has_value()) metadata["index"] = absl::StrCat(*detail.index);
  if (!detail.resource.empty()) metadata["resource"] = Cut(detail.resource, kMaxValueBytes);
  out->add_details()->PackFrom(info);
}

void AddBadRequest(const absl::Status& status, const ErrorDetail& detail,
                   google::rpc::Status* out) {
  const bool of_request = status.code() == absl::StatusCode::kInvalidArgument ||
                          status.code() == absl::StatusCode::kOutOfRange;
  if (!of_request || detail.field.empty()) return;
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field(Cut(detail.field, kMaxValueBytes));
  violation->set_description(Cut(status.message(), kMaxValueBytes));
  out->add_details()->PackFrom(bad_request);
}

void AddPreconditionFailure(const absl::Status& status, const ErrorDetail& detail,
                            google::rpc::Status* out) {
  if (status.code() != absl::StatusCode::kFailedPrecondition) return;
  google::rpc::PreconditionFailure failure;
  const auto add = [&](absl::string_view subject, absl::string_view description) {
    auto* violation = failure.add_violations();
    violation->set_type(ReasonOf(status, detail));
    violation->set_subject(Cut(subject, kMaxValueBytes));
    violation->set_description(Cut(description, kMaxValueBytes));
  };
  const size_t shown = std::min(detail.violations.size(), kMaxViolations);
  for (size_t i = 0; i < shown; ++i) add(detail.violations[i], "");
  if (shown < detail.violations.size()) {
    add("", absl::StrCat("and ", detail.violations.size() - shown, " more"));
  }
  if (shown == 0) add(detail.resource, status.message());
  out->add_details()->PackFrom(failure);
}

void AddResourceInfo(const ErrorDetail& detail, google::rpc::Status* out) {
  if (detail.resource.empty()) return;
  google::rpc::ResourceInfo info;
  info.set_resource_type(ResourceType(detail.resource));
  info.set_resource_name(Cut(detail.resource, kMaxValueBytes));
  out->add_details()->PackFrom(info);
}

// An ABORTED call may be repeated as it is, except when the client must look at something first. So
// may one that found no room among those that run: they end by themselves.
bool MayRepeat(const absl::Status& status, const ErrorDetail& detail) {
  if (status.code() == absl::StatusCode::kUnavailable) return true;
  if (detail.reason == "IN_FLIGHT_LIMIT") return true;
  if (detail.reason == "TOO_MANY_CALLS" || detail.reason == "TOO_MANY_STREAMS" ||
      detail.reason == "TOO_MANY_THREADS") {
    return true;
  }
  return status.code() == absl::StatusCode::kAborted && detail.reason != "ETAG_MISMATCH" &&
         detail.reason != "STREAM_STOPPED";
}

void AddRetryInfo(const absl::Status& status, const ErrorDetail& detail, google::rpc::Status* out) {
  if (!MayRepeat(status, detail)) return;
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(kRetryDelaySeconds);
  out->add_details()->PackFrom(info);
}

}  // namespace

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status out;
  if (status.ok()) return out;
  const ErrorDetail detail = DetailOf(status).value_or(ErrorDetail());
  out.set_code(static_cast<int>(status.code()));
  out.set_message(Cut(status.message(), kMaxMessageBytes));
  AddErrorInfo(status, detail, &out);
  AddBadRequest(status, detail, &out);
  AddPreconditionFailure(status, detail, &out);
  AddResourceInfo(detail, &out);
  AddRetryInfo(status, detail, &out);
  return out;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status rpc = ToRpcStatus(status);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), rpc.message(),
                      rpc.SerializeAsString());
}

}  // namespace viommu
