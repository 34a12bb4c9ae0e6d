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
#include <map>
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
#include "engine/types.h"

namespace viommu {

class Ioas : public Object {
 public:
  static constexpr ObjectKind kKind = ObjectKind::kIoas;

  Ioas(std::string owner, std::string id, Uid uid, IoasMode mode = IoasMode::kNative,
       bool large_pages = true)
      : Object(kKind, std::move(owner), std::move(id), uid), mode(mode) {
    SetLargePages(large_pages);
  }

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
  // What PlanCut changed, in any number of calls.
  struct Cut {
    std::vector<PlacedArea> removed;      // Committed areas, whole: to be replaced by the next two.
    std::map<Iova, PlacedArea> remnants;  // By first address: planned areas, what stays of them.
    std::vector<PlacedArea> gone;         // The rest of them.
  };
  // Removes just `range`: what an area has outside of it stays, as an area of its own (a TYPE1
  // split: its nodes are made here, nothing can fail later). A range without areas is no error.
  // After an error the caller undoes the whole of `cut`.
  // kInvalidArgument MISALIGNED: an area would be cut where the alignment does not allow it.
  // kUnavailable, no detail: as PlanRemove; what `cut` itself planned may be cut again.
  absl::Status PlanCut(const IovaRange& range, Cut* cut);
  void UndoCut(const Cut& cut);
  void CommitCut(const Cut& cut);

  // Takes back what PlanRemove did, in any number of calls / makes it final.
  void UndoRemove(absl::Span<const PlacedArea> removed);
  void CommitRemove(absl::Span<const PlacedArea> removed);

  // The committed view.
  uint64_t mapping_count() const { return mapping_count_; }
  uint64_t mapped_bytes() const { return mapped_bytes_; }
  std::optional<PlacedArea> FindCommitted(Iova iova) const;
  // Visits committed areas that intersect `window`, ascending, until `visit` answers false.
  void VisitCommitted(const IovaRange& window,
                      const std::function<bool(const PlacedArea&)>& visit) const;
  // Those that its domains map: not the suspended ones.
  std::vector<PlacedArea> CommittedAreas() const;

  // The first committed or planned area that meets `range`.
  std::optional<PlacedArea> FirstOverlap(const IovaRange& range) const;
  // kFailedPrecondition IOVA_CONFLICT: an area is not aligned to `alignment_bytes`.
  absl::Status CheckAlignment(uint64_t alignment_bytes) const;

  // Areas of `region` that reach beyond its first `size_bytes` and are in force. To be asked and
  // changed only while nothing is planned. O(areas).
  std::vector<IovaRange> AreasBeyond(Uid region, uint64_t size_bytes) const;
  // They keep their place but are not in force any more.
  void Suspend(absl::Span<const IovaRange> areas);
  uint64_t suspended_count() const { return suspended_count_; }

  // Whether tables may have leaves above 4 KiB; without, areas are aligned to that.
  bool large_pages() const { return large_pages_; }
  void SetLargePages(bool large_pages);

  // What the tables of one domain can not hold, no mapping of the Ioas may be, until as often
  // removed as it was added.
  void AddPermissionLimits(const DomainProperties& properties);
  void RemovePermissionLimits(const DomainProperties& properties);
  // kFailedPrecondition PERMISSION_UNAVAILABLE: tables so can not hold an area that is in force.
  absl::Status CheckPermissions(const DomainProperties& properties) const;

  // Addresses that must stay mapped, and for whom.
  struct Pin {
    IovaRange range;
    Uid holder = 0;
  };
  // Whether all of `range` is mapped in the planned view.
  bool Covers(const IovaRange& range) const;

  IovaSpace& space() { return space_; }
  const IovaSpace& space() const { return space_; }

  const IoasMode mode;
  uint64_t mapping_revision = 0;
  absl::btree_set<Uid> domains;  // Committed ones.
  // Whose reserved regions were loaded explicitly; they stay when it is unplugged and come back.
  absl::btree_set<DeviceIndex> loaded_devices;
  std::vector<Pin> pins;  // A few; they may overlap.

 private:
  // Moves the areas of `range`, all of them committed and whole, to the revoked ones by taking the
  // others out of their way: for when those are fewer.
  void RevokeAround(const IovaRange& range);
  absl::Status CheckSource(const Addition& addition) const;
  // Whether a piece of `area` may begin at `first`.
  absl::Status CheckCutAt(const PlacedArea& area, Iova first) const;
  // Takes `range` out of one area that lies partly in it; the area is in no map any more.
  void CutOut(const PlacedArea& area, const IovaRange& range, Cut* cut);
  absl::Status CutOwn(const IovaRange& range, Cut* cut);
  absl::Status CutBorders(const IovaRange& range, Cut* cut);

  bool Refuses(Permission p) const { return refusing_[static_cast<size_t>(p)] != 0; }

  IovaSpace space_;
  std::array<uint32_t, 4> refusing_{};  // By Permission: domains that can not hold it.
  IntervalMap<Area> areas_;             // The planned view.
  IntervalMap<Area> revoked_;           // Committed, but planned to go.
  uint64_t mapping_count_ = 0;
  uint64_t mapped_bytes_ = 0;
  uint64_t suspended_count_ = 0;  // Of the committed areas.
  bool large_pages_ = true;
};

// kFailedPrecondition MAPPING_SUSPENDED, for who would use what `area` shows.
absl::Status NotInForce(const PlacedArea& area);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_IOAS_H_
