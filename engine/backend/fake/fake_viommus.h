// engine/backend/fake/fake_viommus.h -- The fake backend's virtual IOMMUs: units that are called
// "smmu..." have them.
//
// It checks that the engine keeps its side of the seam, as FakeBackend does, and records through
// it. "smmu0" has two hardware queues and takes commands for ranges, others neither. A device
// called "platform..." is not one stream.
#ifndef VIOMMU_ENGINE_BACKEND_FAKE_FAKE_VIOMMUS_H_
#define VIOMMU_ENGINE_BACKEND_FAKE_FAKE_VIOMMUS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"

namespace viommu {

// Thread-safe.
class FakeViommus : public Viommus {
 public:
  // The side of FakeBackend.
  struct Recorder {
    std::function<absl::Status(const std::string& verb)> ask;
    std::function<void(const std::string& line, bool holds)> record;
    std::function<bool(Uid domain)> is_nest_parent;
  };

  explicit FakeViommus(Recorder recorder) : recorder_(std::move(recorder)) {}

  static bool Has(const IommuSpec& unit) { return unit.id.rfind("smmu", 0) == 0; }
  static ViommuSupport Describe(const IommuSpec& unit, const DeviceSpec& device);
  // What the guest may write, and whether it translates.
  // kInvalidArgument INVALID_VSTE
  static absl::StatusOr<bool> CheckVste(const ArmSmmuV3Stage1& vste);

  // Something happened; TakeEvents tells.
  void Happen(const ViommuEvent& event);
  // The hardware takes only so many commands of what it is given next.
  void BreakAfter(uint64_t commands);

  // For FakeBackend.
  bool Exists(Uid viommu) const;
  bool Uses(Uid domain) const;
  void AddDomain(Uid viommu, Uid domain);
  void RemoveDomain(Uid domain);
  std::string State() const;

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
  struct Vdevice {
    Uid viommu = 0;
    DeviceIndex device = 0;
    uint64_t virtual_id = 0;
  };
  struct HardwareQueue {
    Uid viommu = 0;
    uint32_t index = 0;
  };

  bool Unused(Uid viommu) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Knows(Uid viommu, uint64_t virtual_id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Recorder recorder_;  // Never called under mutex_.
  mutable absl::Mutex mutex_;
  std::map<Uid, Uid> viommus_ ABSL_GUARDED_BY(mutex_);  // Nest parent by Viommu.
  std::map<Uid, Uid> domains_ ABSL_GUARDED_BY(mutex_);  // Viommu by NESTED domain.
  std::map<Uid, Vdevice> vdevices_ ABSL_GUARDED_BY(mutex_);
  std::map<Uid, HardwareQueue> queues_ ABSL_GUARDED_BY(mutex_);
  std::vector<ViommuEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::optional<uint64_t> breaks_after_ ABSL_GUARDED_BY(mutex_);
};

// Units smmu0 and smmu1, and unit0 of VT-d, which all nest. dev0, dev1 and platform0 are alone
// behind smmu0, dev2 and dev3 in one group; dev4 is behind smmu1, dev5 behind unit0. PASIDs of dev0
// have 8 bits.
Topology GuestTopology();

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_FAKE_FAKE_VIOMMUS_H_
