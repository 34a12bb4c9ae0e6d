// Every fault and reserved bit of first-stage and nested walks, and of the features around them.
#include <functional>
#include <vector>

#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/hardware/vtd_two_stage_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = TwoStageWorld;

constexpr uint64_t kNowhere = 0x2000000000;  // Within the address width, but no memory there.
constexpr uint64_t kPointer = 0xfffffffffffffull << 12;

void Point(World& world, uint64_t entry, uint64_t to) {
  world.Store(entry, (world.Load(entry) & ~kPointer) | to);
}

enum Stages { kAlone = 1, kNested = 2, kBoth = 3 };

struct FaultCase {
  const char* name;
  Stages stages;
  std::function<void(World&)> spoil;
  Request request;
  uint8_t want;
};

std::vector<FaultCase> FaultCases() {
  const Request read = World::Read(World::kIova4K), write = World::Write(World::kIova4K);
  Request ask = read, translated = read;
  ask.type = AddressType::kTranslationRequest;
  translated.type = AddressType::kTranslated;
  const auto nothing = [](World&) {};
  const auto no_device_tlb = [](World& w) { w.Flip(w.context_entry, 1 << 2); };
  const auto second = [](World::GuestPage page, uint64_t bits) {
    return [page, bits](World& w) { w.Flip(w.SecondLeaf(page), bits); };
  };
  return {
      {"device TLB asks", kBoth, no_device_tlb, ask, kDeviceTlbDisabled},
      {"device TLB uses", kBoth, no_device_tlb, translated, kDeviceTlbDisabled},
      {"supervisor", kBoth, nothing, World::AsSupervisor(read), kSupervisorDisabled},
      {"FLPM 2", kBoth, [](World& w) { w.Flip(w.entry + 16, 2 << 2); }, read, kPasidEntryInvalid},
      {"FLPM 3", kBoth, [](World& w) { w.Flip(w.entry + 16, 3 << 2); }, read, kPasidEntryInvalid},
      {"AW 0", kNested, [](World& w) { w.Flip(w.entry, 2 << 2); }, read, kPasidEntryInvalid},
      {"top dangles", kAlone, [](World& w) { Point(w, w.entry + 16, kNowhere); }, read,
       kFirstTopFetchError},
      {"top dangles", kNested, [](World& w) { Point(w, w.SecondLeaf(World::kFour), kNowhere); },
       read, kFirstTopFetchError},
      {"lower dangles", kAlone, [](World& w) { Point(w, w.first3, kNowhere); }, read,
       kFirstLowerFetchError},
      {"lower dangles", kNested, [](World& w) { Point(w, w.SecondLeaf(World::kOne), kNowhere); },
       read, kFirstLowerFetchError},
      {"top not present", kBoth, [](World& w) { w.Flip(w.first4, 1); }, read, kFirstNotPresent},
      {"table not present", kBoth, [](World& w) { w.Flip(w.first2, 1); }, read, kFirstNotPresent},
      {"page not present", kBoth, [](World& w) { w.Store(w.first_4k, ~1ull); }, write,
       kFirstNotPresent},
      {"page reserved", kBoth, [](World& w) { w.Flip(w.first_4k, 1ull << 50); }, read,
       kFirstReserved},
      {"not canonical", kBoth, nothing, World::Read(1ull << 47), kNotCanonical},
      {"a supervisor's page", kBoth, [](World& w) { w.Flip(w.first_4k, 4); }, read, kUserDenied},
      {"a supervisor's table", kBoth, [](World& w) { w.Flip(w.first3, 4); }, read, kUserDenied},
      {"read-only page", kBoth, [](World& w) { w.Flip(w.first_4k, 2); }, write, kWriteDenied},
      {"read-only table", kBoth, [](World& w) { w.Flip(w.first4, 2); }, write, kWriteDenied},
      {"not snooped", kBoth, [](World& w) { w.Flip(w.entry + 8, 1 << 23); }, read,
       kFirstUpdateNotSnooped},
      {"leads to interrupts", kAlone, [](World& w) { Point(w, w.first_4k, 0xfee00000); }, write,
       kInterruptRange},
      {"leads to interrupts", kNested,
       [](World& w) { Point(w, w.SecondLeaf(World::kData), 0xfee00000); }, write, kInterruptRange},
      {"root beyond the width", kNested, [](World& w) { Point(w, w.entry + 16, 1ull << 48); }, read,
       kFirstTableBeyondWidth},
      {"table beyond the width", kNested,
       [](World& w) {
         w.Store(w.entry, w.second3 | 1 << 2 | 3 << 6 | 1);  // 3 levels, 39 bits.
         Point(w, w.first3, 1ull << 39);
       },
       read, kFirstTableBeyondWidth},
      {"page beyond the width", kNested,
       [](World& w) {
         w.Store(w.entry, w.second3 | 1 << 2 | 3 << 6 | 1);
         Point(w, w.first_4k, 1ull << 39);
       },
       read, kInputBeyondWidth},
      {"top table not readable", kNested, second(World::kFour, 1), read, kFirstTopTableDenied},
      {"table not readable", kNested, second(World::kTwo, 1), read, kFirstLowerTableDenied},
      {"top table not writable", kNested, second(World::kFour, 2), read, kFirstUpdateDenied},
      {"table not writable", kNested, second(World::kOne, 2), read, kFirstUpdateDenied},
      {"page not writable", kNested, second(World::kData, 2), write, kWriteDenied},
      {"page not readable", kNested, second(World::kData, 1), read, kReadDenied},
      {"page not there", kNested, second(World::kData, 3), read, kPageNotPresent},
      {"table not there", kNested, second(World::kThree, 3), read, kPageNotPresent},
      {"second stage reserved", kNested, second(World::kThree, 1ull << 50), read, kPageReserved},
      {"second stage dangles", kNested, [](World& w) { Point(w, w.second2, kNowhere); }, read,
       kLowerTableFetchError},
      {"second stage's top dangles", kNested, [](World& w) { Point(w, w.entry, kNowhere); }, read,
       kTopTableFetchError},
      {"second stage not snooped", kNested,
       [](World& w) {
         w.Flip(w.entry, 1 << 9);
         w.Flip(w.entry + 8, 1 << 23);
       },
       read, kUpdateNotSnooped},
  };
}

TEST(VtdTwoStageFaultTest, RaisesEachFaultForItsCause) {
  for (const FaultCase& c : FaultCases()) {
    for (const bool nested : {false, true}) {
      if (!(c.stages & (nested ? kNested : kAlone))) continue;
      SCOPED_TRACE(testing::Message() << c.name << (nested ? ", nested" : ", alone"));
      World world(nested);
      c.spoil(world);
      EXPECT_EQ(FaultReasonName(world.model->Probe(c.request).fault_reason),
                FaultReasonName(c.want));
      EXPECT_EQ(world.model->Translate(c.request).fault_reason, c.want);
      // With what the first one left behind.
      EXPECT_EQ(world.model->Translate(c.request).fault_reason, c.want);
      EXPECT_EQ(world.model->counters().faults[c.want], 2u);
    }
  }
}

TEST(VtdTwoStageFaultTest, CoversEveryReasonOfItsOwn) {
  std::vector<bool> covered(256);
  for (const FaultCase& c : FaultCases()) covered[c.want] = true;
  for (int reason = 1; reason < 256; ++reason) {
    if (IsTwoStageReason(reason)) {
      EXPECT_TRUE(covered[reason]) << reason;
      EXPECT_NE(FaultReasonName(static_cast<uint8_t>(reason)), "unknown fault reason");
    }
  }
}

TEST(VtdTwoStageFaultTest, AnswersADeviceTlbWithoutARecordWhereThePageIsTheProblem) {
  for (const FaultCase& c : FaultCases()) {
    if (c.request.type != AddressType::kUntranslated) continue;
    SCOPED_TRACE(c.name);
    World world(c.stages != kAlone);
    c.spoil(world);
    Request ask = c.request;
    ask.type = AddressType::kTranslationRequest;
    EXPECT_EQ(world.model->Translate(ask).fault_reason, c.want);
    const bool configuration = c.want == kSupervisorDisabled || c.want == kPasidEntryInvalid ||
                               c.want == kFirstTopFetchError || c.want == kFirstLowerFetchError ||
                               c.want == kFirstReserved || c.want == kFirstUpdateNotSnooped ||
                               c.want == kInterruptRange || c.want == kPageReserved ||
                               c.want == kTopTableFetchError || c.want == kLowerTableFetchError ||
                               c.want == kUpdateNotSnooped;
    EXPECT_EQ(world.model->counters().faults[c.want], configuration ? 1u : 0u);
    EXPECT_EQ(world.model->counters().faults_recorded, configuration ? 1u : 0u);
  }
}

TEST(VtdTwoStageFaultTest, RefusesEveryReservedBit) {
  constexpr uint64_t kHigh = 0x3full << kTestWidth;
  const struct {
    const char* name;
    uint64_t World::*entry;
    uint64_t mask, address;
  } kCases[] = {
      {"level 5", &World::first5, kHigh | 0x80, World::kIova4K},
      {"level 4", &World::first4, kHigh | 0x80, World::kIova4K},
      {"level 3", &World::first3, kHigh, World::kIova4K},
      {"level 2", &World::first2, kHigh, World::kIova4K},
      {"4 KiB leaf", &World::first_4k, kHigh, World::kIova4K},
      {"2 MiB leaf", &World::first_2m, kHigh | 0x1fe000, World::kIova2M},
      {"1 GiB leaf", &World::first_1g, kHigh | 0x3fffe000, World::kIova1G},
  };
  for (const bool nested : {false, true}) {
    World world(nested, 5);
    for (const auto& c : kCases) {
      for (int bit = 0; bit < 64; ++bit) {
        if (!(c.mask & 1ull << bit)) continue;
        world.Flip(world.*c.entry, 1ull << bit);
        EXPECT_EQ(world.model->Probe(World::Read(c.address)).fault_reason, kFirstReserved)
            << c.name << " bit " << bit;
        world.Flip(world.*c.entry, 1ull << bit);
      }
      EXPECT_TRUE(world.model->Probe(World::Read(c.address)).ok()) << c.name;
    }
    // Of the PASID entry's third word: ERE, 11:8, and a host address beyond the width.
    for (int bit = 0; bit < 64; ++bit) {
      const bool reserved = bit == 1 || (bit >= 8 && bit <= 11) || (!nested && bit >= kTestWidth);
      world.Flip(world.entry + 16, 1ull << bit);
      EXPECT_EQ(world.model->Probe(World::Read(World::kIova4K)).fault_reason == kPasidEntryReserved,
                reserved)
          << bit;
      world.Flip(world.entry + 16, 1ull << bit);
    }
  }
}

TEST(VtdTwoStageFaultTest, TreatsWhatItsCapabilitiesLackAsReservedOrInvalid) {
  const auto nothing = [](World&) {};
  const struct {
    const char* name;
    Stages stages;
    uint64_t cap_without, ecap_without;
    std::function<void(World&)> use;
    Request request;
    uint8_t want;
  } kCases[] = {
      {"no first stage", kBoth, 0, 1ull << 47, nothing, World::Read(World::kIova4K),
       kPasidEntryInvalid},
      {"no nesting", kNested, 0, 1ull << 26, nothing, World::Read(World::kIova4K),
       kPasidEntryInvalid},
      {"no nesting for a first stage", kAlone, 0, 1ull << 26, nothing, World::Read(World::kIova4K),
       kNoFault},
      {"no second stage", kNested, 0, 1ull << 46, nothing, World::Read(World::kIova4K),
       kPasidEntryInvalid},
      {"no second stage for a first stage", kAlone, 0, 1ull << 46, nothing,
       World::Read(World::kIova4K), kNoFault},
      {"no 5 first-stage levels", kBoth, 1ull << 60, 0,
       [](World& w) { w.Flip(w.entry + 16, 1 << 2); }, World::Read(World::kIova4K),
       kPasidEntryInvalid},
      {"no 4 second-stage levels", kNested, 1ull << 10, 0, nothing, World::Read(World::kIova4K),
       kPasidEntryInvalid},
      {"no 4 second-stage levels for a first stage", kAlone, 1ull << 10, 0, nothing,
       World::Read(World::kIova4K), kNoFault},
      {"no 1 GiB pages", kBoth, 1ull << 56, 0, nothing, World::Read(World::kIova1G),
       kFirstReserved},
      {"no supervisors", kBoth, 0, 1ull << 31, [](World& w) { w.Flip(w.entry + 16, 1); },
       World::Read(World::kIova4K), kPasidEntryReserved},
      {"no supervisors for RID_PRIV", kBoth, 0, 1ull << 31,
       [](World& w) { w.Flip(w.context_entry + 8, 1 << 20); }, World::Read(World::kIova4K),
       kContextReserved},
      {"no extended access", kBoth, 0, 1ull << 34, [](World& w) { w.Flip(w.entry + 16, 1 << 7); },
       World::Read(World::kIova4K), kPasidEntryReserved},
      {"no dirty tracking", kBoth, 0, 1ull << 45, [](World& w) { w.Flip(w.entry, 1 << 9); },
       World::Read(World::kIova4K), kPasidEntryReserved},
      {"no device TLBs", kBoth, 0, 1ull << 2, nothing, World::Read(World::kIova4K),
       kContextReserved},
      {"no page requests", kBoth, 0, 0, [](World& w) { w.Flip(w.context_entry, 1 << 4); },
       World::Read(World::kIova4K), kContextReserved},
  };
  for (const auto& c : kCases) {
    for (const bool nested : {false, true}) {
      if (!(c.stages & (nested ? kNested : kAlone))) continue;
      SCOPED_TRACE(c.name);
      World world(nested, 4, kTwoStageCap & ~c.cap_without, kTwoStageEcap & ~c.ecap_without);
      c.use(world);
      EXPECT_EQ(FaultReasonName(world.model->Probe(c.request).fault_reason),
                FaultReasonName(c.want));
    }
  }
}

TEST(VtdTwoStageFaultTest, RecordsPrivilegeAndAddressType) {
  World world(false);
  Request ask = World::AsSupervisor(World::Read(World::kIova4K));
  ask.type = AddressType::kTranslationRequest;
  world.model->Translate(ask);
  EXPECT_EQ(world.model->Read64(kTestRecords), World::kIova4K);
  // F, T1, AT 1, PASID 9, SPT.6, PP, PRIV, 03:00.1.
  EXPECT_EQ(world.model->Read64(kTestRecords + 8), 3ull << 62 | 1ull << 60 | 9ull << 40 |
                                                       0x5dull << 32 | 1ull << 31 | 1ull << 29 |
                                                       0x0301);
}

}  // namespace
}  // namespace viommu::hardware
