// engine/limits.h -- How much there may be of anything: of one request, of one owner.
//
// Named here because clients can read them in GetHost.
#ifndef VIOMMU_ENGINE_LIMITS_H_
#define VIOMMU_ENGINE_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace viommu {

inline constexpr size_t kMaxBatchEntries = 16384;  // Entries of one Map or Unmap.
inline constexpr size_t kMaxPageSize = 1000;       // Items of one listing page.
inline constexpr size_t kDefaultPageSize = 100;
inline constexpr size_t kMaxInFlightBatches = 32;    // Per mapping stream.
inline constexpr size_t kMaxAllowedRanges = 1024;    // Of one Ioas.
inline constexpr size_t kRememberedRequests = 1024;  // request_ids kept per principal.
inline constexpr size_t kMaxPasidLabelBytes = 63;
inline constexpr size_t kMaxDoorbellPages = 64;                     // Of one owner's domains.
inline constexpr uint32_t kMaxEventQueueDepth = uint32_t{1} << 19;  // iommufd: veventq_depth.
inline constexpr uint32_t kMaxFaultQueueDepth = 4096;  // Groups that one fault queue keeps.
inline constexpr uint32_t kDefaultFaultQueueDepth = 256;
inline constexpr uint32_t kMaxPageGroup = 511;  // Index by which a device names a group.
inline constexpr size_t kMaxFaultsPerGroup = 64;
inline constexpr size_t kMaxPartialFaults = 1024;  // Of one device, before the last of a group.
inline constexpr size_t kMaxFaultResponses = kMaxFaultQueueDepth;  // Of one RespondFault.
inline constexpr uint64_t kMaxRegionBytes = uint64_t{1} << 44;
inline constexpr uint64_t kMaxAccessBytes = uint64_t{1} << 20;  // One Dma, ReadMemory, WriteMemory.
// Of one ReadDirtyBitmap: half a MiB, 16 GiB of pages of 4 KiB.
inline constexpr uint64_t kMaxBitmapPages = uint64_t{1} << 22;

// What one owner (principal) may have at a time, so that no tenant can take the host's memory, ids
// or attention from the others. The same for every owner; fixed when the engine is made. An owner
// is charged for its objects and what they hold, whoever acts on them; a caller for what it has
// under way.
struct OwnerLimits {
  // Objects of a kind. Some hundred bytes each; and 4096 domains are a sixteenth of the 65536
  // domain ids that a VT-d unit has at most.
  uint64_t max_memory_regions = 4096;
  uint64_t max_ioas = 4096;
  uint64_t max_domains = 4096;
  // Areas of all IO address spaces: 64 GiB in single pages, at 40 to 60 bytes each about a GiB.
  uint64_t max_mappings = uint64_t{1} << 24;
  // Bytes that they map together: four of the largest regions. It bounds what tables can cover.
  uint64_t max_mapped_bytes = uint64_t{1} << 46;
  // Bytes of all memory regions together.
  uint64_t max_region_bytes_total = uint64_t{1} << 46;
  // PASIDs of all devices that are reserved, allocated or attached: some hundred bytes each.
  uint64_t max_pasids = uint64_t{1} << 16;
  // Vdevices and hardware queues are bounded by the devices and the hardware that there are.
  uint64_t max_viommus = 4096;
  // Depths of the event queues of all Viommus: two of the deepest, at some 60 bytes an event.
  uint64_t max_queued_events = uint64_t{1} << 20;
  // Fault queues, and the groups of page faults that all of them together may keep: each up to some
  // kilobytes.
  uint64_t max_fault_queues = 1024;
  uint64_t max_fault_groups = uint64_t{1} << 16;
  // Grants (what gives or makes something) of one caller between their start and their answer. Each
  // holds a batch of up to 4 MiB, so this is a GiB; and a revoke waits behind no more than these.
  uint64_t max_operations_in_flight = 256;
  // Open mapping streams, fault streams and watches of one caller; each holds at least one thread.
  uint64_t max_streams = 64;
};

// When translations that the host has unmapped in a DMA_FQ default domain are flushed: when the
// ring is full, or when one has waited for as long as it may.
struct FlushQueueOptions {
  uint32_t ring_entries = 256;  // 2 and more; one of them stays free.
  absl::Duration timeout = absl::Milliseconds(10);
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_LIMITS_H_
