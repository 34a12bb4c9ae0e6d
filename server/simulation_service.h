// server/simulation_service.h -- SimulationService over the engine. Stateless, thread-safe.
//
// An export is taken whole, then sent from this call's thread; a client that does not read is cut
// off by the watchdog.
#ifndef VIOMMU_SERVER_SIMULATION_SERVICE_H_
#define VIOMMU_SERVER_SIMULATION_SERVICE_H_

#include "absl/status/status.h"
#include "engine/engine.h"
#include "server/admission.h"
#include "server/client_watchdog.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {

// Contract of each call: viommu/v1/simulation.proto.
class SimulationService final : public v1::SimulationService::Service {
 public:
  using ImageWriter = grpc::ServerWriter<v1::ExportTablesResponse>;

  // All outlive the service.
  SimulationService(Engine* engine, Admission* admission, ClientWatchdog* watchdog)
      : engine_(*engine), admission_(*admission), watchdog_(*watchdog) {}

  grpc::Status Dma(grpc::ServerContext* context, const v1::DmaRequest* request,
                   v1::DmaResponse* response) override;
  grpc::Status ReadMemory(grpc::ServerContext* context, const v1::ReadMemoryRequest* request,
                          v1::ReadMemoryResponse* response) override;
  grpc::Status WriteMemory(grpc::ServerContext* context, const v1::WriteMemoryRequest* request,
                           v1::WriteMemoryResponse* response) override;
  grpc::Status HostMap(grpc::ServerContext* context, const v1::HostMapRequest* request,
                       v1::HostMapResponse* response) override;
  grpc::Status HostUnmap(grpc::ServerContext* context, const v1::HostUnmapRequest* request,
                         v1::HostUnmapResponse* response) override;
  grpc::Status SetDeviceHealth(grpc::ServerContext* context,
                               const v1::SetDeviceHealthRequest* request,
                               v1::Device* response) override;
  grpc::Status UnplugDevice(grpc::ServerContext* context, const v1::UnplugDeviceRequest* request,
                            v1::UnplugDeviceResponse* response) override;
  grpc::Status PlugDevice(grpc::ServerContext* context, const v1::PlugDeviceRequest* request,
                          v1::Device* response) override;
  grpc::Status ResizeMemoryRegion(grpc::ServerContext* context,
                                  const v1::ResizeMemoryRegionRequest* request,
                                  v1::MemoryRegion* response) override;
  grpc::Status RevokeMemoryRegion(grpc::ServerContext* context,
                                  const v1::RevokeMemoryRegionRequest* request,
                                  v1::MemoryRegion* response) override;
  grpc::Status RaisePageFault(grpc::ServerContext* context,
                              const v1::RaisePageFaultRequest* request,
                              v1::RaisePageFaultResponse* response) override;
  grpc::Status ListPageResponses(grpc::ServerContext* context,
                                 const v1::ListPageResponsesRequest* request,
                                 v1::ListPageResponsesResponse* response) override;
  grpc::Status DumpTables(grpc::ServerContext* context, const v1::DumpTablesRequest* request,
                          v1::DumpTablesResponse* response) override;
  grpc::Status RaiseEvent(grpc::ServerContext* context, const v1::RaiseEventRequest* request,
                          v1::RaiseEventResponse* response) override;
  grpc::Status ExplainTranslation(grpc::ServerContext* context,
                                  const v1::ExplainTranslationRequest* request,
                                  v1::TranslationExplanation* response) override;
  grpc::Status ExportTables(grpc::ServerContext* context, const v1::ExportTablesRequest* request,
                            ImageWriter* writer) override;

 private:
  absl::Status ServeExport(grpc::ServerContext* context, const v1::ExportTablesRequest& request,
                           ImageWriter* writer);

  Engine& engine_;
  Admission& admission_;
  ClientWatchdog& watchdog_;
};

}  // namespace viommu

#endif  // VIOMMU_SERVER_SIMULATION_SERVICE_H_
