#include "engine/backend/soft/hardware/vtd_fault.h"

namespace viommu::hardware {

absl::string_view FaultReasonName(uint8_t reason) {
  switch (reason) {
    case kNoFault:
      return "no fault";
    case kRootAddressInvalid:
      return "RTA.1: root-table address or translation mode invalid";
    case kPasidInLegacyMode:
      return "RTA.2: request with PASID in legacy mode";
    case kRootFetchError:
      return "SRT.1: root entry cannot be read";
    case kRootNotPresent:
      return "SRT.2: root entry not present";
    case kRootReserved:
      return "SRT.3: reserved bit set in root entry";
    case kContextFetchError:
      return "SCT.1: context entry cannot be read";
    case kContextNotPresent:
      return "SCT.2: context entry not present";
    case kContextReserved:
      return "SCT.3: reserved bit set in context entry";
    case kPasidRequestsDisabled:
      return "SCT.6: request with PASID, but PASIDs are not enabled";
    case kPasidBeyondDirectory:
      return "SCT.7: PASID beyond the PASID directory";
    case kRidPasidInvalid:
      return "SCT.9: PASID of requests without PASID is invalid";
    case kPasidDirectoryFetchError:
      return "SPD.1: PASID-directory entry cannot be read";
    case kPasidDirectoryNotPresent:
      return "SPD.2: PASID-directory entry not present";
    case kPasidDirectoryReserved:
      return "SPD.3: reserved bit set in PASID-directory entry";
    case kPasidEntryFetchError:
      return "SPT.1: PASID-table entry cannot be read";
    case kPasidEntryNotPresent:
      return "SPT.2: PASID-table entry not present";
    case kPasidEntryReserved:
      return "SPT.3: reserved bit set in PASID-table entry";
    case kPasidEntryInvalid:
      return "SPT.4: PASID-table entry programmed wrongly";
    case kLowerTableFetchError:
      return "SSS.1: second-stage entry cannot be read";
    case kPageNotPresent:
      return "SSS.2: second-stage entry not present";
    case kPageReserved:
      return "SSS.3: reserved bit set in second-stage entry";
    case kTopTableFetchError:
      return "SSS.4: top second-stage table cannot be read";
    case kInputBeyondWidth:
      return "SGN.5: address beyond the second-stage width";
    case kWriteDenied:
      return "SGN.6: write not permitted";
    case kReadDenied:
      return "SGN.7: read not permitted";
    case kInterruptRange:
      return "SGN.8: access to the interrupt address range";
  }
  return "unknown fault reason";
}

bool IsQualified(uint8_t reason) {
  // Root faults come before any entry that could hold an FPD bit; a failed fetch is the platform's
  // error, not the device's, and is always told.
  if (reason >= kRootAddressInvalid && reason <= kContextFetchError) return false;
  return reason != kPasidDirectoryFetchError && reason != kPasidEntryFetchError;
}

}  // namespace viommu::hardware
