// health: whether the daemon and each of its services can be used.
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/exit_code.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace viommu {
namespace {

using ::grpc::health::v1::HealthCheckRequest;
using ::grpc::health::v1::HealthCheckResponse;
using HealthStub = ::grpc::health::v1::Health::Stub;

// The whole server first.
constexpr absl::string_view kServices[] = {
    "",
    "viommu.v1.DeviceService",
    "viommu.v1.DomainService",
    "viommu.v1.FaultService",
    "viommu.v1.HostService",
    "viommu.v1.IoasService",
    "viommu.v1.ListenerService",
    "viommu.v1.MappingService",
    "viommu.v1.MemoryService",
    "viommu.v1.SimulationService",
    "viommu.v1.ViommuService",
    "viommu.v1.WatchService",
};

std::string Word(HealthCheckResponse::ServingStatus status) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(HealthCheckResponse::ServingStatus_Name(status)),
                             {{"_", "-"}});
}

}  // namespace

absl::Status Health(Invocation& call) {
  const absl::StatusOr<Client*> client = call.Connected();
  if (!client.ok()) return client.status();
  HealthStub stub((*client)->channel());
  Table table({"SERVICE", "STATUS"});
  HealthCheckResponse whole;
  for (const absl::string_view service : kServices) {
    HealthCheckRequest request;
    request.set_service(std::string(service));
    const auto health = (*client)->Call(stub, &HealthStub::Check, request);
    if (!health.ok()) return health.status();
    if (service.empty()) whole = *health;
    table.Add({service.empty() ? "(all)" : std::string(service), Word(health->status())});
  }
  call.Show(whole, table);
  if (whole.status() != HealthCheckResponse::SERVING) call.EndWith(kExitUnavailable);
  return absl::OkStatus();
}

}  // namespace viommu
