// Which requests are refused, for which reason, and what the record of the event says.
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu::hardware {
namespace {

using smmu::Translation;
using World = SmmuTestWorld;
using testing::ElementsAre;

constexpr uint64_t kSid = uint64_t{World::kStream} << 32;
constexpr uint64_t kSsid = 1 << 11 | World::kSubstream << 12;
constexpr uint64_t kRead = 1ull << 35;
constexpr uint64_t kStage2 = 1ull << 39;
constexpr uint64_t kTable = 1ull << 40, kInput = 2ull << 40;

// Changes one word of an entry, by exclusive or.
struct Change {
  int word;
  uint64_t bits;
};

TEST(SmmuFaultTest, RefusesIllegalStreamTableEntries) {
  const struct {
    const char* name;
    std::vector<Change> changes;
    std::function<void(SmmuModel::Spec&)> restrict;
  } kCases[] = {
      {"V", {{0, 1}}, nullptr},
      {"S1CDMax above SSIDSIZE", {{0, (3ull ^ 21) << 59}}, nullptr},
      {"S1CDMax above a small SSIDSIZE", {}, [](auto& s) { s.substream_id_bits = 2; }},
      {"S1Fmt without CD2L", {{0, 2 << 4}}, [](auto& s) { s.two_level_cd = false; }},
      {"stage 1 without S1P", {}, [](auto& s) { s.stage1 = false; }},
      {"stage 2 without S2P", {}, [](auto& s) { s.stage2 = false; }},
      {"S2AA64", {{2, 1ull << 51}}, nullptr},
      {"S2ENDI", {{2, 1ull << 52}}, nullptr},
      {"S2TG reserved", {{2, 3ull << 46}}, nullptr},
      {"S2TG 16K", {{2, 2ull << 46}}, [](auto& s) { s.granule_16k = false; }},
      {"S2TG 4K", {}, [](auto& s) { s.granule_4k = false; }},
      {"S2T0SZ too small", {{2, (24ull ^ 15) << 32}}, nullptr},
      {"S2T0SZ below the output size", {}, [](auto& s) { s.output_address_bits = 36; }},
      {"S2T0SZ too large", {{2, (24ull ^ 40) << 32}}, nullptr},
      {"S2SL0 reserved", {{2, 2ull << 38}}, nullptr},
      {"S2SL0 too low for the input", {{2, 1ull << 38}}, nullptr},
      {"S2TTB beyond S2PS", {{2, 5ull << 48}}, nullptr},
      {"S2HA without HTTU", {{2, 1ull << 56}}, [](auto& s) { s.httu = 0; }},
      {"S2HD without dirty state", {{2, 3ull << 55}}, [](auto& s) { s.httu = 1; }},
      {"S2S without stalls",
       {{2, 1ull << 57}},
       [](auto& s) { s.stall_model = smmu::StallModel::kTerminateOnly; }},
      {"no S2S where stalls are forced",
       {},
       [](auto& s) { s.stall_model = smmu::StallModel::kStallForced; }},
      {"S1STALLD without a choice",
       {{1, 1 << 27}},
       [](auto& s) { s.stall_model = smmu::StallModel::kTerminateOnly; }},
      {"VMID of 16 bits", {{2, 0x100}}, [](auto& s) { s.vmid16 = false; }},
      {"EATS split", {{1, 2 << 28}}, nullptr},
      {"EATS full with S2S", {{1, 1 << 28}, {2, 1ull << 57}}, nullptr},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    SmmuModel::Spec spec;
    if (c.restrict != nullptr) c.restrict(spec);
    World world(Stages::kNested, spec);
    for (const Change& change : c.changes) {
      world.Flip(world.stream_entry + 8 * change.word, change.bits);
    }
    EXPECT_EQ(world.Translate(World::Read(World::kIova4K)).fault.id, smmu::kBadSte);
    ASSERT_EQ(world.EventCount(), 1u);
    EXPECT_THAT(world.NextEvent(), ElementsAre(0x04 | kSid, 0, 0, 0));
  }
}

TEST(SmmuFaultTest, TakesLegalVariationsOfStreamTableEntries) {
  const struct {
    const char* name;
    Change change;
  } kCases[] = {
      {"ATS", {1, 1 << 28}},
      {"merged events", {1, 1 << 19}},
      {"FWB", {1, 1 << 25}},
      {"cacheability", {1, 0xfc}},
      {"no stalls", {1, 1 << 27}},
      {"software's bits", {1, 0xfull << 20}},
      {"STRW with stage 2", {1, 3ull << 30}},
      {"EATS reserved", {1, 3 << 28}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    World world(Stages::kNested);
    world.Flip(world.stream_entry + 8 * c.change.word, c.change.bits);
    EXPECT_EQ(world.Where(World::kIova4K), world.data);
  }
}

TEST(SmmuFaultTest, RefusesIllegalContextDescriptors) {
  const struct {
    const char* name;
    uint64_t bits;
    uint64_t stream_bits;  // Of the entry's second word.
    std::function<void(SmmuModel::Spec&)> restrict;
  } kCases[] = {
      {"V", 1ull << 31, 0, nullptr},
      {"AA64", 1ull << 41, 0, nullptr},
      {"T0SZ too small", 16 ^ 15, 0, nullptr},
      {"T0SZ too large", 16 ^ 40, 0, nullptr},
      {"TG0 reserved", 3 << 6, 0, nullptr},
      {"TG0 64K", 1 << 6, 0, [](auto& s) { s.granule_64k = false; }},
      {"ENDI", 1 << 15, 0, nullptr},
      {"TG1 reserved", 1 << 30 | 16 << 16, 0, nullptr},
      {"TTB0 beyond IPS", 5ull << 32, 0, nullptr},
      {"HA without HTTU", 1ull << 43, 0, [](auto& s) { s.httu = 0; }},
      {"HD without dirty state", 3ull << 42, 0, [](auto& s) { s.httu = 1; }},
      {"S with S1STALLD", 1ull << 44, 1 << 27, nullptr},
      {"S without stalls", 1ull << 44, 0,
       [](auto& s) { s.stall_model = smmu::StallModel::kTerminateOnly; }},
      {"no S where stalls are forced", 0, 0,
       [](auto& s) { s.stall_model = smmu::StallModel::kStallForced; }},
      {"ASID of 16 bits", 1ull << 56, 0, [](auto& s) { s.asid16 = false; }},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    SmmuModel::Spec spec;
    if (c.restrict != nullptr) c.restrict(spec);
    World world(Stages::kFirst, spec);
    world.Flip(world.context3, c.bits);
    world.Flip(world.stream_entry + 8, c.stream_bits);
    EXPECT_EQ(world.Translate(World::Read(World::kIova4K, 3)).fault.id, smmu::kBadCd);
    ASSERT_EQ(world.EventCount(), 1u);
    EXPECT_THAT(world.NextEvent(), ElementsAre(0x0a | kSid | kSsid, 0, 0, 0));
  }
}

TEST(SmmuFaultTest, ChecksNothingOfAHalfThatIsSwitchedOff) {
  World world;
  // EPD0, with everything of it senseless: the released context of an address space that is gone.
  world.Store(world.context0, (World::kContext0 & ~0xffull) | 1 << 14 | 0xff);
  world.Store(world.context0 + 8, ~0ull << 50);
  EXPECT_EQ(world.Translate(World::Read(World::kIova4K)).fault.id, smmu::kTranslationFault);
}

TEST(SmmuFaultTest, RefusesSubstreamsThatTheConfigurationDoesNotHave) {
  World first;
  EXPECT_EQ(first.Translate(World::Read(World::kIova4K, 8)).fault.id, smmu::kBadSubstreamId);
  EXPECT_THAT(first.NextEvent(), ElementsAre(0x08 | kSid | 1 << 11 | 8 << 12, 0, 0, 0));
  first.Store(first.stream_entry, 1 | 5 << 1 | first.contexts);  // S1CDMax 0.
  first.Submit(0x03 | kSid, 1);
  EXPECT_EQ(first.Where(World::kIova4K), first.data);
  EXPECT_EQ(first.Translate(World::Read(World::kIova4K, 0)).fault.id, smmu::kBadSubstreamId);
  World second(Stages::kSecond);
  EXPECT_EQ(second.Translate(World::Read(second.DataAddress(), 0)).fault.id, smmu::kBadSubstreamId);
}

TEST(SmmuFaultTest, RecordsStreamsOutOfRangeOnlyIfAsked) {
  World world;
  smmu::Request request = World::Read(0);
  request.stream_id = 64;
  EXPECT_EQ(world.Translate(request).fault.id, smmu::kBadStreamId);
  EXPECT_THAT(world.NextEvent(), ElementsAre(0x02 | 64ull << 32, 0, 0, 0));
  world.model->Write32(0x20, 0xe);
  world.model->Write32(0x2c, 0);
  world.model->Write32(0x20, 0xf);
  EXPECT_EQ(world.Translate(request).fault.id, smmu::kBadStreamId);
  EXPECT_EQ(world.EventCount(), 0u);
}

TEST(SmmuFaultTest, HasNoMoreStreamsThanSidsizeSays) {
  SmmuModel::Spec spec;
  spec.stream_id_bits = 3;
  World world(Stages::kFirst, spec);
  EXPECT_EQ(world.Where(World::kIova4K), world.data);
  smmu::Request request = World::Read(World::kIova4K);
  request.stream_id = 8;
  EXPECT_EQ(world.Translate(request).fault.id, smmu::kBadStreamId);
}

TEST(SmmuFaultTest, ReportsWhatMemoryDoesNotAnswer) {
  constexpr uint64_t kNowhere = 0x3000000000;
  World world;
  world.Store(world.context0 + 8, kNowhere);
  EXPECT_EQ(world.Translate(World::Read(World::kIova4K)).fault.id, smmu::kWalkAbort);
  EXPECT_THAT(world.NextEvent(),
              ElementsAre(0x0b | kSid, kRead | kTable, World::kIova4K, kNowhere));
  world.Store(world.stream_entry, 1 | 5 << 1 | kNowhere | 3ull << 59);
  world.Submit(0x03 | kSid, 1);
  EXPECT_EQ(world.Translate(World::Read(World::kIova4K, 3)).fault.id, smmu::kCdFetch);
  EXPECT_THAT(world.NextEvent(), ElementsAre(0x09 | kSid | kSsid, 0, 0, kNowhere + 3 * 64));
  world.model->Write32(0x20, 0xe);
  world.model->Write64(0x80, kNowhere);
  world.model->Write32(0x20, 0xf);
  world.Submit(0x04, 31);
  EXPECT_EQ(world.Translate(World::Read(World::kIova4K)).fault.id, smmu::kSteFetch);
  EXPECT_THAT(world.NextEvent(), ElementsAre(0x03 | kSid, 0, 0, kNowhere + 64 * 5));
  EXPECT_EQ(world.model->counters().events[smmu::kSteFetch], 1u);
}

// Faults of stage 1: what is changed in the leaf, and what then is refused.
TEST(SmmuFaultTest, RefusesWhatTheDescriptorsOfStage1Forbid) {
  const struct {
    const char* name;
    uint64_t leaf_bits, table_bits;
    bool write, privileged, instruction;
    smmu::EventId want;
  } kCases[] = {
      {"not present", 1, 0, false, false, false, smmu::kTranslationFault},
      {"reserved at level 3", 2, 0, false, false, false, smmu::kTranslationFault},
      {"no table", 0, 1, false, false, false, smmu::kTranslationFault},
      {"not accessed", 1 << 10, 0, false, false, false, smmu::kAccessFault},
      {"not accessed goes before permission", 1 << 10 | 1 << 7, 0, true, false, false,
       smmu::kAccessFault},
      {"read-only", 1 << 7, 0, true, false, false, smmu::kPermissionFault},
      {"read-only, read", 1 << 7, 0, false, false, false, smmu::kNoEvent},
      {"not for users", 1 << 6, 0, false, false, false, smmu::kPermissionFault},
      {"not for users, supervisor", 1 << 6, 0, true, true, false, smmu::kNoEvent},
      {"table read-only", 0, 1ull << 62, true, true, false, smmu::kPermissionFault},
      {"table not for users", 0, 1ull << 61, false, false, false, smmu::kPermissionFault},
      {"execute", 0, 0, false, false, true, smmu::kNoEvent},
      {"execute only", 1 << 6, 0, false, false, true, smmu::kNoEvent},
      {"XN", 1ull << 54, 0, false, false, true, smmu::kPermissionFault},
      {"PXN", 1ull << 53 | 1 << 7, 0, false, true, true, smmu::kPermissionFault},
      {"XNTable", 0, 1ull << 60, false, false, true, smmu::kPermissionFault},
      {"users may write: no supervisor executes", 0, 0, false, true, true, smmu::kPermissionFault},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    World world;
    world.Flip(world.leaf_4k, c.leaf_bits);
    world.Flip(world.entry2, c.table_bits);
    smmu::Request request = World::Read(World::kIova4K + 0x20, 3);
    request.write = c.write;
    request.privileged = c.privileged;
    request.instruction = c.instruction;
    EXPECT_EQ(world.model->Probe(request).fault.id, c.want);
    EXPECT_EQ(world.Translate(request).fault.id, c.want);
    EXPECT_EQ(world.Translate(request).fault.id, c.want);
    EXPECT_EQ(world.EventCount(), c.want == smmu::kNoEvent ? 0u : 2u);
    if (c.want == smmu::kNoEvent) continue;
    const uint64_t attributes =
        (c.write ? 0 : kRead) | (c.privileged ? 1ull << 33 : 0) | (c.instruction ? 1ull << 34 : 0);
    EXPECT_THAT(world.NextEvent(),
                ElementsAre(c.want | kSid | kSsid, attributes | kInput, World::kIova4K + 0x20, 0));
  }
}

TEST(SmmuFaultTest, RefusesAddressesBeyondWhatTheSizesSay) {
  World world;
  // IPS 32 bits is illegal with these tables; 36 bits holds them, and not the blocks.
  world.Store(world.context0, (World::kContext0 & ~(7ull << 32)) | 1ull << 32);
  EXPECT_EQ(world.Where(World::kIova4K), world.data);
  EXPECT_EQ(world.Translate(World::Read(World::kIova1G)).fault.id, smmu::kAddressSizeFault);
  world.Store(world.entry2, 1ull << 40 | 3);
  world.Submit(0x30);
  EXPECT_EQ(world.Translate(World::Read(World::kIova4K)).fault.id, smmu::kAddressSizeFault);
  EXPECT_EQ(world.Translate(World::Read(1ull << 48)).fault.id, smmu::kTranslationFault);
  World second(Stages::kSecond);
  second.Store(second.stream_entry + 16, (World::kStream2 & ~(7ull << 48)) | 1ull << 48);
  const Translation beyond = second.Translate(World::Read(World::kIpa1G + 0x5000));
  EXPECT_EQ(beyond.fault.id, smmu::kAddressSizeFault);
  EXPECT_TRUE(beyond.fault.stage2);
  EXPECT_EQ(second.Translate(World::Read(1ull << 40 | second.DataAddress())).fault.id,
            smmu::kTranslationFault);
  EXPECT_THAT(second.NextEvent(), ElementsAre(0x11 | kSid, kRead | kInput | kStage2,
                                              World::kIpa1G + 0x5000, World::kIpa1G + 0x5000));
}

TEST(SmmuFaultTest, RefusesWhatTheDescriptorsOfStage2Forbid) {
  const struct {
    const char* name;
    uint64_t bits;
    bool write;
    smmu::EventId want;
  } kCases[] = {
      {"not present", 1, false, smmu::kTranslationFault},
      {"not accessed", 1 << 10, false, smmu::kAccessFault},
      {"not readable", 1 << 6, false, smmu::kPermissionFault},
      {"not readable, write", 1 << 6, true, smmu::kNoEvent},
      {"not writable", 1 << 7, true, smmu::kPermissionFault},
      {"not writable, read", 1 << 7, false, smmu::kNoEvent},
  };
  for (const Stages stages : {Stages::kSecond, Stages::kNested}) {
    for (const auto& c : kCases) {
      SCOPED_TRACE(c.name);
      World world(stages);
      world.Flip(world.second_data, c.bits);
      smmu::Request request = World::Read(world.DataAddress() + 0x20);
      request.write = c.write;
      EXPECT_EQ(world.Translate(request).fault.id, c.want);
      EXPECT_EQ(world.Translate(request).fault.id, c.want);
      if (c.want == smmu::kNoEvent) continue;
      EXPECT_THAT(world.NextEvent(),
                  ElementsAre(c.want | kSid, (c.write ? 0 : kRead) | kInput | kStage2,
                              request.address, world.IpaOf(world.data)));
    }
  }
}

// A remembered combination refuses what its stage 2 does not permit as a fault of stage 2.
TEST(SmmuFaultTest, BlamesTheRightStageForARememberedPage) {
  World world(Stages::kNested);
  world.Flip(world.second_data, 1 << 7);
  EXPECT_EQ(world.Where(World::kIova4K), world.data);
  const Translation refused = world.Translate(World::Write(World::kIova4K + 0x18));
  EXPECT_EQ(refused.fault.id, smmu::kPermissionFault);
  EXPECT_TRUE(refused.fault.stage2);
  EXPECT_EQ(refused.fault.second_address, world.IpaOf(world.data) + 0x18);
}

TEST(SmmuFaultTest, SaysWhatAFaultOfStage2WasMetFor) {
  const struct {
    const char* name;
    uint64_t World::*page;
    uint64_t bits, syndrome;
  } kCases[] = {
      {"CD", &World::contexts, 1, 0},
      {"table", &World::level2, 1, kTable | 1ull << 44},
      {"page", &World::data, 1, kInput},
      // A device's memory is no place for tables (S2PTW); to a page it makes no difference.
      {"CD in device memory", &World::contexts, 0xc << 2, 0},
      {"table in device memory", &World::level1, 0xc << 2, kTable | 1ull << 44},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    World world(Stages::kNested);
    world.Flip(world.SecondEntryOf(world.*c.page), c.bits);
    const Translation refused = world.Translate(World::Write(World::kIova4K));
    EXPECT_EQ(refused.fault.id, c.bits == 1 ? smmu::kTranslationFault : smmu::kPermissionFault);
    const auto record = world.NextEvent();
    EXPECT_EQ(record[1], kStage2 | c.syndrome);
    EXPECT_EQ(record[2], World::kIova4K);
    EXPECT_EQ(record[3] & ~0xfffull, world.IpaOf(world.*c.page));
  }
  World world(Stages::kNested);
  world.Flip(world.second_data, 0xc << 2);
  EXPECT_EQ(world.Where(World::kIova4K), world.data);
}

TEST(SmmuFaultTest, StaysSilentWhereTheConfigurationAsksForIt) {
  World first;
  first.Flip(first.leaf_4k, 1);
  first.Flip(first.context0, 1ull << 45);  // R
  const Translation silent = first.Translate(World::Read(World::kIova4K));
  EXPECT_EQ(silent.fault.id, smmu::kTranslationFault);
  EXPECT_FALSE(silent.fault.recorded);
  EXPECT_EQ(first.EventCount(), 0u);
  World second(Stages::kSecond);
  second.Flip(second.second_data, 1);
  second.Flip(second.stream_entry + 16, 1ull << 58);  // S2R
  EXPECT_EQ(second.Translate(World::Read(second.DataAddress())).fault.id, smmu::kTranslationFault);
  EXPECT_EQ(second.EventCount(), 0u);
}

TEST(SmmuFaultTest, EndsAccessesHarmlesslyWhereTheContextSaysSo) {
  for (const bool aborts : {true, false}) {
    World world;
    world.Flip(world.leaf_4k, 1);
    if (!aborts) world.Flip(world.context0, 1ull << 46);  // A
    std::string bytes = "12345678";
    const auto outcome = world.model->Access(World::Read(World::kIova4K), absl::MakeSpan(bytes));
    EXPECT_EQ(outcome.bytes_done, 0u);
    EXPECT_EQ(outcome.fault.reads_zero, !aborts);
    EXPECT_EQ(bytes, aborts ? "12345678" : std::string(8, '\0'));
  }
}

TEST(SmmuFaultTest, StopsAnAccessAtTheFirstPageThatIsRefused) {
  World world;
  std::string bytes(0x1800, 'x');
  const auto outcome =
      world.model->Access(World::Write(World::kIova4K + 0x800), absl::MakeSpan(bytes));
  EXPECT_EQ(outcome.bytes_done, 0x800u);
  EXPECT_EQ(outcome.fault_address, World::kIova4K + 0x1000);
  EXPECT_EQ(outcome.fault.id, smmu::kTranslationFault);
  EXPECT_EQ(outcome.stall_id, 0u);
  const auto nowhere = world.model->Access(World::Read(World::kIova1G), absl::MakeSpan(bytes));
  EXPECT_TRUE(nowhere.fault.none());
  EXPECT_TRUE(nowhere.memory_missing);
}

TEST(SmmuFaultTest, KeepsSupervisorsFromUsersPagesWithPan) {
  World world;
  world.Flip(world.context0, 1ull << 40);
  smmu::Request request = World::Read(World::kIova4K);
  EXPECT_TRUE(world.Translate(request).ok());
  request.privileged = true;
  EXPECT_EQ(world.Translate(request).fault.id, smmu::kPermissionFault);
}

TEST(SmmuFaultTest, NamesItsEvents) {
  EXPECT_EQ(smmu::EventName(0x10), "F_TRANSLATION");
  EXPECT_EQ(smmu::EventName(0x04), "C_BAD_STE");
  EXPECT_EQ(smmu::EventName(0x3f), "0x3f");
}

}  // namespace
}  // namespace viommu::hardware
