// engine/model/viommu_views.h -- Viommus, and what belongs to them, as the engine shows them.
//
// Called under the pipeline's lock.
#ifndef VIOMMU_ENGINE_MODEL_VIOMMU_VIEWS_H_
#define VIOMMU_ENGINE_MODEL_VIOMMU_VIEWS_H_

#include "absl/strings/string_view.h"
#include "engine/model/model.h"
#include "engine/types.h"

namespace viommu {

// Names are written as `principal` would write them.
ViommuView ViewOf(const Model& model, const Viommu& viommu, absl::string_view principal);
VdeviceView ViewOf(const Model& model, const Vdevice& vdevice, absl::string_view principal);
EventQueueView ViewOf(const Model& model, const ViommuEventQueue& queue,
                      absl::string_view principal);
HardwareQueueView ViewOf(const Model& model, const HardwareQueue& queue,
                         absl::string_view principal);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_VIOMMU_VIEWS_H_
