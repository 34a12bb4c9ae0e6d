// server/fault_service.h -- FaultService over the engine. Stateless, thread-safe.
//
// A stream has two threads: the handler's reads the client's answers and carries each batch out,
// the other one takes faults of the engine's, one at a time, and writes them. Nothing is queued:
// while a client does not read, its faults wait in the engine, and what finds no room there is lost
// to whoever raised it, not to the daemon.
#ifndef VIOMMU_SERVER_FAULT_SERVICE_H_
#define VIOMMU_SERVER_FAULT_SERVICE_H_

#include "absl/status/status.h"
#include "engine/engine.h"
#include "server/admission.h"
#include "server/client_watchdog.h"
#include "viommu/v1/fault.grpc.pb.h"

namespace viommu {

// Contract of each call: viommu/v1/fault.proto.
class FaultService final : public v1::FaultService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::StreamFaultsResponse, v1::StreamFaultsRequest>;

  // All outlive the service.
  FaultService(Engine* engine, Admission* admission, ClientWatchdog* watchdog)
      : engine_(*engine), admission_(*admission), watchdog_(*watchdog) {}

  grpc::Status CreateFaultQueue(grpc::ServerContext* context,
                                const v1::CreateFaultQueueRequest* request,
                                v1::FaultQueue* response) override;
  grpc::Status GetFaultQueue(grpc::ServerContext* context, const v1::GetFaultQueueRequest* request,
                             v1::FaultQueue* response) override;
  grpc::Status ListFaultQueues(grpc::ServerContext* context,
                               const v1::ListFaultQueuesRequest* request,
                               v1::ListFaultQueuesResponse* response) override;
  grpc::Status DeleteFaultQueue(grpc::ServerContext* context,
                                const v1::DeleteFaultQueueRequest* request,
                                google::protobuf::Empty* response) override;
  grpc::Status ListFaults(grpc::ServerContext* context, const v1::ListFaultsRequest* request,
                          v1::ListFaultsResponse* response) override;
  grpc::Status RespondFault(grpc::ServerContext* context, const v1::RespondFaultRequest* request,
                            v1::RespondFaultResponse* response) override;
  grpc::Status StreamFaults(grpc::ServerContext* context, Stream* stream) override;

 private:
  absl::Status Serve(grpc::ServerContext* context, Stream* stream);
  absl::Status Run(grpc::ServerContext* context, const CallContext& call,
                   ClientWatchdog::Guard* guard, Stream* stream);

  Engine& engine_;
  Admission& admission_;
  ClientWatchdog& watchdog_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_FAULT_SERVICE_H_
