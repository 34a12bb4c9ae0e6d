// engine/backend/soft/vtd_registers.h -- Intel VT-d registers as the driver side uses them.
//
// Offsets and bits: VT-d 11.4 and the kernel's vtd/iommu.h DMAR_* (iommufd-semantics.md 18.5).
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_VTD_REGISTERS_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_VTD_REGISTERS_H_

#include <cstdint>

namespace viommu::vtd {

inline constexpr uint32_t kCapabilityRegister = 0x08;
inline constexpr uint32_t kExtendedCapabilityRegister = 0x10;
inline constexpr uint32_t kGlobalCommandRegister = 0x18;
inline constexpr uint32_t kGlobalStatusRegister = 0x1c;
inline constexpr uint32_t kRootTableRegister = 0x20;
inline constexpr uint32_t kFaultStatusRegister = 0x34;
inline constexpr uint32_t kQueueHeadRegister = 0x80;
inline constexpr uint32_t kQueueTailRegister = 0x88;
inline constexpr uint32_t kQueueAddressRegister = 0x90;
inline constexpr uint32_t kQueueErrorRecordRegister = 0xb0;
inline constexpr uint32_t kPageRequestHeadRegister = 0xc0;
inline constexpr uint32_t kPageRequestTailRegister = 0xc8;
inline constexpr uint32_t kPageRequestAddressRegister = 0xd0;
inline constexpr uint32_t kPageRequestStatusRegister = 0xdc;

// Global command and status have the same positions.
inline constexpr uint32_t kTranslationEnable = uint32_t{1} << 31;
inline constexpr uint32_t kSetRootTable = uint32_t{1} << 30;
inline constexpr uint32_t kQueueEnable = uint32_t{1} << 26;
// What a command has to repeat so that it stays as it is; the others act once.
inline constexpr uint32_t kLastingCommands = kTranslationEnable | kQueueEnable;

inline constexpr uint64_t kRootTableScalable = uint64_t{1} << 10;     // TTM 11:10 = 01.
inline constexpr uint64_t kQueueWideDescriptors = uint64_t{1} << 11;  // DW: 256 bits each.

// FSTS, cleared by writing 1.
inline constexpr uint32_t kFaultQueueError = 1 << 4;  // IQE
inline constexpr uint32_t kFaultTimeout = 1 << 6;     // ITE
// IQERCD.ITESID 47:32: the device that did not answer.
inline constexpr int kTimeoutSourceShift = 32;

// PRS, cleared by writing 1.
inline constexpr uint32_t kPageRequestPending = 1 << 0;   // PPR
inline constexpr uint32_t kPageRequestOverflow = 1 << 1;  // PRO

}  // namespace viommu::vtd

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_VTD_REGISTERS_H_
