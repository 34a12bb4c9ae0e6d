#include "engine/backend/soft/smmu_unit.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/smmu_world.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/entries/smmu_cd.h"
#include "engine/entries/smmu_commands.h"
#include "engine/entries/smmu_ste.h"
#include "engine/pagetable/store.h"
#include "engine/pagetable/table_arena.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using smmu::Opcode;
using Opcodes = std::vector<Opcode>;

const UnitTranslation kBlocked{};
const UnitTranslation kIdentity{TranslationKind::kIdentity};

class SmmuUnitTest : public SmmuWorld {
 protected:
  smmu::SteConfig ConfigOf(uint32_t stream) const { return smmu::ConfigOf(unit_->SteOf(stream)); }
  smmu::DefaultSubstream DefaultOf(uint32_t stream) const {
    return smmu::DefaultSubstreamOf(unit_->SteOf(stream));
  }

  Domain first_ = FirstStage(0xf1);
  Domain other_first_ = FirstStage(0xf2);
  Domain second_ = SecondStage(0x51);
  Domain other_second_ = SecondStage(0x52);
};

TEST_F(SmmuUnitTest, BlocksEveryStreamAtFirst) {
  for (const uint32_t stream : {kPlain, kNarrow, kCaching, kBare, kPlain + 1, 0xffffu}) {
    EXPECT_EQ(Read(stream, kRid), "blocked");
    EXPECT_EQ(Read(stream, 5), "blocked");
  }
  EXPECT_EQ(unit_->SteOf(kPlain), smmu::MakeAbortSte());
}

TEST_F(SmmuUnitTest, TranslatesByEveryKindOfPlace) {
  for (const uint32_t stream : {kPlain, kNarrow, kCaching, kBare}) {
    SCOPED_TRACE(stream);
    ASSERT_TRUE(Set(stream, kRidPasid, kIdentity).ok());
    EXPECT_EQ(Read(stream, kRid), "0x1d");
    ASSERT_TRUE(Set(stream, kRidPasid, first_.translation).ok());
    EXPECT_EQ(Read(stream, kRid), "0xf1");
    ASSERT_TRUE(Set(stream, kRidPasid, second_.translation).ok());
    EXPECT_EQ(Read(stream, kRid), "0x51");
    EXPECT_EQ(Read(stream, 1), "blocked");
    ASSERT_TRUE(Set(stream, kRidPasid, kBlocked).ok());
    EXPECT_EQ(Read(stream, kRid), "blocked");
  }
  for (const uint32_t stream : {kPlain, kNarrow, kCaching}) {
    SCOPED_TRACE(stream);
    for (const uint32_t pasid : {1u, 255u}) {
      ASSERT_TRUE(Set(stream, pasid, first_.translation).ok());
      EXPECT_EQ(Read(stream, pasid), "0xf1");
      ASSERT_TRUE(Set(stream, pasid, kBlocked).ok());
      EXPECT_EQ(Read(stream, pasid), "blocked");
    }
  }
}

// Every ordered pair of places, with PASIDs in use and without, each used before it is left.
TEST_F(SmmuUnitTest, LeavesNothingOfAnOldTranslationInAnyCache) {
  const struct {
    const UnitTranslation translation;
    const char* reads;
  } kPlaces[] = {{kBlocked, "blocked"},         {kIdentity, "0x1d"},
                 {first_.translation, "0xf1"},  {other_first_.translation, "0xf2"},
                 {second_.translation, "0x51"}, {other_second_.translation, "0x52"}};
  unit_->hardware().SetRefills(true);
  for (const uint32_t stream : {kPlain, kNarrow, kCaching, kBare}) {
    for (const bool pasids : {false, true}) {
      if (pasids && stream == kBare) continue;
      if (pasids) {
        ASSERT_TRUE(Set(stream, kRidPasid, kBlocked).ok());
        ASSERT_TRUE(Set(stream, 7, other_first_.translation).ok());
      }
      for (const auto& from : kPlaces) {
        for (const auto& to : kPlaces) {
          const auto by_second = [](const auto& place) {
            return place.translation.kind == TranslationKind::kSecondStage;
          };
          if (pasids && (by_second(from) || by_second(to))) continue;
          SCOPED_TRACE(std::string(from.reads) + " to " + to.reads);
          ASSERT_TRUE(Set(stream, kRidPasid, from.translation).ok());
          ASSERT_EQ(Read(stream, kRid), from.reads);
          ASSERT_TRUE(Set(stream, kRidPasid, to.translation).ok());
          ASSERT_EQ(Read(stream, kRid), to.reads);
          if (pasids) {
            ASSERT_EQ(Read(stream, 7), "0xf2");
          }
        }
      }
    }
  }
}

TEST_F(SmmuUnitTest, LeavesNothingOfAPasidInAnyCache) {
  const struct {
    const UnitTranslation translation;
    const char* reads;
  } kPlaces[] = {
      {kBlocked, "blocked"}, {first_.translation, "0xf1"}, {other_first_.translation, "0xf2"}};
  unit_->hardware().SetRefills(true);
  for (const uint32_t stream : {kPlain, kNarrow, kCaching}) {
    for (const UnitTranslation& rid : {kBlocked, kIdentity, first_.translation}) {
      ASSERT_TRUE(Set(stream, kRidPasid, rid).ok());
      const std::string rid_reads = Read(stream, kRid);
      for (const auto& from : kPlaces) {
        for (const auto& to : kPlaces) {
          SCOPED_TRACE(rid_reads + ": " + from.reads + " to " + to.reads);
          ASSERT_TRUE(Set(stream, 9, from.translation).ok());
          ASSERT_EQ(Read(stream, 9), from.reads);
          ASSERT_TRUE(Set(stream, 9, to.translation).ok());
          ASSERT_EQ(Read(stream, 9), to.reads);
          ASSERT_EQ(Read(stream, kRid), rid_reads);
        }
      }
      ASSERT_TRUE(Set(stream, 9, kBlocked).ok());
    }
  }
}

TEST_F(SmmuUnitTest, LeadsToDescriptorsWhileThereArePasids) {
  const struct {
    UnitTranslation rid;
    smmu::SteConfig alone;
    smmu::DefaultSubstream beside_pasids;
  } kCases[] = {
      {kBlocked, smmu::SteConfig::kAbort, smmu::DefaultSubstream::kTerminate},
      {kIdentity, smmu::SteConfig::kBypass, smmu::DefaultSubstream::kBypass},
      {first_.translation, smmu::SteConfig::kStage1, smmu::DefaultSubstream::kSsid0},
  };
  for (const auto& c : kCases) {
    ASSERT_TRUE(Set(kPlain, kRidPasid, c.rid).ok());
    EXPECT_EQ(ConfigOf(kPlain), c.alone);
    ASSERT_TRUE(Set(kPlain, 0x12345, other_first_.translation).ok());
    EXPECT_EQ(ConfigOf(kPlain), smmu::SteConfig::kStage1);
    EXPECT_EQ(DefaultOf(kPlain), c.beside_pasids);
    EXPECT_EQ(smmu::CdTableFormatOf(unit_->SteOf(kPlain)), smmu::CdTableFormat::kTwoLevel64KiB);
    ASSERT_TRUE(Set(kPlain, 3, other_first_.translation).ok());
    ASSERT_TRUE(Set(kPlain, 0x12345, kBlocked).ok());
    EXPECT_EQ(ConfigOf(kPlain), smmu::SteConfig::kStage1) << "PASID 3 is left";
    ASSERT_TRUE(Set(kPlain, 3, kBlocked).ok());
    EXPECT_EQ(ConfigOf(kPlain), c.alone);
  }
}

TEST_F(SmmuUnitTest, MakesDescriptorsWhenNeededAndFreesThem) {
  const uint64_t before = arena_->pages_in_use();
  const auto release = [&](uint32_t pasid) { unit_->ReleaseTable(kPlain, pasid); };
  ASSERT_TRUE(Set(kPlain, kRidPasid, second_.translation).ok());
  EXPECT_EQ(arena_->pages_in_use(), before);
  ASSERT_TRUE(Set(kPlain, kRidPasid, first_.translation).ok());
  const uint64_t with_rid = arena_->pages_in_use();
  EXPECT_GT(with_rid, before);
  ASSERT_TRUE(Set(kPlain, 1023, first_.translation).ok());
  EXPECT_EQ(arena_->pages_in_use(), with_rid) << "in the table of descriptor 0";
  EXPECT_EQ(Read(kPlain, 1024), "blocked") << "and the unit remembers that there is no table";
  ASSERT_TRUE(Set(kPlain, 1024, first_.translation).ok());
  EXPECT_EQ(Read(kPlain, 1024), "0xf1");
  ASSERT_TRUE(Set(kPlain, 1025, first_.translation).ok());
  EXPECT_EQ(arena_->pages_in_use(), with_rid + 16);
  ASSERT_TRUE(Set(kPlain, 1024, kBlocked).ok());
  release(1024);
  EXPECT_EQ(arena_->pages_in_use(), with_rid + 16) << "1025 is left";
  EXPECT_EQ(Read(kPlain, 1025), "0xf1");
  ASSERT_TRUE(Set(kPlain, 1025, kBlocked).ok());
  release(1025);
  EXPECT_EQ(arena_->pages_in_use(), with_rid);
  EXPECT_EQ(Read(kPlain, 1025), "blocked");
  ASSERT_TRUE(Set(kPlain, kRidPasid, kBlocked).ok());
  release(kRidPasid);
  EXPECT_EQ(arena_->pages_in_use(), with_rid) << "1023 is left";
  ASSERT_TRUE(Set(kPlain, 1023, kBlocked).ok());
  release(1023);
  EXPECT_EQ(arena_->pages_in_use(), before);
  // What was found empty before is found filled again.
  ASSERT_TRUE(Set(kPlain, 1025, other_first_.translation).ok());
  EXPECT_EQ(Read(kPlain, 1025), "0xf2");
}

TEST_F(SmmuUnitTest, ForgetsTheWayToATableThatItFrees) {
  ASSERT_TRUE(Set(kPlain, 8, first_.translation).ok());
  ASSERT_TRUE(Set(kPlain, 1024, first_.translation).ok());
  ASSERT_TRUE(Set(kPlain, 1024, kBlocked).ok());
  EXPECT_EQ(Read(kPlain, 1025), "blocked") << "the unit has looked into the table once more";
  unit_->ReleaseTable(kPlain, 1024);
  // The memory is used for something else, which looks like descriptors.
  constexpr int kTablePagesLog2 = 4;
  const smmu::Cd valid = unit_->CdOf(kPlain, 8);
  for (int block = 0; block < 4; ++block) {
    uint64_t* words = arena_->WordsAt(*arena_->AllocateBlock(kTablePagesLog2));
    for (int i = 0; i < 1024; ++i) std::copy(valid.begin(), valid.end(), words + i * valid.size());
  }
  EXPECT_EQ(Read(kPlain, 8), "0xf1");
  EXPECT_EQ(Read(kPlain, 1026), "blocked");
}

TEST_F(SmmuUnitTest, RefusesPasidsThatTheDeviceCanNotIssue) {
  EXPECT_TRUE(unit_->CheckPasid(kPlain, 0xfffff).ok());
  EXPECT_TRUE(unit_->CheckPasid(kBare, kRidPasid).ok());
  for (const auto& [stream, pasid] :
       {std::pair<uint32_t, uint32_t>{kNarrow, 256}, {kBare, 1}, {kPlain, 1u << 20}}) {
    for (const absl::Status& status :
         {unit_->CheckPasid(stream, pasid),
          unit_->PrepareEntry(stream, pasid, TranslationKind::kFirstStage),
          Set(stream, pasid, first_.translation)}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
      EXPECT_EQ(DetailOf(status)->reason, "PASID_OUT_OF_RANGE");
    }
    EXPECT_TRUE(Set(stream, pasid, kBlocked).ok()) << "as it is";
  }
}

TEST_F(SmmuUnitTest, DropsWhatDevicesKeepBehindTheUnitsOwnCaches) {
  const auto opcodes = [&](uint32_t pasid, const UnitTranslation& target) {
    const uint32_t from = unit_->queue().tail();
    EXPECT_TRUE(Set(kCaching, pasid, target).ok());
    return OpcodesSince(from);
  };
  ASSERT_TRUE(Set(kCaching, kRidPasid, first_.translation).ok());
  EXPECT_EQ(
      opcodes(kRidPasid, second_.translation),
      (Opcodes{Opcode::kCfgiSte, Opcode::kSync, Opcode::kCfgiSte, Opcode::kSync, Opcode::kCfgiSte,
               Opcode::kSync, Opcode::kCfgiCd, Opcode::kSync, Opcode::kCfgiCd, Opcode::kSync,
               Opcode::kTlbiNhAsid, Opcode::kSync, Opcode::kAtcInv, Opcode::kSync}));
  // Off before the entry lets it ask no more, so that there is nothing left to drop.
  EXPECT_EQ(opcodes(kRidPasid, kBlocked),
            (Opcodes{Opcode::kCfgiSte, Opcode::kSync, Opcode::kCfgiSte, Opcode::kSync,
                     Opcode::kTlbiS12VmAll, Opcode::kSync}));
  ASSERT_TRUE(Set(kCaching, 4, first_.translation).ok());
  ASSERT_TRUE(Set(kCaching, 5, first_.translation).ok());
  EXPECT_EQ(opcodes(4, kBlocked),
            (Opcodes{Opcode::kCfgiCd, Opcode::kSync, Opcode::kCfgiCd, Opcode::kSync,
                     Opcode::kTlbiNhAsid, Opcode::kSync, Opcode::kAtcInv, Opcode::kSync}));
}

TEST_F(SmmuUnitTest, FlushesAllOfATagInTheUnitAndThenInDevices) {
  ASSERT_TRUE(Set(kCaching, kRidPasid, first_.translation).ok());
  ASSERT_TRUE(Set(kCaching, 6, first_.translation).ok());
  ASSERT_TRUE(Set(kPlain, kRidPasid, second_.translation).ok());
  const auto opcodes = [&](const Domain& domain) {
    const uint32_t from = unit_->queue().tail();
    EXPECT_TRUE(unit_->FlushTag({domain.translation.kind, domain.translation.tag}).ok());
    return OpcodesSince(from);
  };
  EXPECT_EQ(opcodes(first_),
            (std::vector<Opcode>{Opcode::kTlbiNhAsid, Opcode::kSync, Opcode::kAtcInv,
                                 Opcode::kAtcInv, Opcode::kSync}));
  EXPECT_EQ(opcodes(second_), (std::vector<Opcode>{Opcode::kTlbiS12VmAll, Opcode::kSync}));
}

TEST_F(SmmuUnitTest, FlushesRangesByTagInTheUnitAndInDevices) {
  ASSERT_TRUE(Set(kCaching, kRidPasid, first_.translation).ok());
  ASSERT_TRUE(Set(kCaching, 6, first_.translation).ok());
  ASSERT_TRUE(Set(kPlain, kRidPasid, second_.translation).ok());
  const IovaRange page = {iova_, iova_ + kPage - 1};
  const auto opcodes = [&](const Domain& domain, const std::vector<IovaRange>& ranges) {
    const uint32_t from = unit_->queue().tail();
    const UnitTag tag{domain.translation.kind, domain.translation.tag};
    EXPECT_TRUE(unit_->Flush({tag, {kRidPasid}, 12}, ranges, true).ok());
    return OpcodesSince(from);
  };
  EXPECT_EQ(opcodes(first_, {page}), (Opcodes{Opcode::kTlbiNhVa, Opcode::kSync, Opcode::kAtcInv,
                                              Opcode::kAtcInv, Opcode::kSync}));
  EXPECT_EQ(opcodes(second_, {page}), (Opcodes{Opcode::kTlbiS2Ipa, Opcode::kSync}));
  EXPECT_EQ(opcodes(other_first_, {page}), (Opcodes{Opcode::kTlbiNhVa, Opcode::kSync}));
  EXPECT_EQ(opcodes(first_, std::vector<IovaRange>(17, page)),
            (Opcodes{Opcode::kTlbiNhAsid, Opcode::kSync, Opcode::kAtcInv, Opcode::kAtcInv,
                     Opcode::kSync}));
  EXPECT_EQ(opcodes(first_, {}), Opcodes{});
}

TEST_F(SmmuUnitTest, AnUnmapIsSeenByAllThatCacheIt) {
  for (const uint32_t stream : {kPlain, kCaching}) {
    ASSERT_TRUE(Set(stream, kRidPasid, first_.translation).ok());
    ASSERT_TRUE(Set(stream, 6, first_.translation).ok());
    EXPECT_EQ(Read(stream, kRid), "0xf1");
    EXPECT_EQ(Read(stream, 6), "0xf1");
  }
  PageList freed;
  first_.table.Unmap(iova_, kPage, &freed);
  const UnitTag tag{TranslationKind::kFirstStage, first_.translation.tag};
  const IovaRange page = {iova_, iova_ + kPage - 1};
  ASSERT_TRUE(unit_->Flush({tag, {kRidPasid, 6}, 12}, {page}, false).ok());
  for (const uint32_t stream : {kPlain, kCaching}) {
    EXPECT_EQ(Read(stream, kRid), "blocked");
    EXPECT_EQ(Read(stream, 6), "blocked");
  }
  arena_->Free(&freed);
}

TEST_F(SmmuUnitTest, HandsOutTagsOfEachStageUntilThereAreNone) {
  IommuSpec spec = EverySmmu();
  spec.smmu_v3.asid_bits = spec.smmu_v3.vmid_bits = 8;
  const auto unit = *SmmuUnit::Create(spec, {}, &memory_, arena_.get());
  for (const TranslationKind kind : {TranslationKind::kFirstStage, TranslationKind::kSecondStage}) {
    for (uint32_t want = 1; want < 256; ++want) ASSERT_EQ(*unit->TakeTag(kind), want);
    const absl::Status none = unit->TakeTag(kind).status();
    EXPECT_EQ(none.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(DetailOf(none)->reason, "DOMAIN_IDS_EXHAUSTED");
    unit->ReturnTag({kind, 17});
    EXPECT_EQ(*unit->TakeTag(kind), 17u);
  }
}

TEST_F(SmmuUnitTest, RefusesToBeMadeWithTooLittleMemory) {
  const uint64_t before = arena_->pages_in_use();
  const auto window = *memory_.AddWindow(4 * kPage, kPage);
  TableArena small(window.data, window.base, window.size_bytes);
  EXPECT_EQ(SmmuUnit::Create(EverySmmu(), {{kPlain, 0}}, &memory_, &small).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(small.pages_in_use(), 0u);
  EXPECT_EQ(arena_->pages_in_use(), before);
}

TEST_F(SmmuUnitTest, WorksWithALinearStreamTable) {
  IommuSpec spec = EverySmmu();
  spec.smmu_v3.two_level_stream_table = false;
  spec.smmu_v3.two_level_cd = false;
  spec.smmu_v3.stream_id_bits = 14;
  const auto unit = *SmmuUnit::Create(spec, {{0x3fff, 10}}, &memory_, arena_.get());
  ASSERT_TRUE(unit->EnableTranslation().ok());
  ASSERT_TRUE(unit->SetEntry(PlainStore(), 0x3fff, 1023, first_.translation).ok());
  hardware::smmu::Request request;
  request.stream_id = 0x3fff;
  request.address = iova_;
  EXPECT_FALSE(unit->hardware().Translate(request).ok());
  request.substream_id = 1023;
  EXPECT_TRUE(unit->hardware().Translate(request).ok());
  request.stream_id = 0x3ffe;
  EXPECT_FALSE(unit->hardware().Translate(request).ok());
}

TEST_F(SmmuUnitTest, CarriesOutAGuestsCommandsInOrderAndThoseOfDevicesApart) {
  const smmu::Command tlb = smmu::InvalidateStage1(3);
  const smmu::Command device = smmu::InvalidateAtc(kCaching, {0, smmu::kAtcWholeSpaceLog2});
  const uint32_t from = unit_->queue().tail();
  size_t handled = 0;
  ASSERT_TRUE(unit_->Execute({tlb, tlb, device, device, tlb}, &handled).ok());
  EXPECT_EQ(handled, 5u);
  EXPECT_EQ(OpcodesSince(from),
            (Opcodes{Opcode::kTlbiNhAll, Opcode::kTlbiNhAll, Opcode::kSync, Opcode::kAtcInv,
                     Opcode::kAtcInv, Opcode::kSync, Opcode::kTlbiNhAll, Opcode::kSync}));
  unit_->hardware().HangCommandQueueAfter(4);
  EXPECT_EQ(unit_->Execute({tlb, device, tlb}, &handled).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(handled, 2u);
  unit_->hardware().HangCommandQueueAfter(std::nullopt);
}

// ---- Failing hardware ----

// Commands that the queue consumes before it hangs: each point of a change.
TEST_F(SmmuUnitTest, AChangeThatFailsAnywhereIsTakenBack) {
  const struct {
    const char* name;
    uint32_t pasid;
    UnitTranslation from, to;
    const char* reads;
  } kChanges[] = {
      {"identity to a first stage", kRidPasid, kIdentity, first_.translation, "0x1d"},
      {"first stage to a second", kRidPasid, first_.translation, second_.translation, "0xf1"},
      {"second stage to a first", kRidPasid, second_.translation, first_.translation, "0x51"},
      {"first stage to blocked", kRidPasid, first_.translation, kBlocked, "0xf1"},
      {"a new PASID", 8, kBlocked, first_.translation, "blocked"},
      {"another PASID's domain", 8, first_.translation, other_first_.translation, "0xf1"},
      {"the last PASID", 8, first_.translation, kBlocked, "0xf1"},
  };
  for (const uint32_t stream : {kPlain, kCaching}) {
    for (const auto& c : kChanges) {
      const std::optional<uint32_t> pasid =
          c.pasid == kRidPasid ? kRid : std::optional<uint32_t>(c.pasid);
      bool failed = true;
      for (int commands = 0; failed; ++commands) {
        ASSERT_LT(commands, 40);
        SCOPED_TRACE(std::string(c.name) + " after " + std::to_string(commands) + " commands");
        ASSERT_TRUE(Set(stream, c.pasid, c.from).ok());
        const smmu::Ste ste = unit_->SteOf(stream);
        Read(stream, pasid);
        unit_->hardware().HangCommandQueueAfter(commands);
        const absl::Status status = Set(stream, c.pasid, c.to);
        failed = !status.ok();
        if (failed) {
          EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
          EXPECT_EQ(unit_->SteOf(stream), ste);
          EXPECT_EQ(ReadCold(stream, pasid), c.reads);
          EXPECT_FALSE(unit_->Settle().ok());
        }
        unit_->hardware().HangCommandQueueAfter(std::nullopt);
        ASSERT_TRUE(unit_->Settle().ok());
        if (failed) {
          EXPECT_EQ(Read(stream, pasid), c.reads);
        }
      }
      ASSERT_TRUE(Set(stream, c.pasid, kBlocked).ok());
    }
  }
}

TEST_F(SmmuUnitTest, WhatIsBlockedStaysBlockedWhenTheHardwareFails) {
  for (const uint32_t stream : {kPlain, kCaching}) {
    for (const uint32_t pasid : {kRidPasid, 8u}) {
      const std::optional<uint32_t> requests =
          pasid == kRidPasid ? kRid : std::optional<uint32_t>(pasid);
      ASSERT_TRUE(Set(stream, pasid, first_.translation).ok());
      Read(stream, requests);
      unit_->hardware().HangCommandQueueAfter(0);
      EXPECT_EQ(unit_->BlockEntry(PlainStore(), stream, pasid).code(), absl::StatusCode::kInternal);
      EXPECT_EQ(ReadCold(stream, requests), "blocked");
      EXPECT_EQ(unit_->BlockEntry(PlainStore(), stream, pasid).code(), absl::StatusCode::kInternal);
      unit_->hardware().HangCommandQueueAfter(std::nullopt);
      EXPECT_TRUE(unit_->BlockEntry(PlainStore(), stream, pasid).ok());
      EXPECT_EQ(Read(stream, requests), "blocked");
    }
  }
}

TEST_F(SmmuUnitTest, ACommandThatCanNotBeReadIsTriedAgain) {
  unit_->hardware().AbortNextCommandFetch();
  const absl::Status status = Set(kPlain, kRidPasid, first_.translation);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(DetailOf(status)->reason, "QUEUE_ERROR");
  EXPECT_TRUE(Set(kPlain, kRidPasid, first_.translation).ok());
  EXPECT_EQ(unit_->queue().counters().errors, 1u);
}

TEST_F(SmmuUnitTest, TablesAreKeptUntilEverythingIsFlushed) {
  ASSERT_TRUE(Set(kPlain, 1024, first_.translation).ok());
  ASSERT_TRUE(Set(kPlain, 8, first_.translation).ok());
  const uint64_t before = arena_->pages_in_use();
  auto held = std::make_shared<int>(1);
  const std::weak_ptr<int> seen = held;
  unit_->KeepUntilFlushed(std::move(held));
  unit_->hardware().HangCommandQueueAfter(0);
  EXPECT_FALSE(unit_->BlockEntry(PlainStore(), kPlain, 1024).ok());
  unit_->ReleaseTable(kPlain, 1024);
  EXPECT_EQ(arena_->pages_in_use(), before);
  EXPECT_FALSE(seen.expired());
  unit_->hardware().HangCommandQueueAfter(std::nullopt);
  EXPECT_TRUE(unit_->Settle().ok());
  EXPECT_TRUE(seen.expired());
  EXPECT_EQ(arena_->pages_in_use(), before - 16);
}

}  // namespace
}  // namespace viommu
