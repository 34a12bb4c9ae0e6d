// engine/backend/soft/soft_page_faults.h -- Page faults of the simulated devices: what of Backend
// and Simulation is about them.
//
// Contracts: engine/backend/backend.h. Thread-safe.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SOFT_PAGE_FAULTS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SOFT_PAGE_FAULTS_H_

#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/soft_machine.h"

namespace viommu {

absl::Status RaisePageFault(SoftMachine& machine, const PageFault& fault);
std::vector<PageGroupResponse> PageResponses(SoftMachine& machine, DeviceIndex device);
PageFaultBatch TakePageFaults(SoftMachine& machine);
absl::Status RespondPageGroup(SoftMachine& machine, const PageGroupResponse& response);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_PAGE_FAULTS_H_
