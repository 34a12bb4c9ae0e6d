// engine/backend/viommus.h -- The half of the seam that a virtual machine's own IOMMU stands on:
// iommufd's vIOMMU family (iommufd-semantics.md section 12).
//
// A Viommu is a guest's slice of one Iommu over a nest parent. Its Vdevices say which device the
// guest means by a stream id; its NESTED domains, commands, event queues and hardware queues speak
// of devices by those. Plain values, and one interface that only a backend with such hardware has.
#ifndef VIOMMU_ENGINE_BACKEND_VIOMMUS_H_
#define VIOMMU_ENGINE_BACKEND_VIOMMUS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/ids.h"
#include "engine/base/address.h"

namespace viommu {

// The guest's half of a stream table entry (iommufd: struct iommu_hwpt_arm_smmuv3). Looked at by
// Backend::PlanDomain; passed on only when that found nothing wrong.
struct ArmSmmuV3Stage1 {
  uint64_t ste[2] = {};
};

// Commands that a guest may give (iommufd-semantics.md section 17.8).
enum class ArmSmmuV3Opcode {
  kNone,       // Not said: refused.
  kTlbiAll,    // CMD_TLBI_NSNH_ALL, CMD_TLBI_NH_ALL.
  kTlbiAsid,   // CMD_TLBI_NH_ASID.
  kTlbiVa,     // CMD_TLBI_NH_VA.
  kTlbiVaa,    // CMD_TLBI_NH_VAA.
  kAtcInv,     // CMD_ATC_INV.
  kCfgiCd,     // CMD_CFGI_CD.
  kCfgiCdAll,  // CMD_CFGI_CD_ALL.
};

// One command, field by field. The engine has checked that those which the opcode does not have are
// 0, and that a Vdevice has the stream id of those which have one.
struct ArmSmmuV3Invalidation {
  // Of a TLBI of a range: (num + 1) * 2^scale granules from the address. `granule` (TG): 1, 2 and 3
  // are 4, 16 and 64 KiB; 0: no range, a single page, and all else is 0 then.
  struct Range {
    uint32_t num = 0;    // 5 bits.
    uint32_t scale = 0;  // 5 bits.
    uint32_t ttl = 0;    // 2 bits: the level of the leaves, 0: any.
    uint32_t granule = 0;
  };

  ArmSmmuV3Opcode opcode = ArmSmmuV3Opcode::kNone;
  uint32_t asid = 0;  // 16 bits.
  // The guest's name of a device: Vdevice's virtual id.
  uint32_t stream_id = 0;
  uint32_t substream_id = 0;  // 20 bits.
  bool substream_valid = false;
  bool global = false;   // Whatever the substream.
  uint64_t address = 0;  // A multiple of 4 KiB.
  bool leaves_only = false;
  uint32_t size_log2 = 0;  // Of kAtcInv: 2^size_log2 pages of 4 KiB; 52: all.
  Range range;
};

// What became of commands: the first `handled` of them are done; why the next one is not.
struct ViommuInvalidateOutcome {
  uint64_t handled = 0;
  absl::Status status;
};

// Kinds of events that a Viommu's queues take (iommufd: enum iommu_veventq_type).
enum class ViommuEventType {
  kArmSmmuV3,      // ArmSmmuV3Event.
  kTegra241Cmdqv,  // Errors of virtual command queues; no backend has them.
};

// A record of the event queue that the guest's SMMUv3 shows (iommufd-semantics.md section 17.9).
struct ArmSmmuV3Event {
  uint8_t id = 0;          // Event number: 0x10 F_TRANSLATION, ...
  uint32_t stream_id = 0;  // Virtual.
  uint32_t substream_id = 0;
  bool substream_valid = false;
  bool privileged = false;   // PnU.
  bool instruction = false;  // InD.
  bool read = false;         // RnW.
  uint8_t access_class = 0;  // CLASS: 0 CD, 1 TTD, 2 IN.
  uint64_t address = 0;      // The guest's input address.
};

// Its 32 bytes, as a guest reads them.
std::array<uint64_t, 4> RecordOf(const ArmSmmuV3Event& event);

// What happened to one Viommu, or, with `lost` above 0, that so many events of it did not fit where
// the backend keeps them.
struct ViommuEvent {
  Uid viommu = 0;
  ViommuEventType type = ViommuEventType::kArmSmmuV3;
  uint64_t lost = 0;
  ArmSmmuV3Event event;
};

// A guest's command queue that hardware reads by itself (iommufd: IOMMU_HW_QUEUE_ALLOC).
struct HardwareQueueSpec {
  uint32_t index = 0;  // Given out in ascending order, taken back in descending order.
  Iova base = 0;       // Of the nest parent.
  uint64_t length_bytes = 0;
};

// What the unit of a device offers to virtual IOMMUs. The default is nothing.
struct ViommuSupport {
  bool arm_smmu_v3 = false;         // Viommus of that type.
  bool range_invalidation = false;  // IDR3.RIL: TLBI of ranges.
  // The device is one stream, so that a stream id can stand for it.
  bool single_stream = true;
  uint32_t hardware_queues = 0;  // Of one Viommu; 0: the unit has none.
  uint64_t min_hardware_queue_bytes = 0;
  uint64_t max_hardware_queue_bytes = 0;
};

// Thread-safe; the engine orders calls that touch the same Viommu. Errors: kResourceExhausted,
// kInternal; then nothing has changed.
class Viommus {
 public:
  virtual ~Viommus() = default;

  // Over `parent`, which is kept until it is destroyed, on the unit of `device`. A nest parent has
  // one Viommu an Iommu at most.
  virtual absl::Status CreateViommu(Uid uid, DeviceIndex device, Uid parent) = 0;
  // Nothing of it is left.
  virtual absl::Status DestroyViommu(Uid uid) = 0;

  // From now on `virtual_id` means the device there.
  virtual absl::Status CreateVdevice(Uid uid, Uid viommu, DeviceIndex device,
                                     uint64_t virtual_id) = 0;
  // The device is attached to no domain of the Viommu that translates.
  virtual absl::Status DestroyVdevice(Uid uid) = 0;

  // Carries commands out in order; when it returns, no cache of any device that they name holds
  // what the handled ones cover (R4).
  virtual ViommuInvalidateOutcome InvalidateViommu(
      Uid viommu, absl::Span<const ArmSmmuV3Invalidation> commands) = 0;

  // What happened since the last call, in the order in which it did. Where the backend keeps it is
  // bounded; a producer is never held up.
  virtual std::vector<ViommuEvent> TakeEvents() = 0;

  // The pages stay mapped and contiguous until it is destroyed.
  virtual absl::Status CreateHardwareQueue(Uid uid, Uid viommu, const HardwareQueueSpec& spec) = 0;
  virtual absl::Status DestroyHardwareQueue(Uid uid) = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_VIOMMUS_H_
