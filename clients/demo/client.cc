#include "clients/demo/client.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace viommu {
namespace {

constexpr absl::Duration kCallDeadline = absl::Seconds(20);

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& target) {
  grpc::ChannelArguments arguments;
  // Otherwise gRPC joins channels of one process to one target.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A proxy of the environment has no business between us and a daemon of this host.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

void SetCallDeadline(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + kCallDeadline));
}

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status rpc;
  google::rpc::ErrorInfo info;
  if (!rpc.ParseFromString(status.error_details())) return "";
  for (const auto& detail : rpc.details()) {
    if (detail.UnpackTo(&info)) break;
  }
  return info.reason();
}

absl::Status ToStatus(const grpc::Status& status) {
  const std::string reason = ReasonOf(status);
  return {static_cast<absl::StatusCode>(status.error_code()),
          absl::StrCat(reason, reason.empty() ? "" : ": ", status.error_message())};
}

Client::Client(const std::string& target)
    : channel(ChannelTo(target)),
      host(channel),
      device(channel),
      memory(channel),
      ioas(channel),
      mapping(channel),
      domain(channel),
      simulation(channel) {}

}  // namespace viommu
