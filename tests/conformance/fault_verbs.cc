#include "tests/conformance/fault_verbs.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/conformance/requests.h"
#include "viommu/v1/fault.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu::conformance {
namespace {

using Faults = v1::FaultService::Stub;
using Simulations = v1::SimulationService::Stub;

constexpr uint32_t kAskedGroup = 7;

// The last thing that the device was told, of that group if there is one.
Step LastTold(const std::string& device, v1::PageResponseCode code, std::optional<uint32_t> group) {
  return [=](World& world) -> absl::Status {
    if (!world.simulated()) return absl::OkStatus();
    const auto told = world.Call(&Simulations::ListPageResponses,
                                 Named<v1::ListPageResponsesRequest>(world.Device(device)));
    if (!told.ok()) return told.status();
    if (told->responses().empty()) return absl::InternalError("it was told nothing");
    const v1::PageResponse& last = told->responses(told->responses_size() - 1);
    const bool meant = !group.has_value() || last.group() == *group;
    if (meant && last.code() == code) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("it was told ", last.ShortDebugString()));
  };
}

}  // namespace

std::string Queue(const std::string& id) { return "faultQueues/" + World::Id(id); }

Step DeleteQueue(const std::string& id) {
  return [=](World& world) {
    return world.Call(&Faults::DeleteFaultQueue, Named<v1::DeleteFaultQueueRequest>(Queue(id)))
        .status();
  };
}

Step NewQueue(const std::string& id, uint32_t depth) {
  return [=](World& world) {
    v1::CreateFaultQueueRequest request;
    request.set_fault_queue_id(World::Id(id));
    request.mutable_fault_queue()->set_depth(depth);
    absl::Status made = world.Call(&Faults::CreateFaultQueue, std::move(request)).status();
    if (made.ok()) world.OnUndo([&world, id] { return DeleteQueue(id)(world); });
    return made;
  };
}

Step Ask(const std::string& device, uint64_t iova, std::optional<uint32_t> pasid, bool more) {
  return [=](World& world) -> absl::Status {
    // It can not be asked in vain.
    if (!world.simulated() || world.validate_only()) return absl::OkStatus();
    auto request = Named<v1::RaisePageFaultRequest>(world.Device(device));
    request.set_iova(iova);
    if (pasid.has_value()) request.set_pasid(*pasid);
    request.set_group(kAskedGroup);
    request.set_more(more);
    return world.Call(&Simulations::RaisePageFault, std::move(request)).status();
  };
}

Step RespondAll(const std::vector<Response>& responses) {
  return [=](World& world) {
    auto request = Named<v1::RespondFaultRequest>(Queue("q"));
    for (const Response& one : responses) {
      v1::FaultResponse& response = *request.add_responses();
      response.set_cookie(one.cookie);
      response.set_code(one.code);
    }
    return world.Call(&Faults::RespondFault, std::move(request)).status();
  };
}
Step Respond(uint32_t cookie, v1::PageResponseCode code) { return RespondAll({{cookie, code}}); }

Step GetQueue(const std::string& id) {
  return [=](World& world) {
    return world.Call(&Faults::GetFaultQueue, Named<v1::GetFaultQueueRequest>(Queue(id))).status();
  };
}

Step Told(const std::string& device, v1::PageResponseCode code) {
  return LastTold(device, code, kAskedGroup);
}
Step Resumed(const std::string& device, v1::PageResponseCode code) {
  return LastTold(device, code, std::nullopt);
}

Step Waiting(int groups) {
  return [=](World& world) -> absl::Status {
    const auto faults = world.Call(&Faults::ListFaults, Named<v1::ListFaultsRequest>(Queue("q")));
    if (!faults.ok()) return faults.status();
    if (!world.simulated() || faults->faults_size() == groups) return absl::OkStatus();
    return absl::InternalError(absl::StrCat(faults->faults_size(), " groups wait"));
  };
}

}  // namespace viommu::conformance
