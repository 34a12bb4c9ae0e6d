// Every fault that the model can raise, every reserved bit, and what the fault registers then show.
#include "engine/backend/soft/hardware/vtd_fault.h"

#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/hardware/vtd_test_world.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using World = VtdTestWorld;

constexpr uint64_t kNowhere = 0x2000000000;  // Within the address width, but no memory there.
constexpr uint64_t kPointer = 0xfffffffffffffull << 12;

constexpr uint64_t Without(uint64_t word, uint64_t bits) { return word & ~bits; }

// Points an entry at a place without memory, keeping its low bits.
void Dangle(World& world, uint64_t entry) {
  world.Store(entry, Without(world.Load(entry), kPointer) | kNowhere);
}

struct FaultCase {
  const char* name;
  std::function<void(World&)> spoil;
  Request request;
  uint8_t want;
};

std::vector<FaultCase> FaultCases() {
  const Request read = World::Read(World::kIova4K), write = World::Write(World::kIova4K);
  const Request with_pasid = World::Read(World::kIova4K, World::kPasid);
  const auto set_root = [](uint64_t value) {
    return [value](World& w) {
      w.model->Write64(0x20, (value & kPointer ? value : w.root | value));
      w.model->Write32(0x18, 1u << 31 | 1u << 30 | 1u << 26);
    };
  };
  const auto nothing = [](World&) {};
  return {
      {"legacy mode", set_root(0), read, kRootAddressInvalid},
      {"reserved mode", set_root(2 << 10), read, kRootAddressInvalid},
      {"abort mode", set_root(3 << 10), read, kRootAddressInvalid},
      {"root too high", set_root(1ull << 46 | 1 << 10), read, kRootAddressInvalid},
      {"root register reserved", set_root(1 << 10 | 1 << 9), read, kRootAddressInvalid},
      {"PASID in legacy mode", set_root(0), with_pasid, kPasidInLegacyMode},
      {"root dangles", set_root(kNowhere | 1 << 10), read, kRootFetchError},
      {"no bus", nothing, {0x0401, {}, World::kIova4K, false}, kRootNotPresent},
      {"no upper half", nothing, {0x0380, {}, World::kIova4K, false}, kRootNotPresent},
      {"root reserved", [](World& w) { w.Flip(w.root_entry, 2); }, read, kRootReserved},
      {"contexts dangle", [](World& w) { Dangle(w, w.root_entry); }, read, kContextFetchError},
      {"no context", [](World& w) { w.Flip(w.context_entry, 1); }, read, kContextNotPresent},
      {"context reserved", [](World& w) { w.Flip(w.context_entry, 1 << 5); }, read,
       kContextReserved},
      {"PASIDs off", [](World& w) { w.Flip(w.context_entry, 1 << 3); }, with_pasid,
       kPasidRequestsDisabled},
      {"PASID too big", nothing, World::Read(World::kIova4K, 8192), kPasidBeyondDirectory},
      {"RID_PASID too big", [](World& w) { w.Store(w.context_entry + 8, 8192); }, read,
       kRidPasidInvalid},
      {"directory dangles", [](World& w) { Dangle(w, w.context_entry); }, read,
       kPasidDirectoryFetchError},
      {"no directory entry", [](World& w) { w.Flip(w.directory_entry, 1); }, read,
       kPasidDirectoryNotPresent},
      {"directory reserved", [](World& w) { w.Flip(w.directory_entry, 4); }, read,
       kPasidDirectoryReserved},
      {"PASID table dangles", [](World& w) { Dangle(w, w.directory_entry); }, read,
       kPasidEntryFetchError},
      {"no PASID entry", [](World& w) { w.Flip(w.rid_pasid_entry, 1); }, read,
       kPasidEntryNotPresent},
      {"PASID entry reserved", [](World& w) { w.Flip(w.rid_pasid_entry, 1 << 5); }, read,
       kPasidEntryReserved},
      {"type 0", [](World& w) { w.Flip(w.rid_pasid_entry, 2 << 6); }, read, kPasidEntryInvalid},
      {"first stage", [](World& w) { w.Flip(w.rid_pasid_entry, 3 << 6); }, read,
       kPasidEntryInvalid},
      {"nested", [](World& w) { w.Flip(w.rid_pasid_entry, 1 << 6); }, read, kPasidEntryInvalid},
      {"type 6", [](World& w) { w.Flip(w.rid_pasid_entry, 4 << 6); }, read, kPasidEntryInvalid},
      {"AW 0", [](World& w) { w.Flip(w.rid_pasid_entry, 2 << 2); }, read, kPasidEntryInvalid},
      {"AW 6", [](World& w) { w.Flip(w.rid_pasid_entry, 4 << 2); }, read, kPasidEntryInvalid},
      {"top table dangles", [](World& w) { Dangle(w, w.rid_pasid_entry); }, read,
       kTopTableFetchError},
      {"lower table dangles", [](World& w) { Dangle(w, w.level4_entry); }, read,
       kLowerTableFetchError},
      {"last table dangles", [](World& w) { Dangle(w, w.level2_entry); }, read,
       kLowerTableFetchError},
      {"page not present", [](World& w) { w.Store(w.leaf_4k, 0); }, read, kPageNotPresent},
      {"R=W=0 with other bits", [](World& w) { w.Flip(w.leaf_4k, 3 | 1ull << 50); }, write,
       kPageNotPresent},
      {"table not present", [](World& w) { w.Flip(w.level3_entry, 3); }, write, kPageNotPresent},
      {"page reserved", [](World& w) { w.Flip(w.leaf_4k, 1ull << 50); }, read, kPageReserved},
      {"beyond 48 bits", nothing, World::Read(1ull << 48), kInputBeyondWidth},
      {"wraps to a mapped one", nothing, World::Read(World::kIova4K | 1ull << 63),
       kInputBeyondWidth},
      {"page read-only", [](World& w) { w.Flip(w.leaf_4k, 2); }, write, kWriteDenied},
      {"table read-only", [](World& w) { w.Flip(w.level4_entry, 2); }, write, kWriteDenied},
      {"page write-only", [](World& w) { w.Flip(w.leaf_4k, 1); }, read, kReadDenied},
      {"table write-only", [](World& w) { w.Flip(w.level2_entry, 1); }, read, kReadDenied},
      {"read of the range", nothing, World::Read(0xfee01000), kInterruptRange},
      {"leads to the range", [](World& w) { w.Store(w.leaf_4k, 0xfee00000 | 3); }, write,
       kInterruptRange},
      {"PASID passes through to it", [](World& w) { w.Store(w.pasid_entry, 4 << 6 | 2 << 2 | 1); },
       World::Write(0xfee00000, World::kPasid), kInterruptRange},
      {"passes through too high", [](World& w) { w.Store(w.rid_pasid_entry, 4 << 6 | 2 << 2 | 1); },
       World::Read(1ull << 46), kInputBeyondWidth},
  };
}

TEST(VtdFaultTest, RaisesEachFaultForItsCause) {
  for (const FaultCase& c : FaultCases()) {
    SCOPED_TRACE(c.name);
    World world;
    c.spoil(world);
    EXPECT_EQ(FaultReasonName(world.model->Probe(c.request).fault_reason), FaultReasonName(c.want));
    EXPECT_EQ(world.model->Translate(c.request).fault_reason, c.want);
    EXPECT_EQ(world.model->counters().faults[c.want], 1u);
    char byte = 0;
    const auto outcome = world.model->Access(c.request, absl::MakeSpan(&byte, 1));
    EXPECT_EQ(outcome.fault_reason, c.want);
    EXPECT_EQ(outcome.fault_address, c.request.address);
    EXPECT_EQ(outcome.bytes_done, 0u);
  }
}

TEST(VtdFaultTest, CoversEveryReasonThatHasAName) {
  std::vector<bool> covered(256);
  for (const FaultCase& c : FaultCases()) covered[c.want] = true;
  for (int reason = 1; reason < 256; ++reason) {
    EXPECT_EQ(FaultReasonName(reason) != "unknown fault reason",
              covered[reason] || IsTwoStageReason(reason) || IsPageRequestReason(reason))
        << reason;
  }
}

// No caching mode: what was not present may become present without any invalidation.
TEST(VtdFaultTest, DoesNotRememberEntriesThatWereNotPresent) {
  const struct {
    const char* name;
    uint64_t World::*entry;
    uint64_t present;
  } kEntries[] = {
      {"root", &World::root_entry, 1},
      {"context", &World::context_entry, 1},
      {"directory", &World::directory_entry, 1},
      {"PASID entry", &World::rid_pasid_entry, 1},
      {"level 5", &World::level5_entry, 3},
      {"level 4", &World::level4_entry, 3},
      {"level 3", &World::level3_entry, 3},
      {"level 2", &World::level2_entry, 3},
      {"leaf", &World::leaf_4k, 3},
  };
  for (const auto& e : kEntries) {
    SCOPED_TRACE(e.name);
    World world(kTestCap, kTestEcap, 5);
    world.Flip(world.*e.entry, e.present);
    EXPECT_FALSE(world.model->Translate(World::Read(World::kIova4K)).ok());
    world.Flip(world.*e.entry, e.present);
    EXPECT_TRUE(world.model->Translate(World::Read(World::kIova4K)).ok());
  }
}

struct ReservedCase {
  const char* name;
  uint64_t World::*entry;
  int word;
  uint64_t mask;
  uint64_t address;
  uint8_t want;
};

TEST(VtdFaultTest, RefusesEveryReservedBit) {
  constexpr uint64_t kHigh = ~0ull << kTestWidth;
  constexpr uint64_t kPageHigh = 0x3full << kTestWidth | 1ull << 62;
  const ReservedCase kCases[] = {
      {"root low", &World::root_entry, 0, kHigh | 0xffe, World::kIova4K, kRootReserved},
      {"root high", &World::root_entry, 1, kHigh | 0xffe, World::kIova4K, kRootReserved},
      {"context 0", &World::context_entry, 0, kHigh | 0x1f4, World::kIova4K, kContextReserved},
      {"context 1", &World::context_entry, 1, ~0xfffffull, World::kIova4K, kContextReserved},
      {"context 2", &World::context_entry, 2, ~0ull, World::kIova4K, kContextReserved},
      {"context 3", &World::context_entry, 3, ~0ull, World::kIova4K, kContextReserved},
      {"directory", &World::directory_entry, 0, kHigh | 0xffc, World::kIova4K,
       kPasidDirectoryReserved},
      {"PASID 0", &World::rid_pasid_entry, 0, kHigh | 0xe20, World::kIova4K, kPasidEntryReserved},
      {"PASID 1", &World::rid_pasid_entry, 1, ~0x180ffffull, World::kIova4K, kPasidEntryReserved},
      {"PASID 2", &World::rid_pasid_entry, 2, 0xf83, World::kIova4K, kPasidEntryReserved},
      {"PASID 3", &World::rid_pasid_entry, 3, ~0ull, World::kIova4K, kPasidEntryReserved},
      {"PASID 4", &World::rid_pasid_entry, 4, ~0ull, World::kIova4K, kPasidEntryReserved},
      {"PASID 5", &World::rid_pasid_entry, 5, ~0ull, World::kIova4K, kPasidEntryReserved},
      {"PASID 6", &World::rid_pasid_entry, 6, ~0ull, World::kIova4K, kPasidEntryReserved},
      {"PASID 7", &World::rid_pasid_entry, 7, ~0ull, World::kIova4K, kPasidEntryReserved},
      {"level 5", &World::level5_entry, 0, kPageHigh | 0x880, World::kIova4K, kPageReserved},
      {"level 4", &World::level4_entry, 0, kPageHigh | 0x880, World::kIova4K, kPageReserved},
      {"level 3", &World::level3_entry, 0, kPageHigh | 0x800, World::kIova4K, kPageReserved},
      {"level 2", &World::level2_entry, 0, kPageHigh | 0x800, World::kIova4K, kPageReserved},
      {"4 KiB leaf", &World::leaf_4k, 0, kPageHigh, World::kIova4K, kPageReserved},
      {"2 MiB leaf", &World::leaf_2m, 0, kPageHigh | 0x1ff000, World::kIova2M, kPageReserved},
      {"1 GiB leaf", &World::leaf_1g, 0, kPageHigh | 0x3ffff000, World::kIova1G, kPageReserved},
  };
  World world(kTestCap, kTestEcap, 5);
  for (const ReservedCase& c : kCases) {
    const uint64_t word = world.*c.entry + 8 * c.word;
    for (int bit = 0; bit < 64; ++bit) {
      if (!(c.mask & 1ull << bit)) continue;
      world.Flip(word, 1ull << bit);
      EXPECT_EQ(world.model->Probe(World::Read(c.address)).fault_reason, c.want)
          << c.name << " bit " << bit;
      world.Flip(word, 1ull << bit);
    }
    EXPECT_TRUE(world.model->Probe(World::Read(c.address)).ok()) << c.name;
  }
}

TEST(VtdFaultTest, AcceptsEveryBitThatIsNotReserved) {
  World world(kTestCap, kTestEcap, 5);
  const struct {
    const char* name;
    uint64_t World::*entry;
    int word;
    uint64_t bits;
  } kCases[] = {
      {"FPD of the context", &World::context_entry, 0, 2},
      {"more PASIDs", &World::context_entry, 0, 0xe00},
      {"FPD of the directory", &World::directory_entry, 0, 2},
      {"FPD of the PASID entry", &World::rid_pasid_entry, 0, 2},
      {"domain, PWSNP, PGSNP", &World::rid_pasid_entry, 1, 0x180ffff},
      {"first-stage fields", &World::rid_pasid_entry, 2, ~0xf83ull},
  };
  for (const auto& c : kCases) {
    const uint64_t word = world.*c.entry + 8 * c.word;
    world.Flip(word, c.bits);
    EXPECT_TRUE(world.model->Probe(World::Read(World::kIova4K)).ok()) << c.name;
    world.Flip(word, c.bits);
  }
}

TEST(VtdFaultTest, TreatsWhatItsCapabilitiesLackAsReservedOrInvalid) {
  const struct {
    const char* name;
    uint64_t cap_without, ecap_without;
    std::function<void(World&)> use;
    Request request;
    uint8_t want;
  } kCases[] = {
      {"no scalable mode", 0, 1ull << 43, [](World&) {}, World::Read(World::kIova4K),
       kRootAddressInvalid},
      {"no PASIDs", 0, 1ull << 40, [](World&) {}, World::Read(World::kIova4K), kContextReserved},
      {"no RID_PASID", 0, 1ull << 49, [](World& w) { w.Store(w.context_entry + 8, 5); },
       World::Read(World::kIova4K), kContextReserved},
      {"no coherent walk", 0, 1ull << 48, [](World& w) { w.Flip(w.rid_pasid_entry + 8, 1 << 23); },
       World::Read(World::kIova4K), kPasidEntryReserved},
      {"no snoop control", 0, 1ull << 7, [](World& w) { w.Flip(w.rid_pasid_entry + 8, 1 << 24); },
       World::Read(World::kIova4K), kPasidEntryReserved},
      {"no snoop control for SNP", 0, 1ull << 7, [](World& w) { w.Flip(w.leaf_4k, 1 << 11); },
       World::Read(World::kIova4K), kPageReserved},
      {"16 domains", 7, 0, [](World& w) { w.Store(w.rid_pasid_entry + 8, 16); },
       World::Read(World::kIova4K), kPasidEntryReserved},
      {"no second stage", 0, 1ull << 46, [](World&) {}, World::Read(World::kIova4K),
       kPasidEntryInvalid},
      {"no pass-through", 0, 1ull << 6,
       [](World& w) { w.Store(w.rid_pasid_entry, 4 << 6 | 2 << 2 | 1); },
       World::Read(World::kIova4K), kPasidEntryInvalid},
      {"no 4 levels", 1ull << 10, 0, [](World&) {}, World::Read(World::kIova4K),
       kPasidEntryInvalid},
      {"no 2 MiB pages", 1ull << 34, 0, [](World&) {}, World::Read(World::kIova2M), kPageReserved},
      {"no 1 GiB pages", 1ull << 35, 0, [](World&) {}, World::Read(World::kIova1G), kPageReserved},
      {"no 57-bit guests", 56ull << 16, 0, [](World&) {}, World::Read(World::kIova4K),
       kInputBeyondWidth},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    World world(kTestCap & ~c.cap_without, kTestEcap & ~c.ecap_without);
    c.use(world);
    EXPECT_EQ(FaultReasonName(world.model->Probe(c.request).fault_reason), FaultReasonName(c.want));
  }
}

TEST(VtdFaultTest, JudgesAnEntryInTheOrderOfTheSpecification) {
  World world;
  const Request read = World::Read(World::kIova4K);
  world.Store(world.rid_pasid_entry, 1 << 5);  // Reserved bit and type 0, but not present.
  EXPECT_EQ(world.model->Probe(read).fault_reason, kPasidEntryNotPresent);
  world.Flip(world.rid_pasid_entry, 1);  // Present: the reserved bit is seen before the type.
  EXPECT_EQ(world.model->Probe(read).fault_reason, kPasidEntryReserved);
  World other;
  other.Store(other.leaf_4k, 1ull << 62 | 2);  // The reserved bit before the missing permission.
  EXPECT_EQ(other.model->Probe(read).fault_reason, kPageReserved);
}

TEST(VtdFaultRecordTest, HoldsTheRequestAndTheReason) {
  World world;
  world.model->Translate(World::Write(0x12345678, World::kPasid));
  EXPECT_EQ(world.model->Read64(kTestRecords), 0x12345000u);
  EXPECT_EQ(world.model->Read64(kTestRecords + 8),
            1ull << 63 | 5ull << 40 | 0x79ull << 32 | 1ull << 31 | 0x0301);
  world.model->Translate(World::Read(0xabc));
  EXPECT_EQ(world.model->Read64(kTestRecords + 16), 0u);
  EXPECT_EQ(world.model->Read64(kTestRecords + 24), 3ull << 62 | 0x79ull << 32 | 0x0301);
  EXPECT_EQ(world.model->Read32(0x34), 2u);  // PPF, first record 0.
}

TEST(VtdFaultRecordTest, StaysUntilSoftwareClearsItByWritingOne) {
  World world;
  world.model->Translate(World::Read(0));
  world.model->Write32(kTestRecords + 12, 0);
  world.model->Write32(kTestRecords + 8, ~0u);
  EXPECT_EQ(world.model->Read32(0x34), 2u);
  world.model->Write32(kTestRecords + 12, 1u << 31);
  EXPECT_EQ(world.model->Read32(0x34), 0u);
  world.model->Translate(World::Read(0));
  EXPECT_EQ(world.model->Read32(0x34), 1u << 8 | 2u);  // The first record pending is now 1.
}

TEST(VtdFaultRecordTest, OverflowsWithoutOverwritingAndStopsRecording) {
  World world;
  for (int i = 0; i < 6; ++i) world.model->Translate(World::Read(i * 0x1000));
  EXPECT_EQ(world.model->Read32(0x34), 3u);  // PFO, PPF
  EXPECT_EQ(world.model->Read64(kTestRecords), 0u);
  EXPECT_EQ(world.model->Read64(kTestRecords + 48), 0x3000u);
  // Nothing is recorded while the overflow stands, even with a free record.
  world.model->Write64(kTestRecords + 8, 1ull << 63);
  world.model->Translate(World::Read(0x9000));
  EXPECT_EQ(world.model->Read64(kTestRecords), 0u);
  world.model->Write32(0x34, 1);
  world.model->Translate(World::Read(0x9000));
  EXPECT_EQ(world.model->Read64(kTestRecords), 0x9000u);
  EXPECT_EQ(world.model->counters().faults_recorded, 5u);
  EXPECT_EQ(world.model->counters().faults_overflowed, 3u);
}

TEST(VtdFaultRecordTest, RaisesOneEventUntilServed) {
  World world;
  world.model->Translate(World::Read(0));
  world.model->Translate(World::Read(0));
  EXPECT_EQ(world.model->counters().fault_events, 1u);
  world.model->Write32(kTestRecords + 12, 1u << 31);
  world.model->Write32(kTestRecords + 28, 1u << 31);
  world.model->Write32(0x38, 1u << 31);  // Mask.
  world.model->Translate(World::Read(0));
  EXPECT_EQ(world.model->counters().fault_events, 1u);
  EXPECT_EQ(world.model->Read32(0x38), 3u << 30);
  world.model->Write32(0x38, 0);
  EXPECT_EQ(world.model->counters().fault_events, 2u);
  EXPECT_EQ(world.model->Read32(0x38), 0u);
}

TEST(VtdFaultRecordTest, ForgetsAMaskedEventOnceItsCauseIsServed) {
  World world;
  world.model->Write32(0x38, 1u << 31);
  world.model->Translate(World::Read(0));
  world.model->Write32(kTestRecords + 12, 1u << 31);
  EXPECT_EQ(world.model->Read32(0x38), 1u << 31);
  world.Submit(0);
  EXPECT_EQ(world.model->Read32(0x38), 3u << 30);
  world.model->Write32(0x88, 0);  // An empty queue, so that it does not stop again.
  world.model->Write32(0x34, 1 << 4);
  EXPECT_EQ(world.model->Read32(0x38), 1u << 31);
}

TEST(VtdFaultRecordTest, KeepsAMaskedEventWhileAnotherCauseStands) {
  World world;
  world.model->Write32(0x38, 1u << 31);
  world.model->Translate(World::Read(0));
  world.model->Translate(World::Read(0));
  world.model->Write32(kTestRecords + 12, 1u << 31);
  EXPECT_EQ(world.model->Read32(0x38), 3u << 30);
}

TEST(VtdFaultRecordTest, IsSilencedByEveryFaultProcessingDisableBit) {
  const struct {
    const char* name;
    uint64_t World::*entry;
  } kEntries[] = {{"context", &World::context_entry},
                  {"directory", &World::directory_entry},
                  {"PASID entry", &World::rid_pasid_entry}};
  for (const auto& e : kEntries) {
    for (const bool present : {true, false}) {
      SCOPED_TRACE(testing::Message() << e.name << (present ? "" : ", not present"));
      World world;
      world.Flip(world.*e.entry, present ? 2 : 3);
      for (int i = 0; i < 2; ++i) {  // Cold, then with the entry remembered.
        EXPECT_NE(world.model->Translate(World::Read(0)).fault_reason, kNoFault);
      }
      EXPECT_EQ(world.model->Read32(0x34), 0u);
      EXPECT_EQ(world.model->counters().faults_recorded, 0u);
    }
  }
}

TEST(VtdFaultRecordTest, IsMadeForUnqualifiedFaultsWhateverTheBitsSay) {
  for (uint64_t World::*entry : {&World::context_entry, &World::directory_entry}) {
    World world;
    world.Flip(world.*entry, 2);
    Dangle(world, world.*entry);
    world.model->Translate(World::Read(0));
    EXPECT_EQ(world.model->Read32(0x34), 2u);
  }
}

}  // namespace
}  // namespace viommu::hardware
