#include "server/grpc_acceptor.h"

#include <memory>

#include "engine/base/errors.h"
#include "grpcpp/grpcpp.h"

namespace viommu {

std::function<void(int, UniqueFd)> AddGrpcAcceptor(grpc::ServerBuilder* builder) {
  const std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor =
      builder->experimental().AddExternalConnectionAcceptor(
          grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
          grpc::InsecureServerCredentials());
  return [acceptor](int listen_fd, UniqueFd connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.listener_fd = listen_fd;
    parameters.fd = connection.Release();
    acceptor->HandleNewConnection(&parameters);
  };
}

absl::Status ServerNotBuilt() {
  return Error(absl::StatusCode::kResourceExhausted, "SERVER_NOT_BUILT",
               "gRPC can not start a server: too few file descriptors or threads");
}

}  // namespace viommu
