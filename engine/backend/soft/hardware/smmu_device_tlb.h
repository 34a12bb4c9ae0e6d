// engine/backend/soft/hardware/smmu_device_tlb.h -- What devices behind an SMMUv3 remember of the
// translations that they asked for (PCIe Address Translation Services; IHI 0070 3.9, 4.5.1).
//
// The worst a device may do: nothing ever falls out by itself. An invalidation without PASID takes
// whatever lies in the range, asked for with or without (Linux arm_smmu_atc_inv_to_cmd); one with
// PASID reaches that PASID, or with the global flag all of them, but nothing that was asked for
// without.
//
// Thread-compatible: the SmmuModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_DEVICE_TLB_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_DEVICE_TLB_H_

#include <array>
#include <cstdint>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "engine/backend/soft/hardware/smmu_request.h"
#include "engine/base/address.h"

namespace viommu::hardware::smmu {

// A page that a device may use without asking again.
struct DeviceTranslation {
  PhysAddr page;  // First byte.
  int page_shift = 12;
  bool read = false;
  bool write = false;
};

// Of one device.
class DeviceTlb {
 public:
  // What is remembered for the request's address, substream and privilege; null when nothing is.
  const DeviceTranslation* Find(const Request& request) const;
  // Remembers the answer to `request`, a translation request, and answers it as it is remembered.
  // Smaller pages that it covers stay, and are found before it.
  DeviceTranslation Insert(const Request& request, const Translation& answer);

  // Whether it answers invalidations. One that does not goes on using what it remembers.
  bool answers() const { return answers_; }
  void SetAnswers(bool answers) { answers_ = answers; }

  void DropAll(const IovaRange& range);
  void DropSubstream(uint32_t substream_id, const IovaRange& range);
  void DropSubstreams(const IovaRange& range);

 private:
  using Key = std::pair<uint32_t, uint64_t>;  // Tag, address without its low bits.

  static constexpr std::array<int, 8> kPageShifts = {12, 14, 16, 21, 25, 29, 30, 42};
  void DropTags(uint32_t first, uint32_t last, const IovaRange& range);

  bool answers_ = true;
  std::array<absl::btree_map<Key, DeviceTranslation>, kPageShifts.size()> pages_;  // By size.
};

// By stream; a device without one has its ATS switched off.
using DeviceTlbs = absl::flat_hash_map<uint32_t, DeviceTlb>;

}  // namespace viommu::hardware::smmu

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_SMMU_DEVICE_TLB_H_
