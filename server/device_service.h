// server/device_service.h -- DeviceService over the engine. Stateless, thread-safe.
#ifndef VIOMMU_SERVER_DEVICE_SERVICE_H_
#define VIOMMU_SERVER_DEVICE_SERVICE_H_

#include "engine/engine.h"
#include "server/admission.h"
#include "viommu/v1/device.grpc.pb.h"

namespace viommu {

// Contract of each call: viommu/v1/device.proto.
class DeviceService final : public v1::DeviceService::Service {
 public:
  // Both outlive the service.
  DeviceService(Engine* engine, Admission* admission) : engine_(*engine), admission_(*admission) {}

  grpc::Status GetDevice(grpc::ServerContext* context, const v1::GetDeviceRequest* request,
                         v1::Device* response) override;
  grpc::Status ListDevices(grpc::ServerContext* context, const v1::ListDevicesRequest* request,
                           v1::ListDevicesResponse* response) override;
  grpc::Status ClaimDevice(grpc::ServerContext* context, const v1::ClaimDeviceRequest* request,
                           v1::Device* response) override;
  grpc::Status ReleaseDevice(grpc::ServerContext* context, const v1::ReleaseDeviceRequest* request,
                             v1::Device* response) override;
  grpc::Status AttachDevice(grpc::ServerContext* context, const v1::AttachDeviceRequest* request,
                            v1::AttachDeviceResponse* response) override;
  grpc::Status ReplaceAttachment(grpc::ServerContext* context,
                                 const v1::ReplaceAttachmentRequest* request,
                                 v1::ReplaceAttachmentResponse* response) override;
  grpc::Status DetachDevice(grpc::ServerContext* context, const v1::DetachDeviceRequest* request,
                            v1::DetachDeviceResponse* response) override;
  grpc::Status AllocatePasid(grpc::ServerContext* context, const v1::AllocatePasidRequest* request,
                             v1::Pasid* response) override;
  grpc::Status ReservePasid(grpc::ServerContext* context, const v1::ReservePasidRequest* request,
                            v1::Pasid* response) override;
  grpc::Status FreePasid(grpc::ServerContext* context, const v1::FreePasidRequest* request,
                         google::protobuf::Empty* response) override;
  grpc::Status ListPasids(grpc::ServerContext* context, const v1::ListPasidsRequest* request,
                          v1::ListPasidsResponse* response) override;
  grpc::Status ResetDevice(grpc::ServerContext* context, const v1::ResetDeviceRequest* request,
                           v1::Device* response) override;
  grpc::Status ListAttachments(grpc::ServerContext* context,
                               const v1::ListAttachmentsRequest* request,
                               v1::ListAttachmentsResponse* response) override;
  grpc::Status ListReservedRegions(grpc::ServerContext* context,
                                   const v1::ListReservedRegionsRequest* request,
                                   v1::ListReservedRegionsResponse* response) override;
  grpc::Status GetHardwareInfo(grpc::ServerContext* context,
                               const v1::GetHardwareInfoRequest* request,
                               v1::HardwareInfo* response) override;
  grpc::Status SetDefaultDomain(grpc::ServerContext* context,
                                const v1::SetDefaultDomainRequest* request,
                                v1::Device* response) override;

 private:
  Engine& engine_;
  Admission& admission_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_DEVICE_SERVICE_H_
