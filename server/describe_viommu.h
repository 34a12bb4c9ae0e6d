// server/describe_viommu.h -- Viommus, and what belongs to them, as the API's resources.
//
// `caller` decides under which name an object is shown: see FormatName.
#ifndef VIOMMU_SERVER_DESCRIBE_VIOMMU_H_
#define VIOMMU_SERVER_DESCRIBE_VIOMMU_H_

#include "engine/types.h"
#include "viommu/v1/event_queue.pb.h"
#include "viommu/v1/hardware_queue.pb.h"
#include "viommu/v1/viommu.pb.h"

namespace viommu {

v1::Viommu Describe(const ViommuView& view, const CallContext& caller);
v1::Vdevice Describe(const VdeviceView& view, const CallContext& caller);
v1::EventQueue Describe(const EventQueueView& view, const CallContext& caller);
v1::Event Describe(const EventView& view);
v1::HardwareQueue Describe(const HardwareQueueView& view, const CallContext& caller);

}  // namespace viommu

#endif  // VIOMMU_SERVER_DESCRIBE_VIOMMU_H_
