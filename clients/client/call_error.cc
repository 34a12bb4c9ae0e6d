#include "clients/client/call_error.h"

#include <algorithm>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace viommu {
namespace {

constexpr char kPayloadUrl[] = "type.googleapis.com/google.rpc.Status";

void Take(const google::rpc::ErrorInfo& info, CallError* error) {
  error->reason = info.reason();
  error->metadata.insert(info.metadata().begin(), info.metadata().end());
}

void Take(const google::rpc::BadRequest& bad, CallError* error) {
  for (const auto& violation : bad.field_violations()) {
    error->fields.push_back({violation.field(), violation.description()});
  }
}

void Take(const google::rpc::PreconditionFailure& failure, CallError* error) {
  for (const auto& violation : failure.violations()) {
    error->preconditions.push_back(
        {violation.type(), violation.subject(), violation.description()});
  }
}

void Take(const google::rpc::ResourceInfo& info, CallError* error) {
  error->resource = {info.resource_type(), info.resource_name(), info.owner(), info.description()};
}

void Take(const google::rpc::RetryInfo& info, CallError* error) {
  error->retry_delay =
      absl::Seconds(info.retry_delay().seconds()) + absl::Nanoseconds(info.retry_delay().nanos());
}

// False: `any` holds something else.
template <typename Detail>
bool TakeIf(const google::protobuf::Any& any, CallError* error) {
  Detail detail;
  if (!any.UnpackTo(&detail)) return false;
  Take(detail, error);
  return true;
}

bool IsPlain(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

// `text` on one line, and without what a terminal would obey.
std::string Printable(absl::string_view text) {
  if (IsPlain(text)) return std::string(text);
  std::string out(text);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = ' ';
  }
  return out;
}

// Of one fact, in a column.
std::string Line(absl::string_view title, absl::string_view text) {
  return absl::StrCat("\n  ", title, ": ", Printable(text));
}

std::string FieldLines(const CallError& error) {
  std::string out;
  for (const FieldViolation& field : error.fields) {
    // The server's description is mostly the message once more.
    const bool says_more = !field.description.empty() && field.description != error.message;
    out +=
        Line("field", says_more ? absl::StrCat(field.field, ": ", field.description) : field.field);
  }
  return out;
}

std::string PreconditionLines(const CallError& error) {
  std::string out;
  for (const Precondition& one : error.preconditions) {
    const bool says_more = !one.description.empty() && one.description != error.message;
    if (one.subject.empty() && !says_more) continue;
    const char* separator = one.subject.empty() || !says_more ? "" : ": ";
    out += Line(one.type == "IN_USE" ? "referred to by" : "in the way",
                absl::StrCat(one.subject, separator, says_more ? one.description : ""));
  }
  return out;
}

// What no other line says.
std::string MetadataLines(const CallError& error) {
  std::string out;
  for (const auto& [key, value] : error.metadata) {
    if (key == "resource" && value == error.resource.name) continue;
    if (key == "field" && !error.fields.empty()) continue;
    out += Line(key, value);
  }
  return out;
}

}  // namespace

absl::optional<uint64_t> CallError::index() const {
  const auto found = metadata.find("index");
  uint64_t value = 0;
  if (found == metadata.end() || !absl::SimpleAtoi(found->second, &value)) return absl::nullopt;
  return value;
}

absl::Status ToStatus(const google::rpc::Status& status) {
  if (status.code() == 0) return absl::OkStatus();
  absl::Status out(static_cast<absl::StatusCode>(status.code()), status.message());
  if (status.details_size() > 0) {
    out.SetPayload(kPayloadUrl, absl::Cord(status.SerializeAsString()));
  }
  return out;
}

absl::Status ToStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  google::rpc::Status rpc;
  if (!rpc.ParseFromString(status.error_details())) rpc.Clear();
  // What gRPC says counts; the details come from elsewhere in the same message.
  rpc.set_code(status.error_code());
  rpc.set_message(status.error_message());
  return ToStatus(rpc);
}

absl::Status WithMessage(const absl::Status& status, absl::string_view message) {
  absl::Status out(status.code(), message);
  status.ForEachPayload(
      [&out](absl::string_view url, const absl::Cord& payload) { out.SetPayload(url, payload); });
  return out;
}

CallError ErrorOf(const absl::Status& status) {
  CallError error;
  error.code = status.code();
  error.message = std::string(status.message());
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  google::rpc::Status rpc;
  if (!payload.has_value() || !rpc.ParseFromString(std::string(*payload))) return error;
  for (const google::protobuf::Any& any : rpc.details()) {
    static_cast<void>(TakeIf<google::rpc::ErrorInfo>(any, &error) ||
                      TakeIf<google::rpc::BadRequest>(any, &error) ||
                      TakeIf<google::rpc::PreconditionFailure>(any, &error) ||
                      TakeIf<google::rpc::ResourceInfo>(any, &error) ||
                      TakeIf<google::rpc::RetryInfo>(any, &error));
  }
  return error;
}

std::string ReasonOf(const absl::Status& status) { return ErrorOf(status).reason; }

std::string Explain(const absl::Status& status) {
  if (status.ok()) return "OK";
  const CallError error = ErrorOf(status);
  std::string out = absl::StatusCodeToString(error.code);
  if (!error.reason.empty()) absl::StrAppend(&out, " (", Printable(error.reason), ")");
  absl::StrAppend(&out, ": ", Printable(error.message));
  if (!error.resource.name.empty()) out += Line("object", error.resource.name);
  absl::StrAppend(&out, FieldLines(error), MetadataLines(error), PreconditionLines(error));
  if (error.retry_delay.has_value()) {
    out += Line("may succeed when repeated after", absl::FormatDuration(*error.retry_delay));
  }
  return out;
}

}  // namespace viommu
