// server/viommu_service.h -- ViommuService over the engine. Stateless, thread-safe.
//
// A stream of invalidations has the handler's thread alone: each batch is carried out and answered
// before the next is read, so that a client which takes no answers is held back by that. A stream
// of events has a second one, which tells of them while the handler's takes acknowledgements.
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
  using InvalidationStream =
      grpc::ServerReaderWriter<v1::StreamInvalidationsResponse, v1::StreamInvalidationsRequest>;
  using EventStream = grpc::ServerReaderWriter<v1::StreamEventsResponse, v1::StreamEventsRequest>;

  // All outlive the service.
  ViommuService(Engine* engine, Admission* admission, ClientWatchdog* watchdog)
      : engine_(*engine), admission_(*admission), watchdog_(*watchdog) {}

  grpc::Status CreateViommu(grpc::ServerContext* context, const v1::CreateViommuRequest* request,
                            v1::Viommu* response) override;
  grpc::Status GetViommu(grpc::ServerContext* context, const v1::GetViommuRequest* request,
                         v1::Viommu* response) override;
  grpc::Status ListViommus(grpc::ServerContext* context, const v1::ListViommusRequest* request,
                           v1::ListViommusResponse* response) override;
  grpc::Status DeleteViommu(grpc::ServerContext* context, const v1::DeleteViommuRequest* request,
                            google::protobuf::Empty* response) override;
  grpc::Status CreateVdevice(grpc::ServerContext* context, const v1::CreateVdeviceRequest* request,
                             v1::Vdevice* response) override;
  grpc::Status GetVdevice(grpc::ServerContext* context, const v1::GetVdeviceRequest* request,
                          v1::Vdevice* response) override;
  grpc::Status ListVdevices(grpc::ServerContext* context, const v1::ListVdevicesRequest* request,
                            v1::ListVdevicesResponse* response) override;
  grpc::Status DeleteVdevice(grpc::ServerContext* context, const v1::DeleteVdeviceRequest* request,
                             google::protobuf::Empty* response) override;

  // viommu_invalidations.cc
  grpc::Status Invalidate(grpc::ServerContext* context, const v1::InvalidateRequest* request,
                          v1::InvalidateResponse* response) override;
  grpc::Status StreamInvalidations(grpc::ServerContext* context,
                                   InvalidationStream* stream) override;

  grpc::Status CreateEventQueue(grpc::ServerContext* context,
                                const v1::CreateEventQueueRequest* request,
                                v1::EventQueue* response) override;
  grpc::Status GetEventQueue(grpc::ServerContext* context, const v1::GetEventQueueRequest* request,
                             v1::EventQueue* response) override;
  grpc::Status ListEventQueues(grpc::ServerContext* context,
                               const v1::ListEventQueuesRequest* request,
                               v1::ListEventQueuesResponse* response) override;
  grpc::Status DeleteEventQueue(grpc::ServerContext* context,
                                const v1::DeleteEventQueueRequest* request,
                                google::protobuf::Empty* response) override;
  grpc::Status ListEvents(grpc::ServerContext* context, const v1::ListEventsRequest* request,
                          v1::ListEventsResponse* response) override;
  // viommu_events.cc
  grpc::Status StreamEvents(grpc::ServerContext* context, EventStream* stream) override;

  grpc::Status CreateHardwareQueue(grpc::ServerContext* context,
                                   const v1::CreateHardwareQueueRequest* request,
                                   v1::HardwareQueue* response) override;
  grpc::Status GetHardwareQueue(grpc::ServerContext* context,
                                const v1::GetHardwareQueueRequest* request,
                                v1::HardwareQueue* response) override;
  grpc::Status ListHardwareQueues(grpc::ServerContext* context,
                                  const v1::ListHardwareQueuesRequest* request,
                                  v1::ListHardwareQueuesResponse* response) override;
  grpc::Status DeleteHardwareQueue(grpc::ServerContext* context,
                                   const v1::DeleteHardwareQueueRequest* request,
                                   google::protobuf::Empty* response) override;

 private:
  absl::Status ServeInvalidations(grpc::ServerContext* context, InvalidationStream* stream);
  absl::Status RunInvalidations(const CallContext& call, ClientWatchdog::Guard* guard,
                                InvalidationStream* stream);
  absl::Status ServeEvents(grpc::ServerContext* context, EventStream* stream);
  absl::Status RunEvents(const CallContext& call, ClientWatchdog::Guard* guard,
                         EventStream* stream);

  Engine& engine_;
  Admission& admission_;
  ClientWatchdog& watchdog_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_VIOMMU_SERVICE_H_
