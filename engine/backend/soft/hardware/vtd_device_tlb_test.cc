// Device TLBs: filled by asking, used without asking, stale until a descriptor of their own.
#include "engine/backend/soft/hardware/vtd_device_tlb.h"

#include <optional>
#include <string>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/hardware/vtd_test_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

constexpr uint64_t kPage = VtdTestWorld::kIova4K;
constexpr uint64_t kDevice = VtdTestWorld::kDevice;
constexpr uint64_t kPasid = VtdTestWorld::kPasid;
constexpr uint64_t kEverything = 0x7fffffffffffful << 12;  // The address of a block of 2^52 pages.

// The base world with DTE and the device's ATS on, and two pages that differ.
class World : public VtdTestWorld {
 public:
  World() : VtdTestWorld(kTwoStageCap, kTwoStageEcap), other(Page()) {
    Flip(context_entry, 1 << 2);
    model->SetDeviceTlb(kDevice, true);
    Store(data, 0x1111);
    Store(other, 0x2222);
  }

  // What the device reads; nothing after a fault, whose reason is then in `fault`.
  std::optional<uint64_t> ReadAt(uint64_t address, std::optional<uint32_t> pasid = std::nullopt) {
    uint64_t word = 0;
    const auto outcome = model->Access(Read(address, pasid), AsBytes(&word));
    fault = outcome.fault_reason;
    if (outcome.bytes_done != sizeof(word)) return std::nullopt;
    return word;
  }
  bool WriteAt(uint64_t address, uint64_t word) {
    const auto outcome = model->Access(Write(address), AsBytes(&word));
    fault = outcome.fault_reason;
    return outcome.bytes_done == sizeof(word);
  }
  // All that the unit itself remembers.
  void FlushUnit() {
    Submit(1 | 1 << 4);
    Submit(7 | 3 << 4);
    Submit(2 | 1 << 4);
  }

  uint64_t other;
  uint8_t fault = 0;

 private:
  static absl::Span<char> AsBytes(uint64_t* word) {
    return absl::MakeSpan(reinterpret_cast<char*>(word), sizeof(*word));
  }
};

TEST(VtdDeviceTlbTest, AsksOnceAndThenUsesWhatItKeeps) {
  World world;
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u);
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u);
  EXPECT_EQ(world.model->counters().device_tlb_misses, 1u);
  EXPECT_EQ(world.model->counters().device_tlb_hits, 1u);
  world.Store(world.leaf_4k, world.other | 3);
  world.FlushUnit();
  EXPECT_EQ(world.model->Translate(World::Read(kPage)).physical.value, world.other);
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u) << "no descriptor reached the device";
}

TEST(VtdDeviceTlbTest, KeepsPagesUntilADescriptorCoversThem) {
  const struct {
    const char* name;
    uint64_t word0, word1;
    bool rid, pasid;  // What it drops: kPage without PASID, with kPasid.
  } kCases[] = {
      {"one page", 3 | kDevice << 32, kPage, true, false},
      {"next page", 3 | kDevice << 32, kPage + 0x1000, false, false},
      {"two pages", 3 | kDevice << 32, kPage | 1, true, false},
      {"two pages from the upper", 3 | kDevice << 32, kPage + 0x2000 + 1, false, false},
      {"2 MiB", 3 | kDevice << 32, kPage | 0xff000 | 1, true, false},
      {"the next 2 MiB", 3 | kDevice << 32, (kPage + 0x200000) | 0xff000 | 1, false, false},
      {"everything", 3 | kDevice << 32, kEverything | 1, true, false},
      {"another function", 3 | (kDevice ^ 1) << 32, kEverything | 1, false, false},
      {"PASID, one page", 8 | kDevice << 16 | kPasid << 32, kPage, false, true},
      {"PASID, next page", 8 | kDevice << 16 | kPasid << 32, kPage + 0x1000, false, false},
      {"PASID, 2 MiB", 8 | kDevice << 16 | kPasid << 32, kPage | 0xff000 | 1 << 11, false, true},
      {"PASID, everything", 8 | kDevice << 16 | kPasid << 32, kEverything | 1 << 11, false, true},
      {"another PASID", 8 | kDevice << 16 | (kPasid + 1) << 32, kEverything | 1 << 11, false,
       false},
      {"another function's PASID", 8 | (kDevice ^ 1) << 16 | kPasid << 32, kEverything | 1 << 11,
       false, false},
      {"all PASIDs", 8 | kDevice << 16, kEverything | 1 << 11 | 1, false, true},
      {"all PASIDs, next page", 8 | kDevice << 16, (kPage + 0x1000) | 1, false, false},
      {"IOTLB", 2 | 1 << 4, 0, false, false},
      {"PASID IOTLB", 6 | 2 << 4 | uint64_t{World::kDomain} << 16 | kPasid << 32, 0, false, false},
      {"context cache", 1 | 1 << 4, 0, false, false},
  };
  for (const auto& c : kCases) {
    for (const bool with_pasid : {false, true}) {
      SCOPED_TRACE(testing::Message() << c.name << (with_pasid ? ", with PASID" : ""));
      World world;
      const auto pasid = with_pasid ? std::optional<uint32_t>(World::kPasid) : std::nullopt;
      EXPECT_EQ(world.ReadAt(kPage, pasid), 0x1111u);
      world.Store(world.leaf_4k, world.other | 3);
      world.FlushUnit();
      world.Submit(c.word0, c.word1);
      EXPECT_FALSE(world.QueueError());
      const bool dropped = with_pasid ? c.pasid : c.rid;
      EXPECT_EQ(world.ReadAt(kPage, pasid), dropped ? 0x2222u : 0x1111u);
    }
  }
}

// Asked again from the unit's own stale cache, a device keeps the old page: flush the unit first.
TEST(VtdDeviceTlbTest, IsFilledFromWhatTheUnitRemembers) {
  World world;
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u);
  world.Store(world.leaf_4k, world.other | 3);
  world.Submit(3 | kDevice << 32, kEverything | 1);
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u);
  world.FlushUnit();
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u);
  world.Submit(3 | kDevice << 32, kEverything | 1);
  EXPECT_EQ(world.ReadAt(kPage), 0x2222u);
}

TEST(VtdDeviceTlbTest, KeepsPasidsAndPrivilegeApart) {
  World world;
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u);
  EXPECT_EQ(world.ReadAt(kPage, World::kPasid), 0x1111u);
  EXPECT_EQ(world.model->counters().device_tlb_misses, 2u);
  uint64_t word = 0;
  Request request = World::Read(kPage, World::kPasid);
  request.privileged = true;
  const auto bytes = absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word));
  EXPECT_EQ(world.model->Access(request, bytes).bytes_done, sizeof(word));
  EXPECT_EQ(world.model->counters().device_tlb_misses, 3u);
  // One descriptor for the PASID covers both.
  world.Submit(8 | kDevice << 16 | kPasid << 32, kPage);
  EXPECT_EQ(world.model->Access(request, bytes).bytes_done, sizeof(word));
  EXPECT_EQ(world.ReadAt(kPage, World::kPasid), 0x1111u);
  EXPECT_EQ(world.model->counters().device_tlb_misses, 5u);
}

TEST(VtdDeviceTlbTest, IsRefusedWithoutDte) {
  World world;
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u);
  world.Flip(world.context_entry, 1 << 2);
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u) << "the context entry is still remembered";
  world.FlushUnit();
  EXPECT_EQ(world.ReadAt(kPage), std::nullopt) << "a page that it kept";
  EXPECT_EQ(world.fault, kDeviceTlbDisabled);
  EXPECT_EQ(world.ReadAt(World::kIova2M), std::nullopt) << "a page to ask for";
  EXPECT_EQ(world.fault, kDeviceTlbDisabled);
  EXPECT_EQ(world.model->counters().faults_recorded, 2u);
  // Switched off, the device makes untranslated requests as before.
  world.model->SetDeviceTlb(kDevice, false);
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u);
}

TEST(VtdDeviceTlbTest, AbortsTheWaitForOneThatDoesNotAnswer) {
  constexpr uint64_t kWaitWriting = 5 | 1 << 5;
  constexpr uint64_t kFlush = 3 | uint64_t{World::kDevice} << 32;
  World world;
  const auto wait = [&](uint64_t word) { world.Submit(kWaitWriting | word << 32, world.status); };
  const auto status = [&] { return static_cast<uint32_t>(world.Load(world.status)); };
  ASSERT_EQ(world.ReadAt(kPage), 0x1111u);
  world.Store(world.leaf_4k, world.other | 3);
  world.FlushUnit();
  wait(1);
  world.model->SetDeviceTlbAnswers(World::kDevice, false);
  world.Submit(kFlush, Bits(63, 12) | 1);
  EXPECT_EQ(world.model->Read32(0x34) & (1 << 6), 0u) << "found out at a wait";
  wait(2);
  EXPECT_NE(world.model->Read32(0x34) & (1 << 6), 0u);
  EXPECT_EQ(world.model->Read64(0xb0) >> 32, World::kDevice);
  EXPECT_EQ(status(), 1u) << "aborted";
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u) << "it goes on with what it keeps";
  wait(3);
  EXPECT_EQ(status(), 1u) << "nothing is fetched while ITE stands";
  world.model->Write32(0x34, 1 << 6);
  EXPECT_EQ(status(), 3u);
  world.model->SetDeviceTlbAnswers(World::kDevice, true);
  world.Submit(kFlush, Bits(63, 12) | 1);
  wait(4);
  EXPECT_EQ(status(), 4u);
  EXPECT_EQ(world.ReadAt(kPage), 0x2222u);
}

TEST(VtdDeviceTlbTest, ForgetsWhatItKeptWhenSwitchedOff) {
  World world;
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u);
  world.Store(world.leaf_4k, world.other | 3);
  world.FlushUnit();
  world.model->SetDeviceTlb(kDevice, true);
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u) << "it was on already";
  world.model->SetDeviceTlb(kDevice, false);
  world.model->SetDeviceTlb(kDevice, true);
  EXPECT_EQ(world.ReadAt(kPage), 0x2222u);
}

TEST(VtdDeviceTlbTest, PutsAMissingPageOnRecordByAnUntranslatedRequest) {
  World world;
  world.Store(world.leaf_4k, 0);
  EXPECT_EQ(world.ReadAt(kPage), std::nullopt);
  EXPECT_EQ(world.fault, kPageNotPresent);
  EXPECT_EQ(world.model->counters().faults[kPageNotPresent], 1u);
  EXPECT_EQ(world.model->Read64(kTestRecords + 8) >> 60 & 3, 0u);  // AT
  world.Store(world.leaf_4k, world.other | 3);
  EXPECT_EQ(world.ReadAt(kPage), 0x2222u) << "nothing was kept";
}

TEST(VtdDeviceTlbTest, AsksAgainBeforeItWritesToAPageThatItMayOnlyRead) {
  World world;
  world.Flip(world.leaf_4k, 2);
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u);
  EXPECT_FALSE(world.WriteAt(kPage, 5));
  EXPECT_EQ(world.fault, kWriteDenied);
  world.Flip(world.leaf_4k, 2);
  world.FlushUnit();
  EXPECT_TRUE(world.WriteAt(kPage, 5));
  EXPECT_EQ(world.Load(world.data), 5u);
}

TEST(VtdDeviceTlbTest, UsesTheAnswerAndNotASmallerPageThatItKept) {
  World world;
  const uint64_t large = world.root;  // The world's first page.
  ASSERT_EQ(large % 0x200000, 0u);
  const uint64_t offset = world.other - large;
  world.Store(world.level1 + offset / 0x1000 * 8, world.data | 1);  // May only be read.
  EXPECT_EQ(world.ReadAt(kPage + offset), 0x1111u);
  world.Store(world.level2_entry, large | 1 << 7 | 3);
  world.FlushUnit();
  EXPECT_TRUE(world.WriteAt(kPage + offset, 5));
  EXPECT_EQ(world.Load(world.data), 0x1111u);
  EXPECT_EQ(world.Load(world.other), 5u);
}

// Otherwise writes would bypass dirty tracking.
TEST(VtdDeviceTlbTest, MayNotWriteBeforeTheTablesSayDirty) {
  World world;
  world.Flip(world.rid_pasid_entry, 1 << 9);  // SSADE
  world.Flip(world.rid_pasid_entry + 8, 1 << 23);
  EXPECT_EQ(world.ReadAt(kPage), 0x1111u);
  EXPECT_EQ(world.Load(world.leaf_4k) >> 9 & 1, 0u);
  EXPECT_TRUE(world.WriteAt(kPage, 5));
  EXPECT_EQ(world.Load(world.leaf_4k) >> 9 & 1, 1u);
  EXPECT_TRUE(world.WriteAt(kPage, 6));
  EXPECT_EQ(world.model->counters().device_tlb_hits, 1u);
}

TEST(VtdDeviceTlbTest, KeepsLargePagesWhole) {
  World world;
  const auto misses = [&] { return world.model->counters().device_tlb_misses; };
  // No memory answers there: only the translation counts.
  world.ReadAt(World::kIova2M);
  world.ReadAt(World::kIova2M + 0x1ff000);
  EXPECT_EQ(misses(), 1u);
  world.ReadAt(World::kIova1G);
  world.ReadAt(World::kIova1G + 0x3ffff000);
  EXPECT_EQ(misses(), 2u);
  world.Submit(3 | kDevice << 32, World::kIova2M + 0x5000);  // A page in the middle.
  world.ReadAt(World::kIova1G);
  EXPECT_EQ(misses(), 2u);
  world.ReadAt(World::kIova2M);
  EXPECT_EQ(misses(), 3u);
}

TEST(VtdDeviceTlbTest, SendsInterruptMessagesUntranslated) {
  World world;
  uint64_t word = 0;
  const auto bytes = absl::MakeSpan(reinterpret_cast<char*>(&word), 4);
  EXPECT_TRUE(world.model->Access(World::Write(0xfee00000), bytes).is_interrupt);
  EXPECT_EQ(world.model->counters().device_tlb_misses, 0u);
  // A large page around the interrupt range is kept in pieces, so that none of them hides it.
  world.Store(world.level3 + 8 * 3, 0xc0000000ull | 1 << 7 | 3);  // Identity, 1 GiB.
  world.ReadAt(0xfe000000);
  world.ReadAt(0xfe001000);
  EXPECT_EQ(world.model->counters().device_tlb_misses, 2u);
}

TEST(VtdDeviceTlbTest, RefusesATranslatedRequestToTheInterruptRange) {
  World world;
  Request request = World::Write(0xfee00000);
  request.type = AddressType::kTranslated;
  EXPECT_EQ(world.model->Translate(request).fault_reason, kInterruptRange);
  request.address = world.data;
  EXPECT_EQ(world.model->Translate(request).physical.value, world.data);
}

TEST(VtdDeviceTlbTest, IsNotAskedWhileTranslationIsOff) {
  World world;
  world.model->Write32(0x18, 1u << 26);
  EXPECT_EQ(world.ReadAt(world.other), 0x2222u);
  EXPECT_EQ(world.model->counters().device_tlb_misses, 0u);
}

}  // namespace
}  // namespace viommu::hardware
