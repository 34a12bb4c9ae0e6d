// Any bytes that are a request get an answer or a refusal in words: every unary call, through the
// service and the engine to the hardware model, without a connection.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "google/protobuf/stubs/logging.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/status.h"
#include "server/admission.h"
#include "server/caller.h"
#include "server/client_watchdog.h"
#include "server/device_service.h"
#include "server/domain_service.h"
#include "server/fault_service.h"
#include "server/host_service.h"
#include "server/ioas_service.h"
#include "server/listener_service.h"
#include "server/memory_service.h"
#include "server/no_listener_service.h"
#include "server/simulation_service.h"
#include "server/viommu_service.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/check.h"

namespace viommu {
namespace {

using fuzz::Bytes;
using fuzz::Check;

constexpr uint64_t kMaxMessageBytes = 4 << 20;
constexpr int kMaxCalls = 32;

std::unique_ptr<SoftBackend> NewBackend() {
  SoftBackendOptions options;
  options.table_arena_bytes = uint64_t{16} << 20;
  Topology topology = TestTopology();
  topology.iommus[0].dirty_tracking = true;
  auto backend = SoftBackend::Create(std::move(topology), options, {});
  Check(backend.ok(), backend.status().ToString());
  return *std::move(backend);
}

// A refusal that tells the client nothing, or that says we are broken.
void CheckStatus(const grpc::Status& status) {
  if (status.ok()) return;
  Check(status.error_code() != grpc::StatusCode::UNKNOWN &&
            status.error_code() != grpc::StatusCode::INTERNAL,
        status.error_message());
  Check(!status.error_message().empty() && !status.error_details().empty(),
        "a refusal without words");
}

class Daemon {
 public:
  Daemon() : backend_(NewBackend()) {
    auto engine = Engine::Create({"fuzz"}, backend_.get(), &journal_, RealEnv());
    Check(engine.ok(), engine.status().ToString());
    engine_ = *std::move(engine);
  }

  // One call: which, how long its request is, the request.
  void Call(Bytes* bytes) {
    const uint8_t which = bytes->Byte();
    const std::string request = bytes->Text(bytes->Number(2));
    switch (which % 8) {
      case 0:
        return CallDevice(which / 8, request);
      case 1:
        return CallDomain(which / 8, request);
      case 2:
        return CallHost(which / 8, request);
      case 3:
      case 4:
        return CallIoas(which / 8, request);
      case 5:
        return CallMemory(which / 8, request);
      case 7:
        if (which / 8 < 18) return CallViommu(which / 8, request);
        return which / 8 < 24 ? CallFault(which / 8 - 18, request)
                              : CallListener(which / 8 - 24, request);
      default:
        return CallSimulation(which / 8, request);
    }
  }

 private:
  template <typename Service, typename Request, typename Response>
  void Run(Service& service,
           grpc::Status (Service::*method)(grpc::ServerContext*, const Request*, Response*),
           const std::string& bytes) {
    Request request;
    if (!request.ParseFromString(bytes)) return;  // gRPC refuses it before we see it.
    grpc::ServerContext context;
    Response response;
    const grpc::Status status = (service.*method)(&context, &request, &response);
    CheckStatus(status);
    std::string answer;
    if (status.ok()) Check(response.SerializeToString(&answer), "an answer that can not be sent");
  }

  void CallDevice(int which, const std::string& r) {
    DeviceService s(engine_.get(), &admission_);
    switch (which % 16) {
      case 0:
        return Run(s, &DeviceService::GetDevice, r);
      case 1:
        return Run(s, &DeviceService::ListDevices, r);
      case 2:
        return Run(s, &DeviceService::ClaimDevice, r);
      case 3:
        return Run(s, &DeviceService::ReleaseDevice, r);
      case 4:
        return Run(s, &DeviceService::AttachDevice, r);
      case 5:
        return Run(s, &DeviceService::ReplaceAttachment, r);
      case 6:
        return Run(s, &DeviceService::DetachDevice, r);
      case 7:
        return Run(s, &DeviceService::ListAttachments, r);
      case 8:
        return Run(s, &DeviceService::ListReservedRegions, r);
      case 9:
        return Run(s, &DeviceService::GetHardwareInfo, r);
      case 10:
        return Run(s, &DeviceService::AllocatePasid, r);
      case 11:
        return Run(s, &DeviceService::ReservePasid, r);
      case 12:
        return Run(s, &DeviceService::FreePasid, r);
      case 13:
        return Run(s, &DeviceService::ListPasids, r);
      case 14:
        return Run(s, &DeviceService::ResetDevice, r);
      default:
        return Run(s, &DeviceService::SetDefaultDomain, r);
    }
  }

  void CallDomain(int which, const std::string& r) {
    DomainService s(engine_.get(), &admission_);
    switch (which % 6) {
      case 0:
        return Run(s, &DomainService::CreateDomain, r);
      case 1:
        return Run(s, &DomainService::GetDomain, r);
      case 2:
        return Run(s, &DomainService::ListDomains, r);
      case 3:
        return Run(s, &DomainService::SetDirtyTracking, r);
      case 4:
        return Run(s, &DomainService::ReadDirtyBitmap, r);
      default:
        return Run(s, &DomainService::DeleteDomain, r);
    }
  }

  void CallHost(int which, const std::string& r) {
    HostService s(engine_.get(), &admission_, {kMaxMessageBytes, 8});
    switch (which % 5) {
      case 0:
        return Run(s, &HostService::GetHost, r);
      case 1:
        return Run(s, &HostService::GetIommu, r);
      case 2:
        return Run(s, &HostService::ListIommus, r);
      case 3:
        return Run(s, &HostService::GetInvalidationQueue, r);
      default:
        return Run(s, &HostService::ListInvalidationQueues, r);
    }
  }

  void CallIoas(int which, const std::string& r) {
    IoasService s(engine_.get(), &admission_, nullptr);
    switch (which % 14) {
      case 0:
        return Run(s, &IoasService::CreateIoas, r);
      case 1:
        return Run(s, &IoasService::GetIoas, r);
      case 2:
        return Run(s, &IoasService::ListIoas, r);
      case 3:
        return Run(s, &IoasService::DeleteIoas, r);
      case 4:
        return Run(s, &IoasService::Map, r);
      case 5:
        return Run(s, &IoasService::Unmap, r);
      case 6:
        return Run(s, &IoasService::CopyMappings, r);
      case 7:
        return Run(s, &IoasService::ListMappings, r);
      case 8:
        return Run(s, &IoasService::Translate, r);
      case 9:
        return Run(s, &IoasService::ListIovaRanges, r);
      case 10:
        return Run(s, &IoasService::SetAllowedIovaRanges, r);
      case 11:
        return Run(s, &IoasService::SetLargePages, r);
      case 12:
        return Run(s, &IoasService::LoadReservedRegions, r);
      default:
        return Run(s, &IoasService::UnloadReservedRegions, r);
    }
  }

  void CallMemory(int which, const std::string& r) {
    MemoryService s(engine_.get(), &admission_);
    switch (which % 4) {
      case 0:
        return Run(s, &MemoryService::CreateMemoryRegion, r);
      case 1:
        return Run(s, &MemoryService::GetMemoryRegion, r);
      case 2:
        return Run(s, &MemoryService::ListMemoryRegions, r);
      default:
        return Run(s, &MemoryService::DeleteMemoryRegion, r);
    }
  }

  void CallViommu(int which, const std::string& r) {
    ViommuService s(engine_.get(), &admission_, &watchdog_);
    switch (which % 18) {
      case 0:
        return Run(s, &ViommuService::Invalidate, r);
      case 1:
        return Run(s, &ViommuService::CreateViommu, r);
      case 2:
        return Run(s, &ViommuService::GetViommu, r);
      case 3:
        return Run(s, &ViommuService::ListViommus, r);
      case 4:
        return Run(s, &ViommuService::DeleteViommu, r);
      case 5:
        return Run(s, &ViommuService::CreateVdevice, r);
      case 6:
        return Run(s, &ViommuService::GetVdevice, r);
      case 7:
        return Run(s, &ViommuService::ListVdevices, r);
      case 8:
        return Run(s, &ViommuService::DeleteVdevice, r);
      case 9:
        return Run(s, &ViommuService::CreateEventQueue, r);
      case 10:
        return Run(s, &ViommuService::GetEventQueue, r);
      case 11:
        return Run(s, &ViommuService::ListEventQueues, r);
      case 12:
        return Run(s, &ViommuService::DeleteEventQueue, r);
      case 13:
        return Run(s, &ViommuService::ListEvents, r);
      case 14:
        return Run(s, &ViommuService::CreateHardwareQueue, r);
      case 15:
        return Run(s, &ViommuService::GetHardwareQueue, r);
      case 16:
        return Run(s, &ViommuService::ListHardwareQueues, r);
      default:
        return Run(s, &ViommuService::DeleteHardwareQueue, r);
    }
  }

  void CallFault(int which, const std::string& r) {
    FaultService s(engine_.get(), &admission_, &watchdog_);
    switch (which % 6) {
      case 0:
        return Run(s, &FaultService::CreateFaultQueue, r);
      case 1:
        return Run(s, &FaultService::GetFaultQueue, r);
      case 2:
        return Run(s, &FaultService::ListFaultQueues, r);
      case 3:
        return Run(s, &FaultService::DeleteFaultQueue, r);
      case 4:
        return Run(s, &FaultService::ListFaults, r);
      default:
        return Run(s, &FaultService::RespondFault, r);
    }
  }

  // Of a daemon without: what there is to be parsed is parsed, and no file is touched. The other
  // one is a tenant's.
  void CallListener(int which, const std::string& r) {
    ListenerService s(nullptr, &admission_);
    NoListenerService none(&tenant_);
    switch (which % 8) {
      case 0:
        return Run(s, &ListenerService::CreateListener, r);
      case 1:
        return Run(s, &ListenerService::GetListener, r);
      case 2:
        return Run(s, &ListenerService::ListListeners, r);
      case 3:
        return Run(s, &ListenerService::DeleteListener, r);
      case 4:
        return Run(none, &NoListenerService::CreateListener, r);
      case 5:
        return Run(none, &NoListenerService::GetListener, r);
      case 6:
        return Run(none, &NoListenerService::ListListeners, r);
      default:
        return Run(none, &NoListenerService::DeleteListener, r);
    }
  }

  void CallSimulation(int which, const std::string& r) {
    SimulationService s(engine_.get(), &admission_, &watchdog_);
    switch (which % 15) {
      case 12:
        return Run(s, &SimulationService::RaisePageFault, r);
      case 13:
        return Run(s, &SimulationService::ListPageResponses, r);
      case 0:
        return Run(s, &SimulationService::Dma, r);
      case 1:
        return Run(s, &SimulationService::ReadMemory, r);
      case 2:
        return Run(s, &SimulationService::WriteMemory, r);
      case 3:
        return Run(s, &SimulationService::HostMap, r);
      case 4:
        return Run(s, &SimulationService::HostUnmap, r);
      case 5:
        return Run(s, &SimulationService::SetDeviceHealth, r);
      case 6:
        return Run(s, &SimulationService::UnplugDevice, r);
      case 7:
        return Run(s, &SimulationService::PlugDevice, r);
      case 8:
        return Run(s, &SimulationService::ResizeMemoryRegion, r);
      case 9:
        return Run(s, &SimulationService::RevokeMemoryRegion, r);
      case 10:
        return Run(s, &SimulationService::ExplainTranslation, r);
      case 11:
        return Run(s, &SimulationService::RaiseEvent, r);
      default:
        return Run(s, &SimulationService::DumpTables, r);
    }
  }

  std::unique_ptr<SoftBackend> backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  Admission admission_{AdmissionLimits(), nullptr};
  Admission tenant_{AdmissionLimits(), nullptr, Caller::Tenant("fuzz"), &admission_};
  ClientWatchdog watchdog_{absl::Minutes(1)};
};

}  // namespace
}  // namespace viommu

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const google::protobuf::LogSilencer quiet;  // It would log every text that is no UTF-8.
  viommu::fuzz::Bytes bytes(data, size);
  viommu::Daemon daemon;
  for (int calls = 0; calls < viommu::kMaxCalls && !bytes.empty(); ++calls) daemon.Call(&bytes);
  return 0;
}
