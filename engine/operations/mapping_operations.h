// engine/operations/mapping_operations.h -- Map and CopyMappings.
// Errors: those of Engine::Map and CopyMappings.
#ifndef VIOMMU_ENGINE_OPERATIONS_MAPPING_OPERATIONS_H_
#define VIOMMU_ENGINE_OPERATIONS_MAPPING_OPERATIONS_H_

#include <string>
#include <utility>
#include <vector>

#include "engine/pipeline/operation.h"

namespace viommu {

// Areas to be added to one Ioas, all or none: what Map and CopyMappings share after each has found
// out what to add.
class AddAreasOperation : public AnsweringOperation<MapAnswer> {
 public:
  using AnsweringOperation::AnsweringOperation;

  void Unplan(Model& model) override;
  LogicalOperation Logical() const override;
  absl::Status Apply(Backend& backend) override;
  void Commit(Model& model) override;

 protected:
  // Reserves every addition or none; the error names the failing one as `field`[i], unless that is
  // empty: the additions are no entries of the request.
  absl::Status PlanAll(Model& model, Ioas& ioas, absl::Span<const Ioas::Addition> additions,
                       absl::string_view field);

 private:
  Usage Charged() const { return Usage::OfMappings(areas_.size(), bytes_); }

  // What neighbouring areas have in common. A region is held once for every area that maps it.
  struct Held {
    MemoryRegion* region;
    uint64_t areas;
  };

  void HoldRegions(absl::Span<const Ioas::Addition> additions);
  void PlanLeaves(const Model& model);

  Ioas* ioas_ = nullptr;               // Stays, as its lane is held.
  std::vector<BackendMapping> areas_;  // As the backend wants them: there may be thousands.
  uint64_t bytes_ = 0;                 // Of all areas_ together.
  std::vector<Held> held_;
};

class MapOperation : public AddAreasOperation {
 public:
  // `batch` outlives the operation: it may have thousands of entries. `only`: the uid that the name
  // must still mean; 0: whichever has the name.
  MapOperation(CallContext context, ObjectRef ioas, const MapBatch* batch, Uid only = 0)
      : AddAreasOperation(std::move(context)), ref_(std::move(ioas)), batch_(*batch), only_(only) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  bool stackable() const override { return true; }
  absl::Status Plan(Model& model) override;

 private:
  absl::StatusOr<std::vector<Ioas::Addition>> Resolve(const Model& model) const;
  // `status`, which is about batch_.regions[region], with the first entry that names it.
  absl::Status AtFirstUse(const absl::Status& status, size_t region) const;

  const ObjectRef ref_;
  const MapBatch& batch_;
  const Uid only_;
};

class CopyMappingsOperation : public AddAreasOperation {
 public:
  CopyMappingsOperation(CallContext context, ObjectRef ioas, CopyRequest request)
      : AddAreasOperation(std::move(context)),
        ref_(std::move(ioas)),
        request_(std::move(request)) {}

  absl::StatusOr<std::vector<Uid>> Lanes(Model& model) override;
  absl::Status Plan(Model& model) override;

 private:
  absl::Status PlanPieces(Model& model);
  absl::StatusOr<std::vector<Ioas::Addition>> SourcePieces(const Model& model,
                                                           const Ioas& source) const;

  const ObjectRef ref_;
  const CopyRequest request_;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_OPERATIONS_MAPPING_OPERATIONS_H_
