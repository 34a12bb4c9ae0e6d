// What is shown of a path, and that an explanation is what a device without caches meets.
#include "engine/backend/soft/table_dump.h"

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/hardware/vtd_two_stage_world.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using hardware::TwoStageWorld;
using World = TwoStageWorld;

constexpr uint64_t kWindowBytes = 64 << 12;
constexpr uint64_t kAccessed = 1 << 5;  // First stage.

DumpedRequester Requester(const World& world, std::optional<uint32_t> pasid = World::kGuestPasid) {
  return {*world.model, world.memory, World::kDevice, pasid};
}

// "root", "2.4 for 0x12000", "1.4 for 0x40000000 at guest 0x11000".
std::string LineOf(const TableEntryDump& entry) {
  if (entry.stage == TableStage::kConfiguration) return entry.table;
  std::string line = entry.stage == TableStage::kStage1 ? "1." : "2.";
  line += std::to_string(entry.level) + " for " + Hex(*entry.looks_up);
  if (entry.in_stage1_as.has_value()) line += " at guest " + Hex(*entry.in_stage1_as);
  return line;
}

std::vector<std::string> LinesOf(const std::vector<TableEntryDump>& path) {
  std::vector<std::string> lines;
  for (const TableEntryDump& entry : path) lines.push_back(LineOf(entry));
  return lines;
}

TEST(TableDumpTest, ShowsBehindWhichSecondStagePathEachEntryOfTheFirstLies) {
  World world(/*nested=*/true);
  const auto path = DumpPath(Requester(world), World::kIova4K + 0x123);
  std::vector<std::string> want = {"root", "context", "pasid-directory", "pasid"};
  const auto second = [&](uint64_t address) {
    for (int level = 4; level >= 1; --level) {
      want.push_back("2." + std::to_string(level) + " for " + Hex(address));
    }
  };
  // Index 1 of level 3 is that of 0x40000000.
  const uint64_t entries[] = {world.NameOf(World::kFour), world.NameOf(World::kThree) + 8,
                              world.NameOf(World::kTwo), world.NameOf(World::kOne)};
  for (int i = 0; i < 4; ++i) {
    second(entries[i]);
    want.push_back("1." + std::to_string(4 - i) + " for " + Hex(World::kIova4K + 0x123) +
                   " at guest " + Hex(entries[i]));
  }
  second(world.NameOf(World::kData) + 0x123);
  EXPECT_EQ(LinesOf(path), want);
  EXPECT_EQ(path[8].address.value, world.first4);
  EXPECT_EQ(path[8].table, "first-stage level 4");
  EXPECT_EQ(path[8].words, std::vector<uint64_t>{world.Load(world.first4)});
  EXPECT_EQ(path[7].address.value, world.SecondLeaf(World::kFour));
  EXPECT_EQ(path.back().address.value, world.SecondLeaf(World::kData));
  EXPECT_EQ(path[3].words.size(), 8u);
}

TEST(TableDumpTest, ShowsOneStageByItself) {
  World world(/*nested=*/false);
  const auto first = DumpPath(Requester(world), World::kIova2M);
  ASSERT_EQ(first.size(), 7u);
  EXPECT_EQ(LineOf(first[6]), "1.2 for 0x40200000");
  const auto second = DumpPath(Requester(world, World::kPasid), World::kIova1G);
  ASSERT_EQ(second.size(), 6u);
  EXPECT_EQ(LineOf(second[5]), "2.3 for 0x80000000");
  EXPECT_EQ(second[5].table, "second-stage level 3");
  // A request without PASID to where interrupts go reads no table.
  EXPECT_TRUE(DumpPath(Requester(world, std::nullopt), 0xfee00000).empty());
}

TEST(TableDumpTest, GoesAsFarAsEitherAccessGets) {
  World world(/*nested=*/false);
  world.Store(world.level4_entry, world.Load(world.level4_entry) & ~uint64_t{1});  // W alone.
  EXPECT_EQ(DumpPath(Requester(world, World::kPasid), World::kIova4K).size(), 8u);
  world.Store(world.level4_entry, 0);
  EXPECT_EQ(DumpPath(Requester(world, World::kPasid), World::kIova4K).size(), 5u);
}

TEST(TableDumpTest, ExplainsWhereAnAccessLeads) {
  World world(/*nested=*/true);
  world.memory.Write(PhysAddr{world.host[World::kData]}, "bytes");
  const auto small = ExplainPath(Requester(world), World::kIova4K + 5, false);
  ASSERT_FALSE(small.fault.has_value());
  EXPECT_EQ(small.physical.value, world.host[World::kData] + 5);
  EXPECT_EQ(small.page_bytes, 4096u);
  // Good, but no memory is there.
  const auto large = ExplainPath(Requester(world), World::kIova2M + 0x1000, true);
  ASSERT_TRUE(large.fault.has_value());
  EXPECT_EQ(large.fault->code, 0);
  EXPECT_EQ(large.fault->reason, "NO_MEMORY");
  EXPECT_EQ(large.physical.value, World::kPhys1G + 0x201000);
  EXPECT_EQ(large.page_bytes, uint64_t{2} << 20);
  ASSERT_TRUE(large.fault->entry.has_value());
  EXPECT_EQ(large.fault->entry->address.value, world.second_large);
  const auto message = ExplainPath(Requester(world, std::nullopt), 0xfee01004, true);
  EXPECT_TRUE(message.interrupt_message);
  EXPECT_FALSE(message.fault.has_value());
}

// For every kind of entry: what is broken, and what is said about it.
TEST(TableDumpTest, NamesTheEntryThatRefuses) {
  using Place = uint64_t (*)(const World&);
  const Place second_of_three = [](const World& w) { return w.SecondLeaf(World::kThree); };
  const Place second_of_four = [](const World& w) { return w.SecondLeaf(World::kFour); };
  const Place second_of_one = [](const World& w) { return w.SecondLeaf(World::kOne); };
  const Place second_of_data = [](const World& w) { return w.SecondLeaf(World::kData); };
  const struct {
    const char* name;
    Place broken;
    uint64_t flip;
    bool write;
    uint8_t code;
    TableStage stage;
    int level;
    const char* why;  // A part of it.
    Place blamed;     // Null: the broken one.
  } kCases[] = {
      {"root", [](const World& w) { return w.root_entry; }, 1, false, hardware::kRootNotPresent,
       TableStage::kConfiguration, 0, "root entry at 0x", nullptr},
      {"context", [](const World& w) { return w.context_entry; }, 1, false,
       hardware::kContextNotPresent, TableStage::kConfiguration, 0, "context entry at 0x", nullptr},
      {"PASIDs off", [](const World& w) { return w.context_entry; }, 1 << 3, false,
       hardware::kPasidRequestsDisabled, TableStage::kConfiguration, 0, "RID_PASID 0, device TLB",
       nullptr},
      {"directory", [](const World& w) { return w.directory_entry; }, 1, false,
       hardware::kPasidDirectoryNotPresent, TableStage::kConfiguration, 0, "not present", nullptr},
      {"reserved directory", [](const World& w) { return w.directory_entry; }, 1 << 4, false,
       hardware::kPasidDirectoryReserved, TableStage::kConfiguration, 0, "PASID table", nullptr},
      {"PASID entry", [](const World& w) { return w.entry; }, 1, false,
       hardware::kPasidEntryNotPresent, TableStage::kConfiguration, 0, "pasid entry at", nullptr},
      {"PASID type", [](const World& w) { return w.entry; }, 4 << 6, true,
       hardware::kPasidEntryInvalid, TableStage::kConfiguration, 0, "pasid entry at", nullptr},
      {"top table's place", second_of_four, 3, false, hardware::kPageNotPresent,
       TableStage::kStage2, 1, "the guest's top stage 1 table: not present (0x", nullptr},
      {"top table unreadable", second_of_four, 1, false, hardware::kFirstTopTableDenied,
       TableStage::kStage2, 1, "-W", nullptr},
      {"lower table's place", second_of_three, 3, true, hardware::kPageNotPresent,
       TableStage::kStage2, 1, "the guest's stage 1 table of level 3: not present", nullptr},
      {"lower table unreadable", second_of_three, 1, true, hardware::kFirstLowerTableDenied,
       TableStage::kStage2, 1, "the guest's stage 1 table of level 3", nullptr},
      {"lower table not to be marked", second_of_one, 2, false, hardware::kFirstUpdateDenied,
       TableStage::kStage2, 1, "to mark the guest's entry there: page", nullptr},
      {"page's place", second_of_data, 3, false, hardware::kPageNotPresent, TableStage::kStage2, 1,
       "the guest's page: not present", nullptr},
      {"page not for writing", second_of_data, 2, true, hardware::kWriteDenied, TableStage::kStage2,
       1, "R-", nullptr},
      {"reserved in the second stage", second_of_data, uint64_t{1} << 50, true,
       hardware::kPageReserved, TableStage::kStage2, 1, "second-stage level 1 entry", nullptr},
      {"guest's entry", [](const World& w) { return w.first3; }, 1, false,
       hardware::kFirstNotPresent, TableStage::kStage1, 3, "(guest 0x12008) for 0x40000123: not",
       nullptr},
      {"reserved in the first stage", [](const World& w) { return w.first4; }, 1 << 7, false,
       hardware::kFirstReserved, TableStage::kStage1, 4, "first-stage level 4", nullptr},
      {"not for users", [](const World& w) { return w.first4; }, 4, false, hardware::kUserDenied,
       TableStage::kStage1, 4, "supervisor", nullptr},
      {"not for writing", [](const World& w) { return w.first2; }, 2, true, hardware::kWriteDenied,
       TableStage::kStage1, 2, "R-, user", nullptr},
      {"guest's table beyond the second stage", [](const World& w) { return w.first4; },
       uint64_t{1} << 51, false, hardware::kFirstReserved, TableStage::kStage1, 4, "table 0x8",
       nullptr},
      {"walks do not snoop", [](const World& w) { return w.entry + 8; }, 1 << 23, false,
       hardware::kFirstUpdateNotSnooped, TableStage::kStage1, 4, "first-stage level 4",
       [](const World& w) { return w.first4; }},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    World world(/*nested=*/true);
    world.Flip(c.broken(world), c.flip);
    const auto seen = ExplainPath(Requester(world), World::kIova4K + 0x123, c.write);
    ASSERT_TRUE(seen.fault.has_value());
    EXPECT_EQ(hardware::FaultReasonName(seen.fault->code), hardware::FaultReasonName(c.code));
    EXPECT_EQ(seen.fault->reason + ": " + seen.fault->description,
              std::string(hardware::FaultReasonName(c.code)));
    EXPECT_EQ(seen.fault->stage, c.stage);
    EXPECT_EQ(seen.fault->level, c.level);
    ASSERT_TRUE(seen.fault->entry.has_value());
    const uint64_t blamed = c.blamed == nullptr ? c.broken(world) : c.blamed(world);
    EXPECT_EQ(seen.fault->entry->address.value, blamed);
    EXPECT_EQ(seen.fault->entry->words[0], world.Load(blamed));
    EXPECT_NE(seen.fault->why.find(c.why), std::string::npos) << seen.fault->why;
  }
}

TEST(TableDumpTest, BlamesTheLeafThatCanNotBeMarkedThoughItsPageIsGood) {
  World world(/*nested=*/true);
  for (const uint64_t entry : {world.first4, world.first3, world.first2}) {
    world.Flip(entry, kAccessed);
  }
  world.Flip(world.entry + 8, 1 << 23);  // PWSNP
  const auto seen = ExplainPath(Requester(world), World::kIova4K, true);
  ASSERT_TRUE(seen.fault.has_value());
  EXPECT_EQ(seen.fault->code, hardware::kFirstUpdateNotSnooped);
  EXPECT_EQ(seen.fault->entry->address.value, world.first_4k);
}

TEST(TableDumpTest, BlamesNoEntryForWhatIsRefusedBeforeAnyIsRead) {
  World world(/*nested=*/true);
  const auto seen = ExplainPath(Requester(world, std::nullopt), 0xfee00000, false);
  ASSERT_TRUE(seen.fault.has_value());
  EXPECT_EQ(seen.fault->code, hardware::kInterruptRange);
  EXPECT_FALSE(seen.fault->entry.has_value());
  EXPECT_EQ(seen.fault->stage, TableStage::kConfiguration);
}

// A world with a few words broken at random, and an access that may meet them.
class BrokenWorld {
 public:
  explicit BrokenWorld(std::mt19937_64* random)
      : random_(*random), world_(Below(4) != 0, Below(4) == 0 ? 5 : 4) {
    if (Below(2) == 0) world_.model->SetDeviceTlb(World::kDevice, true);
    for (uint64_t changes = Below(4); changes > 0; --changes) Break();
    write_ = Below(2) == 0;
    if (Below(5) != 0) pasid_ = Below(3) == 0 ? World::kPasid : World::kGuestPasid;
    if (Below(20) == 0) pasid_ = static_cast<uint32_t>(Below(1 << 20));
    address_ = AnyAddress();
  }

  void Compare() {
    const std::string before = Memory();
    const auto counted = world_.model->counters();
    const DumpedRequester requester = Requester(world_, pasid_);
    const TranslationExplanation told = ExplainPath(requester, address_, write_);
    const auto path = DumpPath(requester, address_);
    EXPECT_EQ(Memory(), before) << "an entry was marked";
    EXPECT_EQ(world_.model->counters().faults, counted.faults);
    EXPECT_EQ(world_.model->counters().context_misses, counted.context_misses);
    CheckEntry(told, path);
    Access(told);
  }

  bool faulted() const { return faulted_; }
  uint8_t code() const { return code_; }

 private:
  uint64_t Below(uint64_t limit) { return random_() % limit; }

  void Break() {
    const std::vector<uint64_t> places = {world_.root_entry,
                                          world_.context_entry,
                                          world_.context_entry + 8,
                                          world_.directory_entry,
                                          world_.entry,
                                          world_.entry + 8,
                                          world_.entry + 16,
                                          world_.pasid_entry,
                                          world_.pasid_entry + 8,
                                          world_.rid_pasid_entry,
                                          world_.level4_entry,
                                          world_.level3_entry,
                                          world_.level2_entry,
                                          world_.leaf_1g,
                                          world_.leaf_2m,
                                          world_.leaf_4k,
                                          world_.first5,
                                          world_.first4,
                                          world_.first3,
                                          world_.first2,
                                          world_.first_4k,
                                          world_.first_2m,
                                          world_.first_1g,
                                          world_.second4,
                                          world_.second3,
                                          world_.second_large,
                                          world_.second2,
                                          world_.SecondLeaf(World::kFour),
                                          world_.SecondLeaf(World::kThree),
                                          world_.SecondLeaf(World::kTwo),
                                          world_.SecondLeaf(World::kOne),
                                          world_.SecondLeaf(World::kData)};
    const uint64_t place = places[Below(places.size())];
    switch (Below(6)) {
      case 0:
        return world_.Store(place, 0);
      case 1:
        return world_.Store(place, random_());
      case 2:  // To where another one leads.
        return world_.Store(place, world_.Load(places[Below(places.size())]));
      default:  // Low bits are flags, high ones addresses and what is reserved.
        return world_.Flip(place, uint64_t{1} << (Below(3) != 0 ? Below(12) : Below(64)));
    }
  }

  uint64_t AnyAddress() {
    const uint64_t kBases[] = {World::kIova4K, World::kIova2M, World::kIova1G, 0xfee00000, 0};
    switch (Below(8)) {
      case 0:
        return random_();
      case 1:
        return random_() >> (16 + Below(12));
      case 2:
        return kBases[Below(5)] + Below(0x300000);
      default:
        return kBases[Below(3)] + Below(4096);
    }
  }

  std::string Memory() const {
    std::string bytes(kWindowBytes, '\0');
    EXPECT_TRUE(world_.memory.Read(PhysAddr{world_.root}, absl::MakeSpan(&bytes[0], bytes.size())));
    return bytes;
  }

  void CheckEntry(const TranslationExplanation& told, const std::vector<TableEntryDump>& path) {
    if (!told.fault.has_value() || !told.fault->entry.has_value()) return;
    const TableEntryDump& entry = *told.fault->entry;
    EXPECT_EQ(told.fault->stage, entry.stage);
    EXPECT_EQ(told.fault->level, entry.level);
    EXPECT_EQ(entry.words[0], world_.memory.Load64(entry.address).value_or(0));
    EXPECT_FALSE(path.empty());
    EXPECT_NE(told.fault->why.find(Hex(entry.address.value)), std::string::npos);
  }

  // The first access of a unit that has cached nothing.
  void Access(const TranslationExplanation& told) {
    char byte = 'x';
    const hardware::Request request{World::kDevice, pasid_, address_, write_};
    const auto done = world_.model->Access(request, absl::MakeSpan(&byte, 1));
    faulted_ = told.fault.has_value();
    code_ = faulted_ ? told.fault->code : 0;
    EXPECT_EQ(hardware::FaultReasonName(code_), hardware::FaultReasonName(done.fault_reason));
    EXPECT_EQ(faulted_ && code_ == 0, done.memory_missing);
    EXPECT_EQ(told.interrupt_message, done.is_interrupt);
    EXPECT_EQ(!faulted_, done.bytes_done == 1);
    if (faulted_ || told.interrupt_message) return;
    char there = 0;
    EXPECT_TRUE(world_.memory.Read(told.physical, absl::MakeSpan(&there, 1)));
    EXPECT_EQ(there, byte);
  }

  std::mt19937_64& random_;
  World world_;
  bool write_ = false;
  std::optional<uint32_t> pasid_;
  uint64_t address_ = 0;
  bool faulted_ = false;
  uint8_t code_ = 0;
};

TEST(TableDumpTest, ExplainsWhatTheFirstAccessOfADeviceMeets) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::vector<int> codes(256);
  int faults = 0;
  constexpr int kWorlds = 6000;
  for (int i = 0; i < kWorlds && !testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE("world " + std::to_string(i));
    BrokenWorld world(&random);
    world.Compare();
    faults += world.faulted() ? 1 : 0;
    if (world.faulted()) ++codes[world.code()];
  }
  if (testing::Test::HasFailure()) return;
  EXPECT_GT(faults, kWorlds / 5);
  EXPECT_LT(faults, kWorlds * 9 / 10);
  int kinds = 0;
  for (const int count : codes) kinds += count > 0 ? 1 : 0;
  EXPECT_GT(kinds, 20) << "kinds of faults that were met";
}

}  // namespace
}  // namespace viommu
