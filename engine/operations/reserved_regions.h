// engine/operations/reserved_regions.h -- Which of a device's reserved regions an Ioas stays clear
// of, by what the device's RID is on.
//
// On a PAGING domain, also a nest parent used without a guest stage, the Ioas takes all of them
// (iommufd-semantics.md section 7). On a NESTED domain the guest lays out its own addresses: the
// parent's Ioas keeps only SW_MSI, whose pages the host maps there. The static domains and PASIDs
// take none.
#ifndef VIOMMU_ENGINE_OPERATIONS_RESERVED_REGIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_RESERVED_REGIONS_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "engine/model/model.h"

namespace viommu {

// What a RID on some target asks of an Ioas.
struct RegionDemand {
  enum class Scope { kNone, kSwMsi, kAll };  // Ascending.
  Scope scope = Scope::kNone;
  Uid ioas = 0;  // 0 with kNone.
};

// Whether an Ioas is kept clear of such regions (iommufd: iopt_table_enforce_dev_resv_regions).
bool IsEnforced(ReservedRegionType type);

// Keeps an Ioas clear of a region, under `holder`; `what` is told to whoever meets it.
// kFailedPrecondition IOVA_CONFLICT: an area or an allowed range is in the way.
absl::Status CloseRegion(Ioas& ioas, const Device& device, const ReservedRegion& region,
                         uint64_t holder, absl::string_view what);

RegionDemand RegionDemandOf(const Model& model, const DomainTarget& target);

// The reserved regions of devices whose RID goes from one target to another, as a part of an
// operation. Made anew, it moves nothing.
class RegionMove {
 public:
  RegionMove() = default;
  RegionMove(const RegionDemand& from, const RegionDemand& to, std::vector<DeviceIndex> devices)
      : from_(from), to_(to), devices_(std::move(devices)) {}

  // Closes what is asked for and not closed yet; all or nothing.
  // kFailedPrecondition IOVA_CONFLICT: an area or an allowed range is in the way.
  absl::Status Plan(Model& model);
  void Unplan(Model& model);
  // Opens what is not asked for any more.
  void Commit(Model& model);

  // What it closes, and opens, in the order of the devices. Pure.
  std::vector<ReservedRegionView> Gained(const Model& model) const;
  std::vector<ReservedRegionView> Lost(const Model& model) const;

 private:
  bool SameIoas() const { return from_.ioas == to_.ioas; }
  bool Grows() const;
  absl::Status Close(Model& model, const Device& device);
  // What `here` asks for and `there` does not.
  std::vector<ReservedRegionView> Only(const Model& model, const RegionDemand& here,
                                       const RegionDemand& there) const;

  RegionDemand from_;
  RegionDemand to_;
  std::vector<DeviceIndex> devices_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_RESERVED_REGIONS_H_
