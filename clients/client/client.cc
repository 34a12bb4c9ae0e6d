#include "clients/client/client.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace viommu {
namespace {

// A server that comes back is found soon, one that does not is not asked too often.
constexpr int kFirstReconnectMs = 100;
constexpr int kMaxReconnectMs = 500;
constexpr int kMinConnectMs = 100;

std::shared_ptr<grpc::Channel> ChannelTo(const Target& target, const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  // Otherwise gRPC joins channels of one process to one target.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A proxy of the environment has no business between us and a daemon of this host.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // What may be repeated is decided here alone.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  const int64_t connect_ms = absl::ToInt64Milliseconds(options.connect_timeout);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS,
                   static_cast<int>(std::clamp<int64_t>(connect_ms, kMinConnectMs, INT32_MAX)));
  return grpc::CreateCustomChannel(target.grpc, grpc::InsecureChannelCredentials(), arguments);
}

std::string NameOf(const Target& target) {
  return target.socket_path.empty() ? target.grpc : target.socket_path;
}

// Why nobody may be answering at the path of a socket, as far as it can be seen.
std::string ReasonAt(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return std::strerror(errno);
  if (!S_ISSOCK(info.st_mode)) return "it is no socket";
  if (access(path.c_str(), W_OK) != 0) return std::strerror(errno);
  return "the socket is there, but nobody listens or answers";
}

absl::Status NobodyAt(const Target& target, absl::Duration waited) {
  constexpr absl::Duration kShown = absl::Milliseconds(1);
  waited = absl::Trunc(waited + kShown / 2, kShown);
  return absl::UnavailableError(absl::StrCat(
      "no server answers at ", NameOf(target), " within ", absl::FormatDuration(waited),
      target.socket_path.empty() ? "" : absl::StrCat(": ", ReasonAt(target.socket_path))));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const std::string& target,
                                                        ClientOptions options) {
  absl::StatusOr<Target> parsed = ParseTarget(target);
  if (!parsed.ok()) return parsed.status();
  std::unique_ptr<Client> client(new Client(*std::move(parsed), options));
  absl::Status connected = client->AwaitConnection(client->options_.connect_timeout);
  if (!connected.ok()) return connected;
  return client;
}

Client::Client(Target target, ClientOptions options)
    : target_(std::move(target)), options_(options), channel_(ChannelTo(target_, options_)) {}

void Client::SetDeadline(grpc::ClientContext* context, absl::Duration timeout) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + timeout));
}

absl::Status Client::AwaitConnection(absl::Duration patience) {
  patience = std::max(patience, absl::ZeroDuration());
  if (channel_->WaitForConnected(absl::ToChronoTime(absl::Now() + patience))) {
    return absl::OkStatus();
  }
  return NobodyAt(target_, patience);
}

absl::Status Client::Run(google::protobuf::Message* request, const CallOptions& options,
                         absl::FunctionRef<grpc::Status(grpc::ClientContext*)> call) {
  const absl::Time deadline = absl::Now() + options.timeout.value_or(options_.call_timeout);
  const RetryOptions retry = {options.max_attempts.value_or(options_.max_attempts),
                              options_.first_backoff, options_.max_backoff};
  if (retry.max_attempts > 1) GiveRequestId(request);
  return RunAttempts(retry, RepeatableOf(*request), deadline, RealRetryClock(), [&]() -> Attempt {
    // With no patience gRPC is asked at once, and says UNAVAILABLE itself.
    if (options_.reconnect_timeout > absl::ZeroDuration()) {
      absl::Status connected =
          AwaitConnection(std::min(deadline - absl::Now(), options_.reconnect_timeout));
      if (!connected.ok()) return {std::move(connected), /*not_sent=*/true};
    }
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(deadline));
    return {ToStatus(call(&context))};
  });
}

}  // namespace viommu
