#include "clients/viommuctl/completion.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::string> Completed(const std::vector<std::string>& words) {
  const std::vector<Command> commands = {
      {"get ioas",
       {{"IOAS", ValueType::kName, "", Presence::kRequired, Kind::kIoas}},
       {},
       kPlain,
       "",
       "",
       nullptr},
      {"get host", {}, {}, kPlain, "", "", nullptr},
      {"get ioas all", {}, {{"tidy", ValueType::kSwitch}}, kPlain, "", "", nullptr},
      {"grant",
       {{"HOW", ValueType::kChoice, "", Presence::kRequired, Kind::kNone, "well|badly"}},
       {{"region", ValueType::kName, "", Presence::kOptional, Kind::kRegion}},
       kChanges,
       "",
       "",
       nullptr},
  };
  // Who is asked shows in the names.
  return Complete(commands, words, [](Kind kind, const CommandLine& line) {
    const std::string id = kind == Kind::kIoas ? "vm" : "ram";
    return std::vector<std::string>{id + "0", id + line.Text("target")};
  });
}

TEST(CompletionTest, OffersCommandsWordByWord) {
  EXPECT_THAT(Completed({""}), ElementsAre("get", "grant"));
  EXPECT_THAT(Completed({"gr"}), ElementsAre("grant"));
  EXPECT_THAT(Completed({"get", ""}), ElementsAre("ioas", "host"));
  EXPECT_THAT(Completed({"get", "h"}), ElementsAre("host"));
  EXPECT_THAT(Completed({"none", ""}), IsEmpty());
}

TEST(CompletionTest, OffersHowALongerNameGoesOnBesideArguments) {
  EXPECT_THAT(Completed({"get", "ioas", ""}), ElementsAre("all", "vm0", "vm"));
  EXPECT_THAT(Completed({"get", "ioas", "all", "--t"}), Contains("--tidy"));
  EXPECT_THAT(Completed({"get", "ioas", "vm0", "--ti"}), Not(Contains("--tidy")));
}

TEST(CompletionTest, OffersObjectsOfTheDaemonThatIsMeant) {
  EXPECT_THAT(Completed({"--target", "X", "get", "ioas", ""}), ElementsAre("all", "vm0", "vmX"));
  EXPECT_THAT(Completed({"get", "ioas", "ioas/"}), ElementsAre("ioas/vm0", "ioas/vm"));
  EXPECT_THAT(Completed({"grant", "--region", "ram0"}), ElementsAre("ram0"));
  EXPECT_THAT(Completed({"grant", "--region=r"}), ElementsAre("--region=ram0", "--region=ram"));
}

TEST(CompletionTest, OffersChoicesAndFlagsNotGivenYet) {
  EXPECT_THAT(Completed({"grant", ""}), ElementsAre("well", "badly"));
  EXPECT_THAT(Completed({"get", "host", "-o", "j"}), ElementsAre("json"));
  EXPECT_THAT(Completed({"grant", "--d"}), ElementsAre("--dry-run"));
  EXPECT_THAT(Completed({"grant", "--dry-run", "--"}), Not(Contains("--dry-run")));
  EXPECT_THAT(Completed({"grant", "--dry-run", "--"}), Contains("--region"));
}

}  // namespace
}  // namespace viommu
