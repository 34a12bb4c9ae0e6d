// The tables, entries and flushes of the writers, as the hardware model takes them: first stage,
// second stage and nested, for requests with and without PASID, with and without a device TLB.
#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/invalidation_queue.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/table_dump.h"
#include "engine/backend/soft/vtd_registers.h"
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
#include "engine/pagetable/x86_first_stage.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kArenaPages = 256;
constexpr uint16_t kPlain = 0x0110;    // Keeps nothing.
constexpr uint16_t kCaching = 0x0118;  // Has a device TLB.
constexpr uint32_t kPasid = 777;
constexpr Iova kIova = 0x4000'0000;
constexpr PageAccess kReadWrite{true, true};

IommuSpec EverySpec() {
  IommuSpec spec;
  spec.levels_3 = spec.levels_5 = true;
  spec.guest_address_width_bits = 57;
  spec.first_stage = spec.first_stage_levels_5 = spec.first_stage_leaf_1g = true;
  spec.nesting = spec.supervisor_requests = spec.extended_access = spec.dirty_tracking = true;
  return spec;
}

class VtdUnitStagesTest : public testing::Test {
 protected:
  VtdUnitStagesTest() {
    const auto window = *memory_.AddWindow(kArenaPages * kPage, 64 * kPage);
    window_ = window;
    arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
    unit_ = *VtdUnit::Create(EverySpec(), {{kPlain, 20, false}, {kCaching, 20, true}}, &memory_,
                             arena_.get());
    EXPECT_TRUE(unit_->EnableTranslation().ok());
    for (PhysAddr& page : data_) page = *arena_->AllocateZeroed();
    memory_.Store64(data_[0], 0x1111);
    memory_.Store64(data_[1], 0x2222);
  }

  PageTable SecondStage(int levels = 4) {
    VtdSecondStage::Options options;
    options.levels = levels;
    options.host_address_bits = 46;
    return *PageTable::Create(*VtdSecondStage::Create(options), PlainStore(), arena_.get());
  }
  PageTable FirstStage(int levels = 4) {
    X86FirstStage::Options options;
    options.levels = levels;
    options.host_address_bits = 46;
    return *PageTable::Create(*X86FirstStage::Create(options), PlainStore(), arena_.get());
  }
  // A parent whose guest sees all of the arena where it is.
  PageTable Parent() {
    PageTable parent = SecondStage();
    EXPECT_TRUE(parent.Map(window_.base.value, window_.base, window_.size_bytes, kReadWrite).ok());
    return parent;
  }
  static void MapPage(PageTable* table, Iova iova, PhysAddr to) {
    ASSERT_TRUE(table->Map(iova, to, kPage, kReadWrite).ok());
  }
  void UnmapPage(PageTable* table, Iova iova, PageList* freed) {
    EXPECT_EQ(table->Unmap(iova, kPage, freed), kPage);
  }

  vtd::PasidEntry SecondStageEntry(const PageTable& table, uint16_t domain_id) {
    return vtd::MakeSecondStageEntry({table.root(), table.levels(), domain_id, true});
  }
  vtd::PasidEntry FirstStageEntry(const PageTable& table, uint16_t domain_id) {
    return vtd::MakeFirstStageEntry({table.root(), table.levels(), domain_id, true, true, 5});
  }
  vtd::PasidEntry NestedEntry(const PageTable& first, const PageTable& parent, uint16_t domain_id) {
    vtd::NestedFields fields;
    fields.first_stage_root = first.root().value;
    fields.first_stage_levels = first.levels();
    fields.second_stage_root = parent.root();
    fields.second_stage_levels = parent.levels();
    fields.domain_id = domain_id;
    fields.page_walk_snoop = true;
    return vtd::MakeNestedEntry(fields);
  }
  absl::Status Set(uint16_t source_id, uint32_t pasid, const vtd::PasidEntry& entry) {
    return unit_->SetEntry(PlainStore(), source_id, pasid, entry);
  }

  // What a device reads at `iova`, or the fault: "1111", "SPT.2".
  std::string Read(uint16_t source_id, std::optional<uint32_t> pasid, Iova iova) {
    hardware::Request request;
    request.source_id = source_id;
    request.pasid = pasid;
    request.address = iova;
    uint64_t word = 0;
    const auto outcome = unit_->hardware().Access(
        request, absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word)));
    if (outcome.fault_reason != 0) {
      const auto name = hardware::FaultReasonName(outcome.fault_reason);
      return std::string(name.substr(0, name.find(':')));
    }
    return word == 0x1111 ? "1111" : word == 0x2222 ? "2222" : "other";
  }

  // What lies in the ring from slot `from` to the tail.
  std::vector<uint64_t> DescriptorTypesSince(uint32_t from) {
    const uint64_t ring =
        unit_->hardware().Read64(vtd::kQueueAddressRegister) & ~uint64_t{kPage - 1};
    std::vector<uint64_t> types;
    for (uint32_t slot = from; slot != unit_->queue().tail();
         slot = (slot + 1) % InvalidationQueue::kEntries) {
      types.push_back(*memory_.Load64(PhysAddr{ring + slot * sizeof(vtd::Descriptor)}) & 0xf);
    }
    return types;
  }

  PhysicalMemory memory_{PhysAddr{kPage}, 40};
  PhysicalMemory::Window window_;
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<VtdUnit> unit_;
  PhysAddr data_[2];
};

constexpr std::optional<uint32_t> kRid = std::nullopt;

// From where a device asks, and the entry that answers it.
struct Place {
  const char* name;
  uint16_t source_id;
  std::optional<uint32_t> pasid;

  uint32_t entry() const { return pasid.value_or(0); }
};
constexpr Place kPlaces[] = {{"RID", kPlain, kRid},
                             {"PASID", kPlain, kPasid},
                             {"PASID 0", kPlain, 0},
                             {"RID of a device TLB", kCaching, kRid},
                             {"PASID of a device TLB", kCaching, kPasid},
                             {"PASID 0 of a device TLB", kCaching, 0}};

TEST_F(VtdUnitStagesTest, TranslatesByEveryKindOfEntryAtEveryDepth) {
  const PageTable parent = Parent();
  for (const Place& place : kPlaces) {
    for (const int levels : {3, 4, 5}) {
      SCOPED_TRACE(std::string(place.name) + ", " + std::to_string(levels) + " levels");
      PageTable second = SecondStage(levels);
      MapPage(&second, kIova, data_[0]);
      ASSERT_TRUE(Set(place.source_id, place.entry(), SecondStageEntry(second, 2)).ok());
      EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "1111");
      EXPECT_EQ(Read(place.source_id, place.pasid, kIova + kPage), "SSS.2");
      if (levels > 3) {
        PageTable first = FirstStage(levels);
        MapPage(&first, kIova, data_[1]);
        ASSERT_TRUE(Set(place.source_id, place.entry(), FirstStageEntry(first, 3)).ok());
        EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "2222");
        EXPECT_EQ(Read(place.source_id, place.pasid, kIova + kPage), "SFS.2");
        ASSERT_TRUE(Set(place.source_id, place.entry(), NestedEntry(first, parent, 4)).ok());
        EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "2222");
        EXPECT_EQ(Read(place.source_id, place.pasid, kIova + kPage), "SFS.2");
        ASSERT_TRUE(Set(place.source_id, place.entry(), vtd::MakePassThroughEntry({5, true})).ok());
        EXPECT_EQ(Read(place.source_id, place.pasid, data_[0].value), "1111");
        ASSERT_TRUE(Set(place.source_id, place.entry(), vtd::MakeBlockedEntry()).ok());
      }
      ASSERT_TRUE(Set(place.source_id, place.entry(), vtd::MakeBlockedEntry()).ok());
      EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "SPT.2");
    }
  }
}

// Every ordered pair of entries, each used before it is replaced: nothing of the old one is left.
TEST_F(VtdUnitStagesTest, LeavesNothingOfAnOldEntryInAnyCache) {
  const PageTable parent = Parent();
  PageTable second[2] = {SecondStage(), SecondStage()};
  PageTable first[2] = {FirstStage(), FirstStage()};
  for (int i = 0; i < 2; ++i) {
    MapPage(&second[i], kIova, data_[i]);
    MapPage(&first[i], kIova, data_[i]);
  }
  struct Kind {
    const char* name;
    vtd::PasidEntry entry;
    const char* want;
  };
  const std::vector<Kind> kinds = {
      {"blocked", vtd::MakeBlockedEntry(), "SPT.2"},
      {"identity", vtd::MakePassThroughEntry({5, true}), nullptr},
      {"second stage", SecondStageEntry(second[0], 2), "1111"},
      {"another second stage", SecondStageEntry(second[1], 3), "2222"},
      {"first stage", FirstStageEntry(first[0], 4), "1111"},
      {"another first stage", FirstStageEntry(first[1], 5), "2222"},
      {"another first stage, same id", FirstStageEntry(first[1], 4), "2222"},
      {"nested", NestedEntry(first[0], parent, 6), "1111"},
      {"another guest", NestedEntry(first[1], parent, 7), "2222"},
      {"another table of the guest", NestedEntry(first[1], parent, 6), "2222"},
      {"another parent's table", SecondStageEntry(second[1], 6), "2222"},
  };
  for (const Place& place : kPlaces) {
    ASSERT_TRUE(unit_->PrepareEntry(place.source_id, place.entry()).ok());
    for (const Kind& from : kinds) {
      for (const Kind& to : kinds) {
        SCOPED_TRACE(std::string(place.name) + ": " + from.name + " to " + to.name);
        ASSERT_TRUE(Set(place.source_id, place.entry(), from.entry).ok());
        Read(place.source_id, place.pasid, kIova);
        ASSERT_TRUE(Set(place.source_id, place.entry(), to.entry).ok());
        EXPECT_EQ(unit_->EntryOf(place.source_id, place.entry()), to.entry);
        if (to.want != nullptr) {
          EXPECT_EQ(Read(place.source_id, place.pasid, kIova), to.want);
        }
      }
    }
    ASSERT_TRUE(Set(place.source_id, place.entry(), vtd::MakeBlockedEntry()).ok());
  }
}

// Otherwise a cache could be filled again from one that is flushed after it.
TEST_F(VtdUnitStagesTest, FlushesTheUnitsCachesInOrderAndDeviceTlbsBehindThem) {
  const PageTable second = SecondStage();
  const PageTable first = FirstStage();
  const vtd::PasidEntry by_second = SecondStageEntry(second, 2);
  const vtd::PasidEntry by_first = FirstStageEntry(first, 3);
  const IovaRange page = {kIova, kIova + kPage - 1};
  const uint64_t kContext = 1, kIotlb = 2, kDevice = 3, kWait = 5, kPasidIotlb = 6, kPasidCache = 7,
                 kPasidDevice = 8;
  const auto types = [&](const std::function<absl::Status()>& flush) {
    const uint32_t from = unit_->queue().tail();
    EXPECT_TRUE(flush().ok());
    return DescriptorTypesSince(from);
  };
  const auto block = [&](uint32_t pasid) {
    return types([&] { return Set(kCaching, pasid, vtd::MakeBlockedEntry()); });
  };
  using Types = std::vector<uint64_t>;

  ASSERT_TRUE(Set(kCaching, kPasid, by_second).ok());
  EXPECT_EQ(types([&] { return unit_->Flush(2, {page}, true); }),
            (Types{kIotlb, kPasidDevice, kWait}));
  EXPECT_EQ(block(kPasid), (Types{kPasidCache, kIotlb, kPasidDevice, kWait}));
  ASSERT_TRUE(Set(kCaching, kPasid, by_first).ok());
  EXPECT_EQ(types([&] { return unit_->FlushFirstStage(3, {kPasid}, {page}, true); }),
            (Types{kPasidIotlb, kPasidDevice, kWait}));
  // Its stores lie in two atomic units: once more before what was blocked is cleaned up.
  EXPECT_EQ(block(kPasid), (Types{kPasidCache, kPasidIotlb, kPasidDevice, kWait,  //
                                  kPasidCache, kPasidIotlb, kPasidDevice, kWait}));

  ASSERT_TRUE(Set(kCaching, 0, by_second).ok());
  EXPECT_EQ(types([&] { return unit_->Flush(2, {page}, true); }),
            (Types{kIotlb, kDevice, kPasidDevice, kWait}));
  EXPECT_EQ(block(0), (Types{kPasidCache, kIotlb, kDevice, kPasidDevice, kWait}));
  EXPECT_EQ(types([&] {
              unit_->ForceEntry(PlainStore(), kCaching, 0, by_second);
              return absl::OkStatus();
            }),
            (Types{kContext, kPasidCache, kIotlb, kDevice, kPasidDevice, kWait}));
}

TEST_F(VtdUnitStagesTest, FlushesWhatWasUnmappedFromASecondStage) {
  for (const Place& place : kPlaces) {
    for (const bool leaves_only : {true, false}) {
      SCOPED_TRACE(place.name);
      PageTable second = SecondStage();
      MapPage(&second, kIova, data_[0]);
      if (leaves_only) MapPage(&second, kIova + kPage, data_[1]);
      ASSERT_TRUE(Set(place.source_id, place.entry(), SecondStageEntry(second, 2)).ok());
      EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "1111");
      PageList freed;
      UnmapPage(&second, kIova, &freed);
      EXPECT_EQ(freed.empty(), leaves_only);
      EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "1111") << "still remembered";
      ASSERT_TRUE(unit_->Flush(2, {{kIova, kIova + kPage - 1}}, leaves_only).ok());
      EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "SSS.2");
      arena_->Free(&freed);
      ASSERT_TRUE(Set(place.source_id, place.entry(), vtd::MakeBlockedEntry()).ok());
    }
  }
}

TEST_F(VtdUnitStagesTest, FlushesWhatWasUnmappedFromAFirstStage) {
  const PageTable parent = Parent();
  for (const Place& place : kPlaces) {
    for (const bool nested : {false, true}) {
      for (const size_t ranges : {1, 17}) {
        SCOPED_TRACE(std::string(place.name) + (nested ? ", nested" : ", alone"));
        PageTable first = FirstStage();
        MapPage(&first, kIova, data_[0]);
        ASSERT_TRUE(Set(place.source_id, place.entry(),
                        nested ? NestedEntry(first, parent, 3) : FirstStageEntry(first, 3))
                        .ok());
        EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "1111");
        PageList freed;
        UnmapPage(&first, kIova, &freed);
        EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "1111") << "still remembered";
        const std::vector<IovaRange> all(ranges, IovaRange{kIova, kIova + kPage - 1});
        ASSERT_TRUE(unit_->FlushFirstStage(3, {place.entry()}, all, false).ok());
        EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "SFS.2");
        arena_->Free(&freed);
        ASSERT_TRUE(Set(place.source_id, place.entry(), vtd::MakeBlockedEntry()).ok());
      }
    }
  }
}

// Invariant I9: the flush of the parent's own domain id does not reach nested translations.
TEST_F(VtdUnitStagesTest, FlushesNestedTranslationsWhenTheirSecondStageChanges) {
  for (const Place& place : kPlaces) {
    SCOPED_TRACE(place.name);
    PageTable parent = Parent();
    PageTable first = FirstStage();
    const Iova guest_page = uint64_t{1} << 33;
    MapPage(&first, kIova, PhysAddr{guest_page});
    MapPage(&parent, guest_page, data_[0]);
    ASSERT_TRUE(Set(place.source_id, place.entry(), NestedEntry(first, parent, 3)).ok());
    EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "1111");
    PageList freed;
    UnmapPage(&parent, guest_page, &freed);
    ASSERT_TRUE(unit_->Flush(2, {{guest_page, guest_page + kPage - 1}}, false).ok());
    EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "1111") << "another domain id";
    ASSERT_TRUE(
        unit_->FlushFirstStage(3, {place.entry()}, {{kIova, kIova + kPage - 1}}, false).ok());
    EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "1111") << "of the wrong kind";
    ASSERT_TRUE(unit_->FlushDomain(3).ok());
    EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "SSS.2");
    arena_->Free(&freed);
    ASSERT_TRUE(Set(place.source_id, place.entry(), vtd::MakeBlockedEntry()).ok());
  }
}

TEST_F(VtdUnitStagesTest, SharesADomainIdAmongSeveralDeviceTlbEntries) {
  PageTable second = SecondStage();
  MapPage(&second, kIova, data_[0]);
  const vtd::PasidEntry entry = SecondStageEntry(second, 2);
  for (const Place& place : kPlaces) ASSERT_TRUE(Set(place.source_id, place.entry(), entry).ok());
  ASSERT_TRUE(Set(kCaching, 5, entry).ok());
  for (const Place& place : kPlaces) EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "1111");
  EXPECT_EQ(Read(kCaching, 5, kIova), "1111");
  PageList freed;
  UnmapPage(&second, kIova, &freed);
  // More ranges than go one by one.
  const std::vector<IovaRange> all(17, IovaRange{kIova, kIova + kPage - 1});
  ASSERT_TRUE(unit_->Flush(2, all, false).ok());
  for (const Place& place : kPlaces) EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "SSS.2");
  EXPECT_EQ(Read(kCaching, 5, kIova), "SSS.2");
  arena_->Free(&freed);
}

TEST_F(VtdUnitStagesTest, TakesBackAnEntryWhoseFlushFailedInDeviceTlbsToo) {
  PageTable second = SecondStage();
  MapPage(&second, kIova, data_[0]);
  const vtd::PasidEntry entry = SecondStageEntry(second, 2);
  ASSERT_TRUE(Set(kCaching, 0, entry).ok());
  unit_->hardware().Write32(vtd::kGlobalCommandRegister, vtd::kTranslationEnable);  // No queue.
  EXPECT_EQ(Set(kCaching, 0, vtd::MakeBlockedEntry()).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(unit_->EntryOf(kCaching, 0), entry);
  unit_->hardware().Write32(vtd::kGlobalCommandRegister,
                            vtd::kTranslationEnable | vtd::kQueueEnable);
  EXPECT_EQ(Read(kCaching, kRid, kIova), "1111");
  // The entry taken back counts as a use again.
  PageList freed;
  UnmapPage(&second, kIova, &freed);
  EXPECT_TRUE(unit_->Flush(2, {{kIova, kIova + kPage - 1}}, false).ok());
  EXPECT_EQ(Read(kCaching, kRid, kIova), "SSS.2");
  arena_->Free(&freed);
}

// A device that looks at every moment of a change that fails: what it has seen of the new entry is
// flushed with everything else. Both entries have one domain id, so that only the flush helps.
TEST_F(VtdUnitStagesTest, LeavesNothingOfANewEntryWhoseFlushFailed) {
  PageTable second[2] = {SecondStage(), SecondStage()};
  for (int i = 0; i < 2; ++i) MapPage(&second[i], kIova, data_[i]);
  const vtd::PasidEntry entries[2] = {SecondStageEntry(second[0], 2),
                                      SecondStageEntry(second[1], 2)};
  for (const Place& place : kPlaces) {
    SCOPED_TRACE(place.name);
    ASSERT_TRUE(Set(place.source_id, place.entry(), entries[0]).ok());
    std::vector<std::string> seen;
    const StoreObserver look = [&](const uint64_t*, size_t) {
      seen.push_back(Read(place.source_id, place.pasid, kIova));
      // A tail between two descriptors stops the queue: the next one to come is refused.
      if (seen.size() == 1) unit_->hardware().Write64(vtd::kQueueTailRegister, 16);
    };
    EXPECT_EQ(
        unit_->SetEntry(ObservedStore(&look), place.source_id, place.entry(), entries[1]).code(),
        absl::StatusCode::kInternal);
    EXPECT_EQ(seen, (std::vector<std::string>{"2222", "2222"}))
        << "the second look is a cached one";
    EXPECT_EQ(Read(place.source_id, place.pasid, kIova), "1111");
    ASSERT_TRUE(Set(place.source_id, place.entry(), vtd::MakeBlockedEntry()).ok());
  }
}

TEST_F(VtdUnitStagesTest, ShowsTheEntriesOfBothStages) {
  const PageTable parent = Parent();
  PageTable first = FirstStage();
  MapPage(&first, kIova, data_[0]);
  const auto tables = [&] {
    std::string names;
    for (const TableEntryDump& entry :
         DumpPath({unit_->hardware(), memory_, kPlain, kRid}, kIova + 0x123)) {
      names += entry.table + "\n";
    }
    return names;
  };
  ASSERT_TRUE(Set(kPlain, 0, FirstStageEntry(first, 3)).ok());
  const std::string above = "root\ncontext\npasid-directory\npasid\n";
  const std::string first_stage =
      "first-stage level 4\nfirst-stage level 3\nfirst-stage level 2\nfirst-stage level 1\n";
  EXPECT_EQ(tables(), above + first_stage);
  ASSERT_TRUE(Set(kPlain, 0, NestedEntry(first, parent, 4)).ok());
  const std::string second_stage =
      "second-stage level 4\nsecond-stage level 3\nsecond-stage level 2\nsecond-stage level 1\n";
  std::string nested;
  for (const char* level : {"4", "3", "2", "1"}) {
    nested += second_stage + "first-stage level " + level + "\n";
  }
  EXPECT_EQ(tables(), above + nested + second_stage);
  const auto dump = DumpPath({unit_->hardware(), memory_, kPlain, kRid}, kIova);
  EXPECT_EQ(dump[23].words[0] & ~uint64_t{0xfff}, data_[0].value);
  EXPECT_EQ(dump.back().words[0] & ~uint64_t{0xfff}, data_[0].value);
}

TEST_F(VtdUnitStagesTest, RefusesPasidsThatTheRequesterCanNotIssue) {
  const auto unit =
      *VtdUnit::Create(EverySpec(), {{0x0200, 8, false}, {0x0208, 0, false}, {0x0210, 4, false}},
                       &memory_, arena_.get());
  EXPECT_TRUE(unit->PrepareEntry(0x0200, 255).ok());
  const vtd::PasidEntry identity = vtd::MakePassThroughEntry({5, true});
  for (const absl::Status& status :
       {unit->PrepareEntry(0x0200, 256), unit->SetEntry(PlainStore(), 0x0200, 256, identity),
        unit->PrepareEntry(0x0208, 1),
        // In a table that is there, but for fewer entries than it has room for.
        unit->SetEntry(PlainStore(), 0x0208, 1, identity),
        unit->SetEntry(PlainStore(), 0x0210, 20, identity)}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
    EXPECT_EQ(DetailOf(status)->reason, "PASID_OUT_OF_RANGE");
  }
  // To block what was never there takes nothing.
  EXPECT_TRUE(unit->SetEntry(PlainStore(), 0x0200, 256, vtd::MakeBlockedEntry()).ok());
  EXPECT_TRUE(unit->SetEntry(PlainStore(), 0x0208, 1, vtd::MakeBlockedEntry()).ok());
  EXPECT_EQ(unit->EntryOf(0x0200, 256), vtd::MakeBlockedEntry());
}

TEST_F(VtdUnitStagesTest, AnswersRequestsWithAPasidByWhatTheRequesterCanIssue) {
  const auto unit = *VtdUnit::Create(EverySpec(), {{0x0200, 8, false}, {0x0208, 0, false}},
                                     &memory_, arena_.get());
  ASSERT_TRUE(unit->EnableTranslation().ok());
  const auto fault = [&](uint16_t source_id, uint32_t pasid) {
    return unit->hardware().Probe({source_id, pasid, 0x1000, false}).fault_reason;
  };
  EXPECT_EQ(fault(0x0200, 5), hardware::kPasidEntryNotPresent);
  EXPECT_EQ(fault(0x0200, 64), hardware::kPasidDirectoryNotPresent);
  EXPECT_EQ(fault(0x0200, 8192), hardware::kPasidBeyondDirectory);
  EXPECT_EQ(fault(0x0208, 5), hardware::kPasidRequestsDisabled);
}

}  // namespace
}  // namespace viommu
