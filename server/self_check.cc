#include "server/self_check.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/base/errors.h"
#include "grpcpp/grpcpp.h"
#include "viommu/v1/host.grpc.pb.h"

namespace viommu {
namespace {

// Longest wait of gRPC before it connects again.
constexpr int kMaxBackoffMs = 1000;

std::shared_ptr<grpc::Channel> Connect(const std::string& unix_socket) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxBackoffMs);
  // A connection that a client elsewhere in this process has must not be counted on.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(absl::StrCat("unix:", unix_socket),
                                   grpc::InsecureChannelCredentials(), arguments);
}

// Our own refusals have details; gRPC's, for want of threads, have a code that no client makes.
bool CameFromServer(const grpc::Status& status) {
  return status.ok() || status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED ||
         !status.error_details().empty();
}

}  // namespace

SelfCheck::SelfCheck(std::function<void()> look_at_engine, const std::string& unix_socket,
                     absl::Duration call_timeout)
    : look_at_engine_(std::move(look_at_engine)),
      call_timeout_(call_timeout),
      channel_(Connect(unix_socket)) {}

absl::Status SelfCheck::Run() {
  look_at_engine_();
  v1::HostService::Stub stub(channel_);
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + call_timeout_));
  v1::Host host;
  const grpc::Status status = stub.GetHost(&context, {}, &host);
  if (CameFromServer(status)) return absl::OkStatus();
  return Error(absl::StatusCode::kUnavailable, "NO_ANSWER",
               absl::StrCat("GetHost over the operator's socket: ", status.error_message()));
}

}  // namespace viommu
