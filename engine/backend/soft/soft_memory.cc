#include "engine/backend/soft/soft_memory.h"

#include <algorithm>
#include <set>
#include <vector>

#include "absl/numeric/bits.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kLargestLeafBytes = uint64_t{1} << 30;
constexpr PhysAddr kFirstAddress{uint64_t{4} << 30};

int NarrowestWidth(const Topology& topology) {
  int width = 52;
  for (const IommuSpec& spec : topology.iommus) {
    width = std::min(width, PhysicalAddressBits(spec));
  }
  return width;
}

absl::Status NoRegion(Uid uid) {
  return Error(absl::StatusCode::kNotFound, "MEMORY_REGION_NOT_FOUND",
               absl::StrCat("the backend has no memory region ", uid))
      .Errno("ENOENT");
}

}  // namespace

std::vector<IovaRange> DirectRanges(absl::Span<const DeviceSpec* const> devices) {
  std::vector<IovaRange> ranges;
  for (const DeviceSpec* device : devices) {
    for (const ReservedRegion& region : device->reserved_regions) {
      if (region.type != ReservedRegionType::kDirect &&
          region.type != ReservedRegionType::kDirectRelaxable) {
        continue;
      }
      ranges.push_back(
          {region.range.first & ~(kPageBytes - 1), region.range.last | (kPageBytes - 1)});
    }
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const IovaRange& a, const IovaRange& b) { return a.first < b.first; });
  std::vector<IovaRange> merged;
  for (const IovaRange& range : ranges) {
    if (!merged.empty() && range.first <= merged.back().last) {
      merged.back().last = std::max(merged.back().last, range.last);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

SoftMemory::SoftMemory(int address_width_bits) : physical_(kFirstAddress, address_width_bits) {}

absl::StatusOr<std::unique_ptr<SoftMemory>> SoftMemory::Create(const Topology& topology,
                                                               uint64_t arena_bytes) {
  std::unique_ptr<SoftMemory> memory(new SoftMemory(NarrowestWidth(topology)));
  // First, because only they cannot give way.
  RETURN_IF_ERROR(memory->AddDirectRegions(topology));
  RETURN_IF_ERROR(memory->AddDoorbells(topology));
  ASSIGN_OR_RETURN(const auto window, memory->physical_.AddWindow(arena_bytes, kPageBytes));
  memory->arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
  return memory;
}

absl::Status SoftMemory::AddDirectRegions(const Topology& topology) {
  std::vector<const DeviceSpec*> devices;
  for (const DeviceSpec& device : topology.devices) devices.push_back(&device);
  for (const IovaRange& range : DirectRanges(devices)) {
    RETURN_IF_ERROR(physical_.AddWindowAt(PhysAddr{range.first}, range.size_bytes()).status());
  }
  return absl::OkStatus();
}

absl::Status SoftMemory::AddDoorbells(const Topology& topology) {
  std::set<PhysAddr> doorbells;
  for (const DeviceSpec& device : topology.devices) {
    if (device.msi_doorbell.has_value()) doorbells.insert(*device.msi_doorbell);
  }
  for (const PhysAddr doorbell : doorbells) {
    RETURN_IF_ERROR(physical_.AddWindowAt(doorbell, kPageBytes).status());
  }
  return absl::OkStatus();
}

absl::Status SoftMemory::CreateRegion(Uid uid, uint64_t size_bytes) {
  absl::MutexLock lock(&mutex_);
  if (regions_.contains(uid)) {
    return Error(absl::StatusCode::kAlreadyExists, "MEMORY_REGION_EXISTS",
                 absl::StrCat("the backend has a memory region ", uid, " already"))
        .Errno("EEXIST");
  }
  const uint64_t alignment_bytes = size_bytes >= kLargestLeafBytes
                                       ? kLargestLeafBytes
                                       : std::max(kPageBytes, absl::bit_ceil(size_bytes));
  ASSIGN_OR_RETURN(const auto window, physical_.AddWindow(size_bytes, alignment_bytes));
  regions_[uid] = window;
  return absl::OkStatus();
}

absl::Status SoftMemory::DestroyRegion(Uid uid) {
  absl::MutexLock lock(&mutex_);
  const auto it = regions_.find(uid);
  if (it == regions_.end()) return NoRegion(uid);
  physical_.RemoveWindow(it->second.base);
  regions_.erase(it);
  return absl::OkStatus();
}

absl::StatusOr<PhysAddr> SoftMemory::Locate(Uid uid, uint64_t offset_bytes,
                                            uint64_t size_bytes) const {
  absl::ReaderMutexLock lock(&mutex_);
  return LocateLocked(uid, offset_bytes, size_bytes);
}

absl::StatusOr<PhysicalMemory::Window> SoftMemory::FindLocked(Uid uid) const {
  const auto it = regions_.find(uid);
  if (it == regions_.end()) return NoRegion(uid);
  return it->second;
}

absl::StatusOr<PhysAddr> SoftMemory::LocateLocked(Uid uid, uint64_t offset_bytes,
                                                  uint64_t size_bytes) const {
  ASSIGN_OR_RETURN(const PhysicalMemory::Window region, FindLocked(uid));
  if (!IsInside(region, offset_bytes, size_bytes)) {
    return Error(absl::StatusCode::kOutOfRange, "SOURCE_OUT_OF_BOUNDS",
                 absl::StrCat(Hex(size_bytes), " bytes at ", Hex(offset_bytes),
                              " are not inside a memory region of ", Hex(region.size_bytes),
                              " bytes"))
        .Errno("EINVAL")
        .Field("offset");
  }
  return region.base + offset_bytes;
}

absl::Status SoftMemory::Read(Uid uid, uint64_t offset_bytes, absl::Span<char> data) const {
  // Held while bytes move: when the region went meanwhile, another tenant's could be in its place.
  absl::ReaderMutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const PhysAddr address, LocateLocked(uid, offset_bytes, data.size()));
  if (!physical_.Read(address, data)) return NoRegion(uid);
  return absl::OkStatus();
}

absl::Status SoftMemory::Write(Uid uid, uint64_t offset_bytes, absl::Span<const char> data) {
  absl::ReaderMutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const PhysAddr address, LocateLocked(uid, offset_bytes, data.size()));
  if (!physical_.Write(address, data)) return NoRegion(uid);
  return absl::OkStatus();
}

}  // namespace viommu
