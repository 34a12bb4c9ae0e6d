// engine/model/default_domains.h -- Which default domain a device group gets while the host has it.
//
// The members of a group share one domain, so that the most careful of them decides: an untrusted
// member forces DMA (strict), IDENTITY needs every member to allow it (R1), and DMA_FQ is for
// groups whose members all ask for it (iommufd-semantics.md section 15).
#ifndef VIOMMU_ENGINE_MODEL_DEFAULT_DOMAINS_H_
#define VIOMMU_ENGINE_MODEL_DEFAULT_DOMAINS_H_

#include <string>
#include <vector>

#include "engine/backend/topology.h"
#include "engine/model/device.h"
#include "engine/model/model.h"

namespace viommu {

// Whether devices on it see IOVAs that the host's DMA API chooses.
inline bool IsTranslated(DefaultDomainType type) { return type != DefaultDomainType::kIdentity; }

// Why a member of the group can not be put on IDENTITY at all; empty: it can.
std::string IdentityUnavailable(const Model& model, const Group& group);

// The default domain that a group gets when `asked` is asked for. `fallback` says why it is another
// one, which is DMA then; else it is empty. Who may ask for IDENTITY is not looked at.
DefaultDomainType DefaultDomainFor(const Model& model, const Group& group, DefaultDomainType asked,
                                   std::string* fallback);

// The same for what the topology asks of the members. Where they differ, IDENTITY wins if all of
// them allow it; otherwise the group is strict.
DefaultDomainType InitialDefaultDomain(const Model& model, const Group& group,
                                       std::string* fallback);

// What the group can have, in the order of the types.
std::vector<DefaultDomainType> AvailableDefaultDomains(const Model& model, const Group& group);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_DEFAULT_DOMAINS_H_
