// engine/backend/ids.h -- How objects and devices are named across the seam.
#ifndef VIOMMU_ENGINE_BACKEND_IDS_H_
#define VIOMMU_ENGINE_BACKEND_IDS_H_

#include <cstdint>

namespace viommu {

using Uid = uint64_t;          // Given by the engine; 0 is never an object.
using DeviceIndex = uint32_t;  // Position in Topology::devices.

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_IDS_H_
