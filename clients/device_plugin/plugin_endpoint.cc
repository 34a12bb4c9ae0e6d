#include "clients/device_plugin/plugin_endpoint.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstddef>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/device_plugin/plugin_error.h"
#include "grpcpp/grpcpp.h"
#include "server/rpc_interceptor.h"

namespace viommu {
namespace {

// The kubelet's requests name devices, and answers are as small.
constexpr int kMaxMessageBytes = 1 << 20;
// For calls that run when the endpoint ends.
constexpr absl::Duration kFarewell = absl::Seconds(5);

constexpr absl::string_view kSuffix = ".sock";
constexpr size_t kDigits = 8;

std::string SocketPrefix(const OfferedResource& resource) {
  return absl::StrCat("viommu-", resource.short_name, "-");
}

std::string NewSocketName(const OfferedResource& resource) {
  std::random_device random;
  return absl::StrCat(SocketPrefix(resource), absl::Hex(random(), absl::kZeroPad8), kSuffix);
}

// 0: there is none.
uint64_t InodeOf(const std::string& path) {
  struct stat info = {};
  return lstat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

}  // namespace

bool IsSocketOf(const OfferedResource& resource, absl::string_view name) {
  // The name of another resource may begin with that of this one.
  return absl::ConsumePrefix(&name, SocketPrefix(resource)) &&
         absl::ConsumeSuffix(&name, kSuffix) && name.size() == kDigits &&
         std::all_of(name.begin(), name.end(), absl::ascii_isxdigit);
}

absl::StatusOr<std::unique_ptr<PluginEndpoint>> PluginEndpoint::Serve(
    const PluginParts& parts, const OfferedResource* resource, const RpcMetrics* rpc_metrics) {
  std::string name = NewSocketName(*resource);
  std::string path = absl::StrCat(parts.config->device_plugin_dir, "/", name);
  auto service = std::make_unique<PluginService>(parts, resource);
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.SetMaxSendMessageSize(kMaxMessageBytes);
  builder.RegisterService(service.get());
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(std::make_unique<RpcInterceptorFactory>(rpc_metrics, parts.log));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  builder.AddListeningPort(absl::StrCat("unix:", path), grpc::InsecureServerCredentials());
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    return PluginError(absl::StatusCode::kUnavailable, "ENDPOINT_FAILED",
                       absl::StrCat("can not listen on ", path));
  }
  return std::unique_ptr<PluginEndpoint>(
      new PluginEndpoint(std::move(name), std::move(path), std::move(service), std::move(server)));
}

PluginEndpoint::PluginEndpoint(std::string name, std::string path,
                               std::unique_ptr<PluginService> service,
                               std::unique_ptr<grpc::Server> server)
    : name_(std::move(name)),
      path_(std::move(path)),
      inode_(InodeOf(path_)),
      service_(std::move(service)),
      server_(std::move(server)) {}

PluginEndpoint::~PluginEndpoint() {
  service_->EndStreams();
  server_->Shutdown(absl::ToChronoTime(absl::Now() + kFarewell));
}

bool PluginEndpoint::IsThere() const { return inode_ != 0 && InodeOf(path_) == inode_; }

}  // namespace viommu
