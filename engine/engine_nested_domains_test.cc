// Nest parents, NESTED domains, what their tables can hold, and invalidation of a guest's stage.
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class NestedDomainsTest : public EngineTest {
 protected:
  NestedDomainsTest() {
    SetUpAlice();
    EXPECT_TRUE(engine_->CreateDomain(alice_, "parent", Parent()).ok());
    EXPECT_TRUE(engine_->CreateDomain(alice_, "guest", Nested()).ok());
  }

  static PagingDomainRequest Parent() {
    PagingDomainRequest request{Ref("as"), "dev0"};
    request.nest_parent = true;
    return request;
  }
  static NestedDomainRequest Nested(const std::string& parent = "parent") {
    VtdStage1 stage1;
    stage1.table_address = 0x1000;
    return {Ref(parent), "dev0", stage1};
  }
  absl::StatusOr<InvalidateAnswer> Invalidate(std::vector<VtdStage1Invalidation> commands,
                                              Uid only = 0) {
    return engine_->Invalidate(alice_, Ref("guest"), InvalidationBatch(std::move(commands)), only);
  }
  MapBatch MapFor(Permission permission, Iova iova) {
    MapBatch batch = OneMap(iova, 0x1000);
    batch.entries[0].permission = permission;
    return batch;
  }
  size_t LoggedAs(const std::string& verb) {
    size_t count = 0;
    for (const std::string& line : backend_.log()) count += absl::StartsWith(line, verb) ? 1 : 0;
    return count;
  }
};

TEST_F(NestedDomainsTest, ShowsParentsAndChildren) {
  const auto parent = engine_->GetDomain(alice_, Ref("parent"));
  EXPECT_TRUE(parent->properties.nest_parent);
  EXPECT_EQ(absl::StrJoin(parent->children, ","), "domains/guest");
  const auto guest = engine_->GetDomain(alice_, Ref("guest"));
  EXPECT_EQ(guest->kind, DomainKind::kNested);
  EXPECT_EQ(guest->parent, "domains/parent");
  EXPECT_EQ(guest->ioas, "ioas/as");
  EXPECT_EQ(guest->stage1.table_address, 0x1000u);
  EXPECT_EQ(guest->object.owner, "alice");
  CallContext dry = alice_;
  dry.validate_only = true;
  ASSERT_TRUE(engine_->CreateDomain(dry, "dry", Nested()).ok());
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("parent"))->children.size(), 1u);
}

TEST_F(NestedDomainsTest, KeepsAParentWhileItHasChildren) {
  const absl::Status status = engine_->DeleteDomain(alice_, Ref("parent"), "");
  EXPECT_EQ(Described(status), "FAILED_PRECONDITION IN_USE");
  EXPECT_EQ(DetailOf(status)->violations, std::vector<std::string>{"domains/guest"});
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("guest"), "").ok());
  EXPECT_TRUE(engine_->GetDomain(alice_, Ref("parent"))->children.empty());
  EXPECT_TRUE(engine_->DeleteDomain(alice_, Ref("parent"), "").ok());
}

TEST_F(NestedDomainsTest, RefusesWhatCanNotBeNested) {
  const struct {
    const char* what;
    void (*change)(NestedDomainRequest&, VtdStage1&);
    const char* want;
  } kCases[] = {
      {"device first", [](auto& r, auto&) { r.device = "none", r.parent.id = "none"; },
       "NOT_FOUND DEVICE_NOT_FOUND"},
      {"no parent", [](auto& r, auto&) { r.parent.id = "none"; }, "NOT_FOUND DOMAIN_NOT_FOUND"},
      {"not claimed", [](auto& r, auto&) { r.device = "dev1"; },
       "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {"fault queue", [](auto& r, auto&) { r.fault_queue = Ref("q"); },
       "UNIMPLEMENTED FAULT_QUEUE_UNAVAILABLE domain.nested.fault_queue"},
      {"plain", [](auto& r, auto&) { r.parent.id = "d"; },
       "FAILED_PRECONDITION NOT_NEST_PARENT domain.nested.parent"},
      {"nested on nested", [](auto& r, auto&) { r.parent.id = "guest"; },
       "FAILED_PRECONDITION NOT_NEST_PARENT domain.nested.parent"},
      {"static", [](auto& r, auto&) { r.parent.id = "identity"; },
       "FAILED_PRECONDITION NOT_NEST_PARENT domain.nested.parent"},
      {"unit without nesting", [](auto& r, auto&) { r.device = "dev5"; },
       "UNIMPLEMENTED NESTING_UNAVAILABLE domain.nested.device"},
      {"misaligned", [](auto&, auto& s) { s.table_address = 0x1800; },
       "INVALID_ARGUMENT MISALIGNED domain.nested.vtd.table_address"},
      {"beyond the parent", [](auto&, auto& s) { s.table_address = uint64_t{1} << 48; },
       "OUT_OF_RANGE TABLE_OUT_OF_RANGE domain.nested.vtd.table_address"},
      {"width", [](auto&, auto& s) { s.address_width_bits = 39; },
       "INVALID_ARGUMENT INVALID_ADDRESS_WIDTH domain.nested.vtd.address_width_bits"},
      {"WPE without SRE", [](auto&, auto& s) { s.write_protect = true; },
       "INVALID_ARGUMENT WRITE_PROTECT_WITHOUT_SUPERVISOR domain.nested.vtd.write_protect"},
      {"five levels", [](auto&, auto& s) { s.address_width_bits = 57; },
       "UNIMPLEMENTED STAGE1_UNAVAILABLE domain.nested.vtd.address_width_bits"},
      {"SRE", [](auto&, auto& s) { s.supervisor_requests = true; },
       "UNIMPLEMENTED STAGE1_UNAVAILABLE domain.nested.vtd.supervisor_requests"},
      {"EAFE", [](auto&, auto& s) { s.extended_accessed = true; },
       "UNIMPLEMENTED STAGE1_UNAVAILABLE domain.nested.vtd.extended_accessed"},
  };
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev5", "").ok());
  const std::string before = Everything();
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    NestedDomainRequest request = Nested();
    VtdStage1 stage1 = std::get<VtdStage1>(request.stage1);
    c.change(request, stage1);
    request.stage1 = stage1;
    EXPECT_EQ(DescribedInFull(engine_->CreateDomain(alice_, "x", request).status()), c.want);
  }
  NestedDomainRequest arm = Nested();
  arm.stage1 = ArmSmmuV3Stage1{};
  EXPECT_EQ(DescribedInFull(engine_->CreateDomain(alice_, "x", arm).status()),
            "UNIMPLEMENTED STAGE1_UNAVAILABLE domain.nested.arm_smmu_v3");
  EXPECT_EQ(Described(engine_->CreateDomain(alice_, "blocked", Nested()).status()),
            "ALREADY_EXISTS DOMAIN_EXISTS");
  EXPECT_EQ(Described(engine_->CreateDomain(bob_, "x", Nested()).status()),
            "NOT_FOUND DOMAIN_NOT_FOUND");
  EXPECT_EQ(Everything(), before);
}

TEST_F(NestedDomainsTest, RefusesOptionsThatAUnitDoesNotHave) {
  const struct {
    void (*change)(PagingDomainRequest&);
    const char* want;
  } kCases[] = {
      {[](auto& r) { r.device = "dev5", r.dirty_tracking = true; },
       "UNIMPLEMENTED DIRTY_TRACKING_UNAVAILABLE domain.paging.dirty_tracking"},
      {[](auto& r) { r.fault_queue = Ref("q"); },
       "UNIMPLEMENTED FAULT_QUEUE_UNAVAILABLE domain.paging.fault_queue"},
      {[](auto& r) { r.fault_queue = Ref("q"), r.nest_parent = true; },
       "UNIMPLEMENTED FAULT_QUEUE_ON_NEST_PARENT domain.paging.fault_queue"},
      {[](auto& r) { r.device = "dev5", r.nest_parent = true; },
       "UNIMPLEMENTED NESTING_UNAVAILABLE domain.paging.nest_parent"},
  };
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev5", "").ok());
  for (const auto& c : kCases) {
    PagingDomainRequest request{Ref("as"), "dev0"};
    c.change(request);
    EXPECT_EQ(DescribedInFull(engine_->CreateDomain(alice_, "x", request).status()), c.want);
  }
  PagingDomainRequest both = Parent();
  both.pasid = true;
  EXPECT_TRUE(engine_->CreateDomain(alice_, "both", both)->pasid) << "VT-d takes both";
}

TEST_F(NestedDomainsTest, RefusesPermissionsThatADomainCanNotHold) {
  EXPECT_EQ(
      DescribedInFull(engine_->Map(alice_, Ref("as"), MapFor(Permission::kRead, 0x1000)).status()),
      "FAILED_PRECONDITION PERMISSION_UNAVAILABLE mappings[0].permission #0");
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), MapFor(Permission::kWrite, 0x1000)).ok());
  EXPECT_EQ(Described(engine_->Map(alice_, Ref("as"), MapFor(Permission::kRead, 0x1000)).status()),
            "ALREADY_EXISTS IOVA_OCCUPIED")
      << "the place is looked at first";
  EXPECT_EQ(Described(engine_
                          ->CopyMappings(alice_, Ref("as"),
                                         {Ref("as"), 0x1000, 0x1000, 0x5000, Permission::kRead})
                          .status()),
            "FAILED_PRECONDITION PERMISSION_UNAVAILABLE");
  PagingDomainRequest pasid{Ref("as"), "dev0"};
  pasid.pasid = true;
  const absl::Status status = engine_->CreateDomain(alice_, "p", pasid).status();
  EXPECT_EQ(Described(status), "FAILED_PRECONDITION PERMISSION_UNAVAILABLE");
  EXPECT_EQ(DetailOf(status)->violations, std::vector<std::string>{"unmap [0x1000, 0x1fff]"});
  // The rule goes with the domain that brought it.
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("guest"), "").ok());
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("parent"), "").ok());
  EXPECT_TRUE(engine_->Map(alice_, Ref("as"), MapFor(Permission::kRead, 0x8000)).ok());
}

TEST_F(NestedDomainsTest, LooksAtTheMemoryBeforeTheTables) {
  PagingDomainRequest pasid{Ref("as"), "dev0"};
  pasid.pasid = true;  // Holds nothing that is only written.
  ASSERT_TRUE(engine_->CreateDomain(alice_, "p", pasid).ok());
  ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "rom", 0x1000, {}, /*read_only=*/true).ok());
  MapBatch batch = MapFor(Permission::kWrite, 0x1000);
  EXPECT_EQ(Described(engine_->Map(alice_, Ref("as"), batch).status()),
            "FAILED_PRECONDITION PERMISSION_UNAVAILABLE");
  batch.regions = {Ref("rom")};
  EXPECT_EQ(Described(engine_->Map(alice_, Ref("as"), batch).status()),
            "PERMISSION_DENIED REGION_READ_ONLY");
  EXPECT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok()) << "nothing is left";
}

TEST_F(NestedDomainsTest, LooksAtTheApertureBeforeThePermissions) {
  ASSERT_TRUE(engine_->CreateIoas(alice_, "wide").ok());
  ASSERT_TRUE(engine_->Map(alice_, Ref("wide"), MapFor(Permission::kRead, 0x1000)).ok());
  ASSERT_TRUE(engine_->Map(alice_, Ref("wide"), OneMap(Iova{1} << 50, 0x1000)).ok());
  PagingDomainRequest request = Parent();
  request.ioas = Ref("wide");
  EXPECT_EQ(Described(engine_->CreateDomain(alice_, "x", request).status()),
            "FAILED_PRECONDITION IOVA_CONFLICT");
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("wide"), OneUnmap(Iova{1} << 50, 0x1000)).ok());
  EXPECT_EQ(Described(engine_->CreateDomain(alice_, "x", request).status()),
            "FAILED_PRECONDITION PERMISSION_UNAVAILABLE");
  EXPECT_EQ(engine_->ListIovaRanges(alice_, Ref("wide"))->size(), 1u) << "nothing stays reserved";
}

TEST_F(NestedDomainsTest, InvalidatesUpToTheFirstCommandThatIsWrong) {
  constexpr uint64_t kAll = VtdStage1Invalidation::kAllPages;
  const struct {
    VtdStage1Invalidation wrong;
    const char* want;
  } kCases[] = {
      {{0x800, 1}, "INVALID_ARGUMENT MISALIGNED commands.vtd.invalidations[2].address #2"},
      {{0x1000, kAll},
       "INVALID_ARGUMENT ALL_PAGES_WITH_ADDRESS commands.vtd.invalidations[2].address #2"},
      {{~uint64_t{0xfff}, 2},
       "OUT_OF_RANGE ADDRESS_OVERFLOW commands.vtd.invalidations[2].page_count #2"},
  };
  const std::string before = Everything();
  const size_t records = journal_.records().size();
  for (const auto& c : kCases) {
    const auto answer = Invalidate({{0, kAll}, {~uint64_t{0xfff}, 1}, c.wrong, {0x2000, 1}});
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->handled, 2u);
    EXPECT_EQ(DescribedInFull(answer->first_error), c.want);
  }
  EXPECT_EQ(LoggedAs("Invalidate"), 3u);
  EXPECT_EQ(journal_.records().size(), records) << "no restart needs it";
  const auto nothing = Invalidate({{0x800, 1}});
  EXPECT_EQ(nothing->handled, 0u);
  EXPECT_EQ(Invalidate({})->handled, 0u);
  EXPECT_EQ(LoggedAs("Invalidate"), 3u) << "there was nothing to do";
  EXPECT_EQ(Invalidate({{0x1000, 0}, {0x1000, 1, true}})->handled, 2u);
  EXPECT_EQ(Everything(), before) << "nothing of the model changes";
}

TEST_F(NestedDomainsTest, RefusesInvalidationsOfWhatIsNotNested) {
  for (const char* name : {"d", "parent", "identity"}) {
    EXPECT_EQ(Described(engine_->Invalidate(alice_, Ref(name), {}).status()),
              "FAILED_PRECONDITION NOT_NESTED");
  }
  EXPECT_EQ(Described(engine_->Invalidate(bob_, Ref("guest"), {}).status()),
            "NOT_FOUND DOMAIN_NOT_FOUND");
  const InvalidationBatch arm = std::vector<ArmSmmuV3Invalidation>(1);
  EXPECT_EQ(Described(engine_->Invalidate(alice_, Ref("guest"), arm).status()),
            "UNIMPLEMENTED COMMANDS_UNAVAILABLE");
  EXPECT_EQ(
      Described(Invalidate(std::vector<VtdStage1Invalidation>(kMaxBatchEntries + 1)).status()),
      "INVALID_ARGUMENT BATCH_TOO_LARGE");
  const Uid uid = Invalidate({})->target;
  EXPECT_TRUE(Invalidate({{0, 1}}, uid).ok());
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("guest"), "").ok());
  ASSERT_TRUE(engine_->CreateDomain(alice_, "guest", Nested()).ok());
  EXPECT_EQ(Described(Invalidate({{0, 1}}, uid).status()), "NOT_FOUND DOMAIN_NOT_FOUND");
}

TEST_F(NestedDomainsTest, InvalidatesBesideAMapOfTheIoasBelow) {
  absl::Notification maps;
  absl::Notification go_on;
  backend_.SetHook([&](const std::string& verb) {
    if (verb == "Map") {
      maps.Notify();
      go_on.WaitForNotification();
    }
    return absl::OkStatus();
  });
  std::thread mapper([&] {
    EXPECT_TRUE(engine_->Map(alice_, Ref("as"), MapFor(Permission::kReadWrite, 0x1000)).ok());
  });
  maps.WaitForNotification();
  CallContext soon = alice_;
  soon.deadline = absl::Now() + absl::Seconds(20);
  EXPECT_TRUE(
      engine_->Invalidate(soon, Ref("guest"), std::vector<VtdStage1Invalidation>{{0x1000, 1}})
          .ok());
  EXPECT_TRUE(engine_->DeleteDomain(soon, Ref("guest"), "").ok()) << "nor does a deletion wait";
  go_on.Notify();
  mapper.join();
}

TEST_F(NestedDomainsTest, TellsOfAFlushThatFailed) {
  backend_.SetHook(RefuseNth("Invalidate", 1));
  EXPECT_FALSE(Invalidate({{0x1000, 1}}).ok());
  EXPECT_TRUE(Invalidate({{0x1000, 1}}).ok());
}

TEST_F(NestedDomainsTest, UndoesANestedDomainThatTheBackendRefuses) {
  const std::string before = Everything();
  backend_.SetHook(RefuseNth("CreateDomain", 1));
  EXPECT_FALSE(engine_->CreateDomain(alice_, "x", Nested()).ok());
  EXPECT_EQ(Everything(), before);
  backend_.SetHook(RefuseNth("DestroyDomain", 1));
  EXPECT_FALSE(engine_->DeleteDomain(alice_, Ref("guest"), "").ok());
  EXPECT_EQ(Everything(), before);
}

TEST_F(NestedDomainsTest, TellsWhatAUnitCanDo) {
  const auto near = engine_->GetHardwareInfo(alice_, "dev0");
  EXPECT_TRUE(near->nesting);
  EXPECT_TRUE(near->nest_parent_refuses_read_only);
  EXPECT_EQ(near->first_stage_page_sizes, uint64_t{1} << 12 | uint64_t{1} << 21);
  const auto far = engine_->GetHardwareInfo(alice_, "dev5");
  EXPECT_FALSE(far->nesting);
  EXPECT_FALSE(far->nest_parent_refuses_read_only);
  EXPECT_EQ(far->first_stage_page_sizes, 0u);
}

}  // namespace
}  // namespace viommu
