#include "engine/backend/soft/hardware/smmu_device_tlb.h"

namespace viommu::hardware::smmu {
namespace {

// Two tags for each substream, and behind them the one for requests without.
constexpr uint32_t kPrivileged = 1;
constexpr uint32_t kWithoutSubstream = 2u << 20;

uint32_t TagOf(const Request& request) {
  if (!request.substream_id.has_value()) return kWithoutSubstream;
  return *request.substream_id << 1 | (request.privileged ? kPrivileged : 0);
}

}  // namespace

const DeviceTranslation* DeviceTlb::Find(const Request& request) const {
  const uint32_t tag = TagOf(request);
  for (size_t i = 0; i < kPageShifts.size(); ++i) {
    const auto it = pages_[i].find(Key(tag, request.address >> kPageShifts[i]));
    if (it != pages_[i].end()) return &it->second;
  }
  return nullptr;
}

DeviceTranslation DeviceTlb::Insert(const Request& request, const Translation& answer) {
  const uint64_t page = answer.physical.value >> answer.page_shift << answer.page_shift;
  const DeviceTranslation kept = {PhysAddr{page}, answer.page_shift, answer.read, answer.write};
  for (size_t i = 0; i < kPageShifts.size(); ++i) {
    if (kPageShifts[i] != answer.page_shift) continue;
    pages_[i].insert_or_assign(Key(TagOf(request), request.address >> kPageShifts[i]), kept);
  }
  return kept;
}

void DeviceTlb::DropAll(const IovaRange& range) { DropTags(0, kWithoutSubstream, range); }

void DeviceTlb::DropSubstream(uint32_t substream_id, const IovaRange& range) {
  DropTags(substream_id << 1, substream_id << 1 | kPrivileged, range);
}

void DeviceTlb::DropSubstreams(const IovaRange& range) {
  DropTags(0, kWithoutSubstream - 1, range);
}

void DeviceTlb::DropTags(uint32_t first, uint32_t last, const IovaRange& range) {
  for (size_t i = 0; i < kPageShifts.size(); ++i) {
    const uint64_t first_page = range.first >> kPageShifts[i];
    const uint64_t last_page = range.last >> kPageShifts[i];
    auto it = pages_[i].lower_bound(Key(first, first_page));
    while (it != pages_[i].end() && it->first.first <= last) {
      const uint64_t page = it->first.second;
      it = first_page <= page && page <= last_page ? pages_[i].erase(it) : ++it;
    }
  }
}

}  // namespace viommu::hardware::smmu
