#include "server/viommu_service.h"

#include <algorithm>
#include <string>

#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/describe_viommu.h"
#include "server/handler.h"
#include "server/names.h"
#include "server/request_check.h"

namespace viommu {
namespace {

// The types beyond those here are refused by CheckKnown.
absl::StatusOr<ViommuType> ParseType(v1::ViommuType type) {
  RETURN_IF_ERROR(Require(type != v1::VIOMMU_TYPE_UNSPECIFIED, "viommu.type"));
  return type == v1::VIOMMU_TYPE_ARM_SMMU_V3 ? ViommuType::kArmSmmuV3 : ViommuType::kTegra241Cmdqv;
}

absl::StatusOr<ViommuEventType> ParseType(v1::EventType type) {
  RETURN_IF_ERROR(Require(type != v1::EVENT_TYPE_UNSPECIFIED, "event_queue.type"));
  return type == v1::EVENT_TYPE_ARM_SMMU_V3 ? ViommuEventType::kArmSmmuV3
                                            : ViommuEventType::kTegra241Cmdqv;
}

absl::StatusOr<ViommuRequest> ParseViommu(const v1::Viommu& viommu) {
  ViommuRequest out;
  ASSIGN_OR_RETURN(out.type, ParseType(viommu.type()));
  ASSIGN_OR_RETURN(out.device, ParseHostName(NameKind::kDevice, "viommu.device", viommu.device()));
  ASSIGN_OR_RETURN(out.parent, ParseName(NameKind::kDomain, "viommu.parent", viommu.parent()));
  return out;
}

absl::StatusOr<HardwareQueueRequest> ParseQueue(const v1::HardwareQueue& queue) {
  RETURN_IF_ERROR(
      Require(queue.type() != v1::HARDWARE_QUEUE_TYPE_UNSPECIFIED, "hardware_queue.type"));
  HardwareQueueRequest out;
  out.spec = {queue.index(), queue.base(), queue.length()};
  return out;
}

absl::StatusOr<ObjectRef> ParseParent(const std::string& parent) {
  return ParseName(NameKind::kViommu, "parent", parent);
}

}  // namespace

grpc::Status ViommuService::CreateViommu(grpc::ServerContext* context,
                                         const v1::CreateViommuRequest* request,
                                         v1::Viommu* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    RETURN_IF_ERROR(CheckNewId("viommu_id", request->viommu_id()));
    ASSIGN_OR_RETURN(const ViommuRequest wanted, ParseViommu(request->viommu()));
    ASSIGN_OR_RETURN(const ViommuView view,
                     engine_.CreateViommu(call, request->viommu_id(), wanted));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status ViommuService::GetViommu(grpc::ServerContext* context,
                                      const v1::GetViommuRequest* request, v1::Viommu* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kViommu, "name", request->name()));
    ASSIGN_OR_RETURN(const ViommuView view, engine_.GetViommu(call, ref));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status ViommuService::ListViommus(grpc::ServerContext* context,
                                        const v1::ListViommusRequest* request,
                                        v1::ListViommusResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) {
    return AnswerPage(
        *request, "", [&](const PageRequest& page) { return engine_.ListViommus(call, page); },
        [&](const ViommuView& view) { *response->add_viommus() = Describe(view, call); }, response);
  });
}

grpc::Status ViommuService::DeleteViommu(grpc::ServerContext* context,
                                         const v1::DeleteViommuRequest* request,
                                         google::protobuf::Empty*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kViommu, "name", request->name()));
    return engine_.DeleteViommu(call, ref, request->etag());
  });
}

grpc::Status ViommuService::CreateVdevice(grpc::ServerContext* context,
                                          const v1::CreateVdeviceRequest* request,
                                          v1::Vdevice* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef parent, ParseParent(request->parent()));
    RETURN_IF_ERROR(CheckNewId("vdevice_id", request->vdevice_id()));
    const v1::Vdevice& wanted = request->vdevice();
    ASSIGN_OR_RETURN(const std::string device,
                     ParseHostName(NameKind::kDevice, "vdevice.device", wanted.device()));
    RETURN_IF_ERROR(Require(wanted.has_virtual_id(), "vdevice.virtual_id"));
    ASSIGN_OR_RETURN(
        const VdeviceView view,
        engine_.CreateVdevice(call, parent, request->vdevice_id(), device, wanted.virtual_id()));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status ViommuService::GetVdevice(grpc::ServerContext* context,
                                       const v1::GetVdeviceRequest* request,
                                       v1::Vdevice* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kVdevice, "name", request->name()));
    ASSIGN_OR_RETURN(const VdeviceView view, engine_.GetVdevice(call, ref));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status ViommuService::ListVdevices(grpc::ServerContext* context,
                                         const v1::ListVdevicesRequest* request,
                                         v1::ListVdevicesResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef parent, ParseParent(request->parent()));
    return AnswerPage(
        *request, request->parent(),
        [&](const PageRequest& page) { return engine_.ListVdevices(call, parent, page); },
        [&](const VdeviceView& view) { *response->add_vdevices() = Describe(view, call); },
        response);
  });
}

grpc::Status ViommuService::DeleteVdevice(grpc::ServerContext* context,
                                          const v1::DeleteVdeviceRequest* request,
                                          google::protobuf::Empty*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref, ParseName(NameKind::kVdevice, "name", request->name()));
    return engine_.DeleteVdevice(call, ref, request->etag());
  });
}

grpc::Status ViommuService::CreateEventQueue(grpc::ServerContext* context,
                                             const v1::CreateEventQueueRequest* request,
                                             v1::EventQueue* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef parent, ParseParent(request->parent()));
    RETURN_IF_ERROR(CheckNewId("event_queue_id", request->event_queue_id()));
    ASSIGN_OR_RETURN(const ViommuEventType type, ParseType(request->event_queue().type()));
    ASSIGN_OR_RETURN(const EventQueueView view,
                     engine_.CreateEventQueue(call, parent, request->event_queue_id(), type,
                                              request->event_queue().depth()));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status ViommuService::GetEventQueue(grpc::ServerContext* context,
                                          const v1::GetEventQueueRequest* request,
                                          v1::EventQueue* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref,
                     ParseName(NameKind::kEventQueue, "name", request->name()));
    ASSIGN_OR_RETURN(const EventQueueView view, engine_.GetEventQueue(call, ref));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status ViommuService::ListEventQueues(grpc::ServerContext* context,
                                            const v1::ListEventQueuesRequest* request,
                                            v1::ListEventQueuesResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef parent, ParseParent(request->parent()));
    return AnswerPage(
        *request, request->parent(),
        [&](const PageRequest& page) { return engine_.ListEventQueues(call, parent, page); },
        [&](const EventQueueView& view) { *response->add_event_queues() = Describe(view, call); },
        response);
  });
}

grpc::Status ViommuService::DeleteEventQueue(grpc::ServerContext* context,
                                             const v1::DeleteEventQueueRequest* request,
                                             google::protobuf::Empty*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref,
                     ParseName(NameKind::kEventQueue, "name", request->name()));
    return engine_.DeleteEventQueue(call, ref, request->etag());
  });
}

grpc::Status ViommuService::ListEvents(grpc::ServerContext* context,
                                       const v1::ListEventsRequest* request,
                                       v1::ListEventsResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef queue,
                     ParseName(NameKind::kEventQueue, "parent", request->parent()));
    return AnswerPage(
        *request, request->parent(),
        [&](const PageRequest& page) { return engine_.ListEvents(call, queue, page); },
        [&](const EventView& view) { *response->add_events() = Describe(view); }, response);
  });
}

grpc::Status ViommuService::CreateHardwareQueue(grpc::ServerContext* context,
                                                const v1::CreateHardwareQueueRequest* request,
                                                v1::HardwareQueue* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef parent, ParseParent(request->parent()));
    RETURN_IF_ERROR(CheckNewId("hardware_queue_id", request->hardware_queue_id()));
    ASSIGN_OR_RETURN(const HardwareQueueRequest wanted, ParseQueue(request->hardware_queue()));
    ASSIGN_OR_RETURN(
        const HardwareQueueView view,
        engine_.CreateHardwareQueue(call, parent, request->hardware_queue_id(), wanted));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status ViommuService::GetHardwareQueue(grpc::ServerContext* context,
                                             const v1::GetHardwareQueueRequest* request,
                                             v1::HardwareQueue* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref,
                     ParseName(NameKind::kHardwareQueue, "name", request->name()));
    ASSIGN_OR_RETURN(const HardwareQueueView view, engine_.GetHardwareQueue(call, ref));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status ViommuService::ListHardwareQueues(grpc::ServerContext* context,
                                               const v1::ListHardwareQueuesRequest* request,
                                               v1::ListHardwareQueuesResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef parent, ParseParent(request->parent()));
    return AnswerPage(
        *request, request->parent(),
        [&](const PageRequest& page) { return engine_.ListHardwareQueues(call, parent, page); },
        [&](const HardwareQueueView& view) {
          *response->add_hardware_queues() = Describe(view, call);
        },
        response);
  });
}

grpc::Status ViommuService::DeleteHardwareQueue(grpc::ServerContext* context,
                                                const v1::DeleteHardwareQueueRequest* request,
                                                google::protobuf::Empty*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef ref,
                     ParseName(NameKind::kHardwareQueue, "name", request->name()));
    return engine_.DeleteHardwareQueue(call, ref, request->etag());
  });
}

}  // namespace viommu
