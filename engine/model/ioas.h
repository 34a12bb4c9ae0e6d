// engine/model/ioas.h -- An IO address space: its areas, where new ones may go, what is planned.
//
// Two views live side by side. The planned view is what later operations plan on: areas() has what
// is committed and what operations under way will add, without what they will remove. The committed
// view is what readers see: areas() without the planned ones, plus the revoked ones that are still
// in force. Both are the same when nothing is under way.
//
// Thread-compatible: guarded by the pipeline's lock.
#ifndef VIOMMU_ENGINE_MODEL_IOAS_H_
#define VIOMMU_ENGINE_MODEL_IOAS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/base/address.h"
#include "engine/base/interval_map.h"
#include "engine/model/area.h"
#include "engine/model/iova_space.h"
#include "engine/model/memory_region.h"
#include "engine/model/object.h"

namespace viommu {

class Ioas : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kIoas;

  Ioas(std::string owner, std::string id, Uid uid)
      : Object(kKind, std::move(owner), std::move(id), uid) {}

  Usage Holds() const override {
    Usage usage = Usage::OfMappings(mapping_count_, mapped_bytes_);
    usage[Resource::kIoas] = 1;
    return usage;
  }

  // One area to be added, its source looked up.
  struct Addition {
    std::optional<Iova> iova;
    uint64_t length_bytes = 0;
    uint64_t offset_bytes = 0;
    Permission permission = Permission::kReadWrite;
    MemoryRegion* region = nullptr;
  };

  // Reserves the place of one area, as planned. Errors: those of Engine::Map for one entry.
  absl::StatusOr<PlacedArea> PlanAdd(const Addition& addition);
  // Where an area of this size would go. Errors: those of Engine::Map for a chosen IOVA.
  absl::StatusOr<Iova> Allocate(uint64_t length_bytes, uint64_t offset_bytes) const;
  // Takes the planned area that begins at `first` back.
  void UndoAdd(Iova first);
  // Makes planned areas committed.
  void CommitAdd(absl::Span<const BackendMapping> areas);

  // Moves every area of `range` out of the planned view and appends them to `removed`; on an error
  // nothing is moved. Errors: those of Engine::Unmap for one entry; also kUnavailable, no detail,
  // when an area of the range is only planned: to be tried again when that is settled.
  absl::Status PlanRemove(const IovaRange& range, std::vector<PlacedArea>* removed);
  // The same for every area; an empty Ioas is no error.
  absl::Status PlanRemoveAll(std::vector<PlacedArea>* removed);
  // Takes back what the two did, in any number of calls / makes it final.
  void UndoRemove(absl::Span<const PlacedArea> removed);
  void CommitRemove(absl::Span<const PlacedArea> removed);

  // The committed view.
  uint64_t mapping_count() const { return mapping_count_; }
  uint64_t mapped_bytes() const { return mapped_bytes_; }
  std::optional<PlacedArea> FindCommitted(Iova iova) const;
  // Visits committed areas that intersect `window`, ascending, until `visit` answers false.
  void VisitCommitted(const IovaRange& window,
                      const std::function<bool(const PlacedArea&)>& visit) const;
  std::vector<PlacedArea> CommittedAreas() const;

  // The first committed or planned area that meets `range`.
  std::optional<PlacedArea> FirstOverlap(const IovaRange& range) const;
  // kFailedPrecondition IOVA_CONFLICT: an area is not aligned to `alignment_bytes`.
  absl::Status CheckAlignment(uint64_t alignment_bytes) const;

  // What the tables of one domain can not hold, no mapping of the Ioas may be, until as often
  // removed as it was added.
  void AddPermissionLimits(const DomainProperties& properties);
  void RemovePermissionLimits(const DomainProperties& properties);
  // kFailedPrecondition PERMISSION_UNAVAILABLE: tables so can not hold an area.
  absl::Status CheckPermissions(const DomainProperties& properties) const;

  IovaSpace& space() { return space_; }
  const IovaSpace& space() const { return space_; }

  uint64_t mapping_revision = 0;
  absl::btree_set<Uid> domains;  // Committed and planned ones.

 private:
  // Moves the areas of `range`, all of them committed and whole, to the revoked ones by taking the
  // others out of their way: for when those are fewer.
  void RevokeAround(const IovaRange& range);
  absl::Status CheckSource(const Addition& addition) const;

  bool Refuses(Permission p) const { return refusing_[static_cast<size_t>(p)] != 0; }

  IovaSpace space_;
  std::array<uint32_t, 4> refusing_{};  // By Permission: domains that can not hold it.
  IntervalMap<Area> areas_;             // The planned view.
  IntervalMap<Area> revoked_;           // Committed, but planned to go.
  uint64_t mapping_count_ = 0;
  uint64_t mapped_bytes_ = 0;
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_IOAS_H_
