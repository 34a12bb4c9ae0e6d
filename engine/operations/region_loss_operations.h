// engine/operations/region_loss_operations.h -- Memory that shrinks or goes while it is mapped:
// what the simulated machine does to a memory region. Errors: those of Engine::ResizeMemoryRegion
// and RevokeMemoryRegion.
#ifndef VIOMMU_ENGINE_OPERATIONS_REGION_LOSS_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_REGION_LOSS_OPERATIONS_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/pipeline/operation.h"

namespace viommu {

// Areas that reach beyond the new end leave every domain, and stay in their Ioas as suspended. It
// holds the lane of each Ioas that maps the region, so that nothing is under way there; what is
// planned elsewhere from now on sees the new end.
class RegionLossOperation : public AnsweringOperation<MemoryRegionView> {
 public:
  // `size_bytes`: none takes all of it, for good.
  RegionLossOperation(CallContext context, ObjectRef region, std::optional<uint64_t> size_bytes,
                      std::string etag)
      : AnsweringOperation(std::move(context)),
        ref_(std::move(region)),
        size_bytes_(size_bytes),
        etag_(std::move(etag)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  // That nothing is left of a region is not for its owner's limits to stop.
  bool revokes() const override { return !size_bytes_.has_value(); }
  absl::Status Plan(Model& model) override;
  bool nothing_to_do() const override { return !changes_; }
  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 private:
  struct Loss {
    Ioas* ioas;
    std::vector<IovaRange> areas;
  };

  absl::Status CheckSize() const;
  absl::Status CheckHost(const Model& model) const;
  void FindLosses(const Model& model);
  // kFailedPrecondition IN_USE: hardware reads a part of what would go by itself.
  absl::Status CheckPins(const Model& model) const;
  bool shrinks() const { return size_bytes_.value_or(0) < previous_bytes_; }

  const ObjectRef ref_;
  const std::optional<uint64_t> size_bytes_;
  const std::string etag_;
  MemoryRegion* region_ = nullptr;  // Stays, as its lane is held.
  uint64_t previous_bytes_ = 0;
  bool changes_ = false;
  std::vector<Loss> losses_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_REGION_LOSS_OPERATIONS_H_
