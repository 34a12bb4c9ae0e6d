#include "engine/operations/vdevices_leaving.h"

#include "engine/operations/vdevice_operations.h"

namespace viommu {

void VdevicesLeaving::AddLanes(const Model& model, absl::Span<const DeviceIndex> devices,
                               std::vector<Uid>* lanes) {
  for (const DeviceIndex index : devices) {
    const Uid vdevice = model.devices[index].vdevice;
    if (vdevice == 0) continue;
    lanes->push_back(vdevice);
    lanes->push_back(model.Get<Vdevice>(vdevice)->viommu);
  }
}

void VdevicesLeaving::Plan(const Model& model, absl::Span<const DeviceIndex> devices) {
  leaving_.clear();
  destroyed_.clear();
  for (const DeviceIndex index : devices) {
    if (model.devices[index].vdevice != 0) leaving_.push_back(model.devices[index].vdevice);
  }
}

void VdevicesLeaving::Apply(Backend& backend) {
  for (const Uid uid : leaving_) {
    if (backend.viommus()->DestroyVdevice(uid).ok()) destroyed_.push_back(uid);
  }
}

void VdevicesLeaving::Commit(Model& model) {
  for (const Uid uid : destroyed_) {
    Vdevice& vdevice = *model.Get<Vdevice>(uid);
    Viommu& viommu = *model.Get<Viommu>(vdevice.viommu);
    DropVdevice(model, vdevice);
    model.Touch(viommu);
    model.Discard(vdevice);
  }
}

}  // namespace viommu
