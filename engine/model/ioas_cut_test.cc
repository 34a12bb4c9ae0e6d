// Areas cut at the ends of a range: what plans and readers see, and that an undo leaves no trace.
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "engine/base/errors.h"
#include "engine/model/ioas.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 0x1000;
constexpr uint64_t kPages = 64;  // Of the window in which everything happens.

IovaRange Pages(uint64_t first, uint64_t count) {
  return {first * kPage, (first + count) * kPage - 1};
}

std::string Reason(const absl::Status& status) {
  const auto detail = DetailOf(status);
  return absl::StatusCodeToString(status.code()) + (detail ? " " + detail->reason : "");
}

class IoasCutTest : public ::testing::Test {
 protected:
  PlacedArea Planned(uint64_t first, uint64_t count) {
    const auto area = ioas_.PlanAdd(
        {first * kPage, count * kPage, first * kPage, Permission::kReadWrite, &region_});
    EXPECT_TRUE(area.ok()) << area.status();
    return *area;
  }
  void Committed(uint64_t first, uint64_t count) {
    ioas_.CommitAdd({Planned(first, count).ToBackend()});
  }
  // "first+count@offset" of what readers see, in pages.
  std::string Seen() {
    std::string seen;
    ioas_.VisitCommitted({0, kMaxAddress}, [&](const PlacedArea& area) {
      seen += std::to_string(area.range.first / kPage) + "+" +
              std::to_string(area.range.size_bytes() / kPage) + "@" +
              std::to_string(area.area.offset_bytes / kPage) + " ";
      return true;
    });
    return seen;
  }
  // Which pages later plans find taken.
  std::vector<bool> Taken() {
    std::vector<bool> taken(kPages);
    for (uint64_t i = 0; i < kPages; ++i) {
      taken[i] = ioas_.FirstOverlap(Pages(i, 1)).has_value();
    }
    return taken;
  }

  MemoryRegion region_{"alice", "ram", 7, kPages* kPage, std::nullopt};
  Ioas ioas_{"alice", "as", 1, IoasMode::kVfioType1, false};
};

TEST_F(IoasCutTest, KeepsWhatLiesOutsideTheRange) {
  const struct {
    const char* name;
    IovaRange range;
    const char* want;
    size_t removed, remnants;
  } kCases[] = {
      {"the middle of one", Pages(11, 1), "10+1@10 12+2@12 20+4@20 30+1@30 ", 1, 2},
      {"its start", Pages(10, 1), "11+3@11 20+4@20 30+1@30 ", 1, 1},
      {"its end", Pages(13, 4), "10+3@10 20+4@20 30+1@30 ", 1, 1},
      {"all of it", Pages(10, 4), "20+4@20 30+1@30 ", 1, 0},
      {"the end of one, the start of the next", Pages(12, 10), "10+2@10 22+2@22 30+1@30 ", 2, 2},
      {"one whole between two borders", Pages(12, 19), "10+2@10 ", 3, 1},
      {"a hole", Pages(15, 3), "10+4@10 20+4@20 30+1@30 ", 0, 0},
      {"everything", Pages(0, kPages), "", 3, 0},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    std::vector<PlacedArea> all;
    ASSERT_TRUE(ioas_.PlanRemoveAll(&all).ok());
    ioas_.CommitRemove(all);
    Committed(10, 4);
    Committed(20, 4);
    Committed(30, 1);
    const std::string before = Seen();
    const std::vector<bool> taken = Taken();
    for (const bool undo : {true, false}) {
      Ioas::Cut cut;
      ASSERT_TRUE(ioas_.PlanCut(c.range, &cut).ok());
      EXPECT_EQ(cut.removed.size(), c.removed);
      EXPECT_EQ(cut.remnants.size(), c.remnants);
      EXPECT_FALSE(ioas_.FirstOverlap(c.range).has_value()) << "plans see it gone";
      EXPECT_EQ(Seen(), before) << "readers see the whole areas until it is final";
      EXPECT_EQ(ioas_.mapping_count(), 3u);
      if (undo) {
        ioas_.UndoCut(cut);
        EXPECT_EQ(Taken(), taken);
        EXPECT_EQ(Seen(), before);
      } else {
        ioas_.CommitCut(cut);
        EXPECT_EQ(Seen(), c.want);
        EXPECT_EQ(ioas_.mapping_count(), 3 - c.removed + c.remnants);
      }
    }
  }
}

TEST_F(IoasCutTest, CutsWhatItCutBefore) {
  Committed(10, 10);
  Ioas::Cut cut;
  ASSERT_TRUE(ioas_.PlanCut(Pages(12, 1), &cut).ok());
  ASSERT_TRUE(ioas_.PlanCut(Pages(15, 2), &cut).ok());
  ASSERT_TRUE(ioas_.PlanCut(Pages(18, 5), &cut).ok());
  ASSERT_TRUE(ioas_.PlanCut(Pages(12, 4), &cut).ok()) << "what is left between two cuts";
  EXPECT_EQ(cut.removed.size(), 1u);
  uint64_t gone = 0;
  for (const PlacedArea& part : cut.gone) gone += part.range.size_bytes() / kPage;
  EXPECT_EQ(gone, 7u);
  ioas_.CommitCut(cut);
  EXPECT_EQ(Seen(), "10+2@10 17+1@17 ");
  EXPECT_EQ(ioas_.mapped_bytes(), 3 * kPage);
}

TEST_F(IoasCutTest, DoesNotCutWhatAnotherPlanIsAboutToMake) {
  Committed(10, 4);
  Ioas::Cut first, second;
  ASSERT_TRUE(ioas_.PlanCut(Pages(11, 1), &first).ok());
  EXPECT_EQ(Reason(ioas_.PlanCut(Pages(13, 1), &second)), "UNAVAILABLE");
  ioas_.UndoCut(second);
  ioas_.CommitCut(first);
  second = {};
  EXPECT_EQ(Reason(ioas_.PlanCut(Pages(13, 1), &second)), "OK");
  ioas_.CommitCut(second);
  EXPECT_EQ(Seen(), "10+1@10 12+1@12 ");
}

TEST_F(IoasCutTest, RefusesACutBetweenPages) {
  Committed(10, 4);
  const std::string before = Seen();
  for (const IovaRange& range :
       {IovaRange{10 * kPage + 1, 11 * kPage - 1}, IovaRange{11 * kPage, 12 * kPage},
        IovaRange{9 * kPage, 10 * kPage}}) {
    SCOPED_TRACE(ToString(range));
    Ioas::Cut cut;
    EXPECT_EQ(Reason(ioas_.PlanCut(range, &cut)), "INVALID_ARGUMENT MISALIGNED");
    ioas_.UndoCut(cut);
    EXPECT_EQ(Seen(), before);
    EXPECT_EQ(Taken()[10], true);
  }
}

TEST_F(IoasCutTest, KeepsPiecesOfASuspendedAreaSuspended) {
  Committed(10, 4);
  Committed(20, 1);
  ioas_.Suspend({Pages(10, 4)});
  EXPECT_EQ(ioas_.suspended_count(), 1u);
  Ioas::Cut cut;
  ASSERT_TRUE(ioas_.PlanCut(Pages(11, 1), &cut).ok());
  EXPECT_EQ(cut.gone[0].area.suspended, 1u);
  ioas_.CommitCut(cut);
  EXPECT_EQ(ioas_.suspended_count(), 2u);
  EXPECT_EQ(ioas_.FindCommitted(12 * kPage)->area.suspended, 1u);
  EXPECT_EQ(ioas_.CommittedAreas().size(), 1u) << "no domain gets it";
}

// A plain model of the same: which area each page belongs to.
struct Reference {
  std::map<uint64_t, uint64_t> areas;  // Pages by first page.

  void Add(uint64_t first, uint64_t count) { areas[first] = count; }
  void Remove(uint64_t first, uint64_t count) {
    std::map<uint64_t, uint64_t> left;
    for (const auto& [at, pages] : areas) {
      const uint64_t end = at + pages;
      if (end <= first || at >= first + count) {
        left[at] = pages;
        continue;
      }
      if (at < first) left[at] = first - at;
      if (end > first + count) left[first + count] = end - (first + count);
    }
    areas = std::move(left);
  }
  std::string Text() const {
    std::string text;
    for (const auto& [first, pages] : areas) {
      text +=
          std::to_string(first) + "+" + std::to_string(pages) + "@" + std::to_string(first) + " ";
    }
    return text;
  }
  std::vector<bool> Taken() const {
    std::vector<bool> taken(kPages);
    for (const auto& [first, pages] : areas) {
      for (uint64_t i = first; i < first + pages; ++i) taken[i] = true;
    }
    return taken;
  }
};

struct InFlight {
  bool is_cut = false;
  PlacedArea added;
  Ioas::Cut cut;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  Reference before;  // The planned view.

  void ApplyTo(Reference* reference) const {
    for (const auto& [first, count] : ranges) {
      if (is_cut) {
        reference->Remove(first, count);
      } else {
        reference->Add(first, count);
      }
    }
  }
};

TEST_F(IoasCutTest, AgreesWithAPlainModelUnderAnyOrderOfPlansCommitsAndUndos) {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    Ioas ioas("alice", "as", 1, IoasMode::kVfioType1, false);
    Reference committed, planned;
    std::deque<InFlight> flights;
    int cuts = 0;
    for (int step = 0; step < 1500; ++step) {
      const uint32_t what = random() % 8;
      if (what < 3) {
        const uint64_t first = random() % kPages;
        const uint64_t count = 1 + random() % std::min<uint64_t>(8, kPages - first);
        const auto area = ioas.PlanAdd(
            {first * kPage, count * kPage, first * kPage, Permission::kReadWrite, &region_});
        if (area.ok()) {
          flights.push_back({false, *area, {}, {{first, count}}, planned});
          planned.Add(first, count);
        }
      } else if (what < 6) {
        InFlight flight{true, {}, {}, {}, planned};
        absl::Status status;
        for (int i = static_cast<int>(random() % 3); i >= 0 && status.ok(); --i) {
          const uint64_t first = random() % kPages;
          const uint64_t count = 1 + random() % std::min<uint64_t>(20, kPages - first);
          status = ioas.PlanCut(Pages(first, count), &flight.cut);
          flight.ranges.emplace_back(first, count);
        }
        if (!status.ok()) {
          ASSERT_EQ(Reason(status), "UNAVAILABLE");
          ioas.UndoCut(flight.cut);
        } else {
          flight.ApplyTo(&planned);
          cuts += flight.cut.remnants.empty() ? 0 : 1;
          flights.push_back(std::move(flight));
        }
      } else if (what == 6 && !flights.empty()) {
        const InFlight& oldest = flights.front();
        if (oldest.is_cut) {
          ioas.CommitCut(oldest.cut);
        } else {
          ioas.CommitAdd({oldest.added.ToBackend()});
        }
        oldest.ApplyTo(&committed);
        flights.pop_front();
      } else if (!flights.empty()) {
        const InFlight& newest = flights.back();
        if (newest.is_cut) {
          ioas.UndoCut(newest.cut);
        } else {
          ioas.UndoAdd(newest.added.range.first);
        }
        planned = newest.before;
        flights.pop_back();
      }
      std::string seen;
      uint64_t bytes = 0;
      ioas.VisitCommitted({0, kMaxAddress}, [&](const PlacedArea& area) {
        seen += std::to_string(area.range.first / kPage) + "+" +
                std::to_string(area.range.size_bytes() / kPage) + "@" +
                std::to_string(area.area.offset_bytes / kPage) + " ";
        bytes += area.range.size_bytes();
        return true;
      });
      ASSERT_EQ(seen, committed.Text());
      ASSERT_EQ(ioas.mapped_bytes(), bytes);
      ASSERT_EQ(ioas.mapping_count(), committed.areas.size());
      std::vector<bool> taken(kPages);
      for (uint64_t i = 0; i < kPages; ++i) taken[i] = ioas.FirstOverlap(Pages(i, 1)).has_value();
      ASSERT_EQ(taken, planned.Taken());
    }
    EXPECT_GT(cuts, 20) << "the test must cut";
  }
}

}  // namespace
}  // namespace viommu
