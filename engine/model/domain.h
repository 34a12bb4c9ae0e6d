// engine/model/domain.h -- A PAGING domain over an Ioas (iommufd: HWPT_PAGING).
#ifndef VIOMMU_ENGINE_MODEL_DOMAIN_H_
#define VIOMMU_ENGINE_MODEL_DOMAIN_H_

#include <string>
#include <utility>

#include "engine/backend/backend.h"
#include "engine/model/object.h"

namespace viommu {

// Refers to its Ioas; referred to by each attached device. The static domains are no objects.
class Domain : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kDomain;

  Domain(std::string owner, std::string id, Uid uid, Uid ioas, DeviceIndex device,
         DomainProperties properties)
      : Object(kKind, std::move(owner), std::move(id), uid),
        ioas(ioas),
        device(device),
        properties(std::move(properties)) {}

  Usage Holds() const override { return Usage(Resource::kDomains, 1); }

  const Uid ioas;
  const DeviceIndex device;  // Fixed its format; it need not be attached.
  const DomainProperties properties;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_DOMAIN_H_
