// engine/operations/vdevices_leaving.h -- Vdevices that go with their devices, as a part of an
// operation (iommufd-semantics.md sections 5.2, 12.2).
#ifndef VIOMMU_ENGINE_OPERATIONS_VDEVICES_LEAVING_H_
#define VIOMMU_ENGINE_OPERATIONS_VDEVICES_LEAVING_H_

#include <vector>

#include "absl/types/span.h"
#include "engine/model/model.h"

namespace viommu {

class VdevicesLeaving {
 public:
  // The lanes of the Viommus that the Vdevices of `devices` belong to.
  static void AddLanes(const Model& model, absl::Span<const DeviceIndex> devices,
                       std::vector<Uid>* lanes);

  void Plan(const Model& model, absl::Span<const DeviceIndex> devices);
  std::vector<uint64_t> Logical() const { return leaving_; }
  // Behind everything that can fail. One that the backend can not destroy stays, to be deleted.
  void Apply(Backend& backend);
  void Commit(Model& model);

 private:
  std::vector<Uid> leaving_;
  std::vector<Uid> destroyed_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_VDEVICES_LEAVING_H_
