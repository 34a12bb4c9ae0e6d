// server/describe.h -- The engine's views of objects as the API's resources.
//
// `caller` decides under which name an object is shown: see FormatName.
#ifndef VIOMMU_SERVER_DESCRIBE_H_
#define VIOMMU_SERVER_DESCRIBE_H_

#include <cstdint>

#include "engine/types.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/domain.pb.h"
#include "viommu/v1/fault.pb.h"
#include "viommu/v1/host.pb.h"
#include "viommu/v1/ioas.pb.h"
#include "viommu/v1/memory.pb.h"
#include "viommu/v1/simulation.pb.h"

namespace viommu {

v1::Host Describe(const HostView& view, uint64_t max_message_bytes);
v1::Iommu Describe(const IommuView& view);
v1::InvalidationQueue Describe(const QueueState& state);

v1::Device Describe(const DeviceView& view);
v1::Attachment Describe(const AttachmentView& view);
v1::Pasid Describe(const PasidView& view);
v1::ReservedRegion Describe(const ReservedRegionView& view);
v1::AttachmentEffects Describe(const AttachmentEffects& effects);
v1::HardwareInfo Describe(const HardwareView& view);

v1::MemoryRegion Describe(const MemoryRegionView& view, const CallContext& caller);
v1::Domain Describe(const DomainView& view, const CallContext& caller);
v1::FaultQueue Describe(const FaultQueueView& view, const CallContext& caller);
v1::Fault Describe(const FaultView& view);
v1::StreamFaultsResponse Describe(const FaultStreamEvent& event);
v1::PageResponse Describe(const PageGroupResponse& response);
v1::Ioas Describe(const IoasView& view, const CallContext& caller);
v1::Mapping Describe(const MappingView& view);
v1::TranslateResponse Describe(const TranslationView& view);

v1::DmaFault Describe(const DmaFault& fault);

}  // namespace viommu

#endif  // VIOMMU_SERVER_DESCRIBE_H_
