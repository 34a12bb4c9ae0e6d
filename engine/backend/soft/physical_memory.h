// engine/backend/soft/physical_memory.h -- The simulated host's physical memory: sparse windows.
//
// A window is an anonymous mapping that costs nothing until touched, so memory of many GiB can be
// offered on a laptop. Inside a window physical address and pointer differ by a constant; that
// constant never changes while the window lives. Both halves of the software IOMMU stand on this
// class, but it knows no format: it only stores and loads.
//
// Thread-safe. Every access is atomic per naturally aligned 8-byte word (16 for Load128), as real
// memory is towards a device; longer accesses may interleave with others word by word.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_PHYSICAL_MEMORY_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_PHYSICAL_MEMORY_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/numeric/int128.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "engine/base/address.h"

namespace viommu {

class PhysicalMemory {
 public:
  struct Window {
    PhysAddr base;
    uint64_t size_bytes = 0;
    char* data = nullptr;  // Zero-filled; valid until RemoveWindow.
  };

  // Memory appears at addresses from `first` up to, not including, 2^`address_width_bits`.
  PhysicalMemory(PhysAddr first, int address_width_bits);
  ~PhysicalMemory();
  PhysicalMemory(const PhysicalMemory&) = delete;
  PhysicalMemory& operator=(const PhysicalMemory&) = delete;

  // Adds zeroed memory at the lowest free address that is a multiple of `alignment_bytes`.
  // kInvalidArgument: the size is 0 or no multiple of 4 KiB, or the alignment is no power of two
  //   of at least 4 KiB.
  // kResourceExhausted: no free physical range is large enough, or the host refuses the mapping.
  absl::StatusOr<Window> AddWindow(uint64_t size_bytes, uint64_t alignment_bytes);

  // Adds zeroed memory at exactly [base, base + size_bytes), both multiples of 4 KiB. Later windows
  // keep away from it. For memory whose place the firmware decides.
  // kInvalidArgument: base or size is no multiple of 4 KiB, the size is 0, or the address width can
  //   not name the range.
  // kAlreadyExists: a window is there.
  // kResourceExhausted: the host refuses the mapping.
  absl::StatusOr<Window> AddWindowAt(PhysAddr base, uint64_t size_bytes);

  // Takes a window away; nothing answers at its addresses any more. `base` must be a window's.
  void RemoveWindow(PhysAddr base);

  // One naturally aligned word of 8 or 16 bytes; nullopt when nothing answers there.
  absl::optional<uint64_t> Load64(PhysAddr address) const;
  absl::optional<absl::uint128> Load128(PhysAddr address) const;

  // One naturally aligned word of 4 or 8 bytes; false when nothing answers there.
  bool Store32(PhysAddr address, uint32_t value);
  bool Store64(PhysAddr address, uint64_t value);

  // Turns the naturally aligned word into `to` if it holds `from`, at once; false when it holds
  // something else or nothing answers there.
  bool Exchange64(PhysAddr address, uint64_t from, uint64_t to);

  // Copies `bytes.size()` bytes; false, with nothing copied, when a part of the range has no
  // memory or runs across the end of a window.
  bool Read(PhysAddr address, absl::Span<char> bytes) const;
  bool Write(PhysAddr address, absl::Span<const char> bytes);

 private:
  // Maps host memory for a window, and inserts it before `place`.
  absl::StatusOr<Window> Insert(std::vector<Window>::iterator place, PhysAddr base,
                                uint64_t size_bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The pointer behind [address, address + size_bytes); null when it is not in one window.
  char* At(PhysAddr address, uint64_t size_bytes) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const PhysAddr first_;
  const uint64_t end_;  // One past the last physical address.
  mutable absl::Mutex mutex_;
  std::vector<Window> windows_ ABSL_GUARDED_BY(mutex_);  // Ascending by base; disjoint.
};

}  // namespace viommu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_PHYSICAL_MEMORY_H_
