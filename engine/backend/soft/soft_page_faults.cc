#include "engine/backend/soft/soft_page_faults.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/page_request_backlog.h"
#include "engine/backend/soft/smmu_unit.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/entries/smmu_commands.h"
#include "engine/entries/smmu_events.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {
namespace {

constexpr uint32_t kPageGroups = 512;  // Page request group indices have 9 bits.

vtd::PageGroupCode CodeOf(PageResponse response) {
  switch (response) {
    case PageResponse::kSuccess:
      return vtd::PageGroupCode::kSuccess;
    case PageResponse::kInvalid:
      return vtd::PageGroupCode::kInvalid;
    case PageResponse::kFailure:
      break;
  }
  return vtd::PageGroupCode::kFailure;
}

PageResponse ResponseOf(hardware::PageGroupCode code) {
  switch (code) {
    case hardware::PageGroupCode::kSuccess:
      return PageResponse::kSuccess;
    case hardware::PageGroupCode::kInvalid:
      return PageResponse::kInvalid;
    case hardware::PageGroupCode::kFailure:
      break;
  }
  return PageResponse::kFailure;
}

PageResponse ResponseOf(hardware::smmu::PageAnswer answer) {
  switch (answer) {
    case hardware::smmu::PageAnswer::kSuccess:
      return PageResponse::kSuccess;
    case hardware::smmu::PageAnswer::kInvalidRequest:
      return PageResponse::kInvalid;
    case hardware::smmu::PageAnswer::kResponseFailure:
      break;
  }
  return PageResponse::kFailure;
}

PageFault FaultOf(DeviceIndex device, const PageRequestBacklog::Request& request) {
  PageFault fault;
  fault.device = device;
  fault.pasid = request.pasid;
  fault.group = request.group;
  fault.last = request.last;
  fault.address = request.address;
  fault.read = request.read;
  fault.write = request.write;
  fault.execute = request.execute;
  fault.privileged = request.privileged;
  return fault;
}

smmu::PriAnswer AnswerOf(PageResponse response) {
  switch (response) {
    case PageResponse::kSuccess:
      return smmu::PriAnswer::kSuccess;
    case PageResponse::kInvalid:
      return smmu::PriAnswer::kInvalidRequest;
    case PageResponse::kFailure:
      break;
  }
  return smmu::PriAnswer::kResponseFailure;
}

smmu::ResumeAction ActionOf(PageResponse response) {
  return response == PageResponse::kSuccess ? smmu::ResumeAction::kRetry
                                            : smmu::ResumeAction::kAbort;
}

bool AsksForPages(const SoftMachine& machine, DeviceIndex device) {
  return HasPageRequests(machine.port_of(device).spec(), machine.topology().devices[device]);
}

// Each request that waits is a group of its own. Its number is its tag, above those of the groups
// that the device itself names: a guest's descriptors can let requests of any device wait, also of
// one that asks for pages.
uint32_t FirstStallGroup(const SoftMachine& machine, DeviceIndex device) {
  return AsksForPages(machine, device) ? kPageGroups : 0;
}

PageFault FaultOf(const SoftMachine& machine, DeviceIndex device, const smmu::Event& event) {
  PageFault fault;
  fault.device = device;
  if (event.ssid.has_value()) fault.pasid = *event.ssid;
  fault.group = FirstStallGroup(machine, device) + event.stall_tag;
  fault.last = true;
  fault.address = event.address & ~(TableArena::kPageBytes - 1);
  fault.read = event.read;
  fault.write = !event.read;
  fault.execute = event.instruction;
  fault.privileged = event.privileged;
  return fault;
}

// The devices behind one unit, by what it knows them by.
using Devices = absl::flat_hash_map<uint32_t, DeviceIndex>;

template <typename Unit>
Devices DevicesOf(SoftMachine& machine, Unit* (SoftMachine::*find)(DeviceIndex), const Unit& unit) {
  Devices devices;
  for (DeviceIndex i = 0; i < machine.topology().devices.size(); ++i) {
    if ((machine.*find)(i) == &unit) devices[machine.requester_of(i)] = i;
  }
  return devices;
}

void Append(const PageRequestBacklog::Taken& taken, const Devices& devices, PageFaultBatch* batch) {
  if (taken.broken) {
    for (const auto& [requester, device] : devices) batch->broken.push_back(device);
  }
  for (const PageRequestBacklog::Request& request : taken.requests) {
    batch->faults.push_back(FaultOf(devices.at(request.requester), request));
  }
}

void Append(SoftMachine& machine, VtdUnit& unit, PageFaultBatch* batch) {
  const PageRequestBacklog::Taken taken = unit.page_requests()->Take();
  if (!taken.broken && taken.requests.empty()) return;
  Append(taken, DevicesOf(machine, &SoftMachine::find_vtd, unit), batch);
}

void Append(SoftMachine& machine, SmmuUnit& unit, PageFaultBatch* batch) {
  PageRequestBacklog::Taken taken;
  if (unit.page_requests() != nullptr) taken = unit.page_requests()->Take();
  const std::vector<smmu::Event> events = unit.TakeStalls();
  if (events.empty() && !taken.broken && taken.requests.empty()) return;
  const Devices devices = DevicesOf(machine, &SoftMachine::find_smmu, unit);
  Append(taken, devices, batch);
  for (const smmu::Event& event : events) {
    batch->faults.push_back(FaultOf(machine, devices.at(event.stream_id), event));
  }
}

// The function waits for the answer to the group.
absl::Status Outstanding(uint32_t group) {
  return Error(absl::StatusCode::kFailedPrecondition, "PAGE_GROUP_OUTSTANDING",
               absl::StrCat("group ", group, " waits for its answer"))
      .Errno("EBUSY")
      .Field("group")
      .Violation("answer the group first");
}

absl::Status RaisePageRequest(SoftMachine& machine, const PageFault& fault) {
  hardware::smmu::PageRequest request;
  request.stream_id = machine.requester_of(fault.device);
  request.substream_id = fault.pasid;
  request.address = fault.address;
  request.read = fault.read;
  request.write = fault.write;
  request.execute = fault.execute;
  request.privileged = fault.privileged;
  request.group = static_cast<uint16_t>(fault.group);
  request.last = fault.last;
  SmmuUnit& unit = machine.smmu_of(fault.device);
  if (unit.hardware().RequestPages(request) == hardware::smmu::PageRequestFate::kGroupWaits) {
    return Outstanding(fault.group);
  }
  unit.page_requests()->Serve();  // As the interrupt would have it done.
  return absl::OkStatus();
}

absl::Status RaiseStall(SoftMachine& machine, const PageFault& fault) {
  hardware::SmmuModel::Request request;
  request.stream_id = machine.requester_of(fault.device);
  request.substream_id = fault.pasid;
  request.address = fault.address;
  request.write = fault.write;
  request.privileged = fault.privileged;
  request.instruction = fault.execute;
  if (machine.smmu_of(fault.device).hardware().Touch(request).fault.stalled) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kFailedPrecondition, "NO_PAGE_FAULT",
               absl::StrCat("a request for ", Hex(fault.address), " does not wait for an answer"))
      .Errno("EINVAL")
      .Field("iova")
      .Violation("ask for a page that the device's first stage does not let it have");
}

absl::Status RespondPageRequests(SoftMachine& machine, SmmuUnit& unit,
                                 const PageGroupResponse& response) {
  smmu::PageRequestGroup group;
  group.stream_id = machine.requester_of(response.group.device);
  if (response.group.pasid.has_value()) group.ssid = *response.group.pasid;
  group.group = static_cast<uint16_t>(response.group.group);
  return unit.page_requests()->Respond(group, AnswerOf(response.code));
}

}  // namespace

absl::Status RaisePageFault(SoftMachine& machine, const PageFault& fault) {
  if (machine.find_smmu(fault.device) != nullptr) {
    return AsksForPages(machine, fault.device) ? RaisePageRequest(machine, fault)
                                               : RaiseStall(machine, fault);
  }
  hardware::PageRequest request;
  request.source_id = machine.source_id_of(fault.device);
  request.pasid = fault.pasid;
  request.address = fault.address;
  request.read = fault.read;
  request.write = fault.write;
  request.execute = fault.execute;
  request.privileged = fault.privileged;
  request.group = fault.group;
  request.last = fault.last;
  VtdUnit& unit = machine.unit_of(fault.device);
  if (!unit.hardware().RequestPage(request)) return Outstanding(fault.group);
  unit.page_requests()->Serve();  // As the interrupt would have it done.
  return absl::OkStatus();
}

std::vector<PageGroupResponse> PageResponses(SoftMachine& machine, DeviceIndex device) {
  std::vector<PageGroupResponse> responses;
  if (SmmuUnit* const smmu = machine.find_smmu(device); smmu != nullptr) {
    for (const auto& told : smmu->hardware().PageResponses(machine.requester_of(device))) {
      responses.push_back({{device, told.substream_id, told.group}, ResponseOf(told.answer)});
    }
    const uint32_t first_stall = FirstStallGroup(machine, device);
    for (const auto& told : smmu->hardware().Resumed(machine.requester_of(device))) {
      const bool retries = told.answer == hardware::smmu::ResumeAnswer::kRetry;
      responses.push_back({{device, told.substream_id, first_stall + told.tag},
                           retries ? PageResponse::kSuccess : PageResponse::kInvalid});
    }
    return responses;
  }
  VtdUnit* const unit = machine.find_vtd(device);
  const uint16_t source_id = machine.source_id_of(device);
  for (const auto& told : unit->hardware().PageResponses(source_id)) {
    responses.push_back({{device, told.pasid, told.group}, ResponseOf(told.code)});
  }
  return responses;
}

PageFaultBatch TakePageFaults(SoftMachine& machine) {
  PageFaultBatch batch;
  absl::flat_hash_set<const void*> seen;
  for (DeviceIndex i = 0; i < machine.topology().devices.size(); ++i) {
    if (!MayHoldRequests(machine.port_of(i).spec(), machine.topology().devices[i])) continue;
    SmmuUnit* const smmu = machine.find_smmu(i);
    VtdUnit* const vtd = machine.find_vtd(i);
    if (smmu != nullptr) {
      if (seen.insert(smmu).second) Append(machine, *smmu, &batch);
    } else if (seen.insert(vtd).second) {
      Append(machine, *vtd, &batch);
    }
  }
  return batch;
}

absl::Status RespondPageGroup(SoftMachine& machine, const PageGroupResponse& response) {
  const PageGroup& group = response.group;
  if (SmmuUnit* const smmu = machine.find_smmu(group.device); smmu != nullptr) {
    const uint32_t first_stall = FirstStallGroup(machine, group.device);
    if (group.group < first_stall) return RespondPageRequests(machine, *smmu, response);
    return smmu->Resume(machine.requester_of(group.device),
                        static_cast<uint16_t>(group.group - first_stall), ActionOf(response.code));
  }
  VtdPageRequestQueue* const queue = machine.unit_of(group.device).page_requests();
  return queue->Respond(machine.source_id_of(group.device), group.pasid, group.group,
                        CodeOf(response.code));
}

}  // namespace viommu
