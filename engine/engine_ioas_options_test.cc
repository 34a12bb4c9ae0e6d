// Options of an IO address space: its mode, large pages, loaded reserved regions; and read-only
// memory.
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 0x1000;
constexpr Iova kMsi = 0xfee00000;  // Of every device of SmallTopology.

class EngineIoasOptionsTest : public EngineTest {
 protected:
  explicit EngineIoasOptionsTest(const OwnerLimits& limits = OwnerLimits()) : EngineTest(limits) {}

  void Make(const std::string& id, IoasMode mode, std::optional<bool> large_pages = std::nullopt) {
    const auto view = engine_->CreateIoas(alice_, id, {mode, large_pages});
    ASSERT_TRUE(view.ok()) << view.status();
  }
  void Map(const std::string& ioas, Iova iova, uint64_t pages, uint64_t offset = 0) {
    const auto answer = engine_->Map(alice_, Ref(ioas), OneMap(iova, pages * kPage, offset));
    ASSERT_TRUE(answer.ok()) << answer.status();
  }
  std::string Unmap(const std::string& ioas, Iova iova, uint64_t pages) {
    const auto answer = engine_->Unmap(alice_, Ref(ioas), OneUnmap(iova, pages * kPage));
    return answer.ok() ? std::to_string(answer->unmapped_bytes / kPage) + " pages"
                       : DescribedInFull(answer.status());
  }
  // "first+pages@offset" of all that is mapped, in pages.
  std::string Mapped(const std::string& ioas) {
    std::string text;
    const auto page =
        engine_->ListMappings(alice_, Ref(ioas), {0, kMaxAddress}, {kMaxPageSize, ""});
    for (const MappingView& m : page->items) {
      text += std::to_string(m.range.first / kPage) + "+" +
              std::to_string(m.range.size_bytes() / kPage) + "@" +
              std::to_string(m.offset_bytes / kPage) + " ";
    }
    return text;
  }
  template <typename F>
  void ExpectRefused(const char* want, F call) {
    const std::string before = Everything();
    EXPECT_EQ(DescribedInFull(call()), want);
    EXPECT_EQ(Everything(), before);
  }
};

TEST_F(EngineIoasOptionsTest, UnmapsAsTheModeSays) {
  SetUpAlice();
  const struct {
    const char* name;
    IoasMode mode;
    Iova iova;
    uint64_t pages;
    const char* want;
    const char* left;
  } kCases[] = {
      {"native, partly", IoasMode::kNative, 0x12000, 4,
       "NOT_FOUND IOVA_NOT_COVERED ranges[0].iova #0", "16+4@0 32+4@8 "},
      {"native, nothing", IoasMode::kNative, 0x50000, 4,
       "NOT_FOUND IOVA_NOT_COVERED ranges[0].iova #0", "16+4@0 32+4@8 "},
      {"v2, partly", IoasMode::kVfioType1v2, 0x12000, 4,
       "NOT_FOUND IOVA_NOT_COVERED ranges[0].iova #0", "16+4@0 32+4@8 "},
      {"v2, nothing", IoasMode::kVfioType1v2, 0x50000, 4, "0 pages", "16+4@0 32+4@8 "},
      {"v2, whole and a hole", IoasMode::kVfioType1v2, 0x10000, 8, "4 pages", "32+4@8 "},
      {"type1, the middle", IoasMode::kVfioType1, 0x11000, 2, "2 pages", "16+1@0 19+1@3 32+4@8 "},
      {"type1, across a hole", IoasMode::kVfioType1, 0x13000, 14, "2 pages", "16+3@0 33+3@9 "},
      {"type1, nothing", IoasMode::kVfioType1, 0x50000, 4, "0 pages", "16+4@0 32+4@8 "},
  };
  int number = 0;
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const std::string id = "space" + std::to_string(number++);
    Make(id, c.mode);
    ASSERT_TRUE(engine_->CreateDomain(alice_, "", PagingDomainRequest{Ref(id), "dev0"}).ok());
    Map(id, 0x10000, 4);
    Map(id, 0x20000, 4, 8 * kPage);
    EXPECT_EQ(Unmap(id, c.iova, c.pages), c.want);
    EXPECT_EQ(Mapped(id), c.left);
    UnmapBatch all;
    all.all = true;
    EXPECT_TRUE(engine_->Unmap(alice_, Ref(id), all).ok());
    EXPECT_EQ(engine_->Unmap(alice_, Ref(id), all)->unmapped_bytes, 0u) << "empty by now";
  }
}

TEST_F(EngineIoasOptionsTest, RecordsACutSoThatItCanBeReplayed) {
  SetUpAlice();
  Make("v", IoasMode::kVfioType1);
  Map("v", 0x10000, 4, 2 * kPage);
  EXPECT_EQ(Unmap("v", 0x11000, 1), "1 pages");
  const Record last = journal_.records().back();
  const auto& unmap = std::get<record::Unmap>(last.operation);
  ASSERT_EQ(unmap.areas.size(), 1u);
  EXPECT_EQ(unmap.areas[0], (IovaRange{0x10000, 0x13fff}));
  ASSERT_EQ(unmap.remnants.size(), 2u);
  EXPECT_EQ(unmap.remnants[0].range, (IovaRange{0x10000, 0x10fff}));
  EXPECT_EQ(unmap.remnants[0].offset_bytes, 2 * kPage);
  EXPECT_EQ(unmap.remnants[1].range, (IovaRange{0x12000, 0x13fff}));
  EXPECT_EQ(unmap.remnants[1].offset_bytes, 4 * kPage);
  EXPECT_EQ(unmap.remnants[1].permission, 3);
}

TEST_F(EngineIoasOptionsTest, TakesACutBackWhenTheBackendFails) {
  SetUpAlice();
  Make("v", IoasMode::kVfioType1);
  Map("v", 0x10000, 4);
  backend_.SetHook(RefuseNth("Unmap", 1));
  ExpectRefused("RESOURCE_EXHAUSTED TEST", [&] {
    return engine_->Unmap(alice_, Ref("v"), OneUnmap(0x11000, kPage)).status();
  });
  EXPECT_EQ(Unmap("v", 0x11000, 1), "1 pages");
}

TEST_F(EngineIoasOptionsTest, NamesTheEntryThatWouldCutAPage) {
  SetUpAlice();
  Make("v", IoasMode::kVfioType1);
  Map("v", 0x10000, 4);
  UnmapBatch batch;
  batch.entries = {{0x10000, kPage}, {0x11800, kPage}};
  ExpectRefused("INVALID_ARGUMENT MISALIGNED ranges[1].iova #1",
                [&] { return engine_->Unmap(alice_, Ref("v"), batch).status(); });
}

class CutAtTheLimitTest : public EngineIoasOptionsTest {
 protected:
  static OwnerLimits TwoMappings() {
    OwnerLimits limits;
    limits.max_mappings = 2;
    return limits;
  }
  CutAtTheLimitTest() : EngineIoasOptionsTest(TwoMappings()) {}
};

TEST_F(CutAtTheLimitTest, CutsPastTheLimitOfMappingsAndThenRefusesMaps) {
  SetUpAlice();
  Make("v", IoasMode::kVfioType1);
  Map("v", 0x10000, 4);
  Map("v", 0x20000, 4);
  EXPECT_EQ(Unmap("v", 0x11000, 1), "1 pages") << "a revoke";
  EXPECT_NE(UsageOf(alice_).find("alice max_mappings 3\n"), std::string::npos) << UsageOf(alice_);
  EXPECT_NE(UsageOf(alice_).find("alice max_mapped_bytes 28672\n"), std::string::npos);
  ExpectRefused("RESOURCE_EXHAUSTED MAPPING_LIMIT mappings[0] #0",
                [&] { return engine_->Map(alice_, Ref("v"), OneMap(0x11000, kPage)).status(); });
  EXPECT_EQ(Unmap("v", 0, 1 << 20), "7 pages");
  EXPECT_EQ(UsageOf(alice_).find("max_mapp"), std::string::npos) << "everything is given back";
}

TEST_F(EngineIoasOptionsTest, ShowsTheOptionsItWasMadeWith) {
  SetUpAlice();
  const struct {
    IoasMode mode;
    std::optional<bool> asked;
    bool large_pages;
  } kCases[] = {
      {IoasMode::kNative, std::nullopt, true}, {IoasMode::kNative, true, true},
      {IoasMode::kNative, false, false},       {IoasMode::kVfioType1, std::nullopt, false},
      {IoasMode::kVfioType1, false, false},    {IoasMode::kVfioType1v2, std::nullopt, true},
  };
  for (const auto& c : kCases) {
    const auto made = engine_->CreateIoas(alice_, "", {c.mode, c.asked});
    ASSERT_TRUE(made.ok()) << made.status();
    const auto view = engine_->GetIoas(alice_, Ref(made->object.id));
    EXPECT_EQ(view->mode, c.mode);
    EXPECT_EQ(view->large_pages, c.large_pages);
    EXPECT_EQ(view->alignment_bytes, c.large_pages ? 1u : kPage);
  }
  ExpectRefused("INVALID_ARGUMENT LARGE_PAGES_NOT_ALLOWED ioas.large_pages", [&] {
    return engine_->CreateIoas(alice_, "v", {IoasMode::kVfioType1, true}).status();
  });
  backend_.SetHook(RefuseNth("SetLargePages", 1));
  ExpectRefused("RESOURCE_EXHAUSTED TEST", [&] {
    return engine_->CreateIoas(alice_, "v", {IoasMode::kNative, false}).status();
  });
}

TEST_F(EngineIoasOptionsTest, TurnsLargePagesOffOnlyWhereNoTableMayHaveThem) {
  SetUpAlice();
  const auto set = [&](bool on) {
    return engine_->SetLargePages(alice_, Ref("as"), on, "").status();
  };
  EXPECT_TRUE(set(false).ok()) << "a domain, but nothing mapped";
  EXPECT_TRUE(set(false).ok()) << "off already";
  Map("as", 0x10000, 4);
  EXPECT_TRUE(set(false).ok()) << "off already, with both";
  EXPECT_TRUE(set(true).ok());
  ExpectRefused("FAILED_PRECONDITION LARGE_PAGES_IN_USE", [&] { return set(false); });
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("d"), "").ok());
  EXPECT_TRUE(set(false).ok()) << "mapped, but no domain";
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->alignment_bytes, kPage);
  ExpectRefused("INVALID_ARGUMENT MISALIGNED mappings[0].length #0",
                [&] { return engine_->Map(alice_, Ref("as"), OneMap(0x20000, 0x800)).status(); });
  EXPECT_TRUE(set(true).ok());
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->alignment_bytes, 1u);
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x20000, 0x800)).ok());
  ExpectRefused("FAILED_PRECONDITION IOVA_CONFLICT", [&] { return set(false); });
  ExpectRefused("ABORTED ETAG_MISMATCH etag",
                [&] { return engine_->SetLargePages(alice_, Ref("as"), true, "stale").status(); });
  ExpectRefused("NOT_FOUND IOAS_NOT_FOUND",
                [&] { return engine_->SetLargePages(bob_, Ref("as"), true, "").status(); });
  Make("v", IoasMode::kVfioType1);
  ExpectRefused("FAILED_PRECONDITION LARGE_PAGES_NOT_ALLOWED",
                [&] { return engine_->SetLargePages(alice_, Ref("v"), true, "").status(); });
}

TEST_F(EngineIoasOptionsTest, TakesTheOptionBackWhenTheBackendFails) {
  SetUpAlice();
  backend_.SetHook(RefuseNth("SetLargePages", 1));
  ExpectRefused("RESOURCE_EXHAUSTED TEST",
                [&] { return engine_->SetLargePages(alice_, Ref("as"), false, "").status(); });
  CallContext dry = alice_;
  dry.validate_only = true;
  const std::string before = Everything();
  EXPECT_FALSE(engine_->SetLargePages(dry, Ref("as"), false, "")->large_pages);
  EXPECT_EQ(Everything(), before);
  EXPECT_TRUE(engine_->GetIoas(alice_, Ref("as"))->large_pages);
}

TEST_F(EngineIoasOptionsTest, LoadsReservedRegionsBesideAnAttachment) {
  SetUpAlice();
  const auto refusal = [&] {
    return Described(engine_->Map(alice_, Ref("as"), OneMap(kMsi, kPage)).status());
  };
  const std::string kRefused = "INVALID_ARGUMENT IOVA_RESERVED";
  const auto loaded = engine_->LoadReservedRegions(alice_, Ref("as"), "dev0", "");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->loaded_devices, std::vector<std::string>{"devices/dev0"});
  EXPECT_EQ(refusal(), kRefused);
  const std::string before = Everything();
  EXPECT_TRUE(engine_->LoadReservedRegions(alice_, Ref("as"), "dev0", "").ok());
  EXPECT_EQ(Everything(), before) << "loading again changes nothing";
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  ASSERT_TRUE(engine_->DetachDevice(alice_, "dev0").ok());
  EXPECT_EQ(refusal(), kRefused) << "what was loaded stays";
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  ASSERT_TRUE(engine_->UnloadReservedRegions(alice_, Ref("as"), "dev0", "").ok());
  EXPECT_EQ(refusal(), kRefused) << "what the attachment reserves stays";
  ASSERT_TRUE(engine_->DetachDevice(alice_, "dev0").ok());
  EXPECT_TRUE(engine_->UnloadReservedRegions(alice_, Ref("as"), "dev0", "").ok());
  EXPECT_EQ(refusal(), "OK");
  EXPECT_TRUE(engine_->GetIoas(alice_, Ref("as"))->loaded_devices.empty());
}

TEST_F(EngineIoasOptionsTest, RefusesToLoadRegionsThatAreInUse) {
  SetUpAlice();
  const auto load = [&](const CallContext& caller, const std::string& device,
                        const std::string& etag = "") {
    return engine_->LoadReservedRegions(caller, Ref("as"), device, etag).status();
  };
  Map("as", 0x1f000, 2);  // Across the edge of dev3's DIRECT region.
  ExpectRefused("FAILED_PRECONDITION IOVA_CONFLICT", [&] { return load(alice_, "dev3"); });
  EXPECT_TRUE(load(alice_, "dev0").ok()) << "nothing is left of the refused one";
  EXPECT_TRUE(engine_->UnloadReservedRegions(alice_, Ref("as"), "dev0", "").ok());
  ASSERT_TRUE(engine_->SetAllowedIovaRanges(alice_, Ref("as"), {{kMsi - 1, kMsi}}, "").ok());
  ExpectRefused("FAILED_PRECONDITION IOVA_CONFLICT", [&] { return load(alice_, "dev0"); });
  ExpectRefused("NOT_FOUND DEVICE_NOT_FOUND", [&] { return load(alice_, "dev9"); });
  ExpectRefused("NOT_FOUND IOAS_NOT_FOUND", [&] { return load(bob_, "dev0"); });
  ExpectRefused("ABORTED ETAG_MISMATCH etag", [&] { return load(alice_, "dev0", "stale"); });
  ExpectRefused("NOT_FOUND DEVICE_NOT_FOUND", [&] {
    return engine_->UnloadReservedRegions(alice_, Ref("as"), "dev9", "").status();
  });
}

TEST_F(EngineIoasOptionsTest, MapsAWindowUpToEachEdgeOfALoadedRegion) {
  SetUpAlice();
  ASSERT_TRUE(engine_->LoadReservedRegions(alice_, Ref("as"), "dev0", "").ok());
  const Iova end = kMsi + 0x100000;
  const struct {
    Iova iova;
    const char* want;
  } kCases[] = {
      {kMsi - kPage, "OK"},
      {kMsi, "INVALID_ARGUMENT IOVA_RESERVED"},
      {end - kPage, "INVALID_ARGUMENT IOVA_RESERVED"},
      {end, "OK"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(Hex(c.iova));
    EXPECT_EQ(Described(engine_->Map(alice_, Ref("as"), OneMap(c.iova, kPage)).status()), c.want);
  }
}

TEST_F(EngineIoasOptionsTest, LeavesAllAsItWasUnderValidateOnly) {
  SetUpAlice();
  ASSERT_TRUE(engine_->LoadReservedRegions(alice_, Ref("as"), "dev0", "").ok());
  CallContext dry = alice_;
  dry.validate_only = true;
  const std::string before = Everything();
  EXPECT_TRUE(engine_->UnloadReservedRegions(dry, Ref("as"), "dev0", "")->loaded_devices.empty());
  EXPECT_EQ(engine_->LoadReservedRegions(dry, Ref("as"), "dev3", "")->loaded_devices.size(), 2u);
  EXPECT_EQ(Everything(), before);
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->loaded_devices.size(), 1u);
}

TEST_F(EngineIoasOptionsTest, MapsReadOnlyMemoryForReadingOnly) {
  SetUpAlice();
  const auto rom = engine_->CreateMemoryRegion(alice_, "rom", 4 * kPage, std::nullopt, true);
  ASSERT_TRUE(rom.ok()) << rom.status();
  EXPECT_TRUE(engine_->GetMemoryRegion(alice_, Ref("rom"))->read_only);
  MapBatch batch = OneMap(0x10000, kPage, 0, "rom");
  ExpectRefused("PERMISSION_DENIED REGION_READ_ONLY mappings[0].permission #0",
                [&] { return engine_->Map(alice_, Ref("as"), batch).status(); });
  batch.entries[0].permission = Permission::kRead;
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), batch).ok());
  const CopyRequest copy{Ref("as"), 0x10000, kPage, 0x20000, Permission::kWrite};
  ExpectRefused("PERMISSION_DENIED REGION_READ_ONLY permission",
                [&] { return engine_->CopyMappings(alice_, Ref("as"), copy).status(); });
  batch.entries[0].permission = Permission::kWrite;
  ExpectRefused("ALREADY_EXISTS IOVA_OCCUPIED mappings[0].iova #0",
                [&] { return engine_->Map(alice_, Ref("as"), batch).status(); });
}

}  // namespace
}  // namespace viommu
