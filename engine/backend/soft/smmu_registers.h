// engine/backend/soft/smmu_registers.h -- The registers of an SMMUv3, as its driver uses them.
//
// Source: Arm IHI 0070, 6.2 and 6.3; names as in the kernel's arm-smmu-v3.h.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SMMU_REGISTERS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SMMU_REGISTERS_H_

#include <cstdint>

namespace viommu::smmu {

inline constexpr uint32_t kIdr0Register = 0x00;  // IDR0 .. IDR5, 4 bytes each.
inline constexpr uint32_t kIidrRegister = 0x18;
inline constexpr uint32_t kAidrRegister = 0x1c;
inline constexpr uint32_t kControlRegister = 0x20;          // CR0
inline constexpr uint32_t kControlAckRegister = 0x24;       // CR0ACK
inline constexpr uint32_t kTableAttributesRegister = 0x28;  // CR1
inline constexpr uint32_t kControl2Register = 0x2c;         // CR2
inline constexpr uint32_t kGlobalErrorRegister = 0x60;      // GERROR
inline constexpr uint32_t kGlobalErrorAckRegister = 0x64;   // GERRORN
inline constexpr uint32_t kStreamTableRegister = 0x80;      // STRTAB_BASE
inline constexpr uint32_t kStreamTableConfigRegister = 0x88;
inline constexpr uint32_t kCommandQueueRegister = 0x90;  // CMDQ_BASE
inline constexpr uint32_t kCommandProducerRegister = 0x98;
inline constexpr uint32_t kCommandConsumerRegister = 0x9c;
inline constexpr uint32_t kEventQueueRegister = 0xa0;        // EVENTQ_BASE
inline constexpr uint32_t kPageRequestQueueRegister = 0xc0;  // PRIQ_BASE
inline constexpr uint32_t kEventProducerRegister = 0x100a8;  // In the second page.
inline constexpr uint32_t kEventConsumerRegister = 0x100ac;
inline constexpr uint32_t kPageRequestProducerRegister = 0x100c8;
inline constexpr uint32_t kPageRequestConsumerRegister = 0x100cc;

// CR0.
inline constexpr uint32_t kControlEnable = 1 << 0;            // SMMUEN
inline constexpr uint32_t kControlPageRequestQueue = 1 << 1;  // PRIQEN
inline constexpr uint32_t kControlEventQueue = 1 << 2;        // EVENTQEN
inline constexpr uint32_t kControlCommandQueue = 1 << 3;      // CMDQEN
inline constexpr uint32_t kControlCheckAts = 1 << 4;  // ATSCHK: translated requests are checked.

// CR1: tables and queues are write-back, inner shareable.
inline constexpr uint32_t kTableAttributesCached = 3 << 10 | 1 << 8 | 1 << 6 | 3 << 4 | 1 << 2 | 1;

// CR2.
inline constexpr uint32_t kControl2RecordBadStreams = 1 << 1;  // RECINVSID

// GERROR, GERRORN: an error is active while the bits differ.
inline constexpr uint32_t kGlobalErrorCommandQueue = 1 << 0;

// STRTAB_BASE and the bases of queues.
inline constexpr uint64_t kBaseReadAllocate = uint64_t{1} << 62;

// STRTAB_BASE_CFG: LOG2SIZE 5:0 (of StreamIDs), SPLIT 10:6, FMT 17:16.
inline constexpr int kStreamTableSplitShift = 6;
inline constexpr uint32_t kStreamTableTwoLevel = 1 << 16;

// CMDQ_PROD and CMDQ_CONS: indices modulo twice the entries, whose top bit is the wrap flag.
// OVFLG of EVENTQ_PROD and PRIQ_PROD, OVACKFLG of the CONS: records were lost while they differ.
inline constexpr uint32_t kQueueOverflow = uint32_t{1} << 31;
inline constexpr int kConsumerErrorShift = 24;  // CMDQ_CONS.ERR 30:24
inline constexpr uint32_t kConsumerErrorMask = 0x7f;

// CMDQ_CONS.ERR.
inline constexpr uint32_t kCommandErrorIllegal = 1;
inline constexpr uint32_t kCommandErrorAbort = 2;  // It could not be fetched.
inline constexpr uint32_t kCommandErrorAtcTimeout =
    3;  // A device did not answer before a CMD_SYNC.

}  // namespace viommu::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SMMU_REGISTERS_H_
