// What is shown of a path through an SMMUv3, and that an explanation is what a device without
// caches meets.
#include "engine/backend/soft/smmu_table_dump.h"

#include <cstdint>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/smmu_event.h"
#include "engine/backend/soft/hardware/smmu_request.h"
#include "engine/backend/soft/hardware/smmu_test_world.h"
#include "engine/backend/table_view.h"
#include "engine/base/address.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using hardware::Stages;
using World = hardware::SmmuTestWorld;

constexpr uint64_t kAccessFlag = 1 << 10;

DumpedStream Stream(const World& world, std::optional<uint32_t> substream = std::nullopt) {
  return {*world.model, world.memory, World::kStream, substream};
}

// "ste", "2.3 for 0x12000", "1.0 for 0x40000000 at guest 0x11000".
std::string LineOf(const TableEntryDump& entry) {
  std::string line = entry.table;
  if (entry.stage != TableStage::kConfiguration) {
    line = std::string(entry.stage == TableStage::kStage1 ? "1." : "2.") +
           std::to_string(entry.level) + " for " + Hex(*entry.looks_up);
  }
  if (entry.in_stage1_as.has_value()) line += " at guest " + Hex(*entry.in_stage1_as);
  return line;
}

std::vector<std::string> LinesOf(const std::vector<TableEntryDump>& path) {
  std::vector<std::string> lines;
  for (const TableEntryDump& entry : path) lines.push_back(LineOf(entry));
  return lines;
}

TEST(SmmuTableDumpTest, ShowsBehindWhichStage2PathEachEntryOfAGuestLies) {
  World world(Stages::kNested);
  const uint64_t iova = World::kIova4K + 0x123;
  const auto path = DumpPath(Stream(world), iova);
  std::vector<std::string> want = {"ste"};
  const auto second = [&](uint64_t ipa) {
    for (int level = 1; level <= 3; ++level) {
      want.push_back("2." + std::to_string(level) + " for " + Hex(ipa));
    }
  };
  second(world.IpaOf(world.context0));
  want.push_back("cd at guest " + Hex(world.IpaOf(world.context0)));
  const uint64_t entries[] = {world.entry0, world.entry1, world.entry2, world.leaf_4k};
  for (int level = 0; level < 4; ++level) {
    second(world.IpaOf(entries[level]));
    want.push_back("1." + std::to_string(level) + " for " + Hex(iova) + " at guest " +
                   Hex(world.IpaOf(entries[level])));
  }
  second(world.IpaOf(world.data) + 0x123);
  EXPECT_EQ(LinesOf(path), want);
  EXPECT_EQ(path[0].address.value, world.stream_entry);
  EXPECT_EQ(path[0].words.size(), 8u);
  EXPECT_EQ(path[4].address.value, world.context0);
  EXPECT_EQ(path[8].address.value, world.entry0);
  EXPECT_EQ(path[8].words, std::vector<uint64_t>{world.Load(world.entry0)});
  EXPECT_EQ(path.back().address.value, world.second_data);
}

TEST(SmmuTableDumpTest, ShowsOneStageByItself) {
  World first(Stages::kFirst);
  EXPECT_EQ(LinesOf(DumpPath(Stream(first, World::kSubstream), World::kIova1G)),
            (std::vector<std::string>{"ste", "cd", "1.0 for " + Hex(World::kIova1G),
                                      "1.1 for " + Hex(World::kIova1G)}));
  World second(Stages::kSecond);
  const uint64_t ipa = second.DataAddress();
  EXPECT_EQ(LinesOf(DumpPath(Stream(second), ipa)),
            (std::vector<std::string>{"ste", "2.1 for " + Hex(ipa), "2.2 for " + Hex(ipa),
                                      "2.3 for " + Hex(ipa)}));
}

TEST(SmmuTableDumpTest, PutsNamedFieldsBesideTheWords) {
  World world(Stages::kFirst);
  const auto path = DumpPath(Stream(world), World::kIova4K);
  ASSERT_EQ(path.size(), 6u);
  EXPECT_NE(path[0].decoded.find("[V=1 Config=5 S1ContextPtr=" + Hex(world.contexts) +
                                 " S1CDMax=3 S1DSS=2 S2VMID="),
            std::string::npos)
      << path[0].decoded;
  EXPECT_NE(path[1].decoded.find("[T0SZ=16 EPD1=1 V=1 IPS=5 AA64=1 R=1 A=1 ASID="),
            std::string::npos)
      << path[1].decoded;
  EXPECT_EQ(path[2].decoded, "table " + Hex(world.level1));
  EXPECT_EQ(path[5].decoded, "page " + Hex(world.data) +
                                 ", RW, 4 KiB, non-cacheable, inner shareable "
                                 "[AP[2:1]=1 SH=3 AF=1 nG=1]");
}

TEST(SmmuTableDumpTest, ShowsBothLevelsOfTables) {
  World world(Stages::kFirst);
  // 64 CDs in each second-level table, of which one is linked, for 128.
  const uint64_t table = world.Page(), first = world.Page();
  world.Store(first, table | 1);
  for (int word = 0; word < 8; ++word) {
    world.Store(table + 64 * 3 + 8 * word, world.Load(world.context3 + 8 * word));
  }
  world.Store(world.stream_entry, 1 | 5 << 1 | 1 << 4 | first | uint64_t{7} << 59);
  const auto path = DumpPath(Stream(world, 3), World::kIova1G);
  ASSERT_EQ(path.size(), 5u);
  EXPECT_EQ(path[1].table, "l1cd");
  EXPECT_EQ(path[1].words, std::vector<uint64_t>{table | 1});
  EXPECT_EQ(path[1].decoded, "valid, 64 CDs at " + Hex(table) + " [V=1 L2Ptr=" + Hex(table) + "]");
  EXPECT_EQ(path[2].table, "cd");
  EXPECT_EQ(path[2].address.value, table + 64 * 3);
  const auto unlinked = ExplainPath(Stream(world, 64), World::kIova1G, false);
  ASSERT_TRUE(unlinked.fault.has_value());
  EXPECT_EQ(unlinked.fault->reason, "C_BAD_SUBSTREAMID");
  EXPECT_EQ(unlinked.fault->entry->address.value, first + 8);
  EXPECT_EQ(unlinked.fault->entry->table, "l1cd");
}

TEST(SmmuTableDumpTest, ExplainsWhereAnAccessLeads) {
  World world(Stages::kNested);
  const auto small = ExplainPath(Stream(world), World::kIova4K + 5, false);
  ASSERT_FALSE(small.fault.has_value());
  EXPECT_EQ(small.physical.value, world.data + 5);
  EXPECT_EQ(small.page_bytes, 4096u);
  // Good, but no memory is there.
  const auto large = ExplainPath(Stream(world), World::kIova1G + 0x1000, true);
  ASSERT_TRUE(large.fault.has_value());
  EXPECT_EQ(large.fault->code, 0);
  EXPECT_EQ(large.fault->reason, "NO_MEMORY");
  EXPECT_EQ(large.physical.value, World::kPhys1G + 0x1000);
  EXPECT_EQ(large.fault->entry->address.value, world.second_1g);
}

// For every kind of entry: what is broken, and what is said about it.
TEST(SmmuTableDumpTest, NamesTheEntryThatRefuses) {
  using Place = uint64_t (*)(const World&);
  const struct {
    const char* name;
    Place broken;
    uint64_t flip;
    bool write;
    const char* reason;
    TableStage stage;
    int level;
    const char* why;  // A part of it.
  } kCases[] = {
      {"STE", [](const World& w) { return w.stream_entry; }, 1, false, "C_BAD_STE",
       TableStage::kConfiguration, 0, "StreamID 0x5: ste entry at 0x"},
      {"abort", [](const World& w) { return w.stream_entry; }, 7 << 1, false, "ABORTED",
       TableStage::kConfiguration, 0, "valid, abort"},
      {"S1DSS", [](const World& w) { return w.stream_entry + 8; }, 2, false, "F_STREAM_DISABLED",
       TableStage::kConfiguration, 0, "ste entry at 0x"},
      {"CD's place", [](const World& w) { return w.SecondEntryOf(w.contexts); }, 1, false,
       "F_TRANSLATION", TableStage::kStage2, 3, ", the guest's CD table: not present (0x"},
      {"CD", [](const World& w) { return w.context0; }, 1ull << 31, false, "C_BAD_CD",
       TableStage::kConfiguration, 0, "cd entry at 0x"},
      {"EPD0", [](const World& w) { return w.context0; }, 1 << 14, false, "F_TRANSLATION",
       TableStage::kConfiguration, 0, "EPD0=1"},
      {"top table's place", [](const World& w) { return w.SecondEntryOf(w.level0); }, 1, false,
       "F_TRANSLATION", TableStage::kStage2, 3, ", a stage 1 table of the guest: not present"},
      {"table unreadable", [](const World& w) { return w.SecondEntryOf(w.level2); }, 1 << 6, true,
       "F_PERMISSION", TableStage::kStage2, 3, "-W, 4 KiB"},
      {"page's place", [](const World& w) { return w.second_data; }, 1, false, "F_TRANSLATION",
       TableStage::kStage2, 3, ", the guest's page: not present"},
      {"page not for writing", [](const World& w) { return w.second_data; }, 1 << 7, true,
       "F_PERMISSION", TableStage::kStage2, 3, "R-"},
      {"second not accessed", [](const World& w) { return w.second_data; }, kAccessFlag, false,
       "F_ACCESS", TableStage::kStage2, 3, "not accessed"},
      {"guest's entry", [](const World& w) { return w.entry1; }, 1, false, "F_TRANSLATION",
       TableStage::kStage1, 1, " for 0x40000123: not present (0x"},
      {"guest's page not accessed", [](const World& w) { return w.leaf_4k; }, kAccessFlag, true,
       "F_ACCESS", TableStage::kStage1, 3, "not accessed"},
      {"not for users", [](const World& w) { return w.leaf_4k; }, 1 << 6, false, "F_PERMISSION",
       TableStage::kStage1, 3, "privileged only"},
      {"not for writing", [](const World& w) { return w.leaf_4k; }, 1 << 7, true, "F_PERMISSION",
       TableStage::kStage1, 3, "R-"},
      {"table not for users", [](const World& w) { return w.entry1; }, 1ull << 61, false,
       "F_PERMISSION", TableStage::kStage1, 1, "APTable=1"},
      {"table not for writing", [](const World& w) { return w.entry2; }, 1ull << 62, true,
       "F_PERMISSION", TableStage::kStage1, 2, "no writes [APTable=2]"},
      {"guest's table beyond stage 2", [](const World& w) { return w.entry0; }, 1ull << 47, false,
       "F_TRANSLATION", TableStage::kStage1, 0, "(guest 0x"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    World world(Stages::kNested);
    const uint64_t broken = c.broken(world);
    world.Flip(broken, c.flip);
    const auto seen = ExplainPath(Stream(world), World::kIova4K + 0x123, c.write);
    ASSERT_TRUE(seen.fault.has_value());
    EXPECT_EQ(seen.fault->reason, c.reason);
    EXPECT_FALSE(seen.fault->description.empty());
    EXPECT_EQ(seen.fault->stage, c.stage);
    EXPECT_EQ(seen.fault->level, c.level);
    ASSERT_TRUE(seen.fault->entry.has_value());
    const auto& entry = *seen.fault->entry;
    EXPECT_GE(broken, entry.address.value);
    EXPECT_LT(broken, entry.address.value + 8 * entry.words.size());
    EXPECT_EQ(entry.words[0], world.Load(entry.address.value));
    EXPECT_NE(seen.fault->why.find(c.why), std::string::npos) << seen.fault->why;
  }
}

TEST(SmmuTableDumpTest, BlamesNoEntryForWhatIsRefusedBeforeAnyIsRead) {
  World world(Stages::kFirst);
  const auto seen = ExplainPath({*world.model, world.memory, 64, 7}, 0, false);
  ASSERT_TRUE(seen.fault.has_value());
  EXPECT_EQ(seen.fault->reason, "C_BAD_STREAMID");
  EXPECT_FALSE(seen.fault->entry.has_value());
  EXPECT_EQ(seen.fault->why, "StreamID 0x40, SubstreamID 0x7: refused before any table is read");
  World off(Stages::kFirst, {}, /*enable=*/false);
  off.model->Write32(0x44, 1 << 20 | 1u << 31);  // GBPA.ABORT
  EXPECT_EQ(ExplainPath(Stream(off), 0, false).fault->reason, "ABORTED");
}

// A world with a few words broken at random, and an access that may meet them.
class BrokenWorld {
 public:
  explicit BrokenWorld(std::mt19937_64* random)
      : random_(*random), stages_(static_cast<Stages>(Below(3))), world_(stages_) {
    if (Below(2) == 0) world_.model->SetDeviceTlb(World::kStream, true);
    for (uint64_t changes = Below(4); changes > 0; --changes) Break();
    write_ = Below(2) == 0;
    if (Below(3) == 0) substream_ = Below(2) == 0 ? World::kSubstream : Below(9);
    const uint64_t kBases[] = {world_.DataAddress(), world_.BlockAddress(), World::kIova4K, 0};
    address_ = Below(8) == 0 ? random_() >> Below(40) : kBases[Below(4)] + Below(4096);
  }

  void Compare() {
    const DumpedStream stream = Stream(world_, substream_);
    const std::vector<uint64_t> before = Words();
    const auto counted = world_.model->counters();
    const TranslationExplanation told = ExplainPath(stream, address_, write_);
    const auto path = DumpPath(stream, address_);
    EXPECT_EQ(Words(), before) << "an entry was marked";
    EXPECT_EQ(world_.model->counters().events, counted.events);
    EXPECT_EQ(world_.model->counters().ste_misses, counted.ste_misses);
    if (told.fault.has_value() && told.fault->entry.has_value()) {
      EXPECT_FALSE(path.empty());
      EXPECT_NE(told.fault->why.find(Hex(told.fault->entry->address.value)), std::string::npos);
    }
    Access(told);
  }

  const std::string& reason() const { return reason_; }

 private:
  uint64_t Below(uint64_t limit) { return random_() % limit; }

  std::vector<uint64_t> Places() const {
    std::vector<uint64_t> places = {world_.stream_entry, world_.stream_entry + 8,
                                    world_.stream_entry + 16, world_.stream_entry + 24};
    if (stages_ != Stages::kSecond) {
      places.insert(places.end(),
                    {world_.context0, world_.context0 + 8, world_.context3, world_.entry0,
                     world_.entry1, world_.entry2, world_.leaf_1g, world_.leaf_2m, world_.leaf_4k});
    }
    if (stages_ != Stages::kFirst) {
      places.insert(places.end(),
                    {world_.second_entry1, world_.second_entry2, world_.second_1g,
                     world_.second_data, world_.SecondEntryOf(world_.contexts),
                     world_.SecondEntryOf(world_.level1), world_.SecondEntryOf(world_.level3)});
    }
    return places;
  }

  std::vector<uint64_t> Words() const {
    std::vector<uint64_t> words;
    for (const uint64_t place : Places()) words.push_back(world_.Load(place));
    return words;
  }

  void Break() {
    const std::vector<uint64_t> places = Places();
    const uint64_t place = places[Below(places.size())];
    switch (Below(6)) {
      case 0:
        return world_.Store(place, 0);
      case 1:
        return world_.Store(place, world_.Load(places[Below(places.size())]));
      default:
        return world_.Flip(place, uint64_t{1} << (Below(2) != 0 ? Below(12) : Below(64)));
    }
  }

  // The first access of a unit that has cached nothing.
  void Access(const TranslationExplanation& told) {
    char byte = 'x';
    hardware::smmu::Request request = World::Read(address_, substream_);
    request.write = write_;
    const auto done = world_.model->Access(request, absl::MakeSpan(&byte, 1));
    reason_ = told.fault.has_value() ? told.fault->reason : "";
    EXPECT_EQ(done.memory_missing, reason_ == "NO_MEMORY");
    EXPECT_EQ(done.fault.terminated, reason_ == "ABORTED");
    EXPECT_EQ(done.bytes_done == 1, !told.fault.has_value());
    if (!done.fault.none() && !done.fault.terminated) {
      EXPECT_EQ(reason_, hardware::smmu::EventName(done.fault.id));
      EXPECT_EQ(told.fault->code, done.fault.id);
    }
    if (told.fault.has_value()) return;
    char there = 0;
    EXPECT_TRUE(world_.memory.Read(told.physical, absl::MakeSpan(&there, 1)));
    EXPECT_EQ(there, byte);
  }

  std::mt19937_64& random_;
  const Stages stages_;
  World world_;
  bool write_ = false;
  std::optional<uint32_t> substream_;
  uint64_t address_ = 0;
  std::string reason_;
};

TEST(SmmuTableDumpTest, ExplainsWhatTheFirstAccessOfADeviceMeets) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  constexpr int kWorlds = 4000;
  std::set<std::string> reasons;
  int good = 0;
  for (int i = 0; i < kWorlds && !testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE("world " + std::to_string(i));
    BrokenWorld world(&random);
    world.Compare();
    good += world.reason().empty() ? 1 : 0;
    reasons.insert(world.reason());
  }
  if (testing::Test::HasFailure()) return;
  EXPECT_GT(good, kWorlds / 10);
  EXPECT_LT(good, kWorlds * 8 / 10);
  EXPECT_GE(reasons.size(), 10u) << "kinds of ends that were met";
}

}  // namespace
}  // namespace viommu
