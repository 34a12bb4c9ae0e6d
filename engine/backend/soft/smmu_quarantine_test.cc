// Devices behind an SMMUv3 that do not answer an ATC_INV: the CMD_SYNC names nobody, and yet only
// they lose what they had.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/smmu_world.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/entries/smmu_commands.h"
#include "engine/entries/smmu_ste.h"
#include "engine/pagetable/store.h"
#include "engine/pagetable/table_arena.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint32_t kPasid = 9;
const UnitTranslation kBlocked{};

class SmmuQuarantineTest : public SmmuWorld {
 protected:
  static constexpr uint32_t kSilent = kCaching, kOther = kAlsoCaching;

  SmmuQuarantineTest() {
    for (const uint32_t stream : {kSilent, kOther, kPlain}) {
      EXPECT_TRUE(Set(stream, kRidPasid, first_.translation).ok());
      EXPECT_TRUE(Set(stream, kPasid, first_.translation).ok());
      EXPECT_EQ(Read(stream, kRid), "0xf1");
      EXPECT_EQ(Read(stream, kPasid), "0xf1");
    }
  }

  void Answers(uint32_t stream, bool answers) {
    unit_->hardware().SetDeviceTlbAnswers(stream, answers);
  }
  static TagUse UseOf(const Domain& domain) {
    return {{domain.translation.kind, domain.translation.tag}, {kRidPasid, kPasid}, 12};
  }
  IovaRange Area() const { return {iova_, iova_ + kPage - 1}; }
  absl::Status Flush(const Domain& domain) { return unit_->Flush(UseOf(domain), {Area()}, true); }
  void Unmap(Domain* domain) {
    PageList freed;
    domain->table.Unmap(iova_, kPage, &freed);
    arena_->Free(&freed);
  }

  // Nothing that the device sends gets anywhere, whatever it remembers.
  void ExpectOut(uint32_t stream) {
    EXPECT_EQ(unit_->SteOf(stream), smmu::MakeAbortSte());
    for (const std::optional<uint32_t> pasid : {kRid, std::optional(kPasid)}) {
      const auto asked = unit_->hardware().counters();
      EXPECT_EQ(Read(stream, pasid), "blocked");
      const auto now = unit_->hardware().counters();
      EXPECT_EQ(now.device_tlb_hits + now.device_tlb_misses,
                asked.device_tlb_hits + asked.device_tlb_misses)
          << "its ATS is off";
      hardware::smmu::Request request;
      request.stream_id = stream;
      request.substream_id = pasid;
      request.address = iova_;
      for (const auto type : {hardware::smmu::AddressType::kUntranslated,
                              hardware::smmu::AddressType::kTranslationRequest,
                              hardware::smmu::AddressType::kTranslated}) {
        request.type = type;
        const auto seen = unit_->hardware().Translate(request);
        EXPECT_FALSE(seen.ok() && (seen.read || seen.write));
      }
    }
  }

  Domain first_ = FirstStage(0xf1);
  Domain other_first_ = FirstStage(0xf2);
};

TEST_F(SmmuQuarantineTest, AFlushGoesOnWithoutTheDeviceThatDoesNotAnswer) {
  Answers(kSilent, false);
  Unmap(&first_);
  ASSERT_TRUE(Flush(first_).ok());
  EXPECT_EQ(unit_->Quarantined(), std::vector<uint32_t>{kSilent});
  ExpectOut(kSilent);
  for (const uint32_t stream : {kOther, kPlain}) {
    EXPECT_EQ(Read(stream, kRid), "blocked") << "it was unmapped";
    EXPECT_EQ(Read(stream, kPasid), "blocked");
    ASSERT_TRUE(Set(stream, kRidPasid, other_first_.translation).ok());
    EXPECT_EQ(Read(stream, kRid), "0xf2") << "and else it is as before";
  }
}

TEST_F(SmmuQuarantineTest, OnlyThoseThatDoNotAnswerGo) {
  Answers(kOther, false);
  ASSERT_TRUE(Flush(first_).ok());
  EXPECT_EQ(unit_->Quarantined(), std::vector<uint32_t>{kOther});
  ExpectOut(kOther);
  EXPECT_EQ(Read(kSilent, kRid), "0xf1");
  Answers(kSilent, false);
  ASSERT_TRUE(Flush(first_).ok());
  EXPECT_EQ(unit_->Quarantined(), (std::vector<uint32_t>{kSilent, kOther}));
  ExpectOut(kSilent);
  EXPECT_EQ(Read(kPlain, kPasid), "0xf1");
}

TEST_F(SmmuQuarantineTest, SeveralGoWithOneFlush) {
  Answers(kSilent, false);
  Answers(kOther, false);
  Unmap(&first_);
  ASSERT_TRUE(Flush(first_).ok());
  EXPECT_EQ(unit_->Quarantined(), (std::vector<uint32_t>{kSilent, kOther}));
  ExpectOut(kSilent);
  ExpectOut(kOther);
  EXPECT_EQ(Read(kPlain, kRid), "blocked") << "it was unmapped";
}

TEST_F(SmmuQuarantineTest, EveryFlushThatMeetsItPutsItOut) {
  const smmu::Command of_guest[] = {smmu::InvalidateAtc(kSilent, smmu::kWholeAtc),
                                    smmu::InvalidateAtcOfSsid(kOther, kPasid, smmu::kWholeAtc)};
  const struct {
    const char* name;
    std::function<absl::Status()> call;
  } kCalls[] = {
      {"pages", [&] { return Flush(first_); }},
      {"a tag", [&] { return unit_->FlushTag(UseOf(first_).tag); }},
      {"its own translation", [&] { return Set(kSilent, kRidPasid, other_first_.translation); }},
      {"its own PASID's", [&] { return Set(kSilent, kPasid, kBlocked); }},
      {"its PASID's being blocked",
       [&] { return unit_->BlockEntry(PlainStore(), kSilent, kPasid); }},
      {"a guest's commands",
       [&] {
         size_t handled = 0;
         const absl::Status status = unit_->Execute(of_guest, &handled);
         EXPECT_EQ(handled, 2u);
         return status;
       }},
      {"what is owed",
       [&] {
         unit_->KeepUntilFlushed(nullptr);
         return unit_->Settle();
       }},
      {"what is owed before another's change",
       [&] {
         unit_->KeepUntilFlushed(nullptr);
         return Set(kPlain, kPasid, first_.translation);
       }},
      {"a change that is forced",
       [&] {
         unit_->ForceEntry(PlainStore(), kSilent, kRidPasid, other_first_.translation);
         return unit_->Settle();
       }},
  };
  for (const auto& c : kCalls) {
    SCOPED_TRACE(c.name);
    Answers(kSilent, false);
    EXPECT_TRUE(c.call().ok());
    EXPECT_EQ(unit_->Quarantined(), std::vector<uint32_t>{kSilent});
    ExpectOut(kSilent);
    EXPECT_EQ(Read(kOther, kRid), "0xf1");
    EXPECT_EQ(Read(kOther, kPasid), "0xf1");
    Answers(kSilent, true);
    ASSERT_TRUE(unit_->Readmit(kSilent).ok());
    ASSERT_TRUE(Set(kSilent, kRidPasid, first_.translation).ok());
    ASSERT_TRUE(Set(kSilent, kPasid, first_.translation).ok());
    EXPECT_EQ(Read(kSilent, kRid), "0xf1");
    EXPECT_EQ(Read(kSilent, kPasid), "0xf1");
  }
}

TEST_F(SmmuQuarantineTest, ComesBackToWhereItIsByThenOnceItAnswers) {
  Answers(kSilent, false);
  ASSERT_TRUE(Flush(first_).ok());
  EXPECT_TRUE(unit_->PlanChange(kSilent, kPasid, kBlocked).hitless);
  ASSERT_TRUE(Set(kSilent, kRidPasid, other_first_.translation).ok());
  ASSERT_TRUE(Set(kSilent, kPasid, kBlocked).ok());
  ExpectOut(kSilent);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const absl::Status refused = unit_->Readmit(kSilent);
    EXPECT_EQ(refused.code(), absl::StatusCode::kInternal);
    EXPECT_EQ(DetailOf(refused)->reason, "QUEUE_TIMEOUT");
    EXPECT_EQ(unit_->Quarantined(), std::vector<uint32_t>{kSilent});
    ExpectOut(kSilent);
  }
  Answers(kSilent, true);
  ASSERT_TRUE(unit_->Readmit(kSilent).ok());
  EXPECT_TRUE(unit_->Quarantined().empty());
  EXPECT_EQ(Read(kSilent, kRid), "0xf2");
  EXPECT_EQ(Read(kSilent, kPasid), "blocked");
  // It is one of those again whom flushes reach.
  Unmap(&other_first_);
  ASSERT_TRUE(Flush(other_first_).ok());
  EXPECT_EQ(Read(kSilent, kRid), "blocked");
  EXPECT_TRUE(unit_->Quarantined().empty());
}

// Which a device that hears nothing more can not be asked, because it is blocked, does not keep
// out.
TEST_F(SmmuQuarantineTest, ComesBackToBeingBlockedUnasked) {
  Answers(kSilent, false);
  ASSERT_TRUE(Flush(first_).ok());
  ASSERT_TRUE(Set(kSilent, kRidPasid, kBlocked).ok());
  ASSERT_TRUE(Set(kSilent, kPasid, kBlocked).ok());
  unit_->ReleaseTable(kSilent, kPasid);
  unit_->ReleaseTable(kSilent, kRidPasid);
  EXPECT_TRUE(unit_->Readmit(kSilent).ok());
  EXPECT_TRUE(unit_->Quarantined().empty());
  EXPECT_EQ(Read(kSilent, kRid), "blocked");
}

// Commands that the queue consumes before it hangs: each point of a flush and of the quarantine.
TEST_F(SmmuQuarantineTest, WhereTheQueueHangsOnTheWayTheFlushIsOwed) {
  bool failed = true;
  int owed = 0;
  for (int commands = 0; failed; ++commands) {
    SCOPED_TRACE(commands);
    ASSERT_LT(commands, 20);
    Answers(kSilent, false);
    unit_->hardware().HangCommandQueueAfter(commands);
    failed = !Flush(first_).ok();
    if (!unit_->Quarantined().empty()) {
      EXPECT_EQ(ReadCold(kSilent, kRid), "blocked");
      EXPECT_EQ(ReadCold(kSilent, kPasid), "blocked");
    }
    if (!unit_->Settle().ok()) ++owed;
    unit_->hardware().HangCommandQueueAfter(std::nullopt);
    Flush(first_).IgnoreError();  // May be told of what hung.
    ASSERT_TRUE(Flush(first_).ok());
    EXPECT_EQ(unit_->Quarantined(), std::vector<uint32_t>{kSilent});
    ExpectOut(kSilent);
    // The same of its coming back.
    Answers(kSilent, true);
    unit_->hardware().HangCommandQueueAfter(commands);
    const bool is_back = unit_->Readmit(kSilent).ok();
    EXPECT_EQ(unit_->Quarantined().empty(), is_back);
    EXPECT_EQ(ReadCold(kSilent, kRid), is_back ? "0xf1" : "blocked");
    unit_->hardware().HangCommandQueueAfter(std::nullopt);
    ASSERT_TRUE(unit_->Settle().ok());
    if (!is_back) ExpectOut(kSilent);
    ASSERT_TRUE(unit_->Readmit(kSilent).ok());
    EXPECT_EQ(Read(kSilent, kRid), "0xf1");
    EXPECT_EQ(Read(kSilent, kPasid), "0xf1");
  }
  EXPECT_GT(owed, 0);
}

}  // namespace
}  // namespace viommu
