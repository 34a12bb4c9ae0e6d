// Domains that tell which pages devices write: making, switching, reading, and every refusal.
#include <string>
#include <vector>

#include "engine/base/dirty_bitmap.h"
#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 0x1000;
constexpr Iova kBase = 0x100000;

// alice maps 64 pages from kBase into ioas/as, over which domains/t can track.
class DirtyTest : public EngineTest {
 protected:
  DirtyTest() {
    SetUpAlice();
    PagingDomainRequest request{Ref("as"), "dev0"};
    request.dirty_tracking = true;
    const auto made = engine_->CreateDomain(alice_, "t", request);
    EXPECT_TRUE(made.ok()) << made.status();
    uid_ = made->object.uid;
    EXPECT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(kBase, 64 * kPage)).ok());
  }

  absl::StatusOr<DomainView> Set(bool enabled, const std::string& domain = "t") {
    return engine_->SetDirtyTracking(alice_, Ref(domain), enabled, "");
  }
  absl::StatusOr<DirtyBitmap> Read(const DirtyRequest& request, const std::string& domain = "t") {
    return engine_->ReadDirtyBitmap(alice_, Ref(domain), request);
  }
  std::vector<uint64_t> Words(const DirtyRequest& request) {
    const auto bitmap = Read(request);
    EXPECT_TRUE(bitmap.ok()) << bitmap.status();
    return bitmap.ok() ? bitmap->words() : std::vector<uint64_t>();
  }

  Uid uid_ = 0;
  const DirtyRequest all_{kBase, 64 * kPage, kPage};
};

TEST_F(DirtyTest, ShowsWhatIsTracked) {
  EXPECT_TRUE(engine_->GetHardwareInfo(alice_, "dev0")->dirty_tracking);
  EXPECT_FALSE(engine_->GetHardwareInfo(alice_, "dev5")->dirty_tracking);
  const DomainView before = *engine_->GetDomain(alice_, Ref("t"));
  EXPECT_TRUE(before.properties.dirty_tracking);
  EXPECT_FALSE(before.dirty_tracking_enabled) << "off at first";
  const auto set = Set(true);
  ASSERT_TRUE(set.ok());
  EXPECT_TRUE(set->dirty_tracking_enabled);
  EXPECT_NE(set->object.etag, before.object.etag);
  EXPECT_TRUE(engine_->GetDomain(alice_, Ref("t"))->dirty_tracking_enabled);
  ASSERT_TRUE(Set(false).ok());
  EXPECT_FALSE(engine_->GetDomain(alice_, Ref("t"))->dirty_tracking_enabled);
  EXPECT_FALSE(engine_->GetDomain(alice_, Ref("d"))->properties.dirty_tracking);
}

TEST_F(DirtyTest, TellsWhatWasWrittenAndForgetsIt) {
  backend_.Write(uid_, kBase);
  ASSERT_TRUE(Set(true).ok());
  EXPECT_EQ(Words(all_), std::vector<uint64_t>{0}) << "nothing is marked while it is off";
  backend_.Write(uid_, kBase + 3 * kPage);
  backend_.Write(uid_, kBase + 63 * kPage);
  DirtyRequest keep = all_;
  keep.keep = true;
  EXPECT_EQ(Words(keep), std::vector<uint64_t>{uint64_t{1} << 63 | 8});
  EXPECT_EQ(Words({kBase + 2 * kPage, 4 * kPage, 2 * kPage}), std::vector<uint64_t>{1});
  EXPECT_EQ(Words(all_), std::vector<uint64_t>{uint64_t{1} << 63});
  EXPECT_EQ(Words(all_), std::vector<uint64_t>{0});
}

TEST_F(DirtyTest, TellsWhatWasWrittenBeforeItWasSwitchedOff) {
  ASSERT_TRUE(Set(true).ok());
  backend_.Write(uid_, kBase);
  ASSERT_TRUE(Set(false).ok());
  backend_.Write(uid_, kBase + kPage);
  EXPECT_EQ(Words(all_), std::vector<uint64_t>{1});
}

TEST_F(DirtyTest, BeginsCleanWhenItIsSwitchedOnAndKeepsMarksWhenItWasOn) {
  ASSERT_TRUE(Set(true).ok());
  backend_.Write(uid_, kBase);
  const std::string etag = engine_->GetDomain(alice_, Ref("t"))->object.etag;
  const size_t records = journal_.records().size();
  ASSERT_TRUE(Set(true).ok());
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("t"))->object.etag, etag);
  EXPECT_EQ(journal_.records().size(), records);
  DirtyRequest keep = all_;
  keep.keep = true;
  EXPECT_EQ(Words(keep), std::vector<uint64_t>{1}) << "who sets it again takes nothing away";
  ASSERT_TRUE(Set(false).ok());
  ASSERT_TRUE(Set(true).ok());
  EXPECT_EQ(Words(keep), std::vector<uint64_t>{0});
}

TEST_F(DirtyTest, JournalsTheSwitchAndNoReading) {
  ASSERT_TRUE(Set(true).ok());
  const auto records = journal_.records();
  const auto& set = std::get<record::SetDirtyTracking>(records.back().operation);
  EXPECT_EQ(set.domain, uid_);
  EXPECT_TRUE(set.enabled);
  const uint64_t revision = engine_->GetHost().revision;
  ASSERT_TRUE(Read(all_).ok());
  EXPECT_EQ(journal_.records().size(), records.size());
  EXPECT_EQ(engine_->GetHost().revision, revision);
}

TEST_F(DirtyTest, RepeatsTheFirstAnswerOfASwitchUnderItsRequestId) {
  CallContext once = alice_;
  once.request_id = "r1";
  once.request_digest = "on";
  ASSERT_TRUE(engine_->SetDirtyTracking(once, Ref("t"), true, "").ok());
  ASSERT_TRUE(Set(false).ok());
  EXPECT_TRUE(engine_->SetDirtyTracking(once, Ref("t"), true, "")->dirty_tracking_enabled);
  EXPECT_FALSE(engine_->GetDomain(alice_, Ref("t"))->dirty_tracking_enabled);
}

TEST_F(DirtyTest, ChangesNothingInADryRun) {
  ASSERT_TRUE(Set(true).ok());
  backend_.Write(uid_, kBase);
  const std::string before = Everything();
  CallContext dry = alice_;
  dry.validate_only = true;
  EXPECT_FALSE(engine_->SetDirtyTracking(dry, Ref("t"), false, "")->dirty_tracking_enabled);
  const auto bitmap = engine_->ReadDirtyBitmap(dry, Ref("t"), all_);
  ASSERT_TRUE(bitmap.ok());
  EXPECT_EQ(bitmap->words(), std::vector<uint64_t>{0});
  EXPECT_EQ(DescribedInFull(engine_->ReadDirtyBitmap(dry, Ref("t"), {0, kPage, kPage}).status()),
            "NOT_FOUND IOVA_NOT_COVERED iova");
  EXPECT_EQ(Everything(), before);
}

TEST_F(DirtyTest, RefusesDomainsThatCanNotTrack) {
  PagingDomainRequest far{Ref("as"), "dev5"};
  far.dirty_tracking = true;
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev5", "").ok());
  const absl::Status made = engine_->CreateDomain(alice_, "far", far).status();
  EXPECT_EQ(DescribedInFull(made),
            "UNIMPLEMENTED DIRTY_TRACKING_UNAVAILABLE domain.paging.dirty_tracking");
  EXPECT_EQ(DetailOf(made)->errno_name, "EOPNOTSUPP");
  EXPECT_EQ(Described(engine_->AttachDevice(alice_, "dev5", Ref("t")).status()),
            "FAILED_PRECONDITION INCOMPATIBLE_DOMAIN");
}

TEST_F(DirtyTest, RefusesToSwitchWhatIsNotMadeForIt) {
  PagingDomainRequest parent{Ref("as"), "dev0"};
  parent.nest_parent = parent.dirty_tracking = true;
  ASSERT_TRUE(engine_->CreateDomain(alice_, "parent", parent).ok());
  ASSERT_TRUE(
      engine_->CreateDomain(alice_, "guest", NestedDomainRequest{Ref("parent"), "dev0"}).ok());
  const std::string before = Everything();
  const struct {
    const char* domain;
    const char* want;
    const char* errno_name;
  } kCases[] = {
      {"none", "NOT_FOUND DOMAIN_NOT_FOUND", "ENOENT"},
      {"blocked", "FAILED_PRECONDITION NOT_PAGING", "ENOENT"},
      {"identity", "FAILED_PRECONDITION NOT_PAGING", "ENOENT"},
      {"guest", "FAILED_PRECONDITION NOT_PAGING", "ENOENT"},
      {"d", "UNIMPLEMENTED DIRTY_TRACKING_UNAVAILABLE name", "EOPNOTSUPP"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.domain);
    for (const absl::Status& refused : {Set(true, c.domain).status(), Set(false, c.domain).status(),
                                        Read(all_, c.domain).status()}) {
      EXPECT_EQ(DescribedInFull(refused), c.want);
      EXPECT_EQ(DetailOf(refused)->errno_name, c.errno_name);
    }
  }
  EXPECT_EQ(Described(engine_->SetDirtyTracking(bob_, Ref("t"), true, "").status()),
            "NOT_FOUND DOMAIN_NOT_FOUND");
  EXPECT_EQ(Described(engine_->ReadDirtyBitmap(bob_, Ref("t"), all_).status()),
            "NOT_FOUND DOMAIN_NOT_FOUND");
  EXPECT_EQ(Described(engine_->SetDirtyTracking(alice_, Ref("t"), true, "stale").status()),
            "ABORTED ETAG_MISMATCH");
  EXPECT_EQ(Everything(), before);
  EXPECT_TRUE(Set(true, "parent").ok());
}

TEST_F(DirtyTest, RefusesRangesInTheKernelsOrder) {
  ASSERT_TRUE(Set(true).ok());
  backend_.Write(uid_, kBase);
  const std::string before = Everything();
  constexpr uint64_t kTooMany = (kMaxBitmapPages + 1) * kPage;
  const struct {
    const char* what;
    DirtyRequest request;
    const char* want;
    const char* errno_name;
  } kCases[] = {
      {"no length, before all others",
       {1, 0, 3},
       "INVALID_ARGUMENT INVALID_LENGTH length",
       "EINVAL"},
      {"past the end", {kMaxAddress - 1, 5, 0}, "OUT_OF_RANGE IOVA_OVERFLOW iova", "EOVERFLOW"},
      {"iova", {kBase + 1, kPage, 0}, "INVALID_ARGUMENT MISALIGNED iova", "EINVAL"},
      {"length", {kBase, kPage + 1, 0}, "INVALID_ARGUMENT MISALIGNED length", "EINVAL"},
      {"no page size",
       {kBase, kPage, 0},
       "INVALID_ARGUMENT INVALID_PAGE_SIZE page_size_bytes",
       "EINVAL"},
      {"no power of two",
       {kBase, 3 * kPage, 3 * kPage},
       "INVALID_ARGUMENT INVALID_PAGE_SIZE page_size_bytes",
       "EINVAL"},
      {"iova by the page",
       {kBase + kPage, 2 * kPage, 2 * kPage},
       "INVALID_ARGUMENT MISALIGNED iova",
       "EINVAL"},
      {"length by the page",
       {kBase, kPage, 2 * kPage},
       "INVALID_ARGUMENT MISALIGNED length",
       "EINVAL"},
      {"too large", {0, kTooMany, kPage}, "INVALID_ARGUMENT BITMAP_TOO_LARGE length", "EINVAL"},
      {"hole before",
       {kBase - kPage, 2 * kPage, kPage},
       "NOT_FOUND IOVA_NOT_COVERED iova",
       "ENOENT"},
      {"hole behind", {kBase, 65 * kPage, kPage}, "NOT_FOUND IOVA_NOT_COVERED iova", "ENOENT"},
      {"last page",
       {kMaxAddress - kPage + 1, kPage, kPage},
       "NOT_FOUND IOVA_NOT_COVERED iova",
       "ENOENT"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    const absl::Status refused = Read(c.request).status();
    EXPECT_EQ(DescribedInFull(refused), c.want);
    EXPECT_EQ(DetailOf(refused)->errno_name, c.errno_name);
  }
  // What is wrong with a range is said even of a domain that tracks nothing.
  EXPECT_EQ(Described(Read({kBase, kPage, 0}, "d").status()), "INVALID_ARGUMENT INVALID_PAGE_SIZE");
  EXPECT_EQ(Described(Read({0, kPage, kPage}, "d").status()),
            "UNIMPLEMENTED DIRTY_TRACKING_UNAVAILABLE");
  EXPECT_EQ(Everything(), before);
}

TEST_F(DirtyTest, ReadsOverAreasWithoutAHoleAndNoOthers) {
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(kBase + 64 * kPage, kPage)).ok());
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(kBase + 66 * kPage, kPage)).ok());
  ASSERT_TRUE(Set(true).ok());
  backend_.Write(uid_, kBase + 64 * kPage);
  const absl::Status hole = Read({kBase, 67 * kPage, kPage}).status();
  EXPECT_EQ(Described(hole), "NOT_FOUND IOVA_NOT_COVERED");
  EXPECT_EQ(hole.message(), "nothing is mapped at 0x141000 of [0x100000, 0x142fff]");
  EXPECT_EQ(Words({kBase, 65 * kPage, kPage}), (std::vector<uint64_t>{0, 1}))
      << "the refused call cleared nothing";
}

TEST_F(DirtyTest, TellsNothingOfWhatWasUnmapped) {
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0, kPage)).ok());
  ASSERT_TRUE(Set(true).ok());
  backend_.Write(uid_, 0);
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0, kPage)).ok());
  EXPECT_EQ(Described(Read({0, kPage, kPage}).status()), "NOT_FOUND IOVA_NOT_COVERED");
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0, kPage)).ok());
  EXPECT_EQ(Words({0, kPage, kPage}), std::vector<uint64_t>{0});
}

TEST_F(DirtyTest, LeavesEverythingWhenTheBackendFails) {
  ASSERT_TRUE(Set(true).ok());
  backend_.Write(uid_, kBase);
  const std::string before = Everything();
  backend_.SetHook(RefuseNth("SetDirtyTracking", 1));
  EXPECT_EQ(Described(Set(false).status()), "RESOURCE_EXHAUSTED TEST");
  EXPECT_TRUE(engine_->GetDomain(alice_, Ref("t"))->dirty_tracking_enabled);
  backend_.SetHook(RefuseNth("ReadDirty", 1));
  EXPECT_EQ(Described(Read(all_).status()), "RESOURCE_EXHAUSTED TEST");
  EXPECT_EQ(Everything(), before);
  EXPECT_EQ(Words(all_), std::vector<uint64_t>{1});
}

}  // namespace
}  // namespace viommu
