// engine/model/vdevice.h -- What a guest calls a device (iommufd: vDEVICE).
#ifndef VIOMMU_ENGINE_MODEL_VDEVICE_H_
#define VIOMMU_ENGINE_MODEL_VDEVICE_H_

#include <cstdint>
#include <string>
#include <utility>

#include "engine/backend/backend.h"
#include "engine/model/object.h"

namespace viommu {

// Refers to its Viommu. Goes with its device: by being deleted, or when the device is released or
// unplugged. Its device's lane covers it.
class Vdevice : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kVdevice;

  Vdevice(std::string owner, std::string id, Uid uid, Uid viommu, DeviceIndex device,
          uint64_t virtual_id)
      : Object(kKind, std::move(owner), std::move(id), uid),
        viommu(viommu),
        device(device),
        virtual_id(virtual_id) {}

  const Uid viommu;
  const DeviceIndex device;
  const uint64_t virtual_id;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_VDEVICE_H_
