// The two views of an Ioas: what is planned, and what readers see.
#include "engine/model/ioas.h"

#include <string>
#include <vector>

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kRegionBytes = 0x100000;

class IoasTest : public ::testing::Test {
 protected:
  Ioas::Addition At(std::optional<Iova> iova, uint64_t length, uint64_t offset = 0) {
    return {iova, length, offset, Permission::kReadWrite, &region_};
  }
  PlacedArea Planned(Iova iova, uint64_t length = 0x1000) {
    const absl::StatusOr<PlacedArea> area = ioas_.PlanAdd(At(iova, length));
    EXPECT_TRUE(area.ok()) << area.status();
    return *area;
  }
  PlacedArea Committed(Iova iova, uint64_t length = 0x1000) {
    const PlacedArea area = Planned(iova, length);
    ioas_.CommitAdd({area.ToBackend()});
    return area;
  }
  // First addresses of what readers see.
  std::vector<Iova> Seen(const IovaRange& window = {0, kMaxAddress}) {
    std::vector<Iova> seen;
    ioas_.VisitCommitted(window, [&](const PlacedArea& area) {
      seen.push_back(area.range.first);
      return true;
    });
    return seen;
  }

  MemoryRegion region_{"alice", "ram", 7, kRegionBytes, std::nullopt};
  Ioas ioas_{"alice", "as", 1};
};

using Iovas = std::vector<Iova>;

std::string Reason(const absl::Status& status) {
  const auto detail = DetailOf(status);
  return absl::StatusCodeToString(status.code()) + (detail ? " " + detail->reason : "");
}

TEST_F(IoasTest, HidesAnAreaFromReadersUntilItIsCommitted) {
  const PlacedArea area = Planned(0x1000);
  EXPECT_EQ(Seen(), Iovas{});
  EXPECT_FALSE(ioas_.FindCommitted(0x1000).has_value());
  EXPECT_EQ(ioas_.mapping_count(), 0u);
  EXPECT_TRUE(ioas_.FirstOverlap({0x1fff, 0x2fff}).has_value()) << "but plans see it";
  ioas_.CommitAdd({area.ToBackend()});
  EXPECT_EQ(Seen(), Iovas{0x1000});
  EXPECT_TRUE(ioas_.FindCommitted(0x1fff).has_value());
  EXPECT_FALSE(ioas_.FindCommitted(0x2000).has_value());
  EXPECT_EQ(ioas_.mapping_count(), 1u);
  EXPECT_EQ(ioas_.mapped_bytes(), 0x1000u);
}

TEST_F(IoasTest, CommitsTheAreasOfABatchAndNoneBetweenThem) {
  const BackendMapping high = Planned(0x9000).ToBackend();
  const BackendMapping low = Planned(0x1000).ToBackend();
  const BackendMapping next = Planned(0x2000).ToBackend();
  Planned(0x3000, 0x2000);  // Of another batch.
  const BackendMapping last = Planned(0x5000, 0x3000).ToBackend();
  // In no order; neighbours; past an area of another batch; behind the last of the tree.
  ioas_.CommitAdd({high, low, next, last});
  EXPECT_EQ(Seen(), (Iovas{0x1000, 0x2000, 0x5000, 0x9000}));
  EXPECT_EQ(ioas_.mapping_count(), 4u);
  EXPECT_EQ(ioas_.mapped_bytes(), 0x6000u);
}

TEST_F(IoasTest, GivesThePlaceOfAnUndoneAreaBack) {
  ioas_.UndoAdd(Planned(0x1000).range.first);
  EXPECT_FALSE(ioas_.FirstOverlap({0, kMaxAddress}).has_value());
  Planned(0x1000);
}

TEST_F(IoasTest, ShowsARevokedAreaUntilItsRemovalIsCommitted) {
  Committed(0x1000);
  std::vector<PlacedArea> removed;
  ASSERT_TRUE(ioas_.PlanRemove({0x1000, 0x1fff}, &removed).ok());
  ASSERT_EQ(removed.size(), 1u);
  EXPECT_EQ(Seen(), Iovas{0x1000});
  EXPECT_TRUE(ioas_.FindCommitted(0x1800).has_value());
  EXPECT_EQ(ioas_.mapped_bytes(), 0x1000u);
  EXPECT_FALSE(ioas_.FirstOverlap({0, kMaxAddress}).has_value()) << "plans see it gone";
  ioas_.CommitRemove(removed);
  EXPECT_EQ(Seen(), Iovas{});
  EXPECT_EQ(ioas_.mapping_count(), 0u);
  EXPECT_EQ(ioas_.mapped_bytes(), 0u);
}

TEST_F(IoasTest, PutsARevokedAreaBack) {
  Committed(0x1000);
  std::vector<PlacedArea> removed;
  ASSERT_TRUE(ioas_.PlanRemoveAll(&removed).ok());
  ioas_.UndoRemove(removed);
  EXPECT_EQ(Seen(), Iovas{0x1000});
  EXPECT_EQ(Reason(ioas_.PlanAdd(At(0x1000, 0x1000)).status()), "ALREADY_EXISTS IOVA_OCCUPIED");
}

TEST_F(IoasTest, ShowsWhatIsInForceWhereOneAreaReplacesAnother) {
  Committed(0x1000, 0x2000);
  Committed(0x5000);
  Committed(0x9000);
  std::vector<PlacedArea> removed;
  ASSERT_TRUE(ioas_.PlanRemove({0x1000, 0x5fff}, &removed).ok());
  const PlacedArea replacing = Planned(0x2000);
  EXPECT_EQ(Seen(), (Iovas{0x1000, 0x5000, 0x9000}));
  EXPECT_EQ(ioas_.FindCommitted(0x2800)->range.first, 0x1000u) << "the old area is in force";
  ioas_.CommitRemove(removed);
  EXPECT_EQ(Seen(), Iovas{0x9000});
  ioas_.CommitAdd({replacing.ToBackend()});
  EXPECT_EQ(Seen(), (Iovas{0x2000, 0x9000}));
}

TEST_F(IoasTest, ShowsOnlyWhatMeetsTheWindow) {
  Committed(0x1000, 0x2000);
  Committed(0x5000);
  Committed(0x9000);
  const struct {
    IovaRange window;
    Iovas want;
  } kCases[] = {
      {{0, 0xfff}, {}},
      {{0, 0x1000}, {0x1000}},
      {{0x2fff, 0x5000}, {0x1000, 0x5000}},
      {{0x3000, 0x4fff}, {}},
      {{0x5fff, kMaxAddress}, {0x5000, 0x9000}},
      {{kMaxAddress, kMaxAddress}, {}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(ToString(c.window));
    EXPECT_EQ(Seen(c.window), c.want);
  }
}

TEST_F(IoasTest, RemovesWholeAreasOrNothing) {
  Committed(0x1000);
  Committed(0x4000, 0x2000);
  const struct {
    const char* name;
    IovaRange range;
    const char* reason;
    size_t removed;
  } kCases[] = {
      {"a hole", {0x2000, 0x3fff}, "NOT_FOUND IOVA_NOT_COVERED", 0},
      {"cut at its end", {0x1000, 0x4fff}, "NOT_FOUND IOVA_NOT_COVERED", 0},
      {"cut at its start", {0x1001, 0x5fff}, "NOT_FOUND IOVA_NOT_COVERED", 0},
      {"inside one", {0x4800, 0x48ff}, "NOT_FOUND IOVA_NOT_COVERED", 0},
      {"exactly one", {0x4000, 0x5fff}, "OK", 1},
      {"everything around both", {0, kMaxAddress}, "OK", 2},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    std::vector<PlacedArea> removed;
    EXPECT_EQ(Reason(ioas_.PlanRemove(c.range, &removed)), c.reason);
    EXPECT_EQ(removed.size(), c.removed);
    ioas_.UndoRemove(removed);
    EXPECT_TRUE(ioas_.FirstOverlap({0x1000, 0x1000}).has_value());
    EXPECT_TRUE(ioas_.FirstOverlap({0x5fff, 0x5fff}).has_value());
  }
}

TEST_F(IoasTest, AppendsToWhatIsRemovedAlreadyAndKeepsItOnAnError) {
  Committed(0x1000);
  Committed(0x3000);
  std::vector<PlacedArea> removed;
  ASSERT_TRUE(ioas_.PlanRemove({0x1000, 0x1fff}, &removed).ok());
  EXPECT_FALSE(ioas_.PlanRemove({0x3000, 0x3000}, &removed).ok());
  EXPECT_FALSE(ioas_.PlanRemove({0x8000, 0x8fff}, &removed).ok());
  ASSERT_EQ(removed.size(), 1u);
  ASSERT_TRUE(ioas_.PlanRemove({0x3000, 0x3fff}, &removed).ok());
  EXPECT_EQ(removed[1].range.first, 0x3000u);
}

TEST_F(IoasTest, DoesNotRemoveWhatIsStillBeingMapped) {
  Committed(0x1000);
  const PlacedArea planned = Planned(0x3000);
  std::vector<PlacedArea> removed;
  EXPECT_EQ(Reason(ioas_.PlanRemove({0x1000, 0x3fff}, &removed)), "UNAVAILABLE");
  EXPECT_EQ(Reason(ioas_.PlanRemoveAll(&removed)), "UNAVAILABLE");
  EXPECT_TRUE(removed.empty());
  ioas_.CommitAdd({planned.ToBackend()});
  EXPECT_EQ(Reason(ioas_.PlanRemoveAll(&removed)), "OK");
  EXPECT_EQ(removed.size(), 2u);
}

// Removing everything moves whole maps; whatever is revoked already must stay apart.
TEST_F(IoasTest, RemovesEverythingBesideWhatIsRevokedAlready) {
  const Iovas all = {0x1000, 0x3000, 0x5000, 0x7000};
  for (const uint64_t earlier : {0, 1, 2, 3}) {
    for (const bool undo : {true, false}) {
      SCOPED_TRACE(std::to_string(earlier) + (undo ? " undone" : ""));
      for (const Iova iova : all) Committed(iova);
      std::vector<PlacedArea> first, rest;
      for (uint64_t i = 0; i < earlier; ++i) {
        ASSERT_TRUE(ioas_.PlanRemove({all[i], all[i] + 0xfff}, &first).ok());
      }
      ASSERT_TRUE(ioas_.PlanRemoveAll(&rest).ok());
      EXPECT_EQ(rest.size(), all.size() - earlier);
      EXPECT_EQ(Seen(), all);
      EXPECT_FALSE(ioas_.FirstOverlap({0, kMaxAddress}).has_value());
      if (undo) {
        ioas_.UndoRemove(rest);
        EXPECT_TRUE(ioas_.FirstOverlap({0x7000, 0x7000}).has_value());
        EXPECT_EQ(ioas_.FirstOverlap({0x1000, 0x1fff}).has_value(), earlier == 0);
        EXPECT_EQ(Seen(), all);
        rest.clear();
        ASSERT_TRUE(ioas_.PlanRemoveAll(&rest).ok());
      }
      ioas_.CommitRemove(first);
      EXPECT_EQ(Seen(), Iovas(all.begin() + earlier, all.end()));
      EXPECT_EQ(ioas_.mapping_count(), all.size() - earlier);
      ioas_.CommitRemove(rest);
      EXPECT_EQ(Seen(), Iovas{});
      EXPECT_EQ(ioas_.mapping_count(), 0u);
      EXPECT_EQ(ioas_.mapped_bytes(), 0u);
    }
  }
}

TEST_F(IoasTest, RemovesMostAroundWhatStays) {
  const Iovas all = {0x1000, 0x3000, 0x5000, 0x7000, 0x9000};
  for (const Iova iova : all) Committed(iova);
  std::vector<PlacedArea> hole, most;
  ASSERT_TRUE(ioas_.PlanRemove({0x1000, 0x1fff}, &hole).ok());
  const PlacedArea replacing = Planned(0x1000);  // Lies where an area is revoked.
  const PlacedArea above = Planned(0xb000);
  ASSERT_TRUE(ioas_.PlanRemove({0x3000, 0x8fff}, &most).ok());
  EXPECT_EQ(most.size(), 3u);
  EXPECT_EQ(Seen(), all);
  EXPECT_FALSE(ioas_.FirstOverlap({0x2000, 0x8fff}).has_value());
  EXPECT_EQ(ioas_.FirstOverlap({0, 0x2fff})->area.planned, 1u);
  EXPECT_TRUE(ioas_.FirstOverlap({0x9000, 0xafff}).has_value());
  EXPECT_TRUE(ioas_.FirstOverlap({0xb000, 0xbfff}).has_value());
  ioas_.UndoRemove(most);
  EXPECT_TRUE(ioas_.FirstOverlap({0x5000, 0x5fff}).has_value());
  most.clear();
  ASSERT_TRUE(ioas_.PlanRemove({0x3000, 0x8fff}, &most).ok());
  ioas_.CommitRemove(hole);
  ioas_.CommitAdd({replacing.ToBackend()});
  ioas_.CommitAdd({above.ToBackend()});
  EXPECT_EQ(Seen(), (Iovas{0x1000, 0x3000, 0x5000, 0x7000, 0x9000, 0xb000}));
  ioas_.CommitRemove(most);
  EXPECT_EQ(Seen(), (Iovas{0x1000, 0x9000, 0xb000}));
  EXPECT_EQ(ioas_.mapping_count(), 3u);
}

TEST_F(IoasTest, RemovesAllOfNothingWithoutAnError) {
  std::vector<PlacedArea> removed;
  EXPECT_TRUE(ioas_.PlanRemoveAll(&removed).ok());
  EXPECT_TRUE(removed.empty());
}

TEST_F(IoasTest, RefusesAdditionsThatItsRulesExclude) {
  ioas_.space().AddAlignment(99, 0x1000);
  ASSERT_TRUE(ioas_.space().Reserve({0x80000, 0x80fff}, 99, "window").ok());
  Committed(0x10000);
  const struct {
    const char* name;
    Ioas::Addition addition;
    const char* want;
  } kCases[] = {
      {"nothing", At(0x1000, 0), "INVALID_ARGUMENT INVALID_LENGTH"},
      {"wraps", At(kMaxAddress - 0xfff, 0x2000), "OUT_OF_RANGE IOVA_OVERFLOW"},
      {"longer than the region", At(0x1000, kRegionBytes + 0x1000),
       "OUT_OF_RANGE SOURCE_OUT_OF_BOUNDS"},
      {"starts at the end of the region", At(0x1000, 0x1000, kRegionBytes),
       "OUT_OF_RANGE SOURCE_OUT_OF_BOUNDS"},
      {"offset + length wraps", At(0x1000, 0x1000, kMaxAddress - 0xfff),
       "OUT_OF_RANGE SOURCE_OUT_OF_BOUNDS"},
      {"odd length", At(0x1000, 0x800), "INVALID_ARGUMENT MISALIGNED"},
      {"odd offset", At(0x1000, 0x1000, 0x800), "INVALID_ARGUMENT MISALIGNED"},
      {"odd iova", At(0x1800, 0x1000), "INVALID_ARGUMENT MISALIGNED"},
      {"odd length, chosen iova", At(std::nullopt, 0x800), "INVALID_ARGUMENT MISALIGNED"},
      {"reserved", At(0x7f000, 0x2000), "INVALID_ARGUMENT IOVA_RESERVED"},
      {"occupied", At(0xf000, 0x2000), "ALREADY_EXISTS IOVA_OCCUPIED"},
      {"the last page of the region", At(0x1000, 0x1000, kRegionBytes - 0x1000), "OK"},
      {"the last page of the space", At(kMaxAddress - 0xfff, 0x1000), "OK"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const absl::StatusOr<PlacedArea> area = ioas_.PlanAdd(c.addition);
    EXPECT_EQ(Reason(area.status()), c.want);
    if (area.ok()) ioas_.UndoAdd(area->range.first);
  }
  EXPECT_EQ(Seen(), Iovas{0x10000});
}

TEST_F(IoasTest, JudgesAPlaceBeforeTheOffset) {
  ioas_.space().AddAlignment(99, 0x1000);
  ASSERT_TRUE(ioas_.space().Reserve({0x80000, 0x80fff}, 99, "window").ok());
  Committed(0x10000);
  const auto refusal = [&](Iova iova) {
    const absl::Status status = ioas_.PlanAdd(At(iova, 0x1000, 0x800)).status();
    return DetailOf(status)->reason + " " + DetailOf(status)->field;
  };
  EXPECT_EQ(refusal(0x1800), "MISALIGNED iova");
  EXPECT_EQ(refusal(0x80000), "IOVA_RESERVED iova");
  EXPECT_EQ(refusal(0x10000), "IOVA_OCCUPIED iova");
  EXPECT_EQ(refusal(0x1000), "MISALIGNED offset");
  EXPECT_EQ(Seen(), Iovas{0x10000});
  EXPECT_TRUE(ioas_.PlanAdd(At(0x1000, 0x1000)).ok()) << "nothing was left there";
}

TEST_F(IoasTest, ChoosesAPlaceThatNoPlanTook) {
  const PlacedArea first = *ioas_.PlanAdd(At(std::nullopt, 0x1000));
  const PlacedArea second = *ioas_.PlanAdd(At(std::nullopt, 0x1000));
  EXPECT_EQ(first.range, (IovaRange{0x1000, 0x1fff}));
  EXPECT_EQ(second.range, (IovaRange{0x2000, 0x2fff}));
  ioas_.UndoAdd(first.range.first);
  EXPECT_EQ(*ioas_.Allocate(0x1000, 0), 0x1000u);
}

TEST_F(IoasTest, ChecksTheAlignmentOfEveryArea) {
  const struct {
    const char* name;
    Ioas::Addition addition;
    bool aligned;
  } kCases[] = {
      {"aligned", At(0x2000, 0x2000, 0x4000), true},
      {"up to the last address", At(kMaxAddress - 0x1fff, 0x2000), true},
      {"start", At(0x1000, 0x3000), false},
      {"end", At(0x2000, 0x1000), false},
      {"offset", At(0x2000, 0x2000, 0x1000), false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const PlacedArea area = *ioas_.PlanAdd(c.addition);
    const absl::Status checked = ioas_.CheckAlignment(0x2000);
    EXPECT_EQ(Reason(checked), c.aligned ? "OK" : "FAILED_PRECONDITION IOVA_CONFLICT");
    ioas_.UndoAdd(area.range.first);
  }
}

}  // namespace
}  // namespace viommu
