// server/grpc_acceptor.h -- Hands the connections of a Listener on to a gRPC server.
#ifndef VIOMMU_SERVER_GRPC_ACCEPTOR_H_
#define VIOMMU_SERVER_GRPC_ACCEPTOR_H_

#include <functional>

#include "absl/status/status.h"
#include "grpcpp/server_builder.h"
#include "server/unique_fd.h"

namespace viommu {

// Lets the server that `builder` makes serve connections, without encryption, that are given to the
// answer: Listener::Options::deliver. One that comes before the server has started is lost.
std::function<void(int listen_fd, UniqueFd connection)> AddGrpcAcceptor(
    grpc::ServerBuilder* builder);

// kResourceExhausted SERVER_NOT_BUILT: what a server that is not started says.
absl::Status ServerNotBuilt();

}  // namespace viommu

#endif  // VIOMMU_SERVER_GRPC_ACCEPTOR_H_
