#include "server/device_service.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "server/convert.h"
#include "server/describe.h"
#include "server/handler.h"
#include "server/names.h"

namespace viommu {
namespace {

absl::StatusOr<std::string> ParseDevice(absl::string_view field, absl::string_view name) {
  return ParseHostName(NameKind::kDevice, field, name);
}

// The engine's empty id means all devices; so does the wildcard of AIP-159.
absl::StatusOr<std::string> ParseParent(absl::string_view parent) {
  if (parent.empty() || parent == "devices/-") return std::string();
  return ParseDevice("parent", parent);
}

}  // namespace

grpc::Status DeviceService::GetDevice(grpc::ServerContext* context,
                                      const v1::GetDeviceRequest* request, v1::Device* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    ASSIGN_OR_RETURN(const DeviceView view, engine_.GetDevice(call, id));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::ListDevices(grpc::ServerContext* context,
                                        const v1::ListDevicesRequest* request,
                                        v1::ListDevicesResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) {
    return AnswerPage(
        *request, "", [&](const PageRequest& page) { return engine_.ListDevices(call, page); },
        [&](const DeviceView& view) { *response->add_devices() = Describe(view); }, response);
  });
}

grpc::Status DeviceService::ClaimDevice(grpc::ServerContext* context,
                                        const v1::ClaimDeviceRequest* request,
                                        v1::Device* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    ASSIGN_OR_RETURN(const DeviceView view, engine_.ClaimDevice(call, id, request->etag()));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::ReleaseDevice(grpc::ServerContext* context,
                                          const v1::ReleaseDeviceRequest* request,
                                          v1::Device* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    ASSIGN_OR_RETURN(const DeviceView view, engine_.ReleaseDevice(call, id, request->etag()));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::AttachDevice(grpc::ServerContext* context,
                                         const v1::AttachDeviceRequest* request,
                                         v1::AttachDeviceResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    ASSIGN_OR_RETURN(const ObjectRef domain,
                     ParseName(NameKind::kDomain, "domain", request->domain()));
    ASSIGN_OR_RETURN(const AttachAnswer answer, engine_.AttachDevice(call, id, domain));
    *response->mutable_attachment() = Describe(answer.attachment);
    *response->mutable_transition() = ToProto(answer.transition);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::ReplaceAttachment(grpc::ServerContext* context,
                                              const v1::ReplaceAttachmentRequest* request,
                                              v1::ReplaceAttachmentResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    ASSIGN_OR_RETURN(const ObjectRef domain,
                     ParseName(NameKind::kDomain, "domain", request->domain()));
    ASSIGN_OR_RETURN(const AttachAnswer answer, engine_.ReplaceAttachment(call, id, domain));
    *response->mutable_attachment() = Describe(answer.attachment);
    *response->mutable_transition() = ToProto(answer.transition);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::DetachDevice(grpc::ServerContext* context,
                                         const v1::DetachDeviceRequest* request,
                                         v1::DetachDeviceResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    ASSIGN_OR_RETURN(const DetachAnswer answer, engine_.DetachDevice(call, id));
    *response->mutable_transition() = ToProto(answer.transition);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::ListAttachments(grpc::ServerContext* context,
                                            const v1::ListAttachmentsRequest* request,
                                            v1::ListAttachmentsResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseParent(request->parent()));
    return AnswerPage(
        *request, device,
        [&](const PageRequest& page) { return engine_.ListAttachments(call, device, page); },
        [&](const AttachmentView& view) { *response->add_attachments() = Describe(view); },
        response);
  });
}

grpc::Status DeviceService::ListReservedRegions(grpc::ServerContext* context,
                                                const v1::ListReservedRegionsRequest* request,
                                                v1::ListReservedRegionsResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice("parent", request->parent()));
    ASSIGN_OR_RETURN(const std::vector<ReservedRegionView> regions,
                     engine_.ListReservedRegions(call, device));
    for (const ReservedRegionView& view : regions) {
      *response->add_reserved_regions() = Describe(view);
    }
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::GetHardwareInfo(grpc::ServerContext* context,
                                            const v1::GetHardwareInfoRequest* request,
                                            v1::HardwareInfo* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    ASSIGN_OR_RETURN(const HardwareView hardware, engine_.GetHardwareInfo(call, id));
    v1::HardwareInfo info = Describe(hardware);
    if (request->type() != v1::HARDWARE_TYPE_UNSPECIFIED && request->type() != info.type()) {
      return Error(absl::StatusCode::kUnimplemented, "HARDWARE_TYPE_MISMATCH",
                   absl::StrCat("the IOMMU of ", request->name(), " is ",
                                v1::HardwareType_Name(info.type())))
          .Errno("EOPNOTSUPP")
          .Field("type");
    }
    *response = std::move(info);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::SetDefaultDomain(grpc::ServerContext* context,
                                             const v1::SetDefaultDomainRequest* request,
                                             v1::Device* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    ASSIGN_OR_RETURN(const DefaultDomainType type,
                     ParseDefaultDomainType("default_domain", request->default_domain()));
    ASSIGN_OR_RETURN(const DeviceView view, engine_.SetDefaultDomain(call, id, type));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

}  // namespace viommu
