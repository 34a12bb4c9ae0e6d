// engine/backend/soft/hardware/vtd_two_stage_world.h -- A VtdTestWorld whose PASID 9 has a first
// stage, alone or nested on a second stage, for the tests of the model.
#ifndef VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TWO_STAGE_WORLD_H_
#define VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TWO_STAGE_WORLD_H_

#include <cstdint>
#include <optional>

#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/hardware/vtd_test_world.h"

namespace viommu::hardware {

// The first stage is five levels, entered at the fourth unless `levels` is 5. 0x40000000 leads to a
// 4 KiB page, 0x40200000 to a 2 MiB page, 0x80000000 to a 1 GiB page. All entries are for users and
// writable, none is marked. Nested, its tables and the 4 KiB page lie at guest addresses from
// 0x10000 on, which a second stage of four levels puts anywhere; the guest's 1 GiB at 0x40000000,
// with both large pages in it, is one 1 GiB page of the second stage.
class TwoStageWorld : public VtdTestWorld {
 public:
  static constexpr uint32_t kGuestPasid = 9;
  static constexpr uint16_t kGuestDomain = 11;
  static constexpr uint64_t kGuestBase = 0x10000;
  static constexpr uint64_t kGuestLarge = 0x40000000;
  enum GuestPage { kTop, kFour, kThree, kTwo, kOne, kData, kGuestPages };

  explicit TwoStageWorld(bool nested, int levels = 4, uint64_t cap = kTwoStageCap,
                         uint64_t ecap = kTwoStageEcap)
      : VtdTestWorld(cap, ecap), nested(nested) {
    for (uint64_t& page : host) page = Page();
    for (uint64_t* table : {&second4, &second3, &second2, &second1}) *table = Page();
    WriteFirstStage();
    WriteSecondStage();
    entry = pasids + kGuestPasid * 64;
    Store(entry + 16, NameOf(levels == 5 ? kTop : kFour) | uint64_t(levels - 4) << 2);
    Store(entry + 8, kGuestDomain | 1 << 23);
    Store(entry, (nested ? second4 | 3 << 6 : 1 << 6) | 2 << 2 | 1);
    Flip(context_entry, 1 << 2);  // DTE
  }

  const bool nested;
  uint64_t entry;                               // The PASID entry.
  uint64_t host[kGuestPages];                   // Where the guest's pages are.
  uint64_t second4, second3, second2, second1;  // Tables of the second stage.
  // Entries of the first stage.
  uint64_t first5, first4, first3, first2, first_4k, first_2m, first_1g;
  uint64_t second_large;  // The 1 GiB leaf of the second stage.

  // As the first stage names a page.
  uint64_t NameOf(GuestPage page) const {
    return nested ? kGuestBase + uint64_t{0x1000} * page : host[page];
  }
  // The second stage's leaf for a page of the guest.
  uint64_t SecondLeaf(GuestPage page) const { return second1 + uint64_t{8} * (0x10 + page); }

  static Request Read(uint64_t address) { return Request{kDevice, kGuestPasid, address, false}; }
  static Request Write(uint64_t address) { return Request{kDevice, kGuestPasid, address, true}; }
  static Request AsSupervisor(Request request) {
    request.privileged = true;
    return request;
  }

 private:
  void WriteFirstStage() {
    first5 = host[kTop];
    first4 = host[kFour];
    first3 = host[kThree] + 8 * 1;
    first_1g = host[kThree] + 8 * 2;
    first2 = host[kTwo];
    first_2m = host[kTwo] + 8 * 1;
    first_4k = host[kOne];
    Store(first5, NameOf(kFour) | 7);
    Store(first4, NameOf(kThree) | 7);
    Store(first3, NameOf(kTwo) | 7);
    Store(first2, NameOf(kOne) | 7);
    Store(first_4k, NameOf(kData) | 7);
    Store(first_2m, (nested ? kGuestLarge + 0x200000 : kPhys2M) | 1 << 7 | 7);
    Store(first_1g, (nested ? kGuestLarge : kPhys1G) | 1 << 7 | 7);
  }
  void WriteSecondStage() {
    second_large = second3 + 8 * 1;
    Store(second4, second3 | 3);
    Store(second3, second2 | 3);
    Store(second_large, kPhys1G | 1 << 7 | 3);
    Store(second2, second1 | 3);
    for (int page = 0; page < kGuestPages; ++page) {
      Store(SecondLeaf(static_cast<GuestPage>(page)), host[page] | 3);
    }
  }
};

}  // namespace viommu::hardware

#endif  // VIOMMU_ENGINE_BACKEND_SOFT_HARDWARE_VTD_TWO_STAGE_WORLD_H_
