// engine/backend/soft/hardware/smmu_registers.h -- The control registers of an SMMUv3 that more
// than one of its parts looks at.
//
// Sources: Arm IHI 0070 6.3.9 to 6.3.25 (CR0 to STRTAB_BASE_CFG).
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_REGISTERS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_REGISTERS_H_

#include <cstdint>

#include "engine/backend/soft/hardware/smmu_spec.h"

namespace viommu::hardware::smmu {

// The wires to the interrupt controller. Each pulses when what it stands for happens, if IRQ_CTRL
// lets it. A CMD_SYNC that asks for an interrupt, and names no address for an MSI, always does.
enum class Interrupt : uint8_t {
  kGlobalError,  // GERROR has a new error.
  kEventQueue,   // The event queue was empty and no longer is.
  kPriQueue,     // The PRI queue was, or the last request of a group came into it.
  kCommandSync,
};

// Positions in GERROR and GERRORN.
enum GlobalError : uint32_t {
  kCommandError = 1u << 0,      // CMDQ_ERR
  kEventQueueAbort = 1u << 2,   // EVENTQ_ABT_ERR
  kPriQueueAbort = 1u << 3,     // PRIQ_ABT_ERR
  kCommandSyncAbort = 1u << 4,  // MSI_CMDQ_ABT_ERR
};

// Thread-compatible: the SmmuModel holds its lock.
struct Registers {
  uint32_t cr0 = 0;
  uint32_t cr1 = 0;
  uint32_t cr2 = 0;
  uint32_t gbpa = 0;
  uint32_t irq_control = 0;
  uint32_t gerror = 0;
  uint32_t gerrorn = 0;
  uint64_t stream_table = 0;         // STRTAB_BASE
  uint32_t stream_table_config = 0;  // STRTAB_BASE_CFG
  uint32_t due_interrupts = 0;       // To be raised, by position of the Interrupt.

  bool enabled() const { return cr0 & Bit(0); }            // SMMUEN
  bool pri_queue() const { return (cr0 & 3) == 3; }        // PRIQEN, which SMMUEN implies.
  bool event_queue() const { return cr0 & Bit(2); }        // EVENTQEN
  bool command_queue() const { return cr0 & Bit(3); }      // CMDQEN
  bool checks_translated() const { return cr0 & Bit(4); }  // ATSCHK
  bool e2h() const { return cr2 & Bit(0); }
  bool records_bad_streams() const { return cr2 & Bit(1); }  // RECINVSID
  bool aborts_disabled() const { return gbpa & Bit(20); }    // GBPA.ABORT

  // Whether software has yet to acknowledge an error.
  bool Active(GlobalError error) const { return (gerror ^ gerrorn) & error; }
  void Raise(GlobalError error) {
    if (Active(error)) return;
    gerror ^= error;
    if (irq_control & Bit(0)) Pulse(Interrupt::kGlobalError);
  }
  void Pulse(Interrupt interrupt) { due_interrupts |= 1u << static_cast<int>(interrupt); }
};

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_REGISTERS_H_
