#include "clients/device_plugin/plugin_service.h"

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/device_plugin/container_answer.h"
#include "clients/device_plugin/plugin_error.h"
#include "clients/device_plugin/preferred.h"
#include "clients/device_plugin/roster.h"

namespace viommu {
namespace {

// How often a stream looks whether the kubelet is still there.
constexpr absl::Duration kLook = absl::Milliseconds(100);

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), Line(status)};
}

// kInvalidArgument DEVICE_TWICE: no device can be given twice.
absl::Status CheckOnce(const ::v1beta1::AllocateRequest& request) {
  std::set<std::string> seen;
  for (const auto& container : request.container_requests()) {
    for (const std::string& id : container.devices_ids()) {
      if (seen.insert(id).second) continue;
      return PluginError(absl::StatusCode::kInvalidArgument, "DEVICE_TWICE",
                         absl::StrCat("\"", id, "\" is asked for twice"));
    }
  }
  return absl::OkStatus();
}

// Logs devices whose health has changed.
void LogChanges(const OfferedResource& resource, const std::vector<RosterEntry>& before,
                const std::vector<RosterEntry>& now, Log* log) {
  for (const RosterEntry& entry : now) {
    const auto old = std::find_if(before.begin(), before.end(), [&entry](const RosterEntry& other) {
      return other.id == entry.id;
    });
    if (old != before.end() && old->reason == entry.reason) continue;
    log->Write(entry.reason.empty() ? LogLevel::kInfo : LogLevel::kWarning, "device_health",
               {{"resource", resource.name},
                {"device", entry.id},
                {"healthy", entry.reason.empty()},
                {"reason", entry.reason},
                {"detail", entry.detail}});
  }
}

}  // namespace

::v1beta1::DevicePluginOptions PluginOptions() {
  ::v1beta1::DevicePluginOptions options;
  options.set_pre_start_required(true);
  options.set_get_preferred_allocation_available(true);
  return options;
}

grpc::Status PluginService::GetDevicePluginOptions(grpc::ServerContext* /*context*/,
                                                   const ::v1beta1::Empty* /*request*/,
                                                   ::v1beta1::DevicePluginOptions* response) {
  *response = PluginOptions();
  return grpc::Status::OK;
}

grpc::Status PluginService::ListAndWatch(
    grpc::ServerContext* context, const ::v1beta1::Empty* /*request*/,
    grpc::ServerWriter<::v1beta1::ListAndWatchResponse>* writer) {
  ++streams_;
  metrics_.kubelet_streams->Increment();
  const auto end = absl::MakeCleanup([this] {
    --streams_;
    metrics_.kubelet_streams->Decrement();
  });
  std::optional<std::vector<RosterEntry>> told;
  while (!context->IsCancelled() && !ending_) {
    const InventoryState state = parts_.inventory->Get();
    std::vector<RosterEntry> roster = RosterOf(parts_.config->resources, resource_, state);
    if (!told.has_value() || *told != roster) {
      LogChanges(resource_, told.value_or(std::vector<RosterEntry>()), roster, parts_.log);
      if (!writer->Write(ListOf(roster))) break;
      told = std::move(roster);
    }
    // The kubelet may go without a word.
    while (!context->IsCancelled() && !ending_ &&
           parts_.inventory->AwaitChange(state.version, absl::Now() + kLook) == state.version) {
    }
  }
  return grpc::Status::OK;
}

grpc::Status PluginService::GetPreferredAllocation(
    grpc::ServerContext* /*context*/, const ::v1beta1::PreferredAllocationRequest* request,
    ::v1beta1::PreferredAllocationResponse* response) {
  const auto placements = PlacementsOf(parts_.inventory->Get());
  for (const auto& container : request->container_requests()) {
    const std::vector<std::string> available(container.available_deviceids().begin(),
                                             container.available_deviceids().end());
    const std::vector<std::string> must(container.must_include_deviceids().begin(),
                                        container.must_include_deviceids().end());
    const auto size = static_cast<size_t>(std::max(container.allocation_size(), 0));
    auto& answer = *response->add_container_responses();
    for (std::string& id : ChoosePreferred(placements, available, must, size)) {
      answer.add_deviceids(std::move(id));
    }
  }
  return grpc::Status::OK;
}

absl::StatusOr<::v1beta1::ContainerAllocateResponse> PluginService::AllocateOne(
    const grpc::ServerContext& context, const ::v1beta1::ContainerAllocateRequest& request,
    Allocation* made) {
  const std::vector<std::string> devices(request.devices_ids().begin(),
                                         request.devices_ids().end());
  auto allocation =
      parts_.allocator->Allocate(resource_, devices, [&context] { return context.IsCancelled(); });
  if (!allocation.ok()) return allocation.status();
  *made = *std::move(allocation);
  return ContainerAnswer(*parts_.config, resource_, *made);
}

grpc::Status PluginService::Allocate(grpc::ServerContext* context,
                                     const ::v1beta1::AllocateRequest* request,
                                     ::v1beta1::AllocateResponse* response) {
  const absl::Status once = CheckOnce(*request);
  if (!once.ok()) return ToGrpc(once);
  std::vector<std::string> made;
  for (const auto& container : request->container_requests()) {
    Allocation allocation;
    auto answer = AllocateOne(*context, container, &allocation);
    if (!allocation.name.empty()) made.push_back(allocation.name);
    metrics_.allocations.Count(answer.ok());
    if (answer.ok()) {
      parts_.log->Write(LogLevel::kInfo, "allocated",
                        {{"resource", resource_.name},
                         {"allocation", allocation.name},
                         {"devices", absl::StrJoin(allocation.devices, ",")}});
      *response->add_container_responses() = *std::move(answer);
      continue;
    }
    parts_.log->Write(LogLevel::kWarning, "allocation_failed",
                      {{"resource", resource_.name},
                       {"devices", absl::StrJoin(container.devices_ids(), ",")},
                       {"why", Line(answer.status())}});
    // All of it or nothing. What can not be freed now no pod will have, and is freed later.
    for (const std::string& name : made) parts_.allocator->Free(name).IgnoreError();
    return ToGrpc(answer.status());
  }
  return grpc::Status::OK;
}

grpc::Status PluginService::PreStartContainer(grpc::ServerContext* context,
                                              const ::v1beta1::PreStartContainerRequest* request,
                                              ::v1beta1::PreStartContainerResponse* /*response*/) {
  const std::vector<std::string> devices(request->devices_ids().begin(),
                                         request->devices_ids().end());
  const absl::Status renewed =
      parts_.allocator->Renew(resource_, devices, [context] { return context->IsCancelled(); });
  metrics_.renewals.Count(renewed.ok());
  parts_.log->Write(renewed.ok() ? LogLevel::kInfo : LogLevel::kWarning,
                    renewed.ok() ? "renewed" : "renewal_failed",
                    {{"resource", resource_.name},
                     {"devices", absl::StrJoin(devices, ",")},
                     {"why", Line(renewed)}});
  return ToGrpc(renewed);
}

}  // namespace viommu
