// Map, Unmap, CopyMappings and what reads them: every refusal, and that it changed nothing.
#include <string>
#include <variant>
#include <vector>

#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 0x1000;
constexpr IovaRange kEverything{0, kMaxAddress};
constexpr uint64_t kRamBytes = 1 << 30;
constexpr Iova kApertureEnd = uint64_t{1} << 48;
constexpr IovaRange kMsi{0xfee00000, 0xfeefffff};

class EngineMappingTest : public EngineTest {
 protected:
  void SetUp() override {
    SetUpAlice();
    ASSERT_TRUE(engine_->CreateIoas(alice_, "bare").ok());  // No domain: no aperture, no alignment.
  }
  absl::StatusOr<MapAnswer> Map(const std::string& ioas, std::optional<Iova> iova, uint64_t length,
                                uint64_t offset = 0) {
    return engine_->Map(alice_, Ref(ioas), OneMap(iova, length, offset));
  }
  // "first+length->offset" of all that is mapped.
  std::string Mapped(const std::string& ioas) {
    std::string text;
    const auto page = engine_->ListMappings(alice_, Ref(ioas), kEverything, {kMaxPageSize, ""});
    for (const MappingView& m : page->items) {
      text +=
          Hex(m.range.first) + "+" + Hex(m.range.size_bytes()) + "->" + Hex(m.offset_bytes) + " ";
    }
    return text;
  }
  // The areas that the last record of the journal lists.
  std::vector<Iova> Journalled() {
    std::vector<Iova> iovas;
    const std::vector<Record> records = journal_.records();
    for (const auto& area : std::get<record::Map>(records.back().operation).areas) {
      iovas.push_back(area.range.first);
    }
    return iovas;
  }
  template <typename F>
  void ExpectRefused(const char* want, F call) {
    const std::string before = Everything();
    const size_t records = journal_.records().size();
    EXPECT_EQ(DescribedInFull(call()), want);
    EXPECT_EQ(Everything(), before);
    EXPECT_EQ(journal_.records().size(), records);
  }
};

TEST_F(EngineMappingTest, RefusesAMapThatBreaksARule) {
  ASSERT_TRUE(Map("as", 0x10000, kPage).ok());
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  const Permission none = static_cast<Permission>(0), unknown = static_cast<Permission>(4);
  const Permission rw = Permission::kReadWrite;
  const struct {
    const char* name;
    MapEntry entry;
    const char* want;
  } kCases[] = {
      {"no length", {0x1000, 0, 0, 0, rw}, "INVALID_ARGUMENT INVALID_LENGTH @.length"},
      {"no permission",
       {0x1000, 0, kPage, 0, none},
       "INVALID_ARGUMENT INVALID_PERMISSION @.permission"},
      {"unknown permission",
       {0x1000, 0, kPage, 0, unknown},
       "INVALID_ARGUMENT INVALID_PERMISSION @.permission"},
      {"odd iova", {0x1001, 0, kPage, 0, rw}, "INVALID_ARGUMENT MISALIGNED @.iova"},
      {"odd length", {0x1000, 0, kPage + 1, 0, rw}, "INVALID_ARGUMENT MISALIGNED @.length"},
      {"odd offset", {0x1000, 1, kPage, 0, rw}, "INVALID_ARGUMENT MISALIGNED @.offset"},
      {"odd length, chosen iova",
       {std::nullopt, 0, 1, 0, rw},
       "INVALID_ARGUMENT MISALIGNED @.length"},
      {"above the aperture",
       {kApertureEnd, 0, kPage, 0, rw},
       "INVALID_ARGUMENT IOVA_RESERVED @.iova"},
      {"over its end",
       {kApertureEnd - kPage, 0, 2 * kPage, 0, rw},
       "INVALID_ARGUMENT IOVA_RESERVED @.iova"},
      {"up to 2^64 - 1",
       {kMaxAddress - (kPage - 1), 0, kPage, 0, rw},
       "INVALID_ARGUMENT IOVA_RESERVED @.iova"},
      {"one page past 2^64",
       {kMaxAddress - (kPage - 1), 0, 2 * kPage, 0, rw},
       "OUT_OF_RANGE IOVA_OVERFLOW @.iova"},
      {"one byte past 2^64", {kMaxAddress, 0, 2, 0, rw}, "OUT_OF_RANGE IOVA_OVERFLOW @.iova"},
      {"wraps", {kMaxAddress, 0, kMaxAddress, 0, rw}, "OUT_OF_RANGE IOVA_OVERFLOW @.iova"},
      {"the first MSI page",
       {kMsi.first, 0, kPage, 0, rw},
       "INVALID_ARGUMENT IOVA_RESERVED @.iova"},
      {"the last MSI page",
       {kMsi.last + 1 - kPage, 0, kPage, 0, rw},
       "INVALID_ARGUMENT IOVA_RESERVED @.iova"},
      {"into the MSI window",
       {kMsi.first - kPage, 0, 2 * kPage, 0, rw},
       "INVALID_ARGUMENT IOVA_RESERVED @.iova"},
      {"out of the MSI window",
       {kMsi.last + 1 - kPage, 0, 2 * kPage, 0, rw},
       "INVALID_ARGUMENT IOVA_RESERVED @.iova"},
      {"across the MSI window",
       {0xfed00000, 0, 0x300000, 0, rw},
       "INVALID_ARGUMENT IOVA_RESERVED @.iova"},
      {"on an area", {0x10000, 0, kPage, 0, rw}, "ALREADY_EXISTS IOVA_OCCUPIED @.iova"},
      {"into an area", {0xf000, 0, 2 * kPage, 0, rw}, "ALREADY_EXISTS IOVA_OCCUPIED @.iova"},
      {"out of the region",
       {0x1000, kRamBytes - kPage, 2 * kPage, 0, rw},
       "OUT_OF_RANGE SOURCE_OUT_OF_BOUNDS @.offset"},
      {"behind the region",
       {0x1000, kRamBytes, kPage, 0, rw},
       "OUT_OF_RANGE SOURCE_OUT_OF_BOUNDS @.offset"},
      {"offset wraps",
       {0x1000, kMaxAddress - (kPage - 1), 2 * kPage, 0, rw},
       "OUT_OF_RANGE SOURCE_OUT_OF_BOUNDS @.offset"},
      {"no such region",
       {0x1000, 0, kPage, 1, rw},
       "INVALID_ARGUMENT REGION_INDEX_OUT_OF_RANGE @.memory_region"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    // Alone, and as the third of four: the index moves, and nothing of the batch is applied.
    for (const size_t place : {0, 2}) {
      MapBatch batch = OneMap(0x40000000, kPage);
      batch.entries.resize(place == 0 ? 1 : 4, batch.entries[0]);
      for (size_t i = 0; i < batch.entries.size(); ++i) *batch.entries[i].iova += i * kPage;
      batch.entries[place] = c.entry;
      std::string want = c.want;
      const std::string number = std::to_string(place);
      want.replace(want.find('@'), 1, "mappings[" + number + "]");
      ExpectRefused((want + " #" + number).c_str(),
                    [&] { return engine_->Map(alice_, Ref("as"), batch).status(); });
    }
  }
}

TEST_F(EngineMappingTest, RefusesBatchesOfNoSizeOrTooLarge) {
  ASSERT_TRUE(Map("as", 0x1000, kPage).ok());
  MapBatch empty, large;
  empty.regions = large.regions = {Ref("ram")};
  large.entries.resize(kMaxBatchEntries + 1, {std::nullopt, 0, kPage, 0, Permission::kRead});
  UnmapBatch nothing, many, both;
  many.entries.resize(kMaxBatchEntries + 1, {0x1000, kPage});
  both.all = true;
  both.entries = {{0x1000, kPage}};
  ExpectRefused("INVALID_ARGUMENT EMPTY_BATCH mappings",
                [&] { return engine_->Map(alice_, Ref("as"), empty).status(); });
  ExpectRefused("INVALID_ARGUMENT BATCH_TOO_LARGE mappings",
                [&] { return engine_->Map(alice_, Ref("as"), large).status(); });
  ExpectRefused("INVALID_ARGUMENT EMPTY_BATCH ranges",
                [&] { return engine_->Unmap(alice_, Ref("as"), nothing).status(); });
  ExpectRefused("INVALID_ARGUMENT BATCH_TOO_LARGE ranges",
                [&] { return engine_->Unmap(alice_, Ref("as"), many).status(); });
  ExpectRefused("INVALID_ARGUMENT CONFLICTING_FIELDS ranges",
                [&] { return engine_->Unmap(alice_, Ref("as"), both).status(); });
  large.entries.pop_back();
  EXPECT_EQ(engine_->Map(alice_, Ref("as"), large)->iovas.size(), kMaxBatchEntries);
}

TEST_F(EngineMappingTest, RefusesWhatAnEarlierEntryOfTheBatchTook) {
  MapBatch batch = OneMap(0x1000, kPage);
  batch.entries.push_back(batch.entries[0]);
  ExpectRefused("ALREADY_EXISTS IOVA_OCCUPIED mappings[1].iova #1",
                [&] { return engine_->Map(alice_, Ref("as"), batch).status(); });
  batch.entries[0].iova.reset();  // The engine would choose 0x1000 as well.
  ExpectRefused("ALREADY_EXISTS IOVA_OCCUPIED mappings[1].iova #1",
                [&] { return engine_->Map(alice_, Ref("as"), batch).status(); });
}

TEST_F(EngineMappingTest, MapsUpToEveryEdge) {
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  const struct {
    const char* ioas;
    Iova iova;
    uint64_t offset;
  } kCases[] = {
      {"as", 0, 0},
      {"as", kApertureEnd - kPage, 0},
      {"as", kMsi.first - kPage, 0},
      {"as", kMsi.last + 1, kRamBytes - kPage},
      {"bare", kMaxAddress - (kPage - 1), 0},
      {"bare", 0x123, 0x457},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(Hex(c.iova));
    EXPECT_TRUE(Map(c.ioas, c.iova, kPage, c.offset).ok());
    EXPECT_EQ(engine_->Translate(alice_, Ref(c.ioas), c.iova + 1)->offset_bytes, c.offset + 1);
    EXPECT_TRUE(engine_->Unmap(alice_, Ref(c.ioas), OneUnmap(c.iova, kPage)).ok());
  }
}

TEST_F(EngineMappingTest, ChoosesTheLowestFitAndJournalsIt) {
  ASSERT_TRUE(Map("as", 0x3000, kPage).ok());
  MapBatch batch = OneMap(std::nullopt, kPage);
  batch.entries.resize(3, batch.entries[0]);
  batch.entries[1].length_bytes = 2 * kPage;
  batch.entries[2].iova = 0x6000;
  const auto answer = engine_->Map(alice_, Ref("as"), batch);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->iovas, (std::vector<Iova>{0x1000, 0x4000, 0x6000}));
  EXPECT_EQ(Journalled(), answer->iovas) << "a replay must not choose again";
  EXPECT_EQ(Map("as", std::nullopt, kPage)->iovas[0], 0x2000u);
}

TEST_F(EngineMappingTest, ChoosesOnlyInsideAllowedRanges) {
  ASSERT_TRUE(engine_->SetAllowedIovaRanges(alice_, Ref("as"), {{0x8000, 0x9fff}}, "").ok());
  EXPECT_EQ(Map("as", std::nullopt, 2 * kPage)->iovas[0], 0x8000u);
  ExpectRefused("RESOURCE_EXHAUSTED IOVA_EXHAUSTED mappings[0] #0",
                [&] { return Map("as", std::nullopt, kPage).status(); });
  EXPECT_TRUE(Map("as", 0x1000, kPage).ok()) << "a given address is not restricted";
}

TEST_F(EngineMappingTest, RefusesAnUnmapThatBreaksARule) {
  ASSERT_TRUE(Map("as", 0x1000, 2 * kPage).ok());
  ASSERT_TRUE(Map("as", 0x8000, kPage).ok());
  const struct {
    const char* name;
    UnmapEntry entry;
    const char* want;
  } kCases[] = {
      {"no length", {0x1000, 0}, "INVALID_ARGUMENT INVALID_LENGTH ranges[1].length #1"},
      {"magic", {0, kMaxAddress}, "INVALID_ARGUMENT INVALID_LENGTH ranges[1].length #1"},
      {"wraps", {0x1000, kMaxAddress}, "OUT_OF_RANGE IOVA_OVERFLOW ranges[1].iova #1"},
      {"a byte past 2^64", {kMaxAddress, 2}, "OUT_OF_RANGE IOVA_OVERFLOW ranges[1].iova #1"},
      {"a hole", {0x3000, kPage}, "NOT_FOUND IOVA_NOT_COVERED ranges[1].iova #1"},
      {"a part at the start", {0x1000, kPage}, "NOT_FOUND IOVA_NOT_COVERED ranges[1].iova #1"},
      {"a part at the end", {0x2000, kPage}, "NOT_FOUND IOVA_NOT_COVERED ranges[1].iova #1"},
      {"one whole, one part", {0x2000, 0x7000}, "NOT_FOUND IOVA_NOT_COVERED ranges[1].iova #1"},
      {"what entry 0 takes", {0x8000, kPage}, "NOT_FOUND IOVA_NOT_COVERED ranges[1].iova #1"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    UnmapBatch batch = OneUnmap(0x8000, kPage);
    batch.entries.push_back(c.entry);
    ExpectRefused(c.want, [&] { return engine_->Unmap(alice_, Ref("as"), batch).status(); });
  }
}

TEST_F(EngineMappingTest, UnmapsWholeAreasInLargerRangesAndEverything) {
  for (const Iova iova : {0x1000, 0x5000, 0x9000}) ASSERT_TRUE(Map("as", iova, kPage).ok());
  const auto two = engine_->Unmap(alice_, Ref("as"), OneUnmap(0, 0x6000));
  ASSERT_TRUE(two.ok()) << two.status();
  EXPECT_EQ(two->unmapped_areas, 2u);
  EXPECT_EQ(two->unmapped_bytes, 2 * kPage);
  EXPECT_EQ(Mapped("as"), "0x9000+0x1000->0x0 ");
  UnmapBatch all;
  all.all = true;
  EXPECT_EQ(engine_->Unmap(alice_, Ref("as"), all)->unmapped_areas, 1u);
  const uint64_t revision = engine_->GetIoas(alice_, Ref("as"))->mapping_revision;
  const auto nothing = engine_->Unmap(alice_, Ref("as"), all);
  ASSERT_TRUE(nothing.ok()) << "unmapping all of nothing is no error";
  EXPECT_EQ(nothing->unmapped_areas, 0u);
  EXPECT_EQ(nothing->mapping_revision, revision);
  EXPECT_EQ(engine_->GetMemoryRegion(alice_, Ref("ram"))->mapping_count, 0u);
}

// One that is held too seldom could be destroyed under an area; one too often, never.
TEST_F(EngineMappingTest, ARegionIsHeldOnceForEveryAreaThatMapsIt) {
  ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "rom", 8 * kPage, std::nullopt).ok());
  const auto held = [&] {
    return std::to_string(engine_->GetMemoryRegion(alice_, Ref("ram"))->mapping_count) + " " +
           std::to_string(engine_->GetMemoryRegion(alice_, Ref("rom"))->mapping_count);
  };
  MapBatch batch;
  batch.regions = {Ref("ram"), Ref("rom")};
  for (const uint32_t region : {0, 0, 0, 1, 1, 0, 1}) {
    batch.entries.push_back(
        {batch.entries.size() * kPage, 0, kPage, region, Permission::kReadWrite});
  }
  ASSERT_TRUE(engine_->Map(alice_, Ref("bare"), batch).ok());
  EXPECT_EQ(held(), "4 3");
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("bare"), OneUnmap(kPage, 3 * kPage)).ok());
  EXPECT_EQ(held(), "2 2");
  ASSERT_TRUE(engine_->DeleteIoas(alice_, Ref("bare"), "").ok());
  EXPECT_EQ(held(), "0 0");
}

}  // namespace
}  // namespace viommu
