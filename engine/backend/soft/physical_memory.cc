#include "engine/backend/soft/physical_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;

// Copies memory that another thread may be writing: whole words where both ends are aligned alike,
// single bytes elsewhere, each access atomic.
void AtomicCopyOut(const char* from, char* to, uint64_t size) {
  while (size > 0) {
    if (reinterpret_cast<uintptr_t>(from) % 8 == 0 && size >= 8) {
      const uint64_t word =
          __atomic_load_n(reinterpret_cast<const uint64_t*>(from), __ATOMIC_RELAXED);
      std::memcpy(to, &word, 8);
      from += 8, to += 8, size -= 8;
    } else {
      *to++ = __atomic_load_n(from++, __ATOMIC_RELAXED);
      --size;
    }
  }
}

void AtomicCopyIn(const char* from, char* to, uint64_t size) {
  while (size > 0) {
    if (reinterpret_cast<uintptr_t>(to) % 8 == 0 && size >= 8) {
      uint64_t word;
      std::memcpy(&word, from, 8);
      __atomic_store_n(reinterpret_cast<uint64_t*>(to), word, __ATOMIC_RELAXED);
      from += 8, to += 8, size -= 8;
    } else {
      __atomic_store_n(to++, *from++, __ATOMIC_RELAXED);
      --size;
    }
  }
}

}  // namespace

PhysicalMemory::PhysicalMemory(PhysAddr first, int address_width_bits)
    : first_(first), end_(uint64_t{1} << address_width_bits) {}

PhysicalMemory::~PhysicalMemory() {
  for (const Window& w : windows_) munmap(w.data, w.size_bytes);
}

absl::StatusOr<PhysicalMemory::Window> PhysicalMemory::AddWindow(uint64_t size_bytes,
                                                                 uint64_t alignment_bytes) {
  if (size_bytes == 0 || size_bytes % kPageBytes != 0) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_SIZE",
                 absl::StrCat("size ", Hex(size_bytes), " is not a positive multiple of 4 KiB"));
  }
  if (!IsPowerOfTwo(alignment_bytes) || alignment_bytes < kPageBytes) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_ALIGNMENT",
                 absl::StrCat("alignment ", Hex(alignment_bytes),
                              " is not a power of two of at least 4 KiB"));
  }
  absl::MutexLock lock(&mutex_);
  const auto align = [&](uint64_t v) { return (v + alignment_bytes - 1) & ~(alignment_bytes - 1); };
  uint64_t base = align(first_.value);
  auto place = windows_.begin();
  const auto fits_below = [&](const Window& w) {
    return base <= w.base.value && w.base.value - base >= size_bytes;
  };
  for (; place != windows_.end() && !fits_below(*place); ++place) {
    base = std::max(base, align(place->base.value + place->size_bytes));
  }
  if (base >= end_ || end_ - base < size_bytes) {
    return Error(absl::StatusCode::kResourceExhausted, "PHYSICAL_MEMORY_EXHAUSTED",
                 absl::StrCat("no free physical range of ", Hex(size_bytes), " bytes"))
        .Errno("ENOMEM");
  }
  return Insert(place, PhysAddr{base}, size_bytes);
}

absl::StatusOr<PhysicalMemory::Window> PhysicalMemory::AddWindowAt(PhysAddr base,
                                                                   uint64_t size_bytes) {
  if (size_bytes == 0 || size_bytes % kPageBytes != 0 || base.value % kPageBytes != 0 ||
      base.value >= end_ || end_ - base.value < size_bytes) {
    return Error(
        absl::StatusCode::kInvalidArgument, "INVALID_WINDOW",
        absl::StrCat("no window can be at ", Hex(base.value), " of ", Hex(size_bytes), " bytes"));
  }
  absl::MutexLock lock(&mutex_);
  auto place = windows_.begin();
  while (place != windows_.end() && place->base < base) ++place;
  const bool meets_next = place != windows_.end() && place->base.value - base.value < size_bytes;
  const bool meets_previous =
      place != windows_.begin() && base.value - (place - 1)->base.value < (place - 1)->size_bytes;
  if (meets_next || meets_previous) {
    return Error(
        absl::StatusCode::kAlreadyExists, "WINDOW_CONFLICT",
        absl::StrCat("a window overlaps ", Hex(base.value), " of ", Hex(size_bytes), " bytes"));
  }
  return Insert(place, base, size_bytes);
}

absl::StatusOr<PhysicalMemory::Window> PhysicalMemory::Insert(std::vector<Window>::iterator place,
                                                              PhysAddr base, uint64_t size_bytes) {
  void* data = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return Error(absl::StatusCode::kResourceExhausted, "PHYSICAL_MEMORY_EXHAUSTED",
                 absl::StrCat("the host refuses to map ", Hex(size_bytes),
                              " bytes: ", std::strerror(errno)))
        .Errno("ENOMEM");
  }
  const Window window{base, size_bytes, static_cast<char*>(data)};
  windows_.insert(place, window);
  return window;
}

void PhysicalMemory::RemoveWindow(PhysAddr base) {
  absl::MutexLock lock(&mutex_);
  const auto it = std::find_if(windows_.begin(), windows_.end(),
                               [&](const Window& w) { return w.base == base; });
  if (it == windows_.end()) return;
  munmap(it->data, it->size_bytes);
  windows_.erase(it);
}

char* PhysicalMemory::At(PhysAddr address, uint64_t size_bytes) const {
  auto it = std::upper_bound(windows_.begin(), windows_.end(), address.value,
                             [](uint64_t value, const Window& w) { return value < w.base.value; });
  if (it == windows_.begin()) return nullptr;
  --it;
  const uint64_t offset = address.value - it->base.value;
  if (offset >= it->size_bytes || it->size_bytes - offset < size_bytes) return nullptr;
  return it->data + offset;
}

absl::optional<uint64_t> PhysicalMemory::Load64(PhysAddr address) const {
  absl::ReaderMutexLock lock(&mutex_);
  const char* word = At(address, 8);
  if (word == nullptr || address.value % 8 != 0) return absl::nullopt;
  return __atomic_load_n(reinterpret_cast<const uint64_t*>(word), __ATOMIC_ACQUIRE);
}

absl::optional<absl::uint128> PhysicalMemory::Load128(PhysAddr address) const {
  absl::ReaderMutexLock lock(&mutex_);
  char* word = At(address, 16);
  if (word == nullptr || address.value % 16 != 0) return absl::nullopt;
  // x86-64 has no plain 16-byte load that every processor promises to be atomic; comparing with and
  // exchanging for the same value is one.
  const unsigned __int128 value =
      __sync_val_compare_and_swap(reinterpret_cast<unsigned __int128*>(word), 0, 0);
  return absl::MakeUint128(static_cast<uint64_t>(value >> 64), static_cast<uint64_t>(value));
}

bool PhysicalMemory::Store32(PhysAddr address, uint32_t value) {
  absl::ReaderMutexLock lock(&mutex_);
  char* word = At(address, 4);
  if (word == nullptr || address.value % 4 != 0) return false;
  __atomic_store_n(reinterpret_cast<uint32_t*>(word), value, __ATOMIC_RELEASE);
  return true;
}

bool PhysicalMemory::Store64(PhysAddr address, uint64_t value) {
  absl::ReaderMutexLock lock(&mutex_);
  char* word = At(address, 8);
  if (word == nullptr || address.value % 8 != 0) return false;
  __atomic_store_n(reinterpret_cast<uint64_t*>(word), value, __ATOMIC_RELEASE);
  return true;
}

bool PhysicalMemory::Exchange64(PhysAddr address, uint64_t from, uint64_t to) {
  absl::ReaderMutexLock lock(&mutex_);
  char* word = At(address, 8);
  if (word == nullptr || address.value % 8 != 0) return false;
  return __atomic_compare_exchange_n(reinterpret_cast<uint64_t*>(word), &from, to, /*weak=*/false,
                                     __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

bool PhysicalMemory::Read(PhysAddr address, absl::Span<char> bytes) const {
  absl::ReaderMutexLock lock(&mutex_);
  const char* from = At(address, bytes.size());
  if (from == nullptr) return false;
  AtomicCopyOut(from, bytes.data(), bytes.size());
  return true;
}

bool PhysicalMemory::Write(PhysAddr address, absl::Span<const char> bytes) {
  absl::ReaderMutexLock lock(&mutex_);
  char* to = At(address, bytes.size());
  if (to == nullptr) return false;
  AtomicCopyIn(bytes.data(), to, bytes.size());
  return true;
}

}  // namespace viommu
