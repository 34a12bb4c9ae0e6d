// engine/backend/soft/hardware/vtd_fault.h -- Why a VT-d unit refuses a request: the 8-bit fault
// reasons of scalable mode, as far as this model can raise them.
//
// Sources: VT-d specification, chapter 7 (fault conditions) and Linux intel/dmar.c
// (dma_remap_sm_fault_reasons) for codes and names; QEMU intel_iommu.c (vtd_qualified_faults) for
// which of them the FPD bits silence.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_FAULT_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_FAULT_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace viommu::hardware {

enum FaultReason : uint8_t {
  kNoFault = 0,
  kRootAddressInvalid = 0x30,        // RTA.1: also a translation mode that is not supported.
  kPasidInLegacyMode = 0x31,         // RTA.2
  kRootFetchError = 0x38,            // SRT.1
  kRootNotPresent = 0x39,            // SRT.2: of the half that the function number selects.
  kRootReserved = 0x3a,              // SRT.3
  kContextFetchError = 0x40,         // SCT.1
  kContextNotPresent = 0x41,         // SCT.2
  kContextReserved = 0x42,           // SCT.3
  kDeviceTlbDisabled = 0x44,         // SCT.5
  kPasidRequestsDisabled = 0x45,     // SCT.6
  kPasidBeyondDirectory = 0x46,      // SCT.7
  kPageRequestsDisabled = 0x47,      // SCT.8
  kRidPasidInvalid = 0x48,           // SCT.9
  kPasidDirectoryFetchError = 0x50,  // SPD.1
  kPasidDirectoryNotPresent = 0x51,  // SPD.2
  kPasidDirectoryReserved = 0x52,    // SPD.3
  kPasidEntryFetchError = 0x58,      // SPT.1
  kPasidEntryNotPresent = 0x59,      // SPT.2
  kPasidEntryReserved = 0x5a,        // SPT.3
  kPasidEntryInvalid = 0x5b,         // SPT.4
  kSupervisorDisabled = 0x5d,        // SPT.6
  kFirstLowerFetchError = 0x70,      // SFS.1
  kFirstNotPresent = 0x71,           // SFS.2
  kFirstReserved = 0x72,             // SFS.3
  kFirstTopFetchError = 0x73,        // SFS.4
  kFirstTableBeyondWidth = 0x74,     // SFS.5: in a nested walk, as SFS.6 to SFS.8.
  kFirstTopTableDenied = 0x75,       // SFS.6
  kFirstLowerTableDenied = 0x76,     // SFS.7
  kFirstUpdateDenied = 0x77,         // SFS.8
  kLowerTableFetchError = 0x78,      // SSS.1
  kPageNotPresent = 0x79,            // SSS.2: neither R nor W in one entry of the walk.
  kPageReserved = 0x7a,              // SSS.3
  kTopTableFetchError = 0x7b,        // SSS.4
  kUpdateNotSnooped = 0x7c,          // SSS.5
  kNotCanonical = 0x80,              // SGN.1
  kUserDenied = 0x81,                // SGN.2
  kInputBeyondWidth = 0x84,          // SGN.5
  kWriteDenied = 0x85,               // SGN.6
  kReadDenied = 0x86,                // SGN.7
  kInterruptRange = 0x87,            // SGN.8
  kFirstUpdateNotSnooped = 0x90,     // SFS.9
};

// The specification's name and plain English, e.g. "SPT.2: PASID-table entry not present".
// "no fault" for 0, "unknown fault reason" for a code that the model never raises.
absl::string_view FaultReasonName(uint8_t reason);

// Whether fault processing disable (FPD) in an entry on the way silences `reason`.
bool IsQualified(uint8_t reason);

// Whether a translation request of a device that meets `reason` is answered, by "nothing is
// permitted" and without a record, so that the device may ask for the page (VT-d 7.1.3, 7.5). All
// others are errors of configuration or of the platform.
bool IsRecoverable(uint8_t reason);

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_FAULT_H_
