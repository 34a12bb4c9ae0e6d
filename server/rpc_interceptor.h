// server/rpc_interceptor.h -- Watches every call of a gRPC server, for metrics and the log.
#ifndef VIOMMU_SERVER_RPC_INTERCEPTOR_H_
#define VIOMMU_SERVER_RPC_INTERCEPTOR_H_

#include "grpcpp/support/server_interceptor.h"
#include "server/log.h"
#include "server/rpc_metrics.h"

namespace viommu {

// Counts the calls of all methods that `metrics` knows, and logs each one that failed as event
// "rpc_failed" at level debug. It only looks: an interceptor of a gRPC 1.51 server can not refuse a
// call. Thread-safe.
class RpcInterceptorFactory : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  // Both must outlive the server.
  RpcInterceptorFactory(const RpcMetrics* metrics, Log* log) : metrics_(metrics), log_(log) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* call) override;

 private:
  const RpcMetrics* const metrics_;
  Log* const log_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_RPC_INTERCEPTOR_H_
