#include "clients/viommuctl/command_line.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<Command> SomeCommands() {
  return {
      {"get ioas",
       {{"IOAS", ValueType::kName, "", Presence::kRequired, Kind::kIoas}},
       {},
       kPlain,
       "",
       "",
       nullptr},
      {"list devices", {}, {}, kPaged, "", "", nullptr},
      {"map out", {{"FILE"}}, {{"all", ValueType::kSwitch}}, kPlain, "", "", nullptr},
      {"map",
       {{"IOAS", ValueType::kName, "", Presence::kRequired, Kind::kIoas},
        {"RANGE", ValueType::kRange, "", Presence::kRepeated}},
       {{"size", ValueType::kSize, "", Presence::kRequired}},
       kChanges,
       "",
       "",
       nullptr},
  };
}

class CommandLineTest : public ::testing::Test {
 protected:
  absl::Status Parse(const std::vector<std::string>& words) {
    line_ = CommandLine();
    return ParseCommandLine(commands_, words, &line_);
  }

  std::vector<Command> commands_ = SomeCommands();
  CommandLine line_;
};

TEST_F(CommandLineTest, TakesTheLongestNameThatTheWordsBeginWith) {
  ASSERT_TRUE(Parse({"map", "out", "x", "--all"}).ok());
  EXPECT_EQ(line_.command->name, "map out");
  EXPECT_EQ(line_.Text("FILE"), "x");
  ASSERT_TRUE(Parse({"map", "vm0", "out", "--size", "4K", "--help"}).ok());
  EXPECT_EQ(line_.command->name, "map");
  EXPECT_FALSE(Parse({"map", "out", "x", "--size", "4K"}).ok()) << "a flag of the shorter one";
}

TEST_F(CommandLineTest, TakesFlagsInBothFormsAnywhere) {
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"map", "vm0", "--size", "4K", "-o", "json", "--dry-run"},
           {"-o=json", "map", "--size=4K", "vm0", "--dry-run"},
           {"-ojson", "map", "--size=4K", "vm0", "--dry-run"},
           {"--output", "json", "map", "--dry-run", "--size=4K", "--", "vm0"}}) {
    const absl::Status status = Parse(words);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(line_.command->name, "map");
    EXPECT_EQ(line_.Text("IOAS"), "vm0");
    EXPECT_EQ(line_.Text("size"), "4K");
    EXPECT_EQ(line_.Text("output"), "json");
    EXPECT_TRUE(line_.Has("dry-run"));
    EXPECT_FALSE(line_.Has("quiet"));
  }
}

TEST_F(CommandLineTest, TakesKindsInTheirForms) {
  for (const char* word : {"device", "devices"}) {
    ASSERT_TRUE(Parse({"list", word}).ok()) << word;
    EXPECT_EQ(line_.command->name, "list devices");
  }
}

TEST_F(CommandLineTest, TakesRepeatedArguments) {
  ASSERT_TRUE(Parse({"map", "vm0", "0+4K", "0x2000-0x2fff", "--size", "1"}).ok());
  EXPECT_THAT(line_.values["RANGE"], ElementsAre("0+4K", "0x2000-0x2fff"));
}

TEST_F(CommandLineTest, NothingAndHelpAreNoErrors) {
  EXPECT_TRUE(Parse({}).ok());
  EXPECT_EQ(line_.command, nullptr);
  EXPECT_TRUE(Parse({"map", "--help"}).ok());
  EXPECT_TRUE(line_.Has("help"));
}

TEST_F(CommandLineTest, TakesHelpBehindHalfACommandForTheHelpCommand) {
  commands_.push_back({"help",
                       {{"COMMAND", ValueType::kText, "", Presence::kRepeated}},
                       {},
                       kPlain,
                       "",
                       "",
                       nullptr});
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"get", "-h"}, {"--help", "get"}}) {
    ASSERT_TRUE(Parse(words).ok());
    ASSERT_NE(line_.command, nullptr);
    EXPECT_EQ(line_.command->name, "help");
    EXPECT_THAT(line_.values["COMMAND"], ElementsAre("get"));
    EXPECT_FALSE(line_.Has("help")) << "that would explain the help command";
  }
}

TEST_F(CommandLineTest, RefusesMistakesAndNamesThem) {
  const struct {
    std::vector<std::string> words;
    const char* want;
  } kCases[] = {
      {{"mpa", "vm0"}, "there is no command \"mpa\"; did you mean viommuctl map?"},
      {{"list"}, "list needs one of: devices"},
      {{"list", "devcies"}, "not \"devcies\"; did you mean devices?"},
      {{"ioas", "get"}, "the verb comes first: viommuctl get ioas"},
      {{"map", "--size", "4K"}, "IOAS is missing"},
      {{"map", "vm0"}, "--size SIZE is missing"},
      {{"map", "vm0", "--size"}, "--size needs a value"},
      {{"map", "vm0", "--size", "--dry-run"}, "--size needs a value"},
      {{"map", "vm0", "--size", "4Q"}, "--size: \"4Q\" is not a size"},
      {{"map", "vm0", "--size", "4K", "--size=4K"}, "--size is given twice"},
      {{"map", "vm0", "--szie", "4K"}, "there is no flag \"--szie\" of map; did you mean --size?"},
      {{"map", "vm0", "--size=4K", "--dry-run=1"}, "--dry-run takes no value"},
      {{"map", "vm0", "--size="}, "--size: \"\" is not a size"},
      {{"map", "vm0", "-size=4K"}, "there is no flag \"-size\" of map; did you mean --size?"},
      {{"get", "ioas", "a", "-qv"}, "--quiet takes no value"},
      {{"mpa", "-h"}, "there is no command \"mpa\""},
      {{"map", "domains/vm0", "--size=4K"}, "IOAS: \"domains/vm0\" names no ioas"},
      {{"map", "vm0", "9", "--size=4K"}, "RANGE: \"9\" is not a range"},
      {{"get", "ioas", "a", "b"}, "one word too many: \"b\""},
      {{"get", "ioas", "a", "-o", "xml"}, "--output: \"xml\" is none of table, json, textproto"},
      {{"get", "ioas", "a", "--dry-run"}, "there is no flag \"--dry-run\""},
      {{"--size", "4K", "map"}, "there is no flag \"--size\" before a command"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.want);
    const absl::Status status = Parse(c.words);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.want));
  }
}

TEST_F(CommandLineTest, UsageShowsWhatMustBeGivenFirst) {
  EXPECT_EQ(UsageOf(commands_[3]),
            "viommuctl map IOAS [RANGE...] --size SIZE [--dry-run] [--request-id TEXT]");
}

}  // namespace
}  // namespace viommu
