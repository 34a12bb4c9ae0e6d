#include "server/call_context.h"

#include <chrono>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status_macros.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "server/request_check.h"
#include "server/sha256.h"

namespace viommu {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

const FieldDescriptor* FieldNamed(const Message& request, const char* name) {
  return request.GetDescriptor()->FindFieldByName(name);
}

std::string SerializeDeterministically(const Message& message) {
  std::string out;
  google::protobuf::io::StringOutputStream stream(&out);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return out;
}

absl::Time DeadlineOf(const grpc::ServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return absl::InfiniteFuture();
  return absl::FromChrono(deadline);
}

}  // namespace

CallContext MakeCallContext(const grpc::ServerContext& context, const Caller& caller) {
  CallContext call;
  call.principal = caller.principal;
  call.is_operator = caller.is_operator;
  call.may_claim = caller.may_claim;
  call.deadline = DeadlineOf(context);
  return call;
}

absl::StatusOr<CallContext> MakeCallContext(const grpc::ServerContext& context,
                                            const Caller& caller, const Message& request) {
  RETURN_IF_ERROR(CheckKnown(request));
  CallContext call = MakeCallContext(context, caller);
  const auto& reflection = *request.GetReflection();
  if (const FieldDescriptor* field = FieldNamed(request, "validate_only")) {
    call.validate_only = reflection.GetBool(request, field);
  }
  if (const FieldDescriptor* field = FieldNamed(request, "request_id")) {
    call.request_id = reflection.GetString(request, field);
    RETURN_IF_ERROR(CheckRequestId(call.request_id));
    if (!call.request_id.empty()) call.request_digest = RequestDigest(request);
  }
  return call;
}

std::string RequestDigest(const Message& request) {
  std::unique_ptr<Message> anonymous(request.New());
  anonymous->CopyFrom(request);
  if (const FieldDescriptor* field = FieldNamed(request, "request_id")) {
    anonymous->GetReflection()->ClearField(anonymous.get(), field);
  }
  return Sha256(absl::StrCat(std::string(request.GetDescriptor()->full_name()), "\n",
                             SerializeDeterministically(*anonymous)));
}

Transport TransportOf(const grpc::ServerContext& context) {
  return absl::StartsWith(context.peer(), "unix:") ? Transport::kUnix : Transport::kTcp;
}

}  // namespace viommu
