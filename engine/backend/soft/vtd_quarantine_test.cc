// Devices behind a VT-d unit that do not answer an invalidation: what they had is out of their
// reach, others do not notice, and they come back when they answer.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/vtd_unit.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/entries/vtd_descriptors.h"
#include "engine/entries/vtd_entries.h"
#include "engine/pagetable/page_table.h"
#include "engine/pagetable/store.h"
#include "engine/pagetable/table_arena.h"
#include "engine/pagetable/vtd_second_stage.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint16_t kSilent = 0x0110, kOther = 0x0118, kThird = 0x0200;  // With device TLBs,
constexpr uint16_t kPlain = 0x0120;                                     // without one.
constexpr uint32_t kPasid = 777;
constexpr std::optional<uint32_t> kRid = std::nullopt;
constexpr Iova kIova = 0x4000'0000;
constexpr IovaRange kArea = {kIova, kIova + kPage - 1};
constexpr PageAccess kReadWrite{true, true};

IommuSpec PageRequestSpec() {
  IommuSpec spec;
  spec.page_requests = true;
  return spec;
}

class VtdQuarantineTest : public testing::Test {
 protected:
  VtdQuarantineTest() {
    const auto window = *memory_.AddWindow(256 * kPage, 64 * kPage);
    arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
    unit_ = *VtdUnit::Create(
        PageRequestSpec(),
        {{kSilent, 20, true, true}, {kOther, 20, true}, {kThird, 20, true}, {kPlain, 20}}, &memory_,
        arena_.get());
    EXPECT_TRUE(unit_->EnableTranslation().ok());
    first_ = std::make_unique<PageTable>(NewTable(0x1111));
    second_ = std::make_unique<PageTable>(NewTable(0x2222));
    first_id_ = *unit_->TakeDomainId();
    second_id_ = *unit_->TakeDomainId();
    for (const uint16_t source_id : {kSilent, kOther, kThird, kPlain}) {
      EXPECT_TRUE(Set(source_id, 0, First()).ok());
      EXPECT_TRUE(Set(source_id, kPasid, First()).ok());
      EXPECT_EQ(Read(source_id, kRid), "0x1111");
      EXPECT_EQ(Read(source_id, kPasid), "0x1111");
    }
  }

  PageTable NewTable(uint64_t word) {
    VtdSecondStage::Options options;
    options.host_address_bits = 46;
    PageTable table =
        *PageTable::Create(*VtdSecondStage::Create(options), PlainStore(), arena_.get());
    const PhysAddr page = *arena_->AllocateZeroed();
    memory_.Store64(page, word);
    EXPECT_TRUE(table.Map(kIova, page, kPage, kReadWrite).ok());
    return table;
  }
  vtd::PasidEntry First() const {
    return vtd::MakeSecondStageEntry({first_->root(), first_->levels(), first_id_, true});
  }
  vtd::PasidEntry Second() const {
    return vtd::MakeSecondStageEntry({second_->root(), second_->levels(), second_id_, true});
  }
  absl::Status Set(uint16_t source_id, uint32_t pasid, const vtd::PasidEntry& entry) {
    return unit_->SetEntry(PlainStore(), source_id, pasid, entry);
  }
  void Answers(uint16_t source_id, bool answers) {
    unit_->hardware().SetDeviceTlbAnswers(source_id, answers);
  }
  absl::Status UnmapAndFlush() {
    PageList freed;
    first_->Unmap(kIova, kPage, &freed);
    arena_->Free(&freed);
    return unit_->Flush(first_id_, {kArea}, false);
  }

  static hardware::Request RequestOf(uint16_t source_id, std::optional<uint32_t> pasid) {
    hardware::Request request;
    request.source_id = source_id;
    request.pasid = pasid;
    request.address = kIova;
    return request;
  }
  // The word that a device reads, or "blocked".
  std::string Read(uint16_t source_id, std::optional<uint32_t> pasid) {
    uint64_t word = 0;
    const auto outcome = unit_->hardware().Access(
        RequestOf(source_id, pasid), absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word)));
    return outcome.bytes_done == sizeof(word) ? Hex(word) : "blocked";
  }
  // Nothing that the device sends gets anywhere, whatever it remembers.
  void ExpectOut(uint16_t source_id) {
    for (const std::optional<uint32_t> pasid : {kRid, std::optional(kPasid)}) {
      const auto asked = unit_->hardware().counters();
      EXPECT_EQ(Read(source_id, pasid), "blocked");
      const auto now = unit_->hardware().counters();
      EXPECT_EQ(now.device_tlb_hits + now.device_tlb_misses,
                asked.device_tlb_hits + asked.device_tlb_misses)
          << "its ATS is off";
      hardware::Request request = RequestOf(source_id, pasid);
      for (const hardware::AddressType type :
           {hardware::AddressType::kUntranslated, hardware::AddressType::kTranslationRequest,
            hardware::AddressType::kTranslated}) {
        request.type = type;
        EXPECT_EQ(unit_->hardware().Translate(request).fault_reason, hardware::kContextNotPresent);
      }
    }
  }
  uint64_t Count(vtd::DescriptorKind kind) const {
    return unit_->queue().counters().by_kind[static_cast<size_t>(kind)];
  }

  PhysicalMemory memory_{PhysAddr{kPage}, 40};
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<VtdUnit> unit_;
  std::unique_ptr<PageTable> first_, second_;
  uint16_t first_id_ = 0, second_id_ = 0;
};

TEST_F(VtdQuarantineTest, AFlushGoesOnWithoutTheDeviceThatDoesNotAnswer) {
  Answers(kSilent, false);
  ASSERT_TRUE(UnmapAndFlush().ok());
  EXPECT_EQ(unit_->Quarantined(), std::vector<uint32_t>{kSilent});
  ExpectOut(kSilent);
  for (const uint16_t source_id : {kOther, kThird, kPlain}) {
    EXPECT_EQ(Read(source_id, kRid), "blocked") << "it was unmapped";
    EXPECT_EQ(Read(source_id, kPasid), "blocked");
    ASSERT_TRUE(Set(source_id, 0, Second()).ok());
    EXPECT_EQ(Read(source_id, kRid), "0x2222") << "and else it is as before";
  }
}

TEST_F(VtdQuarantineTest, EveryFlushThatMeetsItPutsItOut) {
  const struct {
    const char* name;
    std::function<absl::Status()> call;
  } kCalls[] = {
      {"pages", [&] { return unit_->Flush(first_id_, {kArea}, true); }},
      {"pages of a first stage",
       [&] { return unit_->FlushFirstStage(first_id_, {kPasid}, {kArea}, true); }},
      {"a domain", [&] { return unit_->FlushDomain(first_id_); }},
      {"its own entry", [&] { return Set(kSilent, 0, Second()); }},
      {"its own PASID's", [&] { return Set(kSilent, kPasid, vtd::MakeBlockedEntry()); }},
      {"its being blocked", [&] { return unit_->BlockEntry(PlainStore(), kSilent, 0); }},
      {"what is owed",
       [&] {
         unit_->KeepUntilFlushed(nullptr);
         return unit_->Settle();
       }},
      {"what is owed before another's change",
       [&] {
         unit_->KeepUntilFlushed(nullptr);
         return Set(kPlain, kPasid, Second());
       }},
  };
  for (const auto& c : kCalls) {
    SCOPED_TRACE(c.name);
    Answers(kSilent, false);
    EXPECT_TRUE(c.call().ok());
    EXPECT_EQ(unit_->Quarantined(), std::vector<uint32_t>{kSilent});
    ExpectOut(kSilent);
    EXPECT_EQ(Read(kOther, kRid), "0x1111");
    EXPECT_EQ(Read(kOther, kPasid), "0x1111");
    Answers(kSilent, true);
    ASSERT_TRUE(unit_->Readmit(kSilent).ok());
    ASSERT_TRUE(Set(kSilent, 0, First()).ok());
    ASSERT_TRUE(Set(kSilent, kPasid, First()).ok());
    EXPECT_EQ(Read(kSilent, kRid), "0x1111");
    EXPECT_EQ(Read(kSilent, kPasid), "0x1111");
  }
}

TEST_F(VtdQuarantineTest, SeveralGoOneAfterTheOther) {
  for (const uint16_t source_id : {kSilent, kOther, kThird}) Answers(source_id, false);
  const uint64_t waits = Count(vtd::DescriptorKind::kWait);
  ASSERT_TRUE(UnmapAndFlush().ok());
  EXPECT_EQ(unit_->Quarantined(), (std::vector<uint32_t>{kSilent, kOther, kThird}));
  for (const uint16_t source_id : {kSilent, kOther, kThird}) ExpectOut(source_id);
  EXPECT_EQ(Read(kPlain, kRid), "blocked") << "it was unmapped";
  // Of each that fails, the attempt, its quarantine and the page requests that it may have made.
  EXPECT_LE(Count(vtd::DescriptorKind::kWait) - waits, 3 * 4u + 1);
}

TEST_F(VtdQuarantineTest, NobodyAsksItAnyMore) {
  Answers(kSilent, false);
  ASSERT_TRUE(UnmapAndFlush().ok());
  const auto descriptors_to_it = [&] {
    return Count(vtd::DescriptorKind::kDeviceTlb) + Count(vtd::DescriptorKind::kPasidDeviceTlb);
  };
  for (const uint16_t source_id : {kOther, kThird}) {
    ASSERT_TRUE(Set(source_id, 0, vtd::MakeBlockedEntry()).ok());
    ASSERT_TRUE(Set(source_id, kPasid, vtd::MakeBlockedEntry()).ok());
  }
  const uint64_t before = descriptors_to_it();
  EXPECT_TRUE(unit_->Flush(first_id_, {kArea}, true).ok());
  EXPECT_TRUE(unit_->FlushDomain(first_id_).ok());
  EXPECT_TRUE(Set(kSilent, 0, Second()).ok());
  EXPECT_TRUE(Set(kSilent, kPasid, vtd::MakeBlockedEntry()).ok());
  EXPECT_EQ(descriptors_to_it(), before);
}

TEST_F(VtdQuarantineTest, ComesBackToWhereItIsByThenOnceItAnswers) {
  Answers(kSilent, false);
  ASSERT_TRUE(UnmapAndFlush().ok());
  ASSERT_TRUE(Set(kSilent, 0, Second()).ok());
  ASSERT_TRUE(Set(kSilent, kPasid, vtd::MakeBlockedEntry()).ok());
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
  EXPECT_EQ(Read(kSilent, kRid), "0x2222");
  EXPECT_EQ(Read(kSilent, kPasid), "blocked");
  // It is one of those again whom flushes reach.
  PageList freed;
  second_->Unmap(kIova, kPage, &freed);
  arena_->Free(&freed);
  ASSERT_TRUE(unit_->Flush(second_id_, {kArea}, false).ok());
  EXPECT_EQ(Read(kSilent, kRid), "blocked");
  EXPECT_TRUE(unit_->Quarantined().empty());
}

TEST_F(VtdQuarantineTest, ReadmitsNobodyWhoIsNotOut) {
  const uint64_t submitted = unit_->queue().counters().submitted;
  EXPECT_TRUE(unit_->Readmit(kOther).ok());
  EXPECT_TRUE(unit_->Readmit(kPlain).ok());
  EXPECT_EQ(unit_->queue().counters().submitted, submitted);
}

TEST_F(VtdQuarantineTest, PageRequestsThatNobodyHasTakenAreAnswered) {
  hardware::PageRequest request;
  request.source_id = kSilent;
  request.pasid = kPasid;
  request.group = 3;
  request.last = true;
  request.address = kIova + kPage;
  request.read = true;
  ASSERT_TRUE(unit_->hardware().RequestPage(request));
  EXPECT_TRUE(unit_->hardware().PageResponses(kSilent).empty());
  Answers(kSilent, false);
  ASSERT_TRUE(UnmapAndFlush().ok());
  const auto responses = unit_->hardware().PageResponses(kSilent);
  ASSERT_EQ(responses.size(), 1u);
  EXPECT_EQ(responses[0].group, 3u);
  EXPECT_EQ(responses[0].code, hardware::PageGroupCode::kInvalid);
  EXPECT_TRUE(unit_->page_requests()->Take().requests.empty());
}

}  // namespace
}  // namespace viommu
