// Random use of the whole object graph by three callers, against a naive reference.
//
// VIOMMU_TEST_SEED repeats a run; VIOMMU_STEPS makes it longer; VIOMMU_TRACE names a file with the
// lines that a failure printed, and only they are replayed.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "tests/differential/trace.h"
#include "tests/differential/verbs.h"

namespace viommu::differential {
namespace {

constexpr uint64_t kSteps = 1'000'000;
// Of one world. So many that request_ids are forgotten, and so few that a failure is soon repeated.
constexpr uint64_t kStepsOfEpisode = 25'000;

std::string FromEnvironment(const char* name) {
  const char* const text = std::getenv(name);
  return text == nullptr ? "" : text;
}

uint64_t NumberFromEnvironment(const char* name, uint64_t otherwise) {
  const std::string text = FromEnvironment(name);
  return text.empty() ? otherwise : std::stoull(text);
}

uint64_t Seed() {
  static const uint64_t kSeed = NumberFromEnvironment(
      "VIOMMU_TEST_SEED", std::chrono::system_clock::now().time_since_epoch().count());
  return kSeed;
}

void RunAll(BackendKind backend, uint64_t steps, Tally* tally) {
  std::cout << "seed: VIOMMU_TEST_SEED=" << Seed() << std::endl;
  for (uint64_t episode = 0; steps > 0; ++episode) {
    const uint64_t now = std::min(steps, kStepsOfEpisode);
    steps -= now;
    const Setting setting{backend, episode, WrongRule::kNone, false};
    std::vector<Step> trace;
    const auto difference = RunEpisode(setting, Seed() + episode, now, &trace, tally);
    if (!difference.has_value()) continue;
    FAIL() << "step " << tally->steps << ", repeat with VIOMMU_TEST_SEED=" << Seed()
           << ", or put these lines into a file and name it in VIOMMU_TRACE:\n"
           << Explain(setting, Shrink(setting, std::move(trace)));
  }
}

void Report(const Tally& tally) {
  std::cout << tally.steps << " steps: " << tally.done << " done, " << tally.refused << " refused";
  for (const auto& [verb, count] : tally.verbs) std::cout << "\n  " << verb << " " << count;
  for (const auto& [reason, count] : tally.reasons) std::cout << "\n  " << reason << " " << count;
  std::cout << std::endl;
}

// What can not be done: the domains that an attachment makes serve no PASIDs; a guest's stage is on
// a nest parent of VT-d, or on a Viommu.
std::set<std::string> NeverDone(BackendKind backend) {
  std::set<std::string> never = {"attach_pasid_auto", "replace_pasid_auto"};
  if (Hardware{backend, {}}.IsSmmu()) {
    never.insert({"create_nested", "invalidate"});
  } else {
    never.insert({"create_viommu", "delete_viommu", "create_vdevice", "delete_vdevice",
                  "create_event_queue", "delete_event_queue", "create_guest", "invalidate_viommu",
                  "raise_event"});
  }
  return never;
}

// Of a verb that was never done nothing would be known but its refusals.
void ExpectEveryVerbDone(BackendKind backend, const Tally& tally) {
  const std::set<std::string> never = NeverDone(backend);
  for (const Verb* const verb : AllVerbs()) {
    const std::string name = verb->syntax.name;
    EXPECT_EQ(tally.verbs.count(name), never.count(name) == 0 ? 1u : 0u) << name;
  }
}

bool OnlyReplays() { return !FromEnvironment("VIOMMU_TRACE").empty(); }

TEST(DifferentialTest, TheEngineAgreesWithTheReferenceOverTheFake) {
  if (OnlyReplays()) GTEST_SKIP() << "only a trace is replayed";
  Tally tally;
  const uint64_t steps = NumberFromEnvironment("VIOMMU_STEPS", kSteps);
  RunAll(BackendKind::kFake, steps, &tally);
  Report(tally);
  if (steps >= kSteps) ExpectEveryVerbDone(BackendKind::kFake, tally);
  // A run that refused nearly everything would have proved nothing.
  EXPECT_GT(tally.done, steps / 8);
}

struct Other {
  const char* name;
  BackendKind backend;
  uint64_t share;  // Of the steps over the fake.
};

// To name a case where a failure is printed.
void PrintTo(const Other& other, std::ostream* out) { *out << other.name; }

class OtherDifferentialTest : public testing::TestWithParam<Other> {};

TEST_P(OtherDifferentialTest, TheEngineAgreesWithTheReferenceOverItToo) {
  if (OnlyReplays()) GTEST_SKIP() << "only a trace is replayed";
  Tally tally;
  const BackendKind backend = GetParam().backend;
  const uint64_t all = NumberFromEnvironment("VIOMMU_STEPS", kSteps);
  const uint64_t steps = std::max<uint64_t>(all / GetParam().share, 1);
  RunAll(backend, steps, &tally);
  Report(tally);
  if (all >= kSteps && Hardware{backend, {}}.IsFake()) ExpectEveryVerbDone(backend, tally);
  EXPECT_GT(tally.done, steps / 8);
}

INSTANTIATE_TEST_SUITE_P(Backends, OtherDifferentialTest,
                         testing::Values(Other{"Soft", BackendKind::kSoft, 10},
                                         Other{"SoftSmmu", BackendKind::kSoftSmmu, 10},
                                         Other{"FakeSmmu", BackendKind::kFakeSmmu, 4}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(DifferentialTest, ReplaysATraceThatIsNamed) {
  if (!OnlyReplays()) GTEST_SKIP() << "VIOMMU_TRACE names no file";
  std::ifstream file(FromEnvironment("VIOMMU_TRACE"));
  ASSERT_TRUE(file.is_open());
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto script = Parse(text);
  ASSERT_TRUE(script.ok()) << script.status();
  Setting setting = script->setting;
  setting.in_words = true;
  const auto difference = Replay(setting, script->trace);
  if (difference.has_value())
    ADD_FAILURE() << "step " << difference->steps << ": " << difference->what;
}

}  // namespace
}  // namespace viommu::differential
