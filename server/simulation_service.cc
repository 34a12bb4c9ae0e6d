#include "server/simulation_service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/call_context.h"
#include "server/convert.h"
#include "server/describe.h"
#include "server/describe_tables.h"
#include "server/handler.h"
#include "server/names.h"
#include "server/request_check.h"
#include "server/status.h"

namespace viommu {
namespace {

constexpr size_t kMaxHealthReasonBytes = 256;

absl::StatusOr<std::string> ParseDevice(absl::string_view name) {
  return ParseHostName(NameKind::kDevice, "name", name);
}

template <typename Request>
std::optional<uint32_t> PasidOf(const Request& request) {
  if (!request.has_pasid()) return std::nullopt;
  return request.pasid();
}

// The bytes that the device writes, or room for those that it reads.
absl::StatusOr<std::string> ParseAccess(const v1::DmaRequest& request) {
  switch (request.access_case()) {
    case v1::DmaRequest::kReadLength:
      RETURN_IF_ERROR(CheckAccessLength("read_length", request.read_length()));
      return std::string(request.read_length(), '\0');
    case v1::DmaRequest::kWriteData:
      RETURN_IF_ERROR(CheckAccessLength("write_data", request.write_data().size()));
      return request.write_data();
    case v1::DmaRequest::ACCESS_NOT_SET:
      break;
  }
  return Require(false, "read_length or write_data");
}

// Numbers that the engine refuses stay above what it takes.
ArmSmmuV3Event ParseEvent(const v1::ArmSmmuV3Event& event) {
  ArmSmmuV3Event out;
  out.id = static_cast<uint8_t>(std::min(event.id(), 0xffu));
  out.substream_valid = event.has_substream_id();
  out.substream_id = event.substream_id();
  out.privileged = event.privileged();
  out.instruction = event.instruction();
  out.read = event.read();
  out.access_class = static_cast<uint8_t>(std::min(event.access_class(), 0xffu));
  out.address = event.address();
  return out;
}

v1::RaiseEventOutcome ToProto(RaiseAnswer::Outcome outcome) {
  switch (outcome) {
    case RaiseAnswer::Outcome::kQueued:
      return v1::RAISE_EVENT_OUTCOME_QUEUED;
    case RaiseAnswer::Outcome::kLost:
      return v1::RAISE_EVENT_OUTCOME_LOST;
    case RaiseAnswer::Outcome::kDropped:
      return v1::RAISE_EVENT_OUTCOME_DROPPED;
  }
  return v1::RAISE_EVENT_OUTCOME_UNSPECIFIED;
}

absl::Status CheckSingle(Permission access) {
  if (access != Permission::kReadWrite) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_PERMISSION",
               "access: one access is PERMISSION_READ or PERMISSION_WRITE")
      .Errno("EINVAL")
      .Field("access");
}

absl::Status CheckHealthReason(absl::string_view reason) {
  if (reason.size() <= kMaxHealthReasonBytes) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_LENGTH",
               absl::StrCat("health_reason: ", reason.size(), " bytes, but at most ",
                            kMaxHealthReasonBytes, " fit"))
      .Errno("EINVAL")
      .Field("health_reason");
}

}  // namespace

grpc::Status SimulationService::Dma(grpc::ServerContext* context, const v1::DmaRequest* request,
                                    v1::DmaResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice(request->name()));
    RETURN_IF_ERROR(Require(request->has_iova(), "iova"));
    ASSIGN_OR_RETURN(std::string data, ParseAccess(*request));
    const bool write = request->access_case() == v1::DmaRequest::kWriteData;
    ASSIGN_OR_RETURN(const DmaOutcome outcome,
                     engine_.Dma(call, device, request->iova(), write,
                                 absl::MakeSpan(&data[0], data.size()), PasidOf(*request)));
    response->set_bytes_done(outcome.bytes_done);
    if (outcome.fault.has_value()) *response->mutable_fault() = Describe(*outcome.fault);
    if (!write) {
      data.resize(std::min<size_t>(data.size(), outcome.bytes_done));
      response->set_data(std::move(data));
    }
    return absl::OkStatus();
  });
}

grpc::Status SimulationService::ReadMemory(grpc::ServerContext* context,
                                           const v1::ReadMemoryRequest* request,
                                           v1::ReadMemoryResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef region,
                     ParseName(NameKind::kMemoryRegion, "name", request->name()));
    RETURN_IF_ERROR(CheckAccessLength("length", request->length()));
    std::string data(request->length(), '\0');
    RETURN_IF_ERROR(
        engine_.ReadMemory(call, region, request->offset(), absl::MakeSpan(&data[0], data.size())));
    response->set_data(std::move(data));
    return absl::OkStatus();
  });
}

grpc::Status SimulationService::WriteMemory(grpc::ServerContext* context,
                                            const v1::WriteMemoryRequest* request,
                                            v1::WriteMemoryResponse*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef region,
                     ParseName(NameKind::kMemoryRegion, "name", request->name()));
    RETURN_IF_ERROR(CheckAccessLength("data", request->data().size()));
    return engine_.WriteMemory(call, region, request->offset(), request->data());
  });
}

grpc::Status SimulationService::HostMap(grpc::ServerContext* context,
                                        const v1::HostMapRequest* request,
                                        v1::HostMapResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice(request->name()));
    ASSIGN_OR_RETURN(const ObjectRef region,
                     ParseName(NameKind::kMemoryRegion, "memory_region", request->memory_region()));
    ASSIGN_OR_RETURN(const Permission permission,
                     ParsePermission("permission", request->permission(), Permission::kReadWrite));
    ASSIGN_OR_RETURN(const Iova iova, engine_.HostMap(call, device, region, request->offset(),
                                                      request->length(), permission));
    response->set_iova(iova);
    response->set_iova_text(Hex(iova));
    return absl::OkStatus();
  });
}

grpc::Status SimulationService::HostUnmap(grpc::ServerContext* context,
                                          const v1::HostUnmapRequest* request,
                                          v1::HostUnmapResponse*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice(request->name()));
    RETURN_IF_ERROR(Require(request->has_iova(), "iova"));
    return engine_.HostUnmap(call, device, request->iova(), request->length());
  });
}

grpc::Status SimulationService::SetDeviceHealth(grpc::ServerContext* context,
                                                const v1::SetDeviceHealthRequest* request,
                                                v1::Device* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice(request->name()));
    ASSIGN_OR_RETURN(const DeviceHealth health, ParseDeviceHealth("health", request->health()));
    RETURN_IF_ERROR(CheckHealthReason(request->health_reason()));
    ASSIGN_OR_RETURN(const HealthReason cause,
                     ParseHealthCause("health_cause", request->health_cause()));
    ASSIGN_OR_RETURN(
        const DeviceView view,
        engine_.SetDeviceHealth(call, device, health, request->health_reason(), cause));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status SimulationService::UnplugDevice(grpc::ServerContext* context,
                                             const v1::UnplugDeviceRequest* request,
                                             v1::UnplugDeviceResponse*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice(request->name()));
    return engine_.UnplugDevice(call, device);
  });
}

grpc::Status SimulationService::PlugDevice(grpc::ServerContext* context,
                                           const v1::PlugDeviceRequest* request,
                                           v1::Device* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice(request->name()));
    ASSIGN_OR_RETURN(const DeviceView view, engine_.PlugDevice(call, device));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status SimulationService::ResizeMemoryRegion(grpc::ServerContext* context,
                                                   const v1::ResizeMemoryRegionRequest* request,
                                                   v1::MemoryRegion* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef region,
                     ParseName(NameKind::kMemoryRegion, "name", request->name()));
    ASSIGN_OR_RETURN(
        const MemoryRegionView view,
        engine_.ResizeMemoryRegion(call, region, request->size_bytes(), request->etag()));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status SimulationService::RevokeMemoryRegion(grpc::ServerContext* context,
                                                   const v1::RevokeMemoryRegionRequest* request,
                                                   v1::MemoryRegion* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const ObjectRef region,
                     ParseName(NameKind::kMemoryRegion, "name", request->name()));
    ASSIGN_OR_RETURN(const MemoryRegionView view,
                     engine_.RevokeMemoryRegion(call, region, request->etag()));
    *response = Describe(view, call);
    return absl::OkStatus();
  });
}

grpc::Status SimulationService::RaisePageFault(grpc::ServerContext* context,
                                               const v1::RaisePageFaultRequest* request,
                                               v1::RaisePageFaultResponse*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice(request->name()));
    RETURN_IF_ERROR(Require(request->has_iova(), "iova"));
    PageFault fault;
    fault.pasid = PasidOf(*request);
    fault.group = request->group();
    fault.last = !request->more();
    fault.address = request->iova();
    fault.read = request->read() || !request->write();
    fault.write = request->write();
    fault.execute = request->execute();
    fault.privileged = request->privileged();
    return engine_.RaisePageFault(call, device, fault);
  });
}

grpc::Status SimulationService::ListPageResponses(grpc::ServerContext* context,
                                                  const v1::ListPageResponsesRequest* request,
                                                  v1::ListPageResponsesResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice(request->name()));
    ASSIGN_OR_RETURN(const std::vector<PageGroupResponse> responses,
                     engine_.ListPageResponses(call, device));
    for (const PageGroupResponse& one : responses) *response->add_responses() = Describe(one);
    return absl::OkStatus();
  });
}

grpc::Status SimulationService::DumpTables(grpc::ServerContext* context,
                                           const v1::DumpTablesRequest* request,
                                           v1::DumpTablesResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice(request->name()));
    RETURN_IF_ERROR(Require(request->has_iova(), "iova"));
    ASSIGN_OR_RETURN(const std::vector<TableEntryDump> entries,
                     engine_.DumpTables(call, device, request->iova(), PasidOf(*request)));
    for (const TableEntryDump& entry : entries) *response->add_entries() = Describe(entry);
    ASSIGN_OR_RETURN(const TranslationExplanation read,
                     engine_.ExplainTranslation(call, device, request->iova(), /*write=*/false,
                                                PasidOf(*request)));
    *response->mutable_read() = Describe(read);
    ASSIGN_OR_RETURN(const TranslationExplanation write,
                     engine_.ExplainTranslation(call, device, request->iova(), /*write=*/true,
                                                PasidOf(*request)));
    *response->mutable_write() = Describe(write);
    return absl::OkStatus();
  });
}

grpc::Status SimulationService::RaiseEvent(grpc::ServerContext* context,
                                           const v1::RaiseEventRequest* request,
                                           v1::RaiseEventResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice(request->name()));
    RETURN_IF_ERROR(Require(request->has_event(), "event"));
    ASSIGN_OR_RETURN(const RaiseAnswer answer,
                     engine_.RaiseEvent(call, device, ParseEvent(request->event())));
    response->set_outcome(ToProto(answer.outcome));
    if (answer.outcome != RaiseAnswer::Outcome::kDropped) response->set_sequence(answer.sequence);
    return absl::OkStatus();
  });
}

grpc::Status SimulationService::ExplainTranslation(grpc::ServerContext* context,
                                                   const v1::ExplainTranslationRequest* request,
                                                   v1::TranslationExplanation* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice(request->name()));
    RETURN_IF_ERROR(Require(request->has_iova(), "iova"));
    ASSIGN_OR_RETURN(const Permission access,
                     ParsePermission("access", request->access(), Permission::kRead));
    RETURN_IF_ERROR(CheckSingle(access));
    ASSIGN_OR_RETURN(const TranslationExplanation explanation,
                     engine_.ExplainTranslation(call, device, request->iova(),
                                                access == Permission::kWrite, PasidOf(*request)));
    *response = Describe(explanation);
    return absl::OkStatus();
  });
}

absl::Status SimulationService::ServeExport(grpc::ServerContext* context,
                                            const v1::ExportTablesRequest& request,
                                            ImageWriter* writer) {
  ASSIGN_OR_RETURN(const Admission::Ticket ticket,
                   admission_.Admit(CallKind::kStream, TransportOf(*context)));
  ASSIGN_OR_RETURN(CallContext call, MakeCallContext(*context, admission_.caller(), request));
  call.deadline = std::min(call.deadline, absl::Now() + admission_.limits().max_wait);
  ASSIGN_OR_RETURN(const TableImage image, engine_.ExportTables(call));
  ClientWatchdog::Guard guard(&watchdog_, context);
  absl::Status serving;
  DescribeInParts(image, [&](const v1::ExportTablesResponse& part) {
    serving = admission_.CheckServing();
    if (!serving.ok()) return false;
    guard.Begin(ClientWatchdog::Wait::kAnswerTaken);
    const bool taken = writer->Write(part);
    guard.End();
    return taken;
  });
  RETURN_IF_ERROR(guard.status());
  return serving;
}

grpc::Status SimulationService::ExportTables(grpc::ServerContext* context,
                                             const v1::ExportTablesRequest* request,
                                             ImageWriter* writer) {
  return ToGrpcStatus(ServeExport(context, *request, writer));
}

}  // namespace viommu
