#include "engine/backend/soft/soft_page_faults.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

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

PageFault FaultOf(DeviceIndex device, const VtdPageRequestQueue::Request& request) {
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

// The devices behind one unit, by source id.
using Devices = absl::flat_hash_map<uint16_t, DeviceIndex>;

Devices DevicesOf(SoftMachine& machine, const VtdUnit& unit) {
  Devices devices;
  for (DeviceIndex i = 0; i < machine.topology().devices.size(); ++i) {
    if (machine.find_vtd(i) == &unit) devices[machine.source_id_of(i)] = i;
  }
  return devices;
}

void Append(SoftMachine& machine, VtdUnit& unit, PageFaultBatch* batch) {
  const VtdPageRequestQueue::Taken taken = unit.page_requests()->Take();
  if (!taken.broken && taken.requests.empty()) return;
  const Devices devices = DevicesOf(machine, unit);
  if (taken.broken) {
    for (const auto& [source_id, device] : devices) batch->broken.push_back(device);
  }
  for (const VtdPageRequestQueue::Request& request : taken.requests) {
    batch->faults.push_back(FaultOf(devices.at(request.source_id), request));
  }
}

}  // namespace

absl::Status RaisePageFault(SoftMachine& machine, const PageFault& fault) {
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
  if (!unit.hardware().RequestPage(request)) {
    return Error(absl::StatusCode::kFailedPrecondition, "PAGE_GROUP_OUTSTANDING",
                 absl::StrCat("group ", fault.group, " waits for its answer"))
        .Errno("EBUSY")
        .Field("group")
        .Violation("answer the group first");
  }
  unit.page_requests()->Serve();  // As the interrupt would have it done.
  return absl::OkStatus();
}

std::vector<PageGroupResponse> PageResponses(SoftMachine& machine, DeviceIndex device) {
  std::vector<PageGroupResponse> responses;
  VtdUnit* const unit = machine.find_vtd(device);
  if (unit == nullptr) return responses;
  const uint16_t source_id = machine.source_id_of(device);
  for (const auto& told : unit->hardware().PageResponses(source_id)) {
    responses.push_back({{device, told.pasid, told.group}, ResponseOf(told.code)});
  }
  return responses;
}

PageFaultBatch TakePageFaults(SoftMachine& machine) {
  PageFaultBatch batch;
  absl::flat_hash_set<const VtdUnit*> seen;
  for (DeviceIndex i = 0; i < machine.topology().devices.size(); ++i) {
    VtdUnit* const unit = machine.find_vtd(i);
    if (unit == nullptr || unit->page_requests() == nullptr) continue;
    if (seen.insert(unit).second) Append(machine, *unit, &batch);
  }
  return batch;
}

absl::Status RespondPageGroup(SoftMachine& machine, const PageGroupResponse& response) {
  const PageGroup& group = response.group;
  VtdPageRequestQueue* const queue = machine.unit_of(group.device).page_requests();
  return queue->Respond(machine.source_id_of(group.device), group.pasid, group.group,
                        CodeOf(response.code));
}

}  // namespace viommu
