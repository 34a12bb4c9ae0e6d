// server/call_context.h -- Who calls, until when, and under which request_id.
#ifndef VIOMMU_SERVER_CALL_CONTEXT_H_
#define VIOMMU_SERVER_CALL_CONTEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "engine/types.h"
#include "google/protobuf/message.h"
#include "grpcpp/server_context.h"
#include "server/caller.h"
#include "server/transport.h"

namespace viommu {

// `caller` is the one whose door the call came through.
CallContext MakeCallContext(const grpc::ServerContext& context, const Caller& caller);

// The same, with request_id and validate_only where the request has them. The digest is over the
// request's type and its deterministic serialisation without request_id.
// kInvalidArgument: as CheckKnown and CheckRequestId.
absl::StatusOr<CallContext> MakeCallContext(const grpc::ServerContext& context,
                                            const Caller& caller,
                                            const google::protobuf::Message& request);

// Equal for requests of the same type that differ in request_id at most.
std::string RequestDigest(const google::protobuf::Message& request);

// How a call of an operator came in. gRPC asks the kernel for the peer's address: a client can not
// pretend.
Transport TransportOf(const grpc::ServerContext& context);

}  // namespace viommu

#endif  // VIOMMU_SERVER_CALL_CONTEXT_H_
