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
    case kDeviceTlbDisabled:
      return "SCT.5: translation or translated request, but no device TLB is enabled";
    case kPasidRequestsDisabled:
      return "SCT.6: request with PASID, but PASIDs are not enabled";
    case kPasidBeyondDirectory:
      return "SCT.7: PASID beyond the PASID directory";
    case kPageRequestsDisabled:
      return "SCT.8: page request, but none are enabled";
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
    case kSupervisorDisabled:
      return "SPT.6: privileged request, but none are enabled";
    case kFirstLowerFetchError:
      return "SFS.1: first-stage entry cannot be read";
    case kFirstNotPresent:
      return "SFS.2: first-stage entry not present";
    case kFirstReserved:
      return "SFS.3: reserved bit set in first-stage entry";
    case kFirstTopFetchError:
      return "SFS.4: top first-stage table cannot be read";
    case kFirstTableBeyondWidth:
      return "SFS.5: first-stage entry beyond the second-stage width";
    case kFirstTopTableDenied:
      return "SFS.6: second stage does not permit reading the top first-stage table";
    case kFirstLowerTableDenied:
      return "SFS.7: second stage does not permit reading a first-stage entry";
    case kFirstUpdateDenied:
      return "SFS.8: second stage does not permit marking a first-stage entry";
    case kLowerTableFetchError:
      return "SSS.1: second-stage entry cannot be read";
    case kPageNotPresent:
      return "SSS.2: second-stage entry not present";
    case kPageReserved:
      return "SSS.3: reserved bit set in second-stage entry";
    case kTopTableFetchError:
      return "SSS.4: top second-stage table cannot be read";
    case kUpdateNotSnooped:
      return "SSS.5: second-stage entry to be marked, but walks are not snooped";
    case kNotCanonical:
      return "SGN.1: address not canonical";
    case kUserDenied:
      return "SGN.2: page for privileged requests only";
    case kInputBeyondWidth:
      return "SGN.5: address beyond the second-stage width";
    case kWriteDenied:
      return "SGN.6: write not permitted";
    case kReadDenied:
      return "SGN.7: read not permitted";
    case kInterruptRange:
      return "SGN.8: access to the interrupt address range";
    case kFirstUpdateNotSnooped:
      return "SFS.9: first-stage entry to be marked, but walks are not snooped";
  }
  return "unknown fault reason";
}

bool IsQualified(uint8_t reason) {
  // Root faults come before any entry that could hold an FPD bit; a failed fetch is the platform's
  // error, not the device's, and is always told.
  if (reason >= kRootAddressInvalid && reason <= kContextFetchError) return false;
  return reason != kPasidDirectoryFetchError && reason != kPasidEntryFetchError;
}

bool IsRecoverable(uint8_t reason) {
  switch (reason) {
    case kFirstNotPresent:
    case kFirstTableBeyondWidth:
    case kFirstTopTableDenied:
    case kFirstLowerTableDenied:
    case kFirstUpdateDenied:
    case kPageNotPresent:
    case kNotCanonical:
    case kUserDenied:
    case kInputBeyondWidth:
    case kWriteDenied:
    case kReadDenied:
      return true;
  }
  return false;
}

}  // namespace viommu::hardware
