// tests/benchmarks/serving.h -- A server with all that viommud puts around a call, and beside its
// services one that does nothing, on the same connection.
#ifndef VIOMMU_TESTS_BENCHMARKS_SERVING_H_
#define VIOMMU_TESTS_BENCHMARKS_SERVING_H_

#include <memory>
#include <string>

#include "clients/client/client.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "grpcpp/grpcpp.h"
#include "prometheus/registry.h"
#include "server/log.h"
#include "server/mapping_metrics.h"
#include "server/rpc_metrics.h"
#include "server/server.h"
#include "tests/benchmarks/empty.grpc.pb.h"
#include "viommu/v1/mapping.pb.h"

namespace viommu {

// Ends the program, saying `what`, when `ok` is false: figures without the work are worthless.
void Require(bool ok, const std::string& what);

class EmptyService final : public benchmarks::EmptyService::Service {
 public:
  grpc::Status Call(grpc::ServerContext*, const google::protobuf::Empty*,
                    google::protobuf::Empty*) override {
    return grpc::Status::OK;
  }
  // Reads as MappingService does: every message into the same memory.
  grpc::Status Stream(grpc::ServerContext* context,
                      grpc::ServerReaderWriter<v1::StreamMappingsResponse,
                                               v1::StreamMappingsRequest>* stream) override;
};

// Serves on a unix socket, with metrics, over the soft backend. memoryRegions/ram has 64 GiB,
// domains/d is over ioas/as, and a device is attached to it.
class Serving {
 public:
  Serving();
  ~Serving();

  Client& client() { return *client_; }
  benchmarks::EmptyService::Stub& empty() { return *empty_stub_; }

 private:
  void Start();
  void MakeObjects();

  std::string folder_;  // Of the socket.
  std::unique_ptr<SoftBackend> backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  prometheus::Registry registry_;
  MappingMetrics mapping_metrics_;
  RpcMetrics rpc_metrics_;
  Log log_;
  EmptyService empty_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<benchmarks::EmptyService::Stub> empty_stub_;
};

}  // namespace viommu

#endif  // VIOMMU_TESTS_BENCHMARKS_SERVING_H_
