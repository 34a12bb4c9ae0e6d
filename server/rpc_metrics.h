// server/rpc_metrics.h -- The grpc_server_* series, under the names that dashboards know.
//
//   grpc_server_started_total           calls that began
//   grpc_server_handled_total           calls that ended, by grpc_code
//   grpc_server_msg_received_total      request messages
//   grpc_server_msg_sent_total          response messages
//   grpc_server_handling_seconds        histogram of the time a call took
//
// each by grpc_type, grpc_service and grpc_method. All of them exist from the start at 0, because a
// rate over a series that appears with its first event misses that event.
#ifndef VIOMMU_SERVER_RPC_METRICS_H_
#define VIOMMU_SERVER_RPC_METRICS_H_

#include <array>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "grpcpp/support/status_code_enum.h"
#include "prometheus/counter.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace viommu {

// The values of label grpc_type.
enum class RpcType { kUnary, kClientStream, kServerStream, kBidiStream };

struct RpcMethod {
  std::string service;  // Full name, "viommu.v1.IoasService".
  std::string method;
  RpcType type = RpcType::kUnary;
};

// The methods of a service that is linked in.
std::vector<RpcMethod> MethodsOf(const google::protobuf::ServiceDescriptor& service);

// The methods of all services of a protobuf package that `services` names in full; a name that is
// not linked in is left out.
std::vector<RpcMethod> MethodsOf(const std::vector<std::string>& services);

// What gRPC itself serves: health and reflection. Their descriptors are not always linked in.
std::vector<RpcMethod> BuiltInMethods();

// The series of one method. Thread-safe.
class RpcSeries {
 public:
  static constexpr size_t kCodes = grpc::StatusCode::UNAUTHENTICATED + 1;

  void Started() const { started_->Increment(); }
  void MessageReceived() const { received_->Increment(); }
  void MessageSent() const { sent_->Increment(); }
  // A code that gRPC does not have counts as Unknown.
  void Handled(grpc::StatusCode code, absl::Duration took) const;

 private:
  friend class RpcMetrics;

  prometheus::Counter* started_ = nullptr;
  prometheus::Counter* received_ = nullptr;
  prometheus::Counter* sent_ = nullptr;
  prometheus::Histogram* seconds_ = nullptr;
  std::array<prometheus::Counter*, kCodes> handled_ = {};
};

// Immutable after construction, so thread-safe.
class RpcMetrics {
 public:
  // The series live in `registry`, which must outlive this.
  RpcMetrics(const std::vector<RpcMethod>& methods, prometheus::Registry* registry);

  // Of "/viommu.v1.IoasService/Map"; null for a method that was not named at construction, so that
  // no client can make series. Lives as long as this.
  const RpcSeries* Find(absl::string_view path) const;

 private:
  absl::flat_hash_map<std::string, RpcSeries> series_;
};

// The name of a code as it stands in grpc_code, "OK", "NotFound".
absl::string_view CodeName(grpc::StatusCode code);

}  // namespace viommu

#endif  // VIOMMU_SERVER_RPC_METRICS_H_
