// server/watch_service.h -- WatchService over the engine: one stream, one thread, nothing queued.
//
// The thread takes an event of the engine's, writes it, and takes the next; while a client does not
// read, nothing is taken, and the engine's changes to an object become one. A client that stays
// away is cut off, by the watchdog or by the engine. Stateless, thread-safe.
#ifndef VIOMMU_SERVER_WATCH_SERVICE_H_
#define VIOMMU_SERVER_WATCH_SERVICE_H_

#include "absl/status/status.h"
#include "engine/engine.h"
#include "server/admission.h"
#include "server/client_watchdog.h"
#include "viommu/v1/watch.grpc.pb.h"

namespace viommu {

// Contract: viommu/v1/watch.proto.
class WatchService final : public v1::WatchService::Service {
 public:
  using Writer = grpc::ServerWriter<v1::WatchResponse>;

  // All outlive the service.
  WatchService(Engine* engine, Admission* admission, ClientWatchdog* watchdog)
      : engine_(*engine), admission_(*admission), watchdog_(*watchdog) {}

  grpc::Status Watch(grpc::ServerContext* context, const v1::WatchRequest* request,
                     Writer* writer) override;

 private:
  absl::Status Serve(grpc::ServerContext* context, const v1::WatchRequest& request, Writer* writer);
  absl::Status Run(const grpc::ServerContext& context, const CallContext& call,
                   const v1::WatchRequest& request, ClientWatchdog::Guard* guard, Writer* writer);

  Engine& engine_;
  Admission& admission_;
  ClientWatchdog& watchdog_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_WATCH_SERVICE_H_
