// engine/model/views.h -- The model's objects as the engine shows them.
//
// Called under the pipeline's lock.
#ifndef VIOMMU_ENGINE_MODEL_VIEWS_H_
#define VIOMMU_ENGINE_MODEL_VIEWS_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "engine/model/model.h"
#include "engine/types.h"

namespace viommu {

inline constexpr absl::string_view kIdentityDomain = "identity";
inline constexpr absl::string_view kBlockedDomain = "blocked";

// Names are written as `principal` would write them.
MemoryRegionView ViewOf(const MemoryRegion& region, absl::string_view principal);
IoasView ViewOf(const Model& model, const Ioas& ioas, absl::string_view principal);
FaultQueueView ViewOf(const Model& model, const FaultQueue& queue, absl::string_view principal);
FaultView ViewOf(const Model& model, const FaultQueue::Group& group, absl::string_view principal);
DomainView ViewOf(const Model& model, const Domain& domain, absl::string_view principal);
// With the attached devices of the caller, or, for operators, all.
DomainView StaticDomainView(const Model& model, DomainTarget::Kind kind,
                            const CallContext& context);
DeviceView ViewOf(const Model& model, const Device& device, const CallContext& context);
// Where a device whose requests meet `target` writes its interrupts: with a PASID it writes none,
// and on a static domain they are not mapped.
std::optional<Iova> MsiIovaOf(const Model& model, const Device& device, PasidOrRid pasid,
                              const DomainTarget& target);
// `device` is attached there.
AttachmentView AttachmentOf(const Model& model, const Device& device, PasidOrRid pasid,
                            absl::string_view principal);
// `pasid` is taken in the group of `device`.
PasidView PasidOf(const Model& model, const Device& device, uint32_t pasid,
                  absl::string_view principal);
IommuView ViewOf(const Model& model, const IommuSpec& iommu);
HardwareView HardwareOf(const Model& model, const Device& device);
MappingView ViewOf(const Model& model, const PlacedArea& area, absl::string_view principal);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_VIEWS_H_
