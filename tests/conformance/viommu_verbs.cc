#include "tests/conformance/viommu_verbs.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/conformance/requests.h"
#include "tests/conformance/verbs.h"
#include "viommu/v1/hardware_queue.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu::conformance {
namespace {

using Stub = v1::ViommuService::Stub;

std::string Child(const std::string& viommu, const char* kind, const std::string& id) {
  return absl::StrCat(Viommu(viommu), "/", kind, "/", id);
}

std::string DeviceCalled(World& world, const std::string& part) {
  return part == "none" ? "devices/conf-none" : world.Device(part);
}

absl::StatusOr<v1::ListEventsResponse> ListEvents(World& world, const std::string& viommu,
                                                  const std::string& id) {
  v1::ListEventsRequest request;
  request.set_parent(Child(viommu, "eventQueues", id));
  return world.Call(&Stub::ListEvents, std::move(request));
}

}  // namespace

std::string Viommu(const std::string& id) { return "viommus/" + World::Id(id); }

// ---- Viommus ----

Step NewViommu(const std::string& id, const std::string& device, const std::string& parent,
               v1::ViommuType type) {
  return [=](World& world) {
    v1::CreateViommuRequest request;
    request.set_viommu_id(World::Id(id));
    request.mutable_viommu()->set_type(type);
    request.mutable_viommu()->set_device(DeviceCalled(world, device));
    request.mutable_viommu()->set_parent(World::Domain(parent));
    absl::Status made = world.Call(&Stub::CreateViommu, std::move(request)).status();
    if (made.ok()) world.OnUndo([&world, id] { return DeleteViommu(id)(world); });
    return made;
  };
}

Step GetViommu(const std::string& id) {
  return [=](World& world) {
    return world.Call(&Stub::GetViommu, Named<v1::GetViommuRequest>(Viommu(id))).status();
  };
}

Step DeleteViommu(const std::string& id) {
  return [=](World& world) {
    return world.Call(&Stub::DeleteViommu, Named<v1::DeleteViommuRequest>(Viommu(id))).status();
  };
}

// ---- Vdevices ----

Step NewVdevice(const std::string& viommu, const std::string& device, uint64_t virtual_id) {
  return [=](World& world) {
    v1::CreateVdeviceRequest request;
    request.set_parent(Viommu(viommu));
    request.set_vdevice_id(device);
    request.mutable_vdevice()->set_device(DeviceCalled(world, device));
    request.mutable_vdevice()->set_virtual_id(virtual_id);
    absl::Status made = world.Call(&Stub::CreateVdevice, std::move(request)).status();
    if (made.ok()) {
      world.OnUndo([&world, viommu, device] { return DeleteVdevice(viommu, device)(world); });
    }
    return made;
  };
}

Step GetVdevice(const std::string& viommu, const std::string& device) {
  return [=](World& world) {
    auto request = Named<v1::GetVdeviceRequest>(Child(viommu, "vdevices", device));
    return world.Call(&Stub::GetVdevice, std::move(request)).status();
  };
}

Step DeleteVdevice(const std::string& viommu, const std::string& device) {
  return [=](World& world) {
    auto request = Named<v1::DeleteVdeviceRequest>(Child(viommu, "vdevices", device));
    return world.Call(&Stub::DeleteVdevice, std::move(request)).status();
  };
}

// ---- The guest's stream table entries ----

v1::Domain OnViommu(const std::string& viommu, const std::string& device, const Vste& vste) {
  v1::Domain domain;
  v1::NestedDomain& nested = *domain.mutable_nested();
  nested.set_viommu(Viommu(viommu));
  nested.set_device(device);
  nested.mutable_arm_smmu_v3()->set_ste_0(vste.ste_0);
  nested.mutable_arm_smmu_v3()->set_ste_1(vste.ste_1);
  return domain;
}

Step NewGuestStage(const std::string& id, const std::string& viommu, const std::string& device,
                   const Vste& vste) {
  return SendNewDomain(id, OnViommu(viommu, device, vste));
}

// ---- Events ----

Step NewEventQueue(const std::string& viommu, const std::string& id, uint32_t depth,
                   v1::EventType type) {
  return [=](World& world) {
    v1::CreateEventQueueRequest request;
    request.set_parent(Viommu(viommu));
    request.set_event_queue_id(id);
    request.mutable_event_queue()->set_type(type);
    request.mutable_event_queue()->set_depth(depth);
    absl::Status made = world.Call(&Stub::CreateEventQueue, std::move(request)).status();
    if (made.ok()) {
      world.OnUndo([&world, viommu, id] { return DeleteEventQueue(viommu, id)(world); });
    }
    return made;
  };
}

Step DeleteEventQueue(const std::string& viommu, const std::string& id) {
  return [=](World& world) {
    auto request = Named<v1::DeleteEventQueueRequest>(Child(viommu, "eventQueues", id));
    return world.Call(&Stub::DeleteEventQueue, std::move(request)).status();
  };
}

Step Report(const std::string& device, uint32_t event, v1::RaiseEventOutcome outcome) {
  return [=](World& world) -> absl::Status {
    if (!world.simulated()) return absl::OkStatus();
    auto request = Named<v1::RaiseEventRequest>(world.Device(device));
    request.mutable_event()->set_id(event);
    request.mutable_event()->set_address(0x5000);
    const auto response = world.Call(&v1::SimulationService::Stub::RaiseEvent, std::move(request));
    if (!response.ok()) return response.status();
    return Expect(response->outcome() == outcome, response->ShortDebugString());
  };
}

Step Events(const std::string& viommu, const std::string& id, const std::string& events) {
  return [=](World& world) -> absl::Status {
    const auto listed = ListEvents(world, viommu, id);
    if (!listed.ok()) return listed.status();
    if (!world.simulated()) return absl::OkStatus();
    const std::string seen =
        absl::StrJoin(listed->events(), " ", [](std::string* out, const v1::Event& event) {
          absl::StrAppend(out, event.sequence(), event.lost() ? "lost" : "");
        });
    return Expect(seen == events, absl::StrCat("what waits: ", seen));
  };
}

Step LastEventSays(const std::string& viommu, const std::string& id, const std::string& text) {
  return [=](World& world) -> absl::Status {
    const auto listed = ListEvents(world, viommu, id);
    if (!listed.ok()) return listed.status();
    if (!world.simulated()) return absl::OkStatus();
    if (listed->events().empty()) return absl::FailedPreconditionError("no event waits");
    const std::string last = listed->events(listed->events_size() - 1).ShortDebugString();
    return Expect(absl::StrContains(last, text), absl::StrCat("no \"", text, "\" in: ", last));
  };
}

// ---- Hardware queues ----

Step NewHardwareQueue(const std::string& viommu, uint64_t base, uint64_t length) {
  return [=](World& world) {
    v1::CreateHardwareQueueRequest request;
    request.set_parent(Viommu(viommu));
    request.mutable_hardware_queue()->set_type(v1::HARDWARE_QUEUE_TYPE_TEGRA241_CMDQV);
    request.mutable_hardware_queue()->set_base(base);
    request.mutable_hardware_queue()->set_length(length);
    return world.Call(&Stub::CreateHardwareQueue, std::move(request)).status();
  };
}

// ---- Commands ----

v1::ArmSmmuV3Invalidation SmmuCommand(v1::ArmSmmuV3Opcode opcode) {
  v1::ArmSmmuV3Invalidation command;
  command.set_opcode(opcode);
  return command;
}

Step Give(const std::string& viommu, const std::vector<v1::ArmSmmuV3Invalidation>& commands) {
  auto request = Named<v1::InvalidateRequest>(Viommu(viommu));
  request.mutable_commands()->mutable_arm_smmu_v3();
  for (const v1::ArmSmmuV3Invalidation& command : commands) {
    *request.mutable_commands()->mutable_arm_smmu_v3()->add_invalidations() = command;
  }
  return [=](World& world) -> absl::Status {
    const auto response = world.Call(&Stub::Invalidate, request);
    if (response.ok()) world.invalidated = *response;
    return response.status();
  };
}

}  // namespace viommu::conformance
