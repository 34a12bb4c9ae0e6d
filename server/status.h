// server/status.h -- Our errors as gRPC clients read them: google.rpc.Status with typed details.
//
// ErrorInfo always; BadRequest when a field of the request is at fault; PreconditionFailure with
// one violation for each referrer; ResourceInfo when an object is concerned; RetryInfo when the
// same call may succeed later. Each type at most once (AIP-193). Everything is cut so that the
// details fit the 8 KiB of metadata that clients accept by default.
#ifndef VIOMMU_SERVER_STATUS_H_
#define VIOMMU_SERVER_STATUS_H_

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace viommu {

google::rpc::Status ToRpcStatus(const absl::Status& status);

grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace viommu

#endif  // VIOMMU_SERVER_STATUS_H_
