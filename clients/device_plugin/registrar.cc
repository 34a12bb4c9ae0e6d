#include "clients/device_plugin/registrar.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/client/call_error.h"
#include "clients/client/target.h"
#include "clients/device_plugin/plugin_error.h"
#include "grpcpp/grpcpp.h"
#include "kubelet/deviceplugin/v1beta1/deviceplugin.grpc.pb.h"

namespace viommu {
namespace {

constexpr char kVersion[] = "v1beta1";
constexpr char kKubeletSocket[] = "/kubelet.sock";
// The kubelet calls back before it answers.
constexpr absl::Duration kRegisterTimeout = absl::Seconds(5);
// While viommud has not been heard of.
constexpr absl::Duration kBeforeFirstSight = absl::Milliseconds(50);

// Tells one kubelet.sock from the next in its place; empty: there is none.
std::string IdentityOf(const std::string& path) {
  struct stat info = {};
  if (lstat(path.c_str(), &info) != 0) return "";
  // Numbers of files are used again at once.
  return absl::StrCat(info.st_dev, " ", info.st_ino, " ", info.st_ctim.tv_sec, " ",
                      info.st_ctim.tv_nsec);
}

}  // namespace

Registrar::Registrar(const PluginParts& parts, const RpcMetrics* rpc_metrics,
                     const Options& options)
    : parts_(parts),
      rpc_metrics_(rpc_metrics),
      options_(options),
      directory_(parts.config->device_plugin_dir) {
  {
    const absl::MutexLock lock(&mutex_);
    for (const OfferedResource& resource : parts_.config->resources) {
      seats_.emplace_back().resource = &resource;
    }
  }
  thread_ = std::thread([this] { Run(); });
}

Registrar::~Registrar() {
  {
    const absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  directory_.Wake();
  thread_.join();
}

bool Registrar::IsFollowed() const {
  const absl::MutexLock lock(&mutex_);
  return std::all_of(seats_.begin(), seats_.end(), [](const Seat& seat) {
    return seat.endpoint != nullptr && seat.endpoint->streams() > 0;
  });
}

void Registrar::Run() {
  while (true) {
    const absl::Duration rest = Look();
    {
      const absl::MutexLock lock(&mutex_);
      if (ending_) return;
    }
    directory_.Wait(rest);
  }
}

absl::Duration Registrar::Look() {
  if (!parts_.inventory->Get().seen) return kBeforeFirstSight;
  const std::string kubelet =
      IdentityOf(absl::StrCat(parts_.config->device_plugin_dir, kKubeletSocket));
  const absl::MutexLock lock(&mutex_);
  absl::Time next = absl::Now() + options_.look;
  for (Seat& seat : seats_) {
    if (ending_) break;
    LookAt(&seat, kubelet);
    if (seat.retry > absl::Now()) next = std::min(next, seat.retry);
  }
  return std::max(next - absl::Now(), absl::Milliseconds(1));
}

void Registrar::LookAt(Seat* seat, const std::string& kubelet) {
  const absl::Time now = absl::Now();
  if (seat->endpoint != nullptr && seat->endpoint->streams() > 0) seat->followed = now;
  const char* reason = Reason(seat, kubelet);
  if (reason == nullptr || now < seat->retry) return;
  const absl::Status status = ServeAndRegister(seat);
  Tell(seat, reason, status);
  seat->registered_with = status.ok() ? kubelet : "";
  seat->followed = absl::Now();
  seat->retry = status.ok() ? absl::InfinitePast() : absl::Now() + options_.retry;
}

absl::Status Registrar::ServeAndRegister(Seat* seat) {
  std::unique_ptr<PluginEndpoint> old;
  if (seat->endpoint == nullptr || !seat->endpoint->IsThere()) {
    auto served = PluginEndpoint::Serve(parts_, seat->resource, rpc_metrics_);
    if (!served.ok()) return served.status();
    // What the kubelet still asks of the old one is answered after the new one is known.
    old = std::exchange(seat->endpoint, *std::move(served));
    Sweep(*seat);
  }
  return Register(*seat);
}

void Registrar::Tell(Seat* seat, const char* reason, const absl::Status& status) {
  parts_.metrics->Of(*seat->resource).registrations.Count(status.ok());
  // A kubelet may be away for long; that is said once.
  if (std::exchange(seat->failure, Line(status)) == Line(status) && !status.ok()) return;
  parts_.log->Write(status.ok() ? LogLevel::kInfo : LogLevel::kWarning,
                    status.ok() ? "registered" : "registration_failed",
                    {{"resource", seat->resource->name},
                     {"endpoint", seat->endpoint == nullptr ? "" : seat->endpoint->name()},
                     {"because", reason},
                     {"why", seat->failure}});
}

const char* Registrar::Reason(Seat* seat, const std::string& kubelet) {
  if (seat->endpoint == nullptr) return "start";
  if (!seat->endpoint->IsThere()) return "socket_gone";
  if (kubelet.empty()) return nullptr;  // It will come.
  if (seat->registered_with.empty()) return "retry";
  if (seat->registered_with != kubelet) return "kubelet_restarted";
  if (absl::Now() - seat->followed < options_.takeover || OthersServe(*seat)) return nullptr;
  return "nobody_else";
}

std::vector<std::string> Registrar::OtherSockets(const Seat& seat) const {
  std::vector<std::string> sockets;
  std::error_code error;
  const std::filesystem::path directory = parts_.config->device_plugin_dir;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!IsSocketOf(*seat.resource, name) || name == seat.endpoint->name()) continue;
    std::error_code unknown;
    if (std::filesystem::is_socket(entry->symlink_status(unknown))) {
      sockets.push_back(entry->path().string());
    }
  }
  return sockets;
}

bool Registrar::OthersServe(const Seat& seat) const {
  const std::vector<std::string> sockets = OtherSockets(seat);
  return std::any_of(sockets.begin(), sockets.end(), IsListenedAt);
}

void Registrar::Sweep(const Seat& seat) const {
  for (const std::string& socket : OtherSockets(seat)) {
    // One that is about to be served makes itself another.
    if (!IsListenedAt(socket)) unlink(socket.c_str());
  }
}

absl::Status Registrar::Register(const Seat& seat) const {
  grpc::ChannelArguments arguments;
  // Neither a proxy of the environment nor a connection of another registration.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto stub = ::v1beta1::Registration::NewStub(grpc::CreateCustomChannel(
      absl::StrCat("unix:", parts_.config->device_plugin_dir, kKubeletSocket),
      grpc::InsecureChannelCredentials(), arguments));
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + kRegisterTimeout));
  ::v1beta1::RegisterRequest request;
  request.set_version(kVersion);
  request.set_endpoint(seat.endpoint->name());
  request.set_resource_name(seat.resource->name);
  *request.mutable_options() = PluginOptions();
  ::v1beta1::Empty response;
  return ToStatus(stub->Register(&context, request, &response));
}

}  // namespace viommu
