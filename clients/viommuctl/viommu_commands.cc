// Viommus, and what belongs to them: devices under their virtual ids, queues, events, commands.
#include <utility>

#include "absl/strings/str_cat.h"
#include "clients/client/call_error.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/object_verbs.h"
#include "clients/viommuctl/values.h"
#include "viommu/v1/event_queue.pb.h"
#include "viommu/v1/hardware_queue.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"
#include "viommu/v1/viommu.grpc.pb.h"

namespace viommu {
namespace {

// Of a choice that the command table offers.
v1::ArmSmmuV3Opcode OpcodeCalled(absl::string_view word) {
  if (word == "tlbi-all") return v1::ARM_SMMU_V3_OPCODE_TLBI_ALL;
  if (word == "tlbi-asid") return v1::ARM_SMMU_V3_OPCODE_TLBI_ASID;
  if (word == "tlbi-va") return v1::ARM_SMMU_V3_OPCODE_TLBI_VA;
  if (word == "tlbi-vaa") return v1::ARM_SMMU_V3_OPCODE_TLBI_VAA;
  if (word == "atc-inv") return v1::ARM_SMMU_V3_OPCODE_ATC_INV;
  if (word == "cfgi-cd") return v1::ARM_SMMU_V3_OPCODE_CFGI_CD;
  return v1::ARM_SMMU_V3_OPCODE_CFGI_CD_ALL;
}

}  // namespace

absl::Status GetViommu(Invocation& call) { return Get(call, &v1::ViommuService::Stub::GetViommu); }
absl::Status ListViommus(Invocation& call) {
  return List(call, &v1::ViommuService::Stub::ListViommus, v1::ListViommusRequest(),
              &v1::ListViommusResponse::viommus);
}
absl::Status DeleteViommu(Invocation& call) {
  return Delete(call, &v1::ViommuService::Stub::DeleteViommu);
}
absl::Status CreateViommu(Invocation& call) {
  v1::CreateViommuRequest request;
  request.set_viommu_id(call.Text("ID"));
  request.mutable_viommu()->set_type(v1::VIOMMU_TYPE_ARM_SMMU_V3);
  request.mutable_viommu()->set_device(call.Name("device"));
  request.mutable_viommu()->set_parent(call.Name("parent"));
  return Created(call, call.Call(&v1::ViommuService::Stub::CreateViommu, request));
}

absl::Status GetVdevice(Invocation& call) {
  return Get(call, &v1::ViommuService::Stub::GetVdevice);
}
absl::Status ListVdevices(Invocation& call) {
  v1::ListVdevicesRequest request;
  request.set_parent(call.Name("VIOMMU"));
  return List(call, &v1::ViommuService::Stub::ListVdevices, std::move(request),
              &v1::ListVdevicesResponse::vdevices);
}
absl::Status DeleteVdevice(Invocation& call) {
  return Delete(call, &v1::ViommuService::Stub::DeleteVdevice);
}
absl::Status CreateVdevice(Invocation& call) {
  v1::CreateVdeviceRequest request;
  request.set_parent(call.Name("VIOMMU"));
  request.set_vdevice_id(call.Text("ID"));
  request.mutable_vdevice()->set_device(call.Name("device"));
  request.mutable_vdevice()->set_virtual_id(call.Address("virtual-id"));
  return Created(call, call.Call(&v1::ViommuService::Stub::CreateVdevice, request));
}

absl::Status GetEventQueue(Invocation& call) {
  return Get(call, &v1::ViommuService::Stub::GetEventQueue);
}
absl::Status ListEventQueues(Invocation& call) {
  v1::ListEventQueuesRequest request;
  request.set_parent(call.Name("VIOMMU"));
  return List(call, &v1::ViommuService::Stub::ListEventQueues, std::move(request),
              &v1::ListEventQueuesResponse::event_queues);
}
absl::Status DeleteEventQueue(Invocation& call) {
  return Delete(call, &v1::ViommuService::Stub::DeleteEventQueue);
}
absl::Status CreateEventQueue(Invocation& call) {
  v1::CreateEventQueueRequest request;
  request.set_parent(call.Name("VIOMMU"));
  request.set_event_queue_id(call.Text("ID"));
  request.mutable_event_queue()->set_type(v1::EVENT_TYPE_ARM_SMMU_V3);
  request.mutable_event_queue()->set_depth(call.Number("depth"));
  return Created(call, call.Call(&v1::ViommuService::Stub::CreateEventQueue, request));
}

absl::Status ListEvents(Invocation& call) {
  v1::ListEventsRequest request;
  request.set_parent(call.Name("QUEUE"));
  return List(call, &v1::ViommuService::Stub::ListEvents, std::move(request),
              &v1::ListEventsResponse::events);
}

absl::Status GetHardwareQueue(Invocation& call) {
  return Get(call, &v1::ViommuService::Stub::GetHardwareQueue);
}
absl::Status ListHardwareQueues(Invocation& call) {
  v1::ListHardwareQueuesRequest request;
  request.set_parent(call.Name("VIOMMU"));
  return List(call, &v1::ViommuService::Stub::ListHardwareQueues, std::move(request),
              &v1::ListHardwareQueuesResponse::hardware_queues);
}
absl::Status DeleteHardwareQueue(Invocation& call) {
  return Delete(call, &v1::ViommuService::Stub::DeleteHardwareQueue);
}
absl::Status CreateHardwareQueue(Invocation& call) {
  v1::CreateHardwareQueueRequest request;
  request.set_parent(call.Name("VIOMMU"));
  request.set_hardware_queue_id(call.Text("ID"));
  v1::HardwareQueue& queue = *request.mutable_hardware_queue();
  queue.set_type(v1::HARDWARE_QUEUE_TYPE_TEGRA241_CMDQV);
  queue.set_index(call.Number("index"));
  queue.set_base(call.Address("base"));
  queue.set_length(call.Size("size"));
  return Created(call, call.Call(&v1::ViommuService::Stub::CreateHardwareQueue, request));
}

absl::Status GiveCommand(Invocation& call) {
  v1::InvalidateRequest request;
  request.set_name(call.Name("VIOMMU"));
  v1::ArmSmmuV3Invalidation& command =
      *request.mutable_commands()->mutable_arm_smmu_v3()->add_invalidations();
  command.set_opcode(OpcodeCalled(call.Text("OPCODE")));
  command.set_asid(call.Number("asid"));
  command.set_stream_id(call.Number("stream"));
  command.set_substream_valid(call.Has("pasid") && call.Text("OPCODE") == "atc-inv");
  command.set_substream_id(call.Number("pasid"));
  command.set_global(call.Has("global"));
  command.set_address(call.Address("address"));
  command.set_leaves_only(call.Has("leaves-only"));
  command.set_size_log2(call.Number("size-log2"));
  const auto done = call.Call(&v1::ViommuService::Stub::Invalidate, request);
  if (!done.ok()) return done.status();
  if (done->has_first_error()) return ToStatus(done->first_error());
  call.Did(*done, request.name(), "invalidated", call.Text("OPCODE"));
  return absl::OkStatus();
}

absl::Status RaiseEvent(Invocation& call) {
  v1::RaiseEventRequest request;
  request.set_name(call.Name("DEVICE"));
  v1::ArmSmmuV3Event& event = *request.mutable_event();
  event.set_id(static_cast<uint32_t>(call.Address("ID")));
  if (call.Has("pasid")) event.set_substream_id(call.Number("pasid"));
  event.set_read(call.Has("read"));
  event.set_address(call.Address("address"));
  const auto raised = call.Call(&v1::SimulationService::Stub::RaiseEvent, request);
  if (!raised.ok()) return raised.status();
  const bool queued = raised->outcome() == v1::RAISE_EVENT_OUTCOME_QUEUED;
  const bool lost = raised->outcome() == v1::RAISE_EVENT_OUTCOME_LOST;
  call.Did(*raised, request.name(),
           queued ? "reported"
           : lost ? "lost"
                  : "dropped",
           raised->has_sequence() ? absl::StrCat("sequence ", raised->sequence()) : "no queue");
  return absl::OkStatus();
}

}  // namespace viommu
