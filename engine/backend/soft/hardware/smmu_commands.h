// engine/backend/soft/hardware/smmu_commands.h -- The commands that take something out of the
// caches of an SMMUv3 or of a device behind it.
//
// Sources: Arm IHI 0070 4.3 (configuration), 4.4 (TLBs), 4.5.1 (ATC_INV).
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_COMMANDS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_COMMANDS_H_

#include <array>
#include <cstdint>

#include "engine/backend/soft/hardware/smmu_registers.h"
#include "engine/backend/soft/hardware/smmu_spec.h"
#include "engine/backend/soft/hardware/smmu_translator.h"

namespace viommu::hardware::smmu {

enum Opcode : uint8_t {
  kPrefetchConfig = 0x01,
  kPrefetchAddress = 0x02,
  kConfigStream = 0x03,
  kConfigStreamRange = 0x04,  // CFGI_ALL with a range of all.
  kConfigContext = 0x05,
  kConfigContextAll = 0x06,
  kTlbiAll = 0x10,    // NH_ALL
  kTlbiAsid = 0x11,   // NH_ASID
  kTlbiVa = 0x12,     // NH_VA
  kTlbiVaAll = 0x13,  // NH_VAA
  kTlbiEl2All = 0x20,
  kTlbiEl2Asid = 0x21,
  kTlbiEl2Va = 0x22,
  kTlbiEl2VaAll = 0x23,
  kTlbiVm = 0x28,      // S12_VMALL
  kTlbiStage2 = 0x2a,  // S2_IPA
  kTlbiEl1 = 0x30,     // NSNH_ALL
  kAtcInvalidate = 0x40,
  kPageResponse = 0x41,
  kResume = 0x44,
  kStallTerminate = 0x45,
  kSync = 0x46,
};

struct Command {
  std::array<uint64_t, 2> word = {};

  uint8_t opcode() const { return static_cast<uint8_t>(word[0]); }
  uint32_t stream_id() const { return static_cast<uint32_t>(word[0] >> 32); }
  uint32_t substream_id() const { return static_cast<uint32_t>(Field(word[0], 31, 12)); }
};

// Whether a command is one of those below (CFGI_*, TLBI_*).
bool IsInvalidation(uint8_t opcode);

// Drops what a CFGI or TLBI command covers. False, with nothing dropped: the unit does not have the
// stage or world that it is for, or its hints contradict each other.
bool ApplyInvalidation(const Spec& spec, const Registers& registers, const Command& command,
                       WarmState* warm);

// Drops what an ATC_INV covers from the device's TLB. False: the device does not answer.
bool ApplyAtcInvalidation(const Command& command, DeviceTlbs* device_tlbs);

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_COMMANDS_H_
