#include "clients/device_plugin/preferred.h"

#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// Node 0: a pair and a single one. Node 1: three single ones. One that is near to no known node.
std::map<std::string, Placement> Host() {
  return {{"a0", {0, "pair"}}, {"a1", {0, "pair"}}, {"b0", {0, ""}},           {"c0", {1, ""}},
          {"c1", {1, ""}},     {"c2", {1, ""}},     {"x0", {std::nullopt, ""}}};
}

std::vector<std::string> All() { return {"x0", "c2", "c1", "c0", "b0", "a1", "a0"}; }

TEST(PreferredTest, KeepsAGroupTogether) {
  EXPECT_THAT(ChoosePreferred(Host(), All(), {}, 2), UnorderedElementsAre("a0", "a1"));
  EXPECT_THAT(ChoosePreferred(Host(), All(), {"a1"}, 2), ElementsAre("a1", "a0"));
}

TEST(PreferredTest, LeavesAGroupWholeWhenOneDeviceIsWanted) {
  EXPECT_THAT(ChoosePreferred(Host(), {"a0", "a1", "b0"}, {}, 1), ElementsAre("b0"));
}

TEST(PreferredTest, StaysOnOneNode) {
  EXPECT_THAT(ChoosePreferred(Host(), {"b0", "c0", "c1"}, {}, 2), UnorderedElementsAre("c0", "c1"));
  EXPECT_THAT(ChoosePreferred(Host(), All(), {"c1"}, 3), UnorderedElementsAre("c0", "c1", "c2"));
}

TEST(PreferredTest, TakesTheSmallestNodeThatIsEnough) {
  EXPECT_THAT(ChoosePreferred(Host(), {"b0", "c0", "c1", "c2"}, {}, 1), ElementsAre("b0"));
}

TEST(PreferredTest, TakesDevicesOfAnUnknownNodeAfterTheOthers) {
  EXPECT_THAT(ChoosePreferred(Host(), {"x0", "b0"}, {}, 1), ElementsAre("b0"));
}

TEST(PreferredTest, TakesWhatCouldNotBeGivenAwayLast) {
  auto host = Host();
  host["a0"].sibling_taken = true;
  host["b0"].sibling_taken = true;
  EXPECT_THAT(ChoosePreferred(host, {"b0", "c0"}, {}, 1), ElementsAre("c0"));
  EXPECT_THAT(ChoosePreferred(host, {"a0", "a1", "x0"}, {}, 2), ElementsAre("x0", "a0"));
}

TEST(PreferredTest, GoesBeyondANodeOnlyWhenItMust) {
  const auto chosen = ChoosePreferred(Host(), All(), {}, 4);
  EXPECT_THAT(chosen, SizeIs(4));
  EXPECT_THAT(ChoosePreferred(Host(), All(), {}, 7), SizeIs(7));
}

// The kubelet admits no pod meanwhile.
TEST(PreferredTest, AnswersSoonAmongThousandsOfDevices) {
  std::map<std::string, Placement> host;
  std::vector<std::string> available;
  for (int i = 0; i < 5000; ++i) {
    available.push_back("d" + std::to_string(i));
    host[available.back()] = {i % 8, ""};
  }
  const auto chosen = ChoosePreferred(host, available, {"d9"}, 128);
  EXPECT_THAT(chosen, SizeIs(128));
  for (const std::string& id : chosen) EXPECT_EQ(host.at(id).numa_node, 1);
}

TEST(PreferredTest, AnswersWhateverIsAsked) {
  EXPECT_THAT(ChoosePreferred({}, {}, {}, 3), IsEmpty());
  EXPECT_THAT(ChoosePreferred(Host(), All(), {"a0", "a1"}, 0), IsEmpty());
  EXPECT_THAT(ChoosePreferred({}, {"u", "u", "v"}, {"w", "v"}, 5), UnorderedElementsAre("u", "v"));
  EXPECT_THAT(ChoosePreferred(Host(), All(), All(), 1), SizeIs(1));
}

}  // namespace
}  // namespace viommu
