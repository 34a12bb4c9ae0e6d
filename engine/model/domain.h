// engine/model/domain.h -- A PAGING domain over an Ioas, or a NESTED one over a nest parent
// (iommufd: HWPT_PAGING, HWPT_NESTED).
#ifndef VIOMMU_ENGINE_MODEL_DOMAIN_H_
#define VIOMMU_ENGINE_MODEL_DOMAIN_H_

#include <optional>
#include <string>
#include <utility>

#include "absl/container/btree_map.h"
#include "engine/backend/backend.h"
#include "engine/model/object.h"

namespace viommu {

// Refers to its Ioas, to its nest parent, or to its Viommu, which keeps that parent; referred to by
// each attached device (once for the RID and once for each PASID) and by the NESTED domains on it.
// The static domains are no objects.
class Domain : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kDomain;

  // `ioas` of a NESTED domain is its nest parent's.
  Domain(std::string owner, std::string id, Uid uid, const DomainSpec& spec, Uid ioas,
         DomainProperties properties)
      : Object(kKind, std::move(owner), std::move(id), uid),
        spec(spec),
        ioas(ioas),
        device(spec.device),
        properties(std::move(properties)) {}

  bool sva() const { return spec.kind == DomainSpec::Kind::kSva; }
  bool nested() const { return spec.kind == DomainSpec::Kind::kNested; }
  // Of a Viommu's NESTED one the guest has the table of PASIDs: what has one that nobody attached
  // here is the domain's, too (kernel: `user_pasid_table`).
  bool has_guest_pasids() const { return nested() && spec.viommu != 0; }
  // What a NESTED one stands on: its Viommu, or its nest parent.
  Uid stands_on() const { return spec.viommu != 0 ? spec.viommu : spec.parent; }

  Usage Holds() const override { return Usage(Resource::kDomains, 1); }

  // Where in `window` the domain maps `doorbell`.
  std::optional<Iova> DoorbellIn(const IovaRange& window, PhysAddr doorbell) const {
    for (const auto& [iova, mapped] : doorbells) {
      if (mapped == doorbell && window.Contains(iova)) return iova;
    }
    return std::nullopt;
  }

  const DomainSpec spec;
  const Uid ioas;            // Whose mappings it shows, directly or below a guest's first stage.
  const DeviceIndex device;  // Fixed its format; it need not be attached.
  const DomainProperties properties;
  // Made by an attachment to its Ioas; it goes with the last one. Never nest parent, never for
  // PASIDs (iommufd: auto_domain).
  bool automatic = false;
  // Of a PAGING one made with dirty_tracking: devices mark what they write.
  bool dirty_tracking_enabled = false;
  // Of its page faults, which it refers to; 0: they are refused.
  Uid fault_queue = 0;
  // Of a PAGING one: pages that lead to interrupt doorbells, by their IOVA. They came with
  // attachments, also of NESTED domains on it, and go with the domain.
  absl::btree_map<Iova, PhysAddr> doorbells;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_DOMAIN_H_
