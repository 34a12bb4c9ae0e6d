// engine/backend/soft/hardware/vtd_device_tlb.h -- What devices remember of the translations that
// they asked for (PCIe Address Translation Services; VT-d 4.1).
//
// The worst a device may do: nothing ever falls out by itself. What an invalidation without PASID
// takes away is what was asked for without PASID; one with PASID reaches that PASID, or with the
// global flag all of them, but nothing that was asked for without.
//
// Thread-compatible: the VtdModel holds its lock.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_DEVICE_TLB_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_DEVICE_TLB_H_

#include <array>
#include <cstdint>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "engine/backend/soft/hardware/vtd_request.h"
#include "engine/base/address.h"

namespace viommu::hardware {

// A page that a device may use without asking again.
struct DeviceTranslation {
  PhysAddr page;  // First byte.
  int page_shift = 12;
  bool read = false;
  bool write = false;
};

// Of one function.
class DeviceTlb {
 public:
  // What is remembered for the request's address, PASID and privilege; null when nothing is.
  const DeviceTranslation* Find(const Request& request) const;
  // Remembers the answer to `request`, a translation request, and answers it as it is remembered.
  // Smaller pages that it covers stay, and are found before it.
  DeviceTranslation Insert(const Request& request, const Translation& answer);

  // Whether it answers invalidations. One that does not goes on using what it remembers.
  bool answers() const { return answers_; }
  void SetAnswers(bool answers) { answers_ = answers; }

  void DropWithoutPasid(const IovaRange& range);
  void DropPasid(uint32_t pasid, const IovaRange& range);
  void DropAllPasids(const IovaRange& range);

 private:
  using Key = std::pair<uint32_t, uint64_t>;  // Tag, address without its low bits.

  static constexpr std::array<int, 3> kPageShifts = {12, 21, 30};
  void DropTags(uint32_t first, uint32_t last, const IovaRange& range);

  bool answers_ = true;
  std::array<absl::btree_map<Key, DeviceTranslation>, kPageShifts.size()> pages_;  // By size.
};

// By source-id; a function without one has its ATS switched off.
using DeviceTlbs = absl::flat_hash_map<uint16_t, DeviceTlb>;

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_DEVICE_TLB_H_
