// clients/demo/client.h -- The stubs of all services on one connection, and one way to call them.
#ifndef VIOMMU_CLIENTS_DEMO_CLIENT_H_
#define VIOMMU_CLIENTS_DEMO_CLIENT_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/host.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/mapping.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {

// Gives the call a deadline that no healthy server misses.
void SetCallDeadline(grpc::ClientContext* context);

// The reason of viommu's ErrorInfo, for example "IN_USE"; empty for OK and for errors of gRPC.
std::string ReasonOf(const grpc::Status& status);

// With the message "REASON: what the server said".
absl::Status ToStatus(const grpc::Status& status);

// Calls `method` of `stub`, with a deadline.
template <typename Stub, typename Request, typename Response>
grpc::Status Call(Stub& stub,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  const Request& request, Response* response) {
  grpc::ClientContext context;
  SetCallDeadline(&context);
  return (stub.*method)(&context, request, response);
}

// The same for those who want one of the two: the answer or what went wrong.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request) {
  Response response;
  const grpc::Status status = Call(stub, method, request, &response);
  if (!status.ok()) return ToStatus(status);
  return response;
}

// Thread-safe, as stubs are.
struct Client {
  // `target` in gRPC's form: "unix:/run/viommud.sock", "127.0.0.1:7300". Clients of one target
  // share no connection.
  explicit Client(const std::string& target);

  const std::shared_ptr<grpc::Channel> channel;
  v1::HostService::Stub host;
  v1::DeviceService::Stub device;
  v1::MemoryService::Stub memory;
  v1::IoasService::Stub ioas;
  v1::MappingService::Stub mapping;
  v1::DomainService::Stub domain;
  v1::SimulationService::Stub simulation;
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEMO_CLIENT_H_
