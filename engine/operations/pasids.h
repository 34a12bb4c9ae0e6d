// engine/operations/pasids.h -- What a group of devices allows with PASIDs.
//
// Facts: iommufd-semantics.md section 5.6 (iommufd_hwpt_pasid_compat, iommu_attach_device_pasid).
#ifndef VIOMMU_ENGINE_OPERATIONS_PASIDS_H_
#define VIOMMU_ENGINE_OPERATIONS_PASIDS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/model.h"

namespace viommu {

// The highest PASID that every member of the device's group and its unit can use.
// kUnimplemented PASID_UNAVAILABLE: a member issues none.
absl::StatusOr<uint32_t> HighestPasid(const Model& model, const Device& device);

// kInvalidArgument INVALID_PASID: 0, which stands for requests without PASID.
// kUnimplemented PASID_UNAVAILABLE; kOutOfRange PASID_OUT_OF_RANGE: beyond HighestPasid.
absl::Status CheckPasid(const Model& model, const Device& device, const std::string& field,
                        uint32_t pasid);

// A domain serves a PASID, or the RID beside PASIDs, when it was made for that. It is the domain's
// own flag, of a NESTED one as of a PAGING one: on VT-d both may stand in any PASID entry (section
// 4.9, 5.6), and a nest parent below a NESTED domain is not what the entry is tagged for. The
// static domains serve both.
bool ServesPasids(const Model& model, const DomainTarget& target);

// Whether what has this PASID, or the RID, in the device's group may be put on `target`.
// kFailedPrecondition PASID_INCOMPATIBLE: `target` must serve PASIDs and does not, or the domain of
// the RID does not.
absl::Status CheckPasidCompatible(const Model& model, const Device& device, PasidOrRid pasid,
                                  const DomainTarget& target, absl::string_view principal);

// Whether an SVA domain serves the PASID of its process and no other, and that PASID no other
// domain. kFailedPrecondition SVA_PASID: the domain's PASID is another, or none is given;
// PASID_TAKEN: it is a process's.
absl::Status CheckProcessPasid(const Model& model, const Device& device, PasidOrRid pasid,
                               const DomainTarget& target, absl::string_view principal);

// The same, refused because the target is an auto domain, which serves no PASIDs.
absl::Status AutoDomainsServeNoPasids(const Device& device);

// kFailedPrecondition PASID_TAKEN: the entry is another principal's.
absl::Status CheckPasidIsOf(const Device& device, uint32_t pasid, const PasidEntry& entry,
                            absl::string_view principal);

// "devices/dev0", "devices/dev0 pasid 5".
std::string NameAt(const Device& device, PasidOrRid pasid);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_PASIDS_H_
