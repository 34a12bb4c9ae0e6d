// engine/model/area.h -- What an area of an IO address space maps: 16 bytes beside its range.
#ifndef VIOMMU_ENGINE_MODEL_AREA_H_
#define VIOMMU_ENGINE_MODEL_AREA_H_

#include <cstdint>

#include "engine/backend/backend.h"
#include "engine/base/address.h"

namespace viommu {

// There may be millions, hence the bit fields. Uids count up from 1: 60 bits are never used up.
struct Area {
  uint64_t offset_bytes = 0;  // Into the region.
  uint64_t region : 60;       // Uid of the MemoryRegion.
  uint64_t permission : 2;    // A Permission.
  uint64_t planned : 1;       // Not committed yet: reserved for an operation under way.
  uint64_t suspended : 1;     // Keeps its place, but is mapped in no domain: its memory went.

  Area() : region(0), permission(0), planned(0), suspended(0) {}
  Area(Uid region_uid, uint64_t offset, Permission p, bool is_planned)
      : offset_bytes(offset),
        region(region_uid),
        permission(static_cast<uint64_t>(p)),
        planned(is_planned ? 1 : 0),
        suspended(0) {}

  Permission permissions() const { return static_cast<Permission>(permission); }
};
static_assert(sizeof(Area) == 16, "there may be millions");

// An area together with its place.
struct PlacedArea {
  IovaRange range;
  Area area;

  BackendMapping ToBackend() const {
    return {range.first, range.size_bytes(), area.region, area.offset_bytes, area.permissions()};
  }
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_MODEL_AREA_H_
