// engine/backend/soft/soft_viommus.h -- The virtual IOMMUs of simulated SMMUv3s.
//
// A Viommu counts as a user of its nest parent behind its unit, so that the guest's VMID is the
// same from its first command to its last. Events stay in the unit's own queue until they are
// taken; a guest is told those that its entry or its tables are the reason for, of devices that are
// on them then. There are no hardware queues.
//
// Thread-safe. Lock order: the lock over the tables, then a domain's, then a unit's.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SOFT_VIOMMUS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SOFT_VIOMMUS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/smmu_event_queue.h"
#include "engine/backend/soft/soft_domain.h"
#include "engine/backend/soft/soft_machine.h"
#include "engine/backend/viommus.h"
#include "engine/entries/smmu_commands.h"

namespace viommu {

class SoftViommus final : public Viommus {
 public:
  using FindParent = std::function<absl::StatusOr<std::shared_ptr<SoftDomain>>(Uid)>;

  // `machine` outlives it and has its ports.
  SoftViommus(SoftMachine* machine, FindParent find_parent)
      : machine_(*machine), find_parent_(std::move(find_parent)) {}
  ~SoftViommus() override;

  ViommuSupport Describe(DeviceIndex device) const;

  absl::Status CreateViommu(Uid uid, DeviceIndex device, Uid parent) override;
  absl::Status DestroyViommu(Uid uid) override;
  absl::Status CreateVdevice(Uid uid, Uid viommu, DeviceIndex device, uint64_t virtual_id) override;
  absl::Status DestroyVdevice(Uid uid) override;
  ViommuInvalidateOutcome InvalidateViommu(
      Uid viommu, absl::Span<const ArmSmmuV3Invalidation> commands) override;
  std::vector<ViommuEvent> TakeEvents() override;
  absl::Status CreateHardwareQueue(Uid uid, Uid viommu, const HardwareQueueSpec& spec) override;
  absl::Status DestroyHardwareQueue(Uid uid) override;

 private:
  struct Viommu {
    DeviceIndex device = 0;  // Of the unit.
    std::shared_ptr<SoftDomain> parent;
    uint32_t vmid = 0;
    absl::flat_hash_map<uint64_t, DeviceIndex> devices;  // By virtual id.
  };
  struct Vdevice {
    Uid viommu = 0;
    uint64_t virtual_id = 0;
  };

  absl::StatusOr<smmu::Command> PhysicalCommand(const Viommu& viommu,
                                                const ArmSmmuV3Invalidation& command) const;

  // Appends what a unit tells a Viommu, given as it was taken.
  void AppendEvents(Uid uid, const Viommu& viommu, const SmmuEventQueue::Taken& taken,
                    std::vector<ViommuEvent>* events) const;

  SoftMachine& machine_;
  const FindParent find_parent_;

  absl::Mutex mutex_;
  absl::flat_hash_map<Uid, Viommu> viommus_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<Uid, Vdevice> vdevices_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_VIOMMUS_H_
