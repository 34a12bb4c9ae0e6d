#include "server/device_service.h"

#include <cstdint>
#include <optional>
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
#include "server/request_check.h"

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

absl::StatusOr<ClaimOptions> ParseClaim(const v1::ClaimDeviceRequest& request) {
  RETURN_IF_ERROR(CheckNewId("owner", request.owner()));
  RETURN_IF_ERROR(CheckNewId("from_owner", request.from_owner()));
  return ClaimOptions{request.owner(), request.from_owner()};
}

// A domain, or an Ioas of which an auto domain is meant.
absl::StatusOr<AttachTarget> ParseTarget(absl::string_view name) {
  if (ResourceType(name) == "viommu.v1.Ioas") {
    ASSIGN_OR_RETURN(ObjectRef ioas, ParseName(NameKind::kIoas, "domain", name));
    return AttachTarget::OfIoas(std::move(ioas));
  }
  ASSIGN_OR_RETURN(ObjectRef domain, ParseName(NameKind::kDomain, "domain", name));
  return AttachTarget(std::move(domain));
}

// Absent: requests without PASID are meant.
template <typename Request>
std::optional<uint32_t> PasidIn(const Request& request) {
  if (!request.has_pasid()) return std::nullopt;
  return request.pasid();
}

// Absent when there are none.
template <typename Response>
void DescribeEffects(const AttachmentEffects& effects, Response* response) {
  v1::AttachmentEffects described = Describe(effects);
  if (described.ByteSizeLong() > 0) *response->mutable_effects() = std::move(described);
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
    ASSIGN_OR_RETURN(const ClaimOptions options, ParseClaim(*request));
    ASSIGN_OR_RETURN(const DeviceView view,
                     engine_.ClaimDevice(call, id, request->etag(), options));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::ReleaseDevice(grpc::ServerContext* context,
                                          const v1::ReleaseDeviceRequest* request,
                                          v1::Device* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    RETURN_IF_ERROR(CheckNewId("owner", request->owner()));
    ASSIGN_OR_RETURN(const DeviceView view,
                     engine_.ReleaseDevice(call, id, request->etag(), request->owner()));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::AttachDevice(grpc::ServerContext* context,
                                         const v1::AttachDeviceRequest* request,
                                         v1::AttachDeviceResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    ASSIGN_OR_RETURN(const AttachTarget target, ParseTarget(request->domain()));
    ASSIGN_OR_RETURN(const AttachAnswer answer,
                     engine_.AttachDevice(call, id, target, PasidIn(*request)));
    *response->mutable_attachment() = Describe(answer.attachment);
    *response->mutable_transition() = ToProto(answer.transition);
    DescribeEffects(answer.effects, response);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::ReplaceAttachment(grpc::ServerContext* context,
                                              const v1::ReplaceAttachmentRequest* request,
                                              v1::ReplaceAttachmentResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    ASSIGN_OR_RETURN(const AttachTarget target, ParseTarget(request->domain()));
    ASSIGN_OR_RETURN(const AttachAnswer answer,
                     engine_.ReplaceAttachment(call, id, target, PasidIn(*request)));
    *response->mutable_attachment() = Describe(answer.attachment);
    *response->mutable_transition() = ToProto(answer.transition);
    DescribeEffects(answer.effects, response);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::DetachDevice(grpc::ServerContext* context,
                                         const v1::DetachDeviceRequest* request,
                                         v1::DetachDeviceResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    RETURN_IF_ERROR(CheckNewId("owner", request->owner()));
    ASSIGN_OR_RETURN(const DetachAnswer answer,
                     engine_.DetachDevice(call, id, PasidIn(*request), request->owner()));
    *response->mutable_transition() = ToProto(answer.transition);
    DescribeEffects(answer.effects, response);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::AllocatePasid(grpc::ServerContext* context,
                                          const v1::AllocatePasidRequest* request,
                                          v1::Pasid* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    PasidRequest wanted;
    if (request->has_min_pasid()) wanted.min = request->min_pasid();
    if (request->has_max_pasid()) wanted.max = request->max_pasid();
    wanted.label = request->label();
    ASSIGN_OR_RETURN(const PasidView view, engine_.AllocatePasid(call, id, wanted));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::ReservePasid(grpc::ServerContext* context,
                                         const v1::ReservePasidRequest* request,
                                         v1::Pasid* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    RETURN_IF_ERROR(Require(request->has_pasid(), "pasid"));
    ASSIGN_OR_RETURN(const PasidView view,
                     engine_.ReservePasid(call, id, request->pasid(), request->label()));
    *response = Describe(view);
    return absl::OkStatus();
  });
}

grpc::Status DeviceService::FreePasid(grpc::ServerContext* context,
                                      const v1::FreePasidRequest* request,
                                      google::protobuf::Empty*) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    RETURN_IF_ERROR(Require(request->has_pasid(), "pasid"));
    RETURN_IF_ERROR(CheckNewId("owner", request->owner()));
    return engine_.FreePasid(call, id, request->pasid(), request->owner());
  });
}

grpc::Status DeviceService::ListPasids(grpc::ServerContext* context,
                                       const v1::ListPasidsRequest* request,
                                       v1::ListPasidsResponse* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string device, ParseDevice("parent", request->parent()));
    return AnswerPage(
        *request, device,
        [&](const PageRequest& page) { return engine_.ListPasids(call, device, page); },
        [&](const PasidView& view) { *response->add_pasids() = Describe(view); }, response);
  });
}

grpc::Status DeviceService::ResetDevice(grpc::ServerContext* context,
                                        const v1::ResetDeviceRequest* request,
                                        v1::Device* response) {
  return Handle(admission_, *context, *request, [&](const CallContext& call) -> absl::Status {
    ASSIGN_OR_RETURN(const std::string id, ParseDevice("name", request->name()));
    ASSIGN_OR_RETURN(const DeviceView view, engine_.ResetDevice(call, id));
    *response = Describe(view);
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
