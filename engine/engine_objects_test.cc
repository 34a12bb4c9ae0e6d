// What regions, address spaces and domains have in common: names, uids, etags, references, pages.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using Strings = std::vector<std::string>;

// One kind of object, its four standard methods in one form.
struct Kind {
  const char* name;
  const char* prefix;  // Of generated ids.
  const char* reason;
  std::function<absl::StatusOr<ObjectView>(Engine&, const CallContext&, const std::string& id)>
      create;
  std::function<absl::StatusOr<ObjectView>(Engine&, const CallContext&, const ObjectRef&)> get;
  std::function<absl::StatusOr<Page<ObjectView>>(Engine&, const CallContext&, const PageRequest&)>
      list;
  std::function<absl::Status(Engine&, const CallContext&, const ObjectRef&, const std::string&)>
      destroy;
};

template <typename View>
absl::StatusOr<ObjectView> ObjectOf(const absl::StatusOr<View>& view) {
  if (!view.ok()) return view.status();
  return view->object;
}

template <typename View>
absl::StatusOr<Page<ObjectView>> ObjectsOf(const absl::StatusOr<Page<View>>& page) {
  if (!page.ok()) return page.status();
  Page<ObjectView> objects;
  for (const View& view : page->items) objects.items.push_back(view.object);
  objects.next_cursor = page->next_cursor;
  return objects;
}

using E = Engine;
using C = CallContext;
using P = PageRequest;

std::vector<Kind> Kinds() {
  return {
      {"region", "memoryregions-", "MEMORY_REGION",
       [](E& e, const C& c, const std::string& id) {
         return ObjectOf(e.CreateMemoryRegion(c, id, 4096, std::nullopt));
       },
       [](E& e, const C& c, const ObjectRef& r) { return ObjectOf(e.GetMemoryRegion(c, r)); },
       [](E& e, const C& c, const P& p) { return ObjectsOf(e.ListMemoryRegions(c, p)); },
       [](E& e, const C& c, const ObjectRef& r, const std::string& etag) {
         return e.DeleteMemoryRegion(c, r, etag);
       }},
      {"ioas", "ioas-", "IOAS",
       [](E& e, const C& c, const std::string& id) { return ObjectOf(e.CreateIoas(c, id)); },
       [](E& e, const C& c, const ObjectRef& r) { return ObjectOf(e.GetIoas(c, r)); },
       [](E& e, const C& c, const P& p) { return ObjectsOf(e.ListIoas(c, p)); },
       [](E& e, const C& c, const ObjectRef& r, const std::string& etag) {
         return e.DeleteIoas(c, r, etag);
       }},
      {"domain", "domains-", "DOMAIN",
       [](E& e, const C& c, const std::string& id) {
         return ObjectOf(e.CreateDomain(
             c, id,
             PagingDomainRequest{{"0", std::nullopt}, c.principal == "bob" ? "dev1" : "dev0"}));
       },
       [](E& e, const C& c, const ObjectRef& r) { return ObjectOf(e.GetDomain(c, r)); },
       [](E& e, const C& c, const P& p) { return ObjectsOf(e.ListDomains(c, p)); },
       [](E& e, const C& c, const ObjectRef& r, const std::string& etag) {
         return e.DeleteDomain(c, r, etag);
       }},
  };
}

class EngineObjectsTest : public EngineTest {
 protected:
  // alice and bob each have ioas/0 and a device: what a domain needs.
  void SetUp() override {
    for (const CallContext& context : {alice_, bob_}) {
      ASSERT_TRUE(engine_->CreateIoas(context, "0").ok());
      const char* const device = context.principal == "bob" ? "dev1" : "dev0";
      ASSERT_TRUE(engine_->ClaimDevice(context, device, "").ok());
    }
  }
  // "owner/id" of everything a listing shows, page by page.
  Strings Listed(const Kind& kind, const CallContext& context, size_t page_size) {
    Strings names;
    PageRequest request{page_size, ""};
    do {
      const auto page = kind.list(*engine_, context, request);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) break;
      EXPECT_LE(page->items.size(), page_size);
      for (const ObjectView& view : page->items) names.push_back(view.owner + "/" + view.id);
      request.cursor = page->next_cursor;
    } while (!request.cursor.empty());
    return names;
  }
};

TEST_F(EngineObjectsTest, CreatesShowsAndDeletes) {
  for (const Kind& kind : Kinds()) {
    SCOPED_TRACE(kind.name);
    const uint64_t revision = engine_->GetHost().revision;
    const auto made = kind.create(*engine_, alice_, "x");
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->id, "x");
    EXPECT_EQ(made->owner, "alice");
    EXPECT_EQ(made->revision, revision + 1);
    EXPECT_EQ(made->create_time, env_.Now());
    const auto got = kind.get(*engine_, alice_, Ref("x"));
    ASSERT_TRUE(got.ok());
    EXPECT_EQ(got->uid, made->uid);
    EXPECT_EQ(got->etag, made->etag);
    EXPECT_EQ(Described(kind.create(*engine_, alice_, "x").status()),
              std::string("ALREADY_EXISTS ") + kind.reason + "_EXISTS");
    EXPECT_TRUE(kind.destroy(*engine_, alice_, Ref("x"), "").ok());
    const std::string missing = std::string("NOT_FOUND ") + kind.reason + "_NOT_FOUND";
    EXPECT_EQ(Described(kind.get(*engine_, alice_, Ref("x")).status()), missing);
    EXPECT_EQ(Described(kind.destroy(*engine_, alice_, Ref("x"), "")), missing);
    // Each change of an object has its own; an Ioas changes along with its domains.
    const uint64_t changes = std::string(kind.name) == "domain" ? 4 : 2;
    EXPECT_EQ(engine_->GetHost().revision, revision + changes);
  }
}

TEST_F(EngineObjectsTest, MakesUpAnIdWhereNoneIsGiven) {
  for (const Kind& kind : Kinds()) {
    SCOPED_TRACE(kind.name);
    const auto first = kind.create(*engine_, alice_, "");
    const auto second = kind.create(*engine_, alice_, "");
    ASSERT_TRUE(first.ok() && second.ok());
    EXPECT_EQ(first->id.rfind(kind.prefix, 0), 0u) << first->id;
    EXPECT_NE(first->id, second->id);
    EXPECT_TRUE(kind.get(*engine_, alice_, Ref(first->id)).ok());
  }
}

TEST_F(EngineObjectsTest, NamesMayBeTakenAgainButUidsAndEtagsAreNew) {
  for (const Kind& kind : Kinds()) {
    SCOPED_TRACE(kind.name);
    const auto first = kind.create(*engine_, alice_, "x");
    ASSERT_TRUE(kind.destroy(*engine_, alice_, Ref("x"), first->etag).ok());
    const auto second = kind.create(*engine_, alice_, "x");
    ASSERT_TRUE(second.ok());
    EXPECT_GT(second->uid, first->uid);
    EXPECT_EQ(DescribedInFull(kind.destroy(*engine_, alice_, Ref("x"), first->etag)),
              "ABORTED ETAG_MISMATCH etag");
    EXPECT_TRUE(kind.get(*engine_, alice_, Ref("x")).ok());
    EXPECT_TRUE(kind.destroy(*engine_, alice_, Ref("x"), second->etag).ok());
  }
}

TEST_F(EngineObjectsTest, OwnersMayUseTheSameNames) {
  for (const Kind& kind : Kinds()) {
    SCOPED_TRACE(kind.name);
    const auto alices = kind.create(*engine_, alice_, "x");
    const auto bobs = kind.create(*engine_, bob_, "x");
    ASSERT_TRUE(alices.ok() && bobs.ok()) << bobs.status();
    EXPECT_EQ(kind.get(*engine_, bob_, Ref("x"))->uid, bobs->uid);
    EXPECT_TRUE(kind.destroy(*engine_, bob_, Ref("x"), "").ok());
    EXPECT_EQ(kind.get(*engine_, alice_, Ref("x"))->uid, alices->uid);
  }
}

TEST_F(EngineObjectsTest, ListsInOrderPageByPageWhatTheCallerMaySee) {
  for (const Kind& kind : Kinds()) {
    SCOPED_TRACE(kind.name);
    for (const char* const id : {"3", "1", "2"}) {
      ASSERT_TRUE(kind.create(*engine_, alice_, id).ok());
      ASSERT_TRUE(kind.create(*engine_, bob_, id).ok());
    }
    Strings fixed, own{"alice/1", "alice/2", "alice/3"}, bobs{"bob/1", "bob/2", "bob/3"};
    if (std::string(kind.name) == "domain") fixed = {"/blocked", "/identity"};
    if (std::string(kind.name) == "ioas") {
      own.insert(own.begin(), "alice/0");
      bobs.insert(bobs.begin(), "bob/0");
    }
    own.insert(own.begin(), fixed.begin(), fixed.end());
    Strings all = own;
    all.insert(all.end(), bobs.begin(), bobs.end());
    for (const size_t page_size : {size_t{1}, size_t{2}, size_t{3}, kMaxPageSize}) {
      EXPECT_EQ(Listed(kind, alice_, page_size), own);
      EXPECT_EQ(Listed(kind, operator_, page_size), all);
    }
  }
}

TEST_F(EngineObjectsTest, PagesThroughObjectsOfAnOwnerWithSlashesInItsName) {
  CallContext workload;
  workload.principal = "spiffe://host/vm";
  for (const char* const id : {"a", "b", "c"}) {
    ASSERT_TRUE(engine_->CreateIoas(workload, id).ok());
  }
  EXPECT_THAT(Listed(Kinds()[1], workload, 1),
              ElementsAre("spiffe://host/vm/a", "spiffe://host/vm/b", "spiffe://host/vm/c"));
}

TEST_F(EngineObjectsTest, GoesOnBehindAnObjectThatIsGone) {
  for (const char* const id : {"a", "b", "c"}) ASSERT_TRUE(engine_->CreateIoas(alice_, id).ok());
  const auto first = engine_->ListIoas(alice_, {2, ""});
  ASSERT_TRUE(engine_->DeleteIoas(alice_, Ref("a"), "").ok());
  const auto rest = engine_->ListIoas(alice_, {9, first->next_cursor});
  ASSERT_EQ(rest->items.size(), 2u);
  EXPECT_EQ(rest->items[0].object.id, "b");
}

TEST_F(EngineObjectsTest, RefusesPagesThatCanNotBe) {
  const std::vector<std::function<absl::Status(const PageRequest&)>> listings = {
      [&](const P& p) { return engine_->ListMemoryRegions(alice_, p).status(); },
      [&](const P& p) { return engine_->ListIoas(alice_, p).status(); },
      [&](const P& p) { return engine_->ListDomains(alice_, p).status(); },
      [&](const P& p) { return engine_->ListDevices(alice_, p).status(); },
      [&](const P& p) { return engine_->ListIommus(alice_, p).status(); },
      [&](const P& p) { return engine_->ListAttachments(alice_, "", p).status(); },
      [&](const P& p) { return engine_->ListInvalidationQueues(alice_, p).status(); },
  };
  const struct {
    PageRequest page;
    const char* want;
  } kCases[] = {
      {{0, ""}, "INVALID_ARGUMENT INVALID_PAGE_SIZE page_size"},
      {{kMaxPageSize + 1, ""}, "INVALID_ARGUMENT INVALID_PAGE_SIZE page_size"},
      {{1, "nonsense"}, "INVALID_ARGUMENT UNKNOWN_PAGE_TOKEN page_token"},
      {{1, "#3"}, "INVALID_ARGUMENT UNKNOWN_PAGE_TOKEN page_token"},
      {{1, "999"}, "INVALID_ARGUMENT UNKNOWN_PAGE_TOKEN page_token"},
  };
  for (const auto& listing : listings) {
    for (const auto& c : kCases) EXPECT_EQ(DescribedInFull(listing(c.page)), c.want);
    EXPECT_TRUE(listing({kMaxPageSize, ""}).ok());
  }
}

TEST_F(EngineObjectsTest, NamesTheReferrersOfWhatIsInUse) {
  ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "ram", 8192, std::nullopt).ok());
  ASSERT_TRUE(engine_->CreateIoas(alice_, "1").ok());
  for (const char* const ioas : {"0", "1"}) {
    ASSERT_TRUE(engine_->Map(alice_, Ref(ioas), OneMap(0x1000, 4096)).ok());
    ASSERT_TRUE(engine_->Map(alice_, Ref(ioas), OneMap(0x2000, 4096)).ok());
  }
  ASSERT_TRUE(engine_->CreateDomain(alice_, "d", PagingDomainRequest{Ref("0"), "dev0"}).ok());
  ASSERT_TRUE(engine_->CreateDomain(alice_, "e", PagingDomainRequest{Ref("0"), "dev0"}).ok());
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  const std::string before = Everything();
  const struct {
    absl::Status status;
    Strings referrers;
  } kCases[] = {
      {engine_->DeleteMemoryRegion(alice_, Ref("ram"), ""), {"ioas/0", "ioas/1"}},
      {engine_->DeleteIoas(alice_, Ref("0"), ""), {"domains/d", "domains/e"}},
      {engine_->DeleteDomain(alice_, Ref("d"), ""), {"devices/dev0"}},
      {engine_->DeleteIoas(operator_, {"0", "alice"}, ""),
       {"owners/alice/domains/d", "owners/alice/domains/e"}},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(Described(c.status), "FAILED_PRECONDITION IN_USE");
    EXPECT_EQ(DetailOf(c.status)->violations, c.referrers);
  }
  EXPECT_EQ(Everything(), before);
  EXPECT_TRUE(engine_->DeleteDomain(alice_, Ref("e"), "").ok()) << "nothing refers to it";
  EXPECT_TRUE(engine_->DeleteIoas(alice_, Ref("1"), "").ok()) << "its areas go with it";
  EXPECT_EQ(engine_->GetMemoryRegion(alice_, Ref("ram"))->mapping_count, 2u);
}

TEST_F(EngineObjectsTest, ADomainClosesWhatItCanNotTranslateAndOpensItAgain) {
  const auto open = *engine_->ListIovaRanges(alice_, Ref("0"));
  for (const char* const id : {"d", "e"}) {
    ASSERT_TRUE(engine_->CreateDomain(alice_, id, PagingDomainRequest{Ref("0"), "dev0"}).ok());
    EXPECT_EQ(engine_->GetIoas(alice_, Ref("0"))->alignment_bytes, 4096u);
  }
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("d"), "").ok());
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("0"))->alignment_bytes, 4096u) << "there is another";
  EXPECT_NE(*engine_->ListIovaRanges(alice_, Ref("0")), open);
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("e"), "").ok());
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("0"))->alignment_bytes, 1u);
  EXPECT_EQ(*engine_->ListIovaRanges(alice_, Ref("0")), open);
}

TEST_F(EngineObjectsTest, RefusesRegionsThatCanNotBe) {
  const struct {
    uint64_t size_bytes;
    std::optional<int32_t> node;
    const char* want;
  } kCases[] = {
      {0, std::nullopt, "INVALID_ARGUMENT INVALID_SIZE memory_region.size_bytes"},
      {4095, std::nullopt, "INVALID_ARGUMENT INVALID_SIZE memory_region.size_bytes"},
      {kMaxRegionBytes + 4096, std::nullopt,
       "INVALID_ARGUMENT INVALID_SIZE memory_region.size_bytes"},
      {4096, 7, "INVALID_ARGUMENT INVALID_NUMA_NODE memory_region.numa_node"},
      {4096, -1, "INVALID_ARGUMENT INVALID_NUMA_NODE memory_region.numa_node"},
      {4096, 0, "OK"},
      {kMaxRegionBytes, std::nullopt, "OK"},
  };
  for (const auto& c : kCases) {
    const auto made = engine_->CreateMemoryRegion(alice_, "", c.size_bytes, c.node);
    EXPECT_EQ(DescribedInFull(made.status()), c.want) << c.size_bytes;
    if (!made.ok()) continue;
    EXPECT_EQ(made->numa_node, c.node);
  }
}

TEST_F(EngineObjectsTest, RefusesDomainsThatCanNotBe) {
  ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "ram", 8192, std::nullopt).ok());
  for (const char* const id : {"high", "odd", "allowed"}) {
    ASSERT_TRUE(engine_->CreateIoas(alice_, id).ok());
  }
  const Iova above = uint64_t{1} << 48;
  ASSERT_TRUE(engine_->Map(alice_, Ref("high"), OneMap(above, 4096)).ok());
  ASSERT_TRUE(engine_->Map(alice_, Ref("odd"), OneMap(0x1800, 4096)).ok());
  ASSERT_TRUE(engine_->SetAllowedIovaRanges(alice_, Ref("allowed"), {{above - 1, above}}, "").ok());
  const struct {
    const char* id;
    const char* ioas;
    const char* device;
    const char* want;
  } kCases[] = {
      {"identity", "0", "dev0", "ALREADY_EXISTS DOMAIN_EXISTS domain_id"},
      {"blocked", "0", "dev0", "ALREADY_EXISTS DOMAIN_EXISTS domain_id"},
      {"x", "none", "dev0", "NOT_FOUND IOAS_NOT_FOUND"},
      {"x", "0", "none", "NOT_FOUND DEVICE_NOT_FOUND"},
      {"x", "0", "dev5", "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {"x", "0", "dev1", "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {"x", "high", "dev0", "FAILED_PRECONDITION IOVA_CONFLICT"},
      {"x", "odd", "dev0", "FAILED_PRECONDITION IOVA_CONFLICT"},
      {"x", "allowed", "dev0", "FAILED_PRECONDITION IOVA_CONFLICT"},
  };
  for (const auto& c : kCases) {
    const std::string before = Everything();
    EXPECT_EQ(DescribedInFull(
                  engine_->CreateDomain(alice_, c.id, PagingDomainRequest{Ref(c.ioas), c.device})
                      .status()),
              c.want);
    EXPECT_EQ(Everything(), before);
  }
  EXPECT_EQ(DescribedInFull(engine_->DeleteDomain(alice_, Ref("identity"), "")),
            "INVALID_ARGUMENT STATIC_DOMAIN name");
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("blocked"))->kind, DomainKind::kBlocked);
}

}  // namespace
}  // namespace viommu
