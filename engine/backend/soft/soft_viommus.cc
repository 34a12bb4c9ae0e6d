#include "engine/backend/soft/soft_viommus.h"

#include "absl/strings/str_cat.h"
#include "engine/backend/soft/smmu_unit.h"
#include "engine/backend/soft/unit_port.h"
#include "engine/backend/topology.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/entries/smmu_events.h"
#include "engine/entries/smmu_guest.h"

namespace viommu {
namespace {

absl::Status NoObject(absl::string_view kind, Uid uid) {
  return Error(absl::StatusCode::kNotFound, "BACKEND_OBJECT_NOT_FOUND",
               absl::StrCat("the backend has no ", kind, " ", uid))
      .Errno("ENOENT");
}

absl::Status NoHardwareQueues() {
  return Error(absl::StatusCode::kUnimplemented, "HARDWARE_QUEUES_UNAVAILABLE",
               "simulated SMMUv3s have no hardware queues for guests")
      .Errno("EOPNOTSUPP");
}

smmu::Opcode OpcodeOf(ArmSmmuV3Opcode opcode) {
  switch (opcode) {
    case ArmSmmuV3Opcode::kNone:
      return smmu::Opcode::kSync;  // Which no guest may give.
    case ArmSmmuV3Opcode::kTlbiAll:
      return smmu::Opcode::kTlbiNhAll;
    case ArmSmmuV3Opcode::kTlbiAsid:
      return smmu::Opcode::kTlbiNhAsid;
    case ArmSmmuV3Opcode::kTlbiVa:
      return smmu::Opcode::kTlbiNhVa;
    case ArmSmmuV3Opcode::kTlbiVaa:
      return smmu::Opcode::kTlbiNhVaa;
    case ArmSmmuV3Opcode::kAtcInv:
      return smmu::Opcode::kAtcInv;
    case ArmSmmuV3Opcode::kCfgiCd:
      return smmu::Opcode::kCfgiCd;
    case ArmSmmuV3Opcode::kCfgiCdAll:
      return smmu::Opcode::kCfgiCdAll;
  }
  return smmu::Opcode::kSync;
}

smmu::GuestCommand GuestCommandOf(const ArmSmmuV3Invalidation& command) {
  smmu::GuestCommand out;
  out.opcode = OpcodeOf(command.opcode);
  out.asid = command.asid;
  out.vsid = command.stream_id;
  out.ssid = command.substream_id;
  out.ssv = command.substream_valid;
  out.global = command.global;
  out.address = command.address;
  out.leaf = command.leaves_only;
  out.range = {command.range.num, command.range.scale, command.range.ttl, command.range.granule};
  out.size_log2 = command.size_log2;
  return out;
}

ArmSmmuV3Event EventFor(const smmu::Event& event, uint64_t virtual_id) {
  ArmSmmuV3Event out;
  out.id = static_cast<uint8_t>(event.id);
  out.stream_id = static_cast<uint32_t>(virtual_id);
  out.substream_valid = event.ssid.has_value();
  out.substream_id = event.ssid.value_or(0);
  out.privileged = event.privileged;
  out.instruction = event.instruction;
  out.read = event.read;
  out.access_class = static_cast<uint8_t>(event.reason);
  out.address = event.address;
  return out;
}

smmu::GuestCommandCaps CapsOf(const SmmuV3Spec& spec) {
  smmu::GuestCommandCaps caps;
  caps.range_invalidation = spec.range_invalidation;
  caps.ats = spec.ats;
  caps.asid_bits = spec.asid_bits;
  caps.ssid_bits = spec.substream_id_bits;
  caps.granules = uint64_t{spec.granule_4k} << 12 | uint64_t{spec.granule_16k} << 14 |
                  uint64_t{spec.granule_64k} << 16;
  return caps;
}

}  // namespace

SoftViommus::~SoftViommus() {
  absl::MutexLock lock(&mutex_);
  for (const auto& [uid, viommu] : viommus_) {
    viommu.parent->LeaveUnit(&machine_.port_of(viommu.device), kRidPasid);
  }
}

ViommuSupport SoftViommus::Describe(DeviceIndex device) const {
  const IommuSpec& unit = machine_.port_of(device).spec();
  ViommuSupport support;
  if (unit.architecture != IommuArchitecture::kSmmuV3) return support;
  support.arm_smmu_v3 = unit.smmu_v3.nesting;
  support.range_invalidation = unit.smmu_v3.range_invalidation;
  return support;
}

absl::Status SoftViommus::CreateViommu(Uid uid, DeviceIndex device, Uid parent) {
  Viommu viommu;
  viommu.device = device;
  ASSIGN_OR_RETURN(viommu.parent, find_parent_(parent));
  ASSIGN_OR_RETURN(const UnitTranslation entered,
                   viommu.parent->EnterUnit(&machine_.port_of(device), kRidPasid));
  viommu.vmid = entered.tag;
  machine_.smmu_of(device).TakeEvents();  // What happened before is not the guest's.
  absl::MutexLock lock(&mutex_);
  viommus_.emplace(uid, std::move(viommu));
  return absl::OkStatus();
}

absl::Status SoftViommus::DestroyViommu(Uid uid) {
  absl::MutexLock lock(&mutex_);
  const auto found = viommus_.find(uid);
  if (found == viommus_.end()) return NoObject("viommu", uid);
  // Nothing of the guest is cached: with each of its streams all went that its VMID had.
  found->second.parent->LeaveUnit(&machine_.port_of(found->second.device), kRidPasid);
  viommus_.erase(found);
  return absl::OkStatus();
}

absl::Status SoftViommus::CreateVdevice(Uid uid, Uid viommu, DeviceIndex device,
                                        uint64_t virtual_id) {
  absl::MutexLock lock(&mutex_);
  const auto found = viommus_.find(viommu);
  if (found == viommus_.end()) return NoObject("viommu", viommu);
  found->second.devices.emplace(virtual_id, device);
  vdevices_.emplace(uid, Vdevice{viommu, virtual_id});
  return absl::OkStatus();
}

absl::Status SoftViommus::DestroyVdevice(Uid uid) {
  absl::MutexLock lock(&mutex_);
  const auto found = vdevices_.find(uid);
  if (found == vdevices_.end()) return NoObject("vdevice", uid);
  viommus_.at(found->second.viommu).devices.erase(found->second.virtual_id);
  vdevices_.erase(found);
  return absl::OkStatus();
}

absl::StatusOr<smmu::Command> SoftViommus::PhysicalCommand(
    const Viommu& viommu, const ArmSmmuV3Invalidation& command) const {
  smmu::GuestCommandTarget target;
  target.vmid = static_cast<uint16_t>(viommu.vmid);
  const auto device = viommu.devices.find(command.stream_id);
  if (device != viommu.devices.end()) target.stream_id = machine_.requester_of(device->second);
  const SmmuV3Spec& spec = machine_.smmu_of(viommu.device).spec().smmu_v3;
  return smmu::MakePhysicalCommand(GuestCommandOf(command), target, CapsOf(spec));
}

ViommuInvalidateOutcome SoftViommus::InvalidateViommu(
    Uid viommu, absl::Span<const ArmSmmuV3Invalidation> commands) {
  absl::MutexLock lock(&mutex_);
  const auto found = viommus_.find(viommu);
  if (found == viommus_.end()) return {0, NoObject("viommu", viommu)};
  std::vector<smmu::Command> physical;
  absl::Status refused;
  for (const ArmSmmuV3Invalidation& command : commands) {
    const auto made = PhysicalCommand(found->second, command);
    if (!made.ok()) {
      refused = made.status();
      break;
    }
    physical.push_back(*made);
  }
  ViommuInvalidateOutcome outcome;
  size_t handled = 0;
  outcome.status = machine_.smmu_of(found->second.device).Execute(physical, &handled);
  outcome.handled = handled;
  if (outcome.status.ok()) outcome.status = refused;
  return outcome;
}

void SoftViommus::AppendEvents(Uid uid, const Viommu& viommu, const SmmuEventQueue::Taken& taken,
                               std::vector<ViommuEvent>* events) const {
  const SmmuUnit& unit = machine_.smmu_of(viommu.device);
  absl::flat_hash_map<uint32_t, uint64_t> streams;  // Virtual ids by StreamID.
  for (const auto& [virtual_id, device] : viommu.devices) {
    const uint32_t stream = machine_.requester_of(device);
    if (unit.IsNested(stream)) streams.emplace(stream, virtual_id);
  }
  ViommuEvent told;
  told.viommu = uid;
  for (const smmu::Event& event : taken.events) {
    const auto stream = streams.find(event.stream_id);
    if (stream == streams.end() || !smmu::GuestGets(event)) continue;
    told.event = EventFor(event, stream->second);
    events->push_back(told);
  }
  if (!taken.lost) return;
  told.event = {};
  told.lost = 1;  // The hardware does not count; one may have been the guest's.
  events->push_back(told);
}

std::vector<ViommuEvent> SoftViommus::TakeEvents() {
  absl::MutexLock lock(&mutex_);
  // Of each unit once, for all Viommus on it.
  absl::flat_hash_map<const SmmuUnit*, SmmuEventQueue::Taken> taken;
  for (const auto& [uid, viommu] : viommus_) {
    SmmuUnit& unit = machine_.smmu_of(viommu.device);
    if (!taken.contains(&unit)) taken.emplace(&unit, unit.TakeEvents());
  }
  std::vector<ViommuEvent> events;
  for (const auto& [uid, viommu] : viommus_) {
    AppendEvents(uid, viommu, taken.at(&machine_.smmu_of(viommu.device)), &events);
  }
  return events;
}

absl::Status SoftViommus::CreateHardwareQueue(Uid, Uid, const HardwareQueueSpec&) {
  return NoHardwareQueues();
}

absl::Status SoftViommus::DestroyHardwareQueue(Uid) { return NoHardwareQueues(); }

}  // namespace viommu
