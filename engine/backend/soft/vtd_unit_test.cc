#include "engine/backend/soft/vtd_unit.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/entries/vtd_entries.h"
#include "engine/pagetable/store.h"
#include "engine/pagetable/table_arena.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint16_t kLow = 0x0110;   // In the lower half of bus 1,
constexpr uint16_t kHigh = 0x01f8;  // in its upper half.
constexpr uint16_t kNobody = 0x0111, kNoBus = 0x0200;

class VtdUnitTest : public testing::Test {
 protected:
  VtdUnitTest() {
    const auto window = *memory_.AddWindow(64 * kPage, kPage);
    arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
    unit_ = *VtdUnit::Create(IommuSpec{}, {{kLow}, {kHigh}}, &memory_, arena_.get());
    EXPECT_TRUE(unit_->EnableTranslation().ok());
  }

  hardware::Translation Translate(uint16_t source_id, uint64_t address) {
    hardware::Request request;
    request.source_id = source_id;
    request.address = address;
    return unit_->hardware().Translate(request);
  }
  absl::Status Set(uint16_t source_id, const vtd::PasidEntry& entry) {
    return unit_->SetRequesterEntry(PlainStore(), source_id, entry);
  }
  void StopQueue() {
    unit_->hardware().Write32(vtd::kGlobalCommandRegister, vtd::kTranslationEnable);
  }
  std::vector<uint64_t> ByKind() const {
    const auto by_kind = unit_->queue().counters().by_kind;
    return {by_kind.begin(), by_kind.end()};
  }

  const vtd::PasidEntry identity_ = vtd::MakePassThroughEntry({4, true});
  PhysicalMemory memory_{PhysAddr{kPage}, 40};
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<VtdUnit> unit_;
};

TEST_F(VtdUnitTest, RequestersStartBlockedAndOthersAreUnknown) {
  EXPECT_EQ(Translate(kLow, 0x5000).fault_reason, hardware::kPasidEntryNotPresent);
  EXPECT_EQ(Translate(kHigh, 0x5000).fault_reason, hardware::kPasidEntryNotPresent);
  EXPECT_EQ(Translate(kNobody, 0x5000).fault_reason, hardware::kContextNotPresent);
  EXPECT_EQ(Translate(kNoBus, 0x5000).fault_reason, hardware::kRootNotPresent);
}

// By the types of descriptors (VT-d 6.5.2).
TEST_F(VtdUnitTest, DropsWhatTheHardwareHeldBeforeItGotItsRootTable) {
  constexpr size_t kContextCache = 1, kIotlb = 2, kPasidCache = 7;
  const auto consumed = unit_->hardware().counters().descriptors;
  EXPECT_EQ(consumed[kContextCache], 1u);
  EXPECT_EQ(consumed[kPasidCache], 1u);
  EXPECT_EQ(consumed[kIotlb], 1u);
}

TEST_F(VtdUnitTest, TheOldEntryIsOutOfUseWhenAChangeAnswers) {
  for (const uint16_t source_id : {kLow, kHigh}) {
    ASSERT_TRUE(Set(source_id, identity_).ok());
    EXPECT_EQ(unit_->RequesterEntry(source_id), identity_);
    EXPECT_EQ(Translate(source_id, 0x5000).physical.value, 0x5000u);
    // An empty table: everything faults in the walk.
    const PhysAddr table = *arena_->AllocateZeroed();
    ASSERT_TRUE(Set(source_id, vtd::MakeSecondStageEntry({table, 4, 2, true})).ok());
    EXPECT_EQ(Translate(source_id, 0x5000).fault_reason, hardware::kPageNotPresent);
    ASSERT_TRUE(Set(source_id, vtd::MakeBlockedEntry()).ok());
    EXPECT_EQ(Translate(source_id, 0x5000).fault_reason, hardware::kPasidEntryNotPresent);
  }
}

TEST_F(VtdUnitTest, FlushesWhatTheOldEntryMayHaveLeftInCaches) {
  const struct {
    const char* name;
    vtd::PasidEntry entry;
    std::vector<uint64_t> flushed;  // PASID cache, IOTLB domain, PASID IOTLB, waits.
  } kSteps[] = {
      {"from blocked, never cached", identity_, {0, 0, 0, 0}},
      {"no change", identity_, {0, 0, 0, 0}},
      {"from identity", vtd::MakeSecondStageEntry({PhysAddr{0x8000}, 4, 2, true}), {1, 0, 1, 1}},
      {"from second stage", vtd::MakeBlockedEntry(), {1, 1, 0, 1}},
  };
  for (const auto& step : kSteps) {
    SCOPED_TRACE(step.name);
    const auto before = ByKind();
    ASSERT_TRUE(Set(kLow, step.entry).ok());
    const auto after = ByKind();
    const auto did = [&](vtd::DescriptorKind kind) {
      return after[static_cast<size_t>(kind)] - before[static_cast<size_t>(kind)];
    };
    EXPECT_EQ((std::vector<uint64_t>{
                  did(vtd::DescriptorKind::kPasidCache), did(vtd::DescriptorKind::kIotlbDomain),
                  did(vtd::DescriptorKind::kPasidIotlb), did(vtd::DescriptorKind::kWait)}),
              step.flushed);
  }
}

TEST_F(VtdUnitTest, AChangeWhoseFlushFailsIsTakenBack) {
  ASSERT_TRUE(Set(kLow, identity_).ok());
  StopQueue();
  const absl::Status status = Set(kLow, vtd::MakeBlockedEntry());
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(unit_->RequesterEntry(kLow), identity_);
}

TEST_F(VtdUnitTest, ChoosesTheNarrowestFlushThatCovers) {
  const std::vector<IovaRange> few = {{0x1000, 0x3fff}, {0x20'0000, 0x3f'ffff}};
  const std::vector<IovaRange> gib = {{0x4000'0000, 0x7fff'ffff}};
  const std::vector<IovaRange> wide = {{0x3fff'f000, 0x4000'0fff}};
  const struct {
    const char* name;
    std::vector<IovaRange> ranges;
    uint64_t pages, domains;
  } kCases[] = {
      {"two ranges", few, 2, 0},
      {"1 GiB is the most that CAP.MAMV allows", gib, 1, 0},
      {"two pages in a block of 2 GiB", wide, 0, 1},
      {"sixteen", std::vector<IovaRange>(16, few[0]), 16, 0},
      {"seventeen", std::vector<IovaRange>(17, few[0]), 0, 1},
      {"none", {}, 0, 0},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const auto before = unit_->queue().counters().by_kind;
    ASSERT_TRUE(unit_->Flush(2, c.ranges, true).ok());
    const auto after = unit_->queue().counters().by_kind;
    const auto page = static_cast<size_t>(vtd::DescriptorKind::kIotlbPage);
    const auto domain = static_cast<size_t>(vtd::DescriptorKind::kIotlbDomain);
    EXPECT_EQ(after[page] - before[page], c.pages);
    EXPECT_EQ(after[domain] - before[domain], c.domains);
  }
  StopQueue();
  EXPECT_EQ(unit_->Flush(2, few, false).code(), absl::StatusCode::kInternal);
}

TEST_F(VtdUnitTest, GivesItsTablesBack) {
  EXPECT_EQ(arena_->pages_in_use(), 1u + 2u + 2 * 2u + 3u);  // Root, contexts, PASIDs, queue.
  unit_.reset();
  EXPECT_EQ(arena_->pages_in_use(), 0u);
}

TEST_F(VtdUnitTest, RunsOutOfTableMemoryWithoutALeak) {
  for (uint64_t pages = 1; pages < 10; ++pages) {
    const auto window = *memory_.AddWindow(pages * kPage, 2 * kPage);
    TableArena small(window.data, window.base, window.size_bytes);
    const auto made = VtdUnit::Create(IommuSpec{}, {{kLow}, {kHigh}}, &memory_, &small);
    EXPECT_EQ(made.status().code(), absl::StatusCode::kResourceExhausted) << pages;
    EXPECT_EQ(small.pages_in_use(), 0u);
  }
}

TEST_F(VtdUnitTest, NamesTheUnitWhoseDomainIdsAreExhausted) {
  IommuSpec spec;
  spec.id = "dmar7";
  spec.domain_id_bits = 4;
  const auto unit = *VtdUnit::Create(spec, {}, &memory_, arena_.get());
  for (int i = 2; i < 16; ++i) EXPECT_EQ(*unit->TakeDomainId(), i);
  const absl::Status status = unit->TakeDomainId().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailOf(status)->metadata.at("iommu"), "dmar7");
}

}  // namespace
}  // namespace viommu
