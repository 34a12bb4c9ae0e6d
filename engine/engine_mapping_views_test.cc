// Copies of mappings, and what readers see of an IO address space.
#include <string>
#include <vector>

#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 0x1000;
constexpr IovaRange kEverything{0, kMaxAddress};

class EngineMappingViewsTest : public EngineTest {
 protected:
  // ioas/as maps 0x1000+2 pages -> 0x8000 and, adjacent, 0x3000+1 page -> 0x20000; a hole; 0x9000.
  void SetUp() override {
    SetUpAlice();
    ASSERT_TRUE(engine_->CreateIoas(alice_, "to").ok());
    Map("as", 0x1000, 2 * kPage, 0x8000);
    Map("as", 0x3000, kPage, 0x20000);
    Map("as", 0x9000, kPage, 0);
  }
  void Map(const std::string& ioas, Iova iova, uint64_t length, uint64_t offset) {
    const auto answer = engine_->Map(alice_, Ref(ioas), OneMap(iova, length, offset));
    ASSERT_TRUE(answer.ok()) << answer.status();
  }
  static CopyRequest Copy(Iova from, uint64_t length, std::optional<Iova> to) {
    return {Ref("as"), from, length, to, Permission::kRead};
  }
  // "first+length->offset:permission" of all that is mapped.
  std::string Mapped(const std::string& ioas) {
    std::string text;
    const auto page = engine_->ListMappings(alice_, Ref(ioas), kEverything, {kMaxPageSize, ""});
    for (const MappingView& m : page->items) {
      text += Hex(m.range.first) + "+" + Hex(m.range.size_bytes()) + "->" + Hex(m.offset_bytes) +
              ":" + std::to_string(static_cast<int>(m.permission)) + " ";
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

TEST_F(EngineMappingViewsTest, CopiesAreasAndPartsOfAreas) {
  const struct {
    const char* name;
    CopyRequest request;
    const char* want;
  } kCases[] = {
      {"one area", Copy(0x9000, kPage, 0x100000), "0x100000+0x1000->0x0:1 "},
      {"a part of one", Copy(0x2000, kPage, 0x100000), "0x100000+0x1000->0x9000:1 "},
      {"two areas", Copy(0x1000, 3 * kPage, 0x100000),
       "0x100000+0x2000->0x8000:1 0x102000+0x1000->0x20000:1 "},
      {"parts of two", Copy(0x2800, kPage, 0x100800),
       "0x100800+0x800->0x9800:1 0x101000+0x800->0x20000:1 "},
      {"chosen place", Copy(0x3000, kPage, std::nullopt), "0x1000+0x1000->0x20000:1 "},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const auto answer = engine_->CopyMappings(alice_, Ref("to"), c.request);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(Mapped("to"), c.want);
    EXPECT_EQ(answer->mapping_revision, engine_->GetIoas(alice_, Ref("to"))->mapping_revision);
    UnmapBatch all;
    all.all = true;
    ASSERT_TRUE(engine_->Unmap(alice_, Ref("to"), all).ok());
  }
}

TEST_F(EngineMappingViewsTest, CopiesWithinOneAddressSpace) {
  ASSERT_TRUE(engine_->CopyMappings(alice_, Ref("as"), Copy(0x1000, 2 * kPage, 0x5000)).ok());
  EXPECT_EQ(engine_->Translate(alice_, Ref("as"), 0x5000)->offset_bytes, 0x8000u);
  EXPECT_EQ(engine_->GetMemoryRegion(alice_, Ref("ram"))->mapping_count, 4u);
  ExpectRefused("ALREADY_EXISTS IOVA_OCCUPIED iova", [&] {
    return engine_->CopyMappings(alice_, Ref("as"), Copy(0x1000, 2 * kPage, 0x2000)).status();
  });
}

TEST_F(EngineMappingViewsTest, RefusesACopyThatBreaksARule) {
  Map("to", 0x50000, kPage, 0);
  CopyRequest no_permission = Copy(0x1000, kPage, 0x1000);
  no_permission.permission = static_cast<Permission>(0);
  CopyRequest no_source = Copy(0x1000, kPage, 0x1000);
  no_source.source = Ref("none");
  const struct {
    const char* name;
    CopyRequest request;
    const char* want;
  } kCases[] = {
      {"no length", Copy(0x1000, 0, 0), "INVALID_ARGUMENT INVALID_LENGTH length"},
      {"source wraps", Copy(kMaxAddress, 2, 0), "OUT_OF_RANGE IOVA_OVERFLOW source_iova"},
      {"destination wraps", Copy(0x1000, kPage, kMaxAddress), "OUT_OF_RANGE IOVA_OVERFLOW iova"},
      {"starts in a hole", Copy(0, 2 * kPage, 0), "NOT_FOUND IOVA_NOT_COVERED source_iova"},
      {"ends in a hole", Copy(0x3000, 2 * kPage, 0), "NOT_FOUND IOVA_NOT_COVERED source_iova"},
      {"over a hole", Copy(0x1000, 0x9000, 0), "NOT_FOUND IOVA_NOT_COVERED source_iova"},
      {"all hole", Copy(0x100000, kPage, 0), "NOT_FOUND IOVA_NOT_COVERED source_iova"},
      {"occupied", Copy(0x1000, 3 * kPage, 0x4e000), "ALREADY_EXISTS IOVA_OCCUPIED iova"},
      {"no permission", no_permission, "INVALID_ARGUMENT INVALID_PERMISSION permission"},
      {"no source", no_source, "NOT_FOUND IOAS_NOT_FOUND"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    ExpectRefused(c.want,
                  [&] { return engine_->CopyMappings(alice_, Ref("to"), c.request).status(); });
  }
  ASSERT_TRUE(engine_->CreateDomain(alice_, "d2", PagingDomainRequest{Ref("to"), "dev0"}).ok());
  const auto refuses = [&](const char* want, const CopyRequest& request) {
    ExpectRefused(want, [&] { return engine_->CopyMappings(alice_, Ref("to"), request).status(); });
  };
  refuses("INVALID_ARGUMENT MISALIGNED length", Copy(0x1000, 0x800, 0x1000));
  refuses("INVALID_ARGUMENT MISALIGNED iova", Copy(0x1000, kPage, 0x1800));
  refuses("INVALID_ARGUMENT MISALIGNED source_iova", Copy(0x1800, kPage, 0x1000));
  CopyRequest anywhere = Copy(0x1800, kPage, 0);
  anywhere.iova = std::nullopt;
  refuses("INVALID_ARGUMENT MISALIGNED source_iova", anywhere);
  // What else the error says stays with it.
  const auto detail =
      DetailOf(engine_->CopyMappings(alice_, Ref("to"), Copy(0x1800, kPage, 0x1000)).status());
  EXPECT_EQ(detail->errno_name, "EINVAL");
  EXPECT_EQ(detail->metadata.at("alignment"), "0x1000");
}

TEST_F(EngineMappingViewsTest, TranslatesEveryByteOfAnAreaAndNoOther) {
  const struct {
    Iova iova;
    uint64_t offset, contiguous;  // contiguous 0: not covered.
  } kCases[] = {
      {0xfff, 0, 0},  {0x1000, 0x8000, 0x2000}, {0x2fff, 0x9fff, 1}, {0x3000, 0x20000, 0x1000},
      {0x4000, 0, 0}, {kMaxAddress, 0, 0},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(Hex(c.iova));
    const auto answer = engine_->Translate(alice_, Ref("as"), c.iova);
    if (c.contiguous == 0) {
      EXPECT_EQ(DescribedInFull(answer.status()), "NOT_FOUND IOVA_NOT_COVERED iova");
      continue;
    }
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->iova, c.iova);
    EXPECT_EQ(answer->offset_bytes, c.offset);
    EXPECT_EQ(answer->contiguous_bytes, c.contiguous);
    EXPECT_EQ(answer->mapping.memory_region, "memoryRegions/ram");
  }
}

TEST_F(EngineMappingViewsTest, PagesThroughMappingsInsideAWindow) {
  const struct {
    IovaRange window;
    size_t page_size;
    std::vector<Iova> want;
  } kCases[] = {
      {kEverything, 1, {0x1000, 0x3000, 0x9000}}, {kEverything, 2, {0x1000, 0x3000, 0x9000}},
      {kEverything, 3, {0x1000, 0x3000, 0x9000}}, {{0x2fff, 0x8fff}, 1, {0x1000, 0x3000}},
      {{0x3000, 0x9000}, 1, {0x3000, 0x9000}},    {{0x4000, 0x8fff}, 1, {}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(ToString(c.window) + " by " + std::to_string(c.page_size));
    std::vector<Iova> seen;
    PageRequest request{c.page_size, ""};
    do {
      const auto page = engine_->ListMappings(alice_, Ref("as"), c.window, request);
      ASSERT_TRUE(page.ok()) << page.status();
      EXPECT_LE(page->items.size(), c.page_size);
      for (const MappingView& m : page->items) seen.push_back(m.range.first);
      request.cursor = page->next_cursor;
    } while (!request.cursor.empty());
    EXPECT_EQ(seen, c.want);
  }
  const struct {
    PageRequest page;
    const char* want;
  } kBad[] = {
      {{0, ""}, "INVALID_ARGUMENT INVALID_PAGE_SIZE page_size"},
      {{kMaxPageSize + 1, ""}, "INVALID_ARGUMENT INVALID_PAGE_SIZE page_size"},
      {{1, "x"}, "INVALID_ARGUMENT UNKNOWN_PAGE_TOKEN page_token"},
      {{1, "1"}, "INVALID_ARGUMENT UNKNOWN_PAGE_TOKEN page_token"},
      {{1, "-1"}, "INVALID_ARGUMENT UNKNOWN_PAGE_TOKEN page_token"},
  };
  for (const auto& c : kBad) {
    EXPECT_EQ(DescribedInFull(
                  engine_->ListMappings(alice_, Ref("as"), {0x1000, kMaxAddress}, c.page).status()),
              c.want);
  }
}

TEST_F(EngineMappingViewsTest, SetsAllowedRangesOrRefusesThem) {
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  const std::string etag = engine_->GetIoas(alice_, Ref("as"))->object.etag;
  const auto set =
      engine_->SetAllowedIovaRanges(alice_, Ref("as"), {{0x8000, 0x9fff}, {0x1000, 0x1fff}}, etag);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(set->allowed_ranges, (std::vector<IovaRange>{{0x1000, 0x1fff}, {0x8000, 0x9fff}}));
  EXPECT_NE(set->object.etag, etag);
  const struct {
    const char* name;
    std::vector<IovaRange> ranges;
    std::string etag;
    const char* want;
  } kCases[] = {
      {"backwards", {{0x1000, 0xfff}}, "", "INVALID_ARGUMENT RANGE_INVALID ranges[0] #0"},
      {"one byte", {{0, 1}, {9, 9}}, "", "INVALID_ARGUMENT RANGE_INVALID ranges[1] #1"},
      {"overlap", {{0, 9}, {20, 29}, {9, 10}}, "", "INVALID_ARGUMENT RANGE_OVERLAP ranges[2] #2"},
      {"too many", std::vector<IovaRange>(kMaxAllowedRanges + 1), "",
       "INVALID_ARGUMENT TOO_MANY_RANGES ranges"},
      {"MSI window", {{0, 0xfee00000}}, "", "FAILED_PRECONDITION IOVA_CONFLICT ranges[0] #0"},
      {"aperture", {{0x1000, kMaxAddress}}, "", "FAILED_PRECONDITION IOVA_CONFLICT ranges[0] #0"},
      {"stale etag", {}, etag, "ABORTED ETAG_MISMATCH etag"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    ExpectRefused(c.want, [&] {
      return engine_->SetAllowedIovaRanges(alice_, Ref("as"), c.ranges, c.etag).status();
    });
  }
}

TEST_F(EngineMappingViewsTest, ListsWhatIsNotReserved) {
  EXPECT_EQ(*engine_->ListIovaRanges(alice_, Ref("to")), std::vector<IovaRange>{kEverything});
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  EXPECT_EQ(*engine_->ListIovaRanges(alice_, Ref("as")),
            (std::vector<IovaRange>{{0, 0xfedfffff}, {0xfef00000, (uint64_t{1} << 48) - 1}}));
}

}  // namespace
}  // namespace viommu
