// engine/backend/soft/soft_memory.h -- Who has which part of the simulated physical memory: the
// tables, the MemoryRegions, the places that firmware reserved for DIRECT regions, and the
// interrupt doorbells of devices.
//
// The arena of the tables lies at 4 GiB, the regions behind it: away from the low memory in which
// DIRECT regions usually lie, and from the interrupt window at 0xfee00000, which no memory may use.
//
// Thread-safe.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_SOFT_MEMORY_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_SOFT_MEMORY_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/status_macros.h"
#include "engine/pagetable/table_arena.h"

namespace viommu {

class SoftMemory {
 public:
  // Physical addresses have as many bits as the narrowest unit takes.
  // kInvalidArgument: a DIRECT region or a doorbell is wider than that, or the arena's size is no
  //   multiple of 4 KiB.
  // kAlreadyExists: a doorbell lies in a DIRECT region.
  // kResourceExhausted: no place for the arena.
  static absl::StatusOr<std::unique_ptr<SoftMemory>> Create(const Topology& topology,
                                                            uint64_t arena_bytes);

  PhysicalMemory& physical() { return physical_; }
  const PhysicalMemory& physical() const { return physical_; }
  TableArena& arena() { return *arena_; }
  const TableArena& arena() const { return *arena_; }

  // Zeroed memory for a region, placed so that leaves of up to 1 GiB can map it.
  // kAlreadyExists: `uid` is taken.
  // kInvalidArgument: the size is 0 or no multiple of 4 KiB.
  // kResourceExhausted: no physical range is large enough.
  absl::Status CreateRegion(Uid uid, uint64_t size_bytes);
  // kNotFound: no such region.
  absl::Status DestroyRegion(Uid uid);

  // Where [offset_bytes, offset_bytes + size_bytes) of a region lies.
  // kNotFound: no such region.
  // kOutOfRange: the range is not inside the region.
  absl::StatusOr<PhysAddr> Locate(Uid uid, uint64_t offset_bytes, uint64_t size_bytes) const;

  // Calls `found(mapping, PhysAddr)` for one mapping after the other, up to the first that fails.
  // It must not call the SoftMemory, whose lock is held.
  // As Locate, for the one that fails.
  template <typename Found>
  absl::Status LocateEach(absl::Span<const BackendMapping> mappings, const Found& found) const;

  // As Locate.
  absl::Status Read(Uid uid, uint64_t offset_bytes, absl::Span<char> data) const;
  absl::Status Write(Uid uid, uint64_t offset_bytes, absl::Span<const char> data);

 private:
  // kNotFound: no such region.
  absl::StatusOr<PhysicalMemory::Window> FindLocked(Uid uid) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<PhysAddr> LocateLocked(Uid uid, uint64_t offset_bytes, uint64_t size_bytes) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  static bool IsInside(const PhysicalMemory::Window& region, uint64_t offset_bytes,
                       uint64_t size_bytes) {
    return offset_bytes < region.size_bytes && region.size_bytes - offset_bytes >= size_bytes;
  }
  explicit SoftMemory(int address_width_bits);
  absl::Status AddDirectRegions(const Topology& topology);
  absl::Status AddDoorbells(const Topology& topology);

  PhysicalMemory physical_;
  std::unique_ptr<TableArena> arena_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<Uid, PhysicalMemory::Window> regions_ ABSL_GUARDED_BY(mutex_);
};

// Neighbours are mostly of one region, which is looked up once.
template <typename Found>
absl::Status SoftMemory::LocateEach(absl::Span<const BackendMapping> mappings,
                                    const Found& found) const {
  absl::ReaderMutexLock lock(&mutex_);
  PhysicalMemory::Window region;
  const BackendMapping* last = nullptr;
  for (const BackendMapping& mapping : mappings) {
    if (last == nullptr || last->region != mapping.region) {
      ASSIGN_OR_RETURN(region, FindLocked(mapping.region));
    }
    if (!IsInside(region, mapping.offset_bytes, mapping.size_bytes)) {
      return LocateLocked(mapping.region, mapping.offset_bytes, mapping.size_bytes).status();
    }
    found(mapping, region.base + mapping.offset_bytes);
    last = &mapping;
  }
  return absl::OkStatus();
}

// The DIRECT and DIRECT_RELAXABLE regions of some devices, widened to whole pages, merged and in
// ascending order: what a DMA default domain maps one to one.
std::vector<IovaRange> DirectRanges(absl::Span<const DeviceSpec* const> devices);

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_SOFT_MEMORY_H_
