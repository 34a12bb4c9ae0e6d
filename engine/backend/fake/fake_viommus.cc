#include "engine/backend/fake/fake_viommus.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

// iommufd-semantics.md sections 17.1, 17.3.
constexpr uint64_t kValid = 1;
constexpr int kConfig = 1;  // 3:1.
constexpr uint64_t kConfigMask = 7;
constexpr uint64_t kAbort = 0, kBypass = 4, kStage1 = 5;
constexpr uint64_t kWord0Mask = 0xf80fffffffffffff;  // V, Config, S1Fmt, S1ContextPtr, S1CDMax.
constexpr uint64_t kWord1Mask = 0x380000ff;          // S1DSS, S1CIR, S1COR, S1CSH, S1STALLD, EATS.
constexpr int kEats = 28;                            // 29:28.
constexpr uint64_t kFullAts = 1;

constexpr uint64_t kMinQueueBytes = 512;
constexpr uint64_t kMaxQueueBytes = 65536;

absl::Status InvalidVste(int word, absl::string_view why) {
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_VSTE", why)
      .Errno("EIO")
      .Field(absl::StrCat("domain.nested.arm_smmu_v3.ste_", word));
}

DeviceSpec GuestDevice(const std::string& id, const std::string& iommu, const std::string& group) {
  DeviceSpec device;
  device.id = id;
  device.iommu = iommu;
  device.group = group;
  return device;
}

}  // namespace

ViommuSupport FakeViommus::Describe(const IommuSpec& unit, const DeviceSpec& device) {
  ViommuSupport support;
  if (!Has(unit)) return support;
  support.arm_smmu_v3 = true;
  support.single_stream = device.id.rfind("platform", 0) != 0;
  if (unit.id != "smmu0") return support;
  support.range_invalidation = true;
  support.hardware_queues = 2;
  support.min_hardware_queue_bytes = kMinQueueBytes;
  support.max_hardware_queue_bytes = kMaxQueueBytes;
  return support;
}

absl::StatusOr<bool> FakeViommus::CheckVste(const ArmSmmuV3Stage1& vste) {
  if ((vste.ste[0] & kValid) == 0) return false;  // As abort; nothing else counts.
  if ((vste.ste[0] & ~kWord0Mask) != 0) return InvalidVste(0, "a bit that is not the guest's");
  if ((vste.ste[1] & ~kWord1Mask) != 0) return InvalidVste(1, "a bit that is not the guest's");
  const uint64_t config = vste.ste[0] >> kConfig & kConfigMask;
  if (config != kAbort && config != kBypass && config != kStage1) {
    return InvalidVste(0, absl::StrCat("Config ", config, " is not the guest's to choose"));
  }
  if (vste.ste[1] >> kEats > kFullAts) return InvalidVste(1, "EATS is above full ATS");
  return config == kStage1;
}

void FakeViommus::Happen(const ViommuEvent& event) {
  absl::MutexLock lock(&mutex_);
  events_.push_back(event);
}

void FakeViommus::BreakAfter(uint64_t commands) {
  absl::MutexLock lock(&mutex_);
  breaks_after_ = commands;
}

bool FakeViommus::Exists(Uid viommu) const {
  absl::MutexLock lock(&mutex_);
  return viommus_.count(viommu) == 1;
}

bool FakeViommus::Uses(Uid domain) const {
  absl::MutexLock lock(&mutex_);
  return std::any_of(viommus_.begin(), viommus_.end(),
                     [&](const auto& viommu) { return viommu.second == domain; });
}

void FakeViommus::AddDomain(Uid viommu, Uid domain) {
  absl::MutexLock lock(&mutex_);
  domains_[domain] = viommu;
}

void FakeViommus::RemoveDomain(Uid domain) {
  absl::MutexLock lock(&mutex_);
  domains_.erase(domain);
}

std::string FakeViommus::State() const {
  absl::MutexLock lock(&mutex_);
  std::string state;
  for (const auto& [uid, parent] : viommus_) {
    absl::StrAppend(&state, "viommu ", uid, " over ", parent, "\n");
  }
  for (const auto& [uid, vdevice] : vdevices_) {
    absl::StrAppend(&state, "vdevice ", uid, " ", vdevice.viommu, " ", vdevice.device, " ",
                    vdevice.virtual_id, "\n");
  }
  for (const auto& [uid, queue] : queues_) {
    absl::StrAppend(&state, "hardware queue ", uid, " ", queue.viommu, " ", queue.index, "\n");
  }
  return state;
}

absl::Status FakeViommus::CreateViommu(Uid uid, DeviceIndex device, Uid parent) {
  RETURN_IF_ERROR(recorder_.ask("CreateViommu"));
  bool holds = recorder_.is_nest_parent(parent);
  {
    absl::MutexLock lock(&mutex_);
    holds = viommus_.try_emplace(uid, parent).second && holds;
  }
  recorder_.record(absl::StrCat("CreateViommu ", uid, " of ", device, " over ", parent), holds);
  return absl::OkStatus();
}

bool FakeViommus::Unused(Uid viommu) const {
  const auto is_of = [&](const auto& child) { return child.second.viommu == viommu; };
  return std::none_of(vdevices_.begin(), vdevices_.end(), is_of) &&
         std::none_of(queues_.begin(), queues_.end(), is_of) &&
         std::none_of(domains_.begin(), domains_.end(),
                      [&](const auto& domain) { return domain.second == viommu; });
}

absl::Status FakeViommus::DestroyViommu(Uid uid) {
  RETURN_IF_ERROR(recorder_.ask("DestroyViommu"));
  bool holds = false;
  {
    absl::MutexLock lock(&mutex_);
    holds = Unused(uid) && viommus_.erase(uid) == 1;
  }
  recorder_.record(absl::StrCat("DestroyViommu ", uid), holds);
  return absl::OkStatus();
}

bool FakeViommus::Knows(Uid viommu, uint64_t virtual_id) const {
  return std::any_of(vdevices_.begin(), vdevices_.end(), [&](const auto& entry) {
    return entry.second.viommu == viommu && entry.second.virtual_id == virtual_id;
  });
}

absl::Status FakeViommus::CreateVdevice(Uid uid, Uid viommu, DeviceIndex device,
                                        uint64_t virtual_id) {
  RETURN_IF_ERROR(recorder_.ask("CreateVdevice"));
  bool holds = false;
  {
    absl::MutexLock lock(&mutex_);
    const bool alone = std::none_of(vdevices_.begin(), vdevices_.end(), [&](const auto& entry) {
      return entry.second.device == device;
    });
    holds = viommus_.count(viommu) == 1 && alone && !Knows(viommu, virtual_id);
    vdevices_[uid] = {viommu, device, virtual_id};
  }
  recorder_.record(absl::StrCat("CreateVdevice ", uid, " of ", device, " as ", virtual_id), holds);
  return absl::OkStatus();
}

absl::Status FakeViommus::DestroyVdevice(Uid uid) {
  RETURN_IF_ERROR(recorder_.ask("DestroyVdevice"));
  bool holds = false;
  {
    absl::MutexLock lock(&mutex_);
    holds = vdevices_.erase(uid) == 1;
  }
  recorder_.record(absl::StrCat("DestroyVdevice ", uid), holds);
  return absl::OkStatus();
}

ViommuInvalidateOutcome FakeViommus::InvalidateViommu(
    Uid viommu, absl::Span<const ArmSmmuV3Invalidation> commands) {
  absl::Status asked = recorder_.ask("InvalidateViommu");
  if (!asked.ok()) return {0, std::move(asked)};
  bool holds = !commands.empty();
  std::optional<uint64_t> most;
  {
    absl::MutexLock lock(&mutex_);
    holds = holds && viommus_.count(viommu) == 1;
    for (const ArmSmmuV3Invalidation& command : commands) {
      const bool named = command.opcode == ArmSmmuV3Opcode::kAtcInv ||
                         command.opcode == ArmSmmuV3Opcode::kCfgiCd ||
                         command.opcode == ArmSmmuV3Opcode::kCfgiCdAll;
      holds = holds && (!named || Knows(viommu, command.stream_id));
    }
    std::swap(most, breaks_after_);
  }
  recorder_.record(absl::StrCat("InvalidateViommu ", viommu, " ", commands.size()), holds);
  if (!most.has_value() || *most >= commands.size()) return {commands.size(), absl::OkStatus()};
  return {*most, Error(absl::StatusCode::kInternal, "QUEUE_TIMEOUT", "no answer to ATC_INV")
                     .Errno("EIO")
                     .ToStatus()};
}

std::vector<ViommuEvent> FakeViommus::TakeEvents() {
  absl::MutexLock lock(&mutex_);
  std::vector<ViommuEvent> taken;
  std::swap(taken, events_);
  return taken;
}

absl::Status FakeViommus::CreateHardwareQueue(Uid uid, Uid viommu, const HardwareQueueSpec& spec) {
  RETURN_IF_ERROR(recorder_.ask("CreateHardwareQueue"));
  bool holds = false;
  {
    absl::MutexLock lock(&mutex_);
    const auto before = [&](const auto& entry) {
      return entry.second.viommu == viommu && entry.second.index < spec.index;
    };
    holds = viommus_.count(viommu) == 1 &&
            std::count_if(queues_.begin(), queues_.end(), before) == spec.index;
    queues_[uid] = {viommu, spec.index};
  }
  recorder_.record(absl::StrCat("CreateHardwareQueue ", uid, " ", spec.index), holds);
  return absl::OkStatus();
}

absl::Status FakeViommus::DestroyHardwareQueue(Uid uid) {
  RETURN_IF_ERROR(recorder_.ask("DestroyHardwareQueue"));
  bool holds = false;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = queues_.find(uid);
    holds =
        it != queues_.end() && std::none_of(queues_.begin(), queues_.end(), [&](const auto& entry) {
          return entry.second.viommu == it->second.viommu && entry.second.index > it->second.index;
        });
    queues_.erase(uid);
  }
  recorder_.record(absl::StrCat("DestroyHardwareQueue ", uid), holds);
  return absl::OkStatus();
}

Topology GuestTopology() {
  Topology topology;
  topology.iommus.resize(3);
  topology.iommus[0].id = "smmu0";
  topology.iommus[1].id = "smmu1";
  topology.iommus[2].id = "unit0";
  for (IommuSpec& unit : topology.iommus) {
    unit.first_stage = true;
    unit.nesting = true;
  }
  topology.devices = {GuestDevice("dev0", "smmu0", "g0"),     GuestDevice("dev1", "smmu0", "g1"),
                      GuestDevice("dev2", "smmu0", "g2"),     GuestDevice("dev3", "smmu0", "g2"),
                      GuestDevice("dev4", "smmu1", "g4"),     GuestDevice("dev5", "unit0", "g5"),
                      GuestDevice("platform0", "smmu0", "g6")};
  topology.devices[0].pasid_bits = 8;
  return topology;
}

}  // namespace viommu
