// engine/backend/soft/hardware/vtd_test_world.h -- A VtdModel over tables written word by word, for
// the tests of the model. Every constant here is taken from the formats, never from the writers.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TEST_WORLD_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TEST_WORLD_H_

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>

#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/base/address.h"

namespace viommu::hardware {

// CAP: 2^16 domains, 3, 4 and 5 levels, 57-bit guest addresses, 2M and 1G pages, page-selective
// invalidation up to 2^18 pages, 4 fault records at 0x400.
constexpr uint64_t kTestCap = 6ull | 0xeull << 8 | 56ull << 16 | 0x40ull << 24 | 3ull << 34 |
                              1ull << 39 | 3ull << 40 | 18ull << 48;
// ECAP: coherent, queued invalidation, pass-through, snoop control, 20-bit PASIDs, scalable mode,
// second stage, coherent walks, RID_PASID.
constexpr uint64_t kTestEcap = 1ull | 1ull << 1 | 1ull << 6 | 1ull << 7 | 19ull << 35 | 1ull << 40 |
                               1ull << 43 | 1ull << 46 | 1ull << 48 | 1ull << 49;
// With first-stage and nested translation, 5 first-stage levels, 1 GiB first-stage pages,
// supervisor requests, extended access flags, second-stage dirty tracking, device TLBs and draining
// of page requests.
constexpr uint64_t kTwoStageCap = kTestCap | 1ull << 56 | 1ull << 60;
constexpr uint64_t kTwoStageEcap = kTestEcap | 1ull << 2 | 1ull << 26 | 1ull << 31 | 1ull << 34 |
                                   1ull << 42 | 1ull << 45 | 1ull << 47;
constexpr uint32_t kTestRecords = 0x400;
constexpr int kTestWidth = 46;

// Reasons that only a first stage, a nested walk, marking of entries or a device TLB can raise.
inline bool IsTwoStageReason(int reason) {
  return reason == 0x44 || reason == 0x5d || (reason >= 0x70 && reason <= 0x77) || reason == 0x7c ||
         reason == 0x80 || reason == 0x81 || reason == 0x90;
}

// What only page requests can meet; vtd_page_requests_test has it.
inline bool IsPageRequestReason(int reason) { return reason == 0x47; }

// One device, 03:00.1, whose requests without PASID use PASID 0 and whose directory covers 8192
// PASIDs. PASIDs 0 and 5 share the second-stage tables of domain 7: five levels, entered at the
// level that AW selects. 0x40000000 leads to a 4 KiB page, 0x40200000 to a 2 MiB page, 0x80000000
// to a 1 GiB page.
class VtdTestWorld {
 public:
  static constexpr uint16_t kDevice = 0x0301;
  static constexpr uint32_t kPasid = 5;
  static constexpr uint16_t kDomain = 7;
  static constexpr uint64_t kIova4K = 0x40000000;
  static constexpr uint64_t kIova2M = 0x40200000;
  static constexpr uint64_t kIova1G = 0x80000000;
  // Where the large pages lie: only translated to, no memory is needed.
  static constexpr uint64_t kPhys2M = 0x1200000000;
  static constexpr uint64_t kPhys1G = 0x1240000000;

  explicit VtdTestWorld(uint64_t cap = kTestCap, uint64_t ecap = kTestEcap, int levels = 4,
                        bool enable = true)
      : memory(PhysAddr{0x100000000}, kTestWidth) {
    const auto window = memory.AddWindow(64 << 12, 4096);
    base_ = window->base.value;
    model = std::make_unique<VtdModel>(VtdModel::Config{cap, ecap, kTestWidth}, &memory);
    WriteTables(levels);
    ring = Page();
    status = Page();
    if (enable) Enable();
  }

  // Physical addresses of table pages and of single entries.
  uint64_t root, contexts, directory, pasids, top, level4, level3, level2, level1, data, ring,
      status;
  uint64_t root_entry, context_entry, directory_entry, pasid_entry, rid_pasid_entry;
  uint64_t level5_entry, level4_entry, level3_entry, level2_entry, leaf_1g, leaf_2m, leaf_4k;

  PhysicalMemory memory;
  std::unique_ptr<VtdModel> model;

  // A fresh zeroed page.
  uint64_t Page() { return base_ + 4096 * pages_used_++; }
  void Store(uint64_t address, uint64_t value) { memory.Store64(PhysAddr{address}, value); }
  uint64_t Load(uint64_t address) const { return *memory.Load64(PhysAddr{address}); }
  void Flip(uint64_t address, uint64_t bits) { Store(address, Load(address) ^ bits); }

  // Latches the root table, enables the invalidation queue (256-bit descriptors, one page) and
  // translation, with the fault event unmasked.
  void Enable() {
    model->Write64(0x20, root | 1 << 10);
    model->Write32(0x18, 1u << 30);
    model->Write64(0x90, ring | 1 << 11);
    model->Write32(0x38, 0);
    model->Write32(0x18, 1u << 26);
    model->Write32(0x18, 1u << 26 | 1u << 31);
  }

  // Puts one descriptor on the queue and moves the tail.
  void Submit(uint64_t word0, uint64_t word1 = 0, uint64_t word2 = 0, uint64_t word3 = 0) {
    const uint32_t tail = model->Read32(0x88);
    Store(ring + tail, word0);
    Store(ring + tail + 8, word1);
    Store(ring + tail + 16, word2);
    Store(ring + tail + 24, word3);
    model->Write32(0x88, (tail + 32) % 4096);
  }
  bool QueueError() const { return model->Read32(0x34) & 1 << 4; }

  static Request Read(uint64_t address, std::optional<uint32_t> pasid = std::nullopt) {
    return Request{kDevice, pasid, address, false};
  }
  static Request Write(uint64_t address, std::optional<uint32_t> pasid = std::nullopt) {
    return Request{kDevice, pasid, address, true};
  }

 private:
  void WriteTables(int levels) {
    for (uint64_t* page :
         {&root, &contexts, &directory, &pasids, &top, &level4, &level3, &level2, &level1, &data}) {
      *page = Page();
    }
    root_entry = root + 3 * 16;            // Bus 3, lower half.
    context_entry = contexts + 0x01 * 32;  // Device 0, function 1.
    directory_entry = directory;
    pasid_entry = pasids + kPasid * 64;
    rid_pasid_entry = pasids;
    level5_entry = top;
    level4_entry = level4;
    level3_entry = level3 + 8 * 1;
    level2_entry = level2;
    leaf_1g = level3 + 8 * 2;
    leaf_2m = level2 + 8 * 1;
    leaf_4k = level1;
    Store(root_entry, contexts | 1);
    Store(context_entry, directory | 1 << 3 | 1);  // PASIDE, PDTS 0: 128 directory entries.
    Store(directory_entry, pasids | 1);
    const uint64_t start = levels == 5 ? top : levels == 4 ? level4 : level3;
    for (const uint64_t entry : {pasid_entry, rid_pasid_entry}) {
      Store(entry + 8, kDomain);
      Store(entry, start | 2 << 6 | uint64_t(levels - 2) << 2 | 1);
    }
    Store(level5_entry, level4 | 3);
    Store(level4_entry, level3 | 3);
    Store(level3_entry, level2 | 3);
    Store(leaf_1g, kPhys1G | 1 << 7 | 3);
    Store(level2_entry, level1 | 3);
    Store(leaf_2m, kPhys2M | 1 << 7 | 3);
    Store(leaf_4k, data | 3);
  }

  uint64_t base_ = 0;
  uint64_t pages_used_ = 0;
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TEST_WORLD_H_
