#include "tests/property/device_eye.h"

#include "absl/strings/str_format.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/vtd_model.h"

namespace viommu::property {
namespace {

namespace smmu = hardware::smmu;

constexpr uint16_t kAborted = 0x100;  // No event has this number.

// VT-d fault reasons that this world can raise (formats-amd-riscv.md A.1).
constexpr uint16_t kNotPresent = 0x79;       // SSS.2
constexpr uint16_t kFirstNotPresent = 0x71;  // SFS.2
constexpr uint16_t kNotCanonical = 0x80;     // SGN.1
constexpr uint16_t kNoPasids = 0x45;         // SCT.6
constexpr uint16_t kNoPasidTable = 0x51;     // SPD.2
constexpr uint16_t kNoPasidEntry = 0x59;     // SPT.2
constexpr uint16_t kWriteDenied = 0x85;      // SGN.6
constexpr uint16_t kReadDenied = 0x86;       // SGN.7
constexpr uint16_t kTooWide = 0x84;          // SGN.5

bool IsVtdBlocked(bool with_pasid, uint16_t code) {
  return code == kNoPasidEntry || (with_pasid && code == kNoPasidTable);
}

// Where requests without PASID are on nothing, with PASID or without, and where those with one are.
bool IsSmmuBlocked(bool with_pasid, uint16_t code) {
  if (with_pasid) {
    return code == kAborted || code == smmu::kBadSubstreamId || code == smmu::kBadCd;
  }
  return code == kAborted || code == smmu::kStreamDisabled;
}

bool IsVtd(bool with_pasid, uint16_t code, Fault fault) {
  switch (fault) {
    case Fault::kNone:
      return code == 0;
    case Fault::kBlocked:
      return IsVtdBlocked(with_pasid, code);
    case Fault::kNoPasids:
      return code == kNoPasids;
    case Fault::kNotMapped:
      return code == kNotPresent;
    case Fault::kFirstNotMapped:
      return code == kFirstNotPresent;
    case Fault::kNotCanonical:
      return code == kNotCanonical;
    case Fault::kTooWide:
      return code == kTooWide;
    case Fault::kReadDenied:
      return code == kReadDenied;
    case Fault::kWriteDenied:
      return code == kWriteDenied;
    case Fault::kOfTranslation:
      return code != 0 && !IsVtdBlocked(true, code) && code != kNoPasids;
  }
  return false;
}

bool IsSmmu(bool with_pasid, uint16_t code, Fault fault) {
  switch (fault) {
    case Fault::kNone:
      return code == 0;
    case Fault::kBlocked:
      return IsSmmuBlocked(with_pasid, code);
    case Fault::kNoPasids:
      return code == kAborted || code == smmu::kBadSubstreamId;
    case Fault::kNotMapped:
    case Fault::kFirstNotMapped:
    case Fault::kNotCanonical:
      return code == smmu::kTranslationFault;
    case Fault::kTooWide:
      return code == smmu::kAddressSizeFault;
    case Fault::kReadDenied:
    case Fault::kWriteDenied:
      return code == smmu::kPermissionFault;
    case Fault::kOfTranslation:
      return smmu::MayStall(static_cast<smmu::EventId>(code)) && code != kAborted;
  }
  return false;
}

hardware::Request VtdRequest(const SoftMachine& machine, const DeviceEye::Request& request) {
  hardware::Request out;
  out.source_id = machine.source_id_of(request.device);
  out.pasid = request.pasid;
  out.address = request.iova;
  out.write = request.write;
  return out;
}

smmu::Request SmmuRequest(const SoftMachine& machine, const DeviceEye::Request& request) {
  smmu::Request out;
  out.stream_id = machine.requester_of(request.device);
  out.substream_id = request.pasid;
  out.address = request.iova;
  out.write = request.write;
  return out;
}

uint16_t CodeOf(const smmu::Event& event) {
  return event.terminated ? kAborted : uint16_t{event.id};
}

}  // namespace

void DeviceEye::LetUnitsSpeculate() {
  for (size_t i = 0; i < machine_.topology().devices.size(); ++i) {
    const auto device = static_cast<DeviceIndex>(i);
    if (IsArm(device)) machine_.smmu_of(device).hardware().SetRefills(true);
  }
}

DeviceEye::Sight DeviceEye::Probe(const Request& request) {
  if (IsArm(request.device)) {
    const auto seen =
        machine_.smmu_of(request.device).hardware().Probe(SmmuRequest(machine_, request));
    return {property::CodeOf(seen.fault), seen.physical.value};
  }
  const auto seen =
      machine_.unit_of(request.device).hardware().Probe(VtdRequest(machine_, request));
  return {seen.fault_reason, seen.physical.value};
}

DeviceEye::Sight DeviceEye::Translate(const Request& request) {
  if (IsArm(request.device)) {
    const auto seen =
        machine_.smmu_of(request.device).hardware().Translate(SmmuRequest(machine_, request));
    return {property::CodeOf(seen.fault), seen.physical.value};
  }
  const auto seen =
      machine_.unit_of(request.device).hardware().Translate(VtdRequest(machine_, request));
  return {seen.fault_reason, seen.physical.value};
}

uint16_t DeviceEye::Access(const Request& request, absl::Span<char> data) {
  if (IsArm(request.device)) {
    auto& hardware = machine_.smmu_of(request.device).hardware();
    return property::CodeOf(hardware.Access(SmmuRequest(machine_, request), data).fault);
  }
  auto& hardware = machine_.unit_of(request.device).hardware();
  return hardware.Access(VtdRequest(machine_, request), data).fault_reason;
}

uint16_t DeviceEye::CodeOf(int device, const DmaFault& fault) {
  return IsArm(device) && fault.code == 0 ? kAborted : static_cast<uint16_t>(fault.code);
}

bool DeviceEye::Means(const Request& request, uint16_t code, Fault fault) {
  const bool with_pasid = request.pasid.has_value();
  return IsArm(request.device) ? IsSmmu(with_pasid, code, fault) : IsVtd(with_pasid, code, fault);
}

bool DeviceEye::IsBlocked(const Request& request, uint16_t code) {
  if (!IsArm(request.device)) return IsVtdBlocked(true, code);
  return IsSmmuBlocked(true, code) || IsSmmuBlocked(false, code) || code == smmu::kBadSte;
}

std::string InWords(const DeviceEye::Sight& sight) {
  return absl::StrFormat("fault 0x%x, physical 0x%x", sight.code, sight.physical);
}

}  // namespace viommu::property
