// server/viommu_service.h -- ViommuService over the engine. Stateless, thread-safe.
//
// A stream of invalidations has the handler's thread alone: each batch is carried out and answered
// before the next is read, so that a client which takes no answers is held back by that.
#ifndef VIOMMU_SERVER_VIOMMU_SERVICE_H_
#define VIOMMU_SERVER_VIOMMU_SERVICE_H_

#include "absl/status/status.h"
#include "engine/engine.h"
#include "server/admission.h"
#include "server/client_watchdog.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu {

// Contract of each call: viommu/v1/viommu.proto.
class ViommuService final : public v1::ViommuService::Service {
 public:
  using Stream =
      grpc::ServerReaderWriter<v1::StreamInvalidationsResponse, v1::StreamInvalidationsRequest>;

  // All outlive the service.
  ViommuService(Engine* engine, Admission* admission, ClientWatchdog* watchdog)
      : engine_(*engine), admission_(*admission), watchdog_(*watchdog) {}

  grpc::Status Invalidate(grpc::ServerContext* context, const v1::InvalidateRequest* request,
                          v1::InvalidateResponse* response) override;
  grpc::Status StreamInvalidations(grpc::ServerContext* context, Stream* stream) override;

 private:
  absl::Status Serve(grpc::ServerContext* context, Stream* stream);
  absl::Status Run(const CallContext& call, ClientWatchdog::Guard* guard, Stream* stream);

  Engine& engine_;
  Admission& admission_;
  ClientWatchdog& watchdog_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_VIOMMU_SERVICE_H_
