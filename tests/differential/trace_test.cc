#include "tests/differential/trace.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/differential/verbs.h"

namespace viommu::differential {
namespace {

using ::testing::HasSubstr;

constexpr size_t kSteps = 20'000;

// A trace on which the reference with a wrong rule and the engine go apart.
std::vector<Step> FailingTrace(const Setting& setting) {
  std::vector<Step> trace;
  for (uint64_t seed = 1; seed < 20; ++seed) {
    Tally tally;
    if (RunEpisode(setting, seed, kSteps, &trace, &tally).has_value()) return trace;
  }
  ADD_FAILURE() << "no trace finds the wrong rule";
  return {};
}

std::vector<Step> WithoutStep(std::vector<Step> trace, size_t at) {
  trace.erase(std::next(trace.begin(), static_cast<ptrdiff_t>(at)));
  return trace;
}

struct Case {
  const char* name;
  WrongRule wrong;
  std::set<std::string> last_verbs;  // One of them shows the difference.
  size_t most_steps;
};

// To name a case where a failure is printed.
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class WrongRuleTest : public ::testing::TestWithParam<Case> {};

TEST_P(WrongRuleTest, IsFoundAndShrunkToWhatItNeeds) {
  Setting setting;
  setting.wrong = GetParam().wrong;
  const std::vector<Step> trace = FailingTrace(setting);
  const std::vector<Step> shrunk = Shrink(setting, trace);
  SCOPED_TRACE(Explain(setting, shrunk));
  EXPECT_LE(shrunk.size(), GetParam().most_steps);
  ASSERT_FALSE(shrunk.empty());
  EXPECT_EQ(GetParam().last_verbs.count(shrunk.back().syntax->name), 1u);
  const auto difference = Replay(setting, shrunk);
  ASSERT_TRUE(difference.has_value());
  EXPECT_EQ(difference->steps, shrunk.size());
  for (size_t i = 0; i < shrunk.size(); ++i) {
    EXPECT_FALSE(Replay(setting, WithoutStep(shrunk, i)).has_value())
        << "not needed: " << ToLine(shrunk[i]);
  }
}

TEST_P(WrongRuleTest, IsReplayedFromItsLines) {
  Setting setting;
  setting.wrong = GetParam().wrong;
  const std::vector<Step> shrunk = Shrink(setting, FailingTrace(setting));
  const auto script = Parse(Explain(setting, shrunk));
  ASSERT_TRUE(script.ok()) << script.status();
  EXPECT_EQ(ToText(script->setting, script->trace), ToText(setting, shrunk));
  Setting again = script->setting;
  EXPECT_FALSE(Replay(again, script->trace).has_value()) << "the right rule agrees";
  again.wrong = GetParam().wrong;
  EXPECT_TRUE(Replay(again, script->trace).has_value());
}

INSTANTIATE_TEST_SUITE_P(
    AllRules, WrongRuleTest,
    ::testing::Values(
        // A region, an Ioas, an area in it, perhaps an allowed range that says where; the unmap.
        Case{"UnmapCutsAreas", WrongRule::kUnmapCutsAreas, {"unmap"}, 5},
        // A region, a mapping of the host; the deletion.
        Case{"DeleteForgetsHostMappings",
             WrongRule::kDeleteForgetsHostMappings,
             {"delete_region"},
             3},
        // An Ioas with an area or an allowed range where the device reserves, a domain, the claim,
        // the attachment to something else, which may need a claim, an Ioas and a domain of its
        // own; the replacement.
        Case{"ReplaceIgnoresRegions", WrongRule::kReplaceIgnoresRegions, {"replace"}, 9},
        // An Ioas, the claim of one device or two, a nest parent, a domain on it; the deletion.
        Case{"DeleteForgetsChildren", WrongRule::kDeleteForgetsChildren, {"delete_domain"}, 6},
        // An Ioas, the claim, the attachment to it, perhaps after another; the end of it.
        Case{"AutoDomainsStay",
             WrongRule::kAutoDomainsStay,
             {"detach", "replace", "replace_auto", "unplug"},
             5},
        // The claim, the attachment, perhaps to a domain, with an Ioas, or to one on a nest parent,
        // made for another device that is claimed, too; the end of it.
        Case{"DetachKeepsPasids", WrongRule::kDetachKeepsPasids, {"detach_pasid", "unplug"}, 7}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(TraceTest, ExplainsInWordsWhatBothSidesSay) {
  Setting setting;
  setting.wrong = WrongRule::kUnmapCutsAreas;
  const std::string text = Explain(setting, Shrink(setting, FailingTrace(setting)));
  EXPECT_THAT(text, HasSubstr("setting backend=fake variant=0\n"));
  EXPECT_THAT(text, HasSubstr("engine:    NOT_FOUND IOVA_NOT_COVERED"));
  EXPECT_THAT(text, HasSubstr("reference: OK  areas=0x1"));
}

TEST(TraceTest, EveryInventedStepIsReadBackFromItsLine) {
  World world({});
  Dice dice(7);
  for (int i = 0; i < 2000; ++i) {
    const Step step = world.Invent(dice);
    const std::string line = ToLine(step);
    const auto read = ParseLine(line, AllSyntaxes());
    ASSERT_TRUE(read.has_value()) << line;
    EXPECT_EQ(ToLine(*read), line);
    EXPECT_EQ(read->arguments, step.arguments) << line;
    EXPECT_EQ(world.Do(step), "") << line;
  }
}

TEST(TraceTest, RefusesWhatIsNoLine) {
  for (const char* line : {"carol unmap ioas=as1 all=0x0", "alice", "alice fly ioas=as1",
                           "alice unmap ioas=x1 all=0x0", "alice unmap ioas=as1",
                           "alice unmap ioas=as1 all=0x0 iova=0x1000",
                           "alice unmap all=0x0 ioas=as1", "alice detach device=dev1 device=dev2",
                           "alice request=x detach device=dev1", "setting backend=fake"}) {
    EXPECT_FALSE(Parse(line).ok()) << line;
  }
}

TEST(TraceTest, OneSeedIsOneTrace) {
  std::vector<Step> first, second, other;
  Tally tally;
  EXPECT_FALSE(RunEpisode({}, 5, 500, &first, &tally).has_value());
  EXPECT_FALSE(RunEpisode({}, 5, 500, &second, &tally).has_value());
  EXPECT_FALSE(RunEpisode({}, 6, 500, &other, &tally).has_value());
  EXPECT_EQ(ToText({}, first), ToText({}, second));
  EXPECT_NE(ToText({}, first), ToText({}, other));
}

}  // namespace
}  // namespace viommu::differential
