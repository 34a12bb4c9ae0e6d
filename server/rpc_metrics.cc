#include "server/rpc_metrics.h"

#include "absl/strings/str_cat.h"

namespace viommu {
namespace {

using ::prometheus::Labels;

// Upper bounds in seconds: from 50 us, where a unary call ends, to a drain's length.
constexpr double kSecondsBounds[] = {0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025,
                                     0.005,   0.01,   0.025,   0.05,   0.1,   0.25,
                                     0.5,     1,      2.5,     5,      10,    30};

// Names of the codes, by number, as go-grpc-prometheus writes them.
constexpr absl::string_view kCodeNames[RpcSeries::kCodes] = {
    "OK",       "Canceled",        "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",   "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",      "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated",
};

size_t IndexOf(grpc::StatusCode code) {
  const bool known = code >= 0 && code < static_cast<int>(RpcSeries::kCodes);
  return known ? code : grpc::StatusCode::UNKNOWN;
}

const char* Name(RpcType type) {
  switch (type) {
    case RpcType::kUnary:
      return "unary";
    case RpcType::kClientStream:
      return "client_stream";
    case RpcType::kServerStream:
      return "server_stream";
    case RpcType::kBidiStream:
      return "bidi_stream";
  }
  return "unary";
}

RpcType TypeOf(const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming()) {
    return method.server_streaming() ? RpcType::kBidiStream : RpcType::kClientStream;
  }
  return method.server_streaming() ? RpcType::kServerStream : RpcType::kUnary;
}

}  // namespace

absl::string_view CodeName(grpc::StatusCode code) { return kCodeNames[IndexOf(code)]; }

std::vector<RpcMethod> MethodsOf(const google::protobuf::ServiceDescriptor& service) {
  std::vector<RpcMethod> methods;
  for (int i = 0; i < service.method_count(); ++i) {
    methods.push_back({service.full_name(), service.method(i)->name(), TypeOf(*service.method(i))});
  }
  return methods;
}

std::vector<RpcMethod> MethodsOf(const std::vector<std::string>& services) {
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  std::vector<RpcMethod> methods;
  for (const std::string& name : services) {
    const auto* service = pool->FindServiceByName(name);
    if (service == nullptr) continue;
    for (RpcMethod& method : MethodsOf(*service)) methods.push_back(std::move(method));
  }
  return methods;
}

std::vector<RpcMethod> BuiltInMethods() {
  return {
      {"grpc.health.v1.Health", "Check", RpcType::kUnary},
      {"grpc.health.v1.Health", "Watch", RpcType::kServerStream},
      {"grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", RpcType::kBidiStream},
  };
}

void RpcSeries::Handled(grpc::StatusCode code, absl::Duration took) const {
  handled_[IndexOf(code)]->Increment();
  seconds_->Observe(absl::ToDoubleSeconds(took));
}

RpcMetrics::RpcMetrics(const std::vector<RpcMethod>& methods, prometheus::Registry* registry) {
  using prometheus::BuildCounter;
  auto& started = BuildCounter()
                      .Name("grpc_server_started_total")
                      .Help("Calls started on the server.")
                      .Register(*registry);
  auto& handled = BuildCounter()
                      .Name("grpc_server_handled_total")
                      .Help("Calls completed on the server, by status code.")
                      .Register(*registry);
  auto& received = BuildCounter()
                       .Name("grpc_server_msg_received_total")
                       .Help("Request messages received on the server.")
                       .Register(*registry);
  auto& sent = BuildCounter()
                   .Name("grpc_server_msg_sent_total")
                   .Help("Response messages sent by the server.")
                   .Register(*registry);
  auto& seconds = prometheus::BuildHistogram()
                      .Name("grpc_server_handling_seconds")
                      .Help("Time from the start of a call to its status, in seconds.")
                      .Register(*registry);
  const prometheus::Histogram::BucketBoundaries bounds(std::begin(kSecondsBounds),
                                                       std::end(kSecondsBounds));
  for (const RpcMethod& method : methods) {
    Labels labels = {{"grpc_type", Name(method.type)},
                     {"grpc_service", method.service},
                     {"grpc_method", method.method}};
    RpcSeries& series = series_[absl::StrCat("/", method.service, "/", method.method)];
    series.started_ = &started.Add(labels);
    series.received_ = &received.Add(labels);
    series.sent_ = &sent.Add(labels);
    series.seconds_ = &seconds.Add(labels, bounds);
    for (size_t code = 0; code < RpcSeries::kCodes; ++code) {
      labels["grpc_code"] = std::string(kCodeNames[code]);
      series.handled_[code] = &handled.Add(labels);
    }
  }
}

const RpcSeries* RpcMetrics::Find(absl::string_view path) const {
  const auto found = series_.find(path);
  return found == series_.end() ? nullptr : &found->second;
}

}  // namespace viommu
