#include "clients/viommuctl/hints.h"

#include "clients/viommuctl/command.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

TEST(HintsTest, NamesTheObjectOfTheError) {
  CallError error;
  error.reason = "DEVICE_NOT_CLAIMED";
  error.resource.name = "devices/0000:01:00.0";
  EXPECT_THAT(HintsFor(error, {}), ElementsAre("viommuctl claim 0000:01:00.0"));
}

TEST(HintsTest, NamesWhatWasAskedForWhereTheErrorDoesNot) {
  CallError error;
  error.reason = "IOVA_NOT_COVERED";
  EXPECT_THAT(HintsFor(error, {}), ElementsAre("viommuctl mappings IOAS shows what is mapped"));
  CommandLine line;
  line.values["IOAS"] = {"vm0"};
  EXPECT_THAT(HintsFor(error, line), ElementsAre("viommuctl mappings vm0 shows what is mapped"));
}

TEST(HintsTest, SaysForEachReferrerWhatFreesIt) {
  CallError error;
  error.reason = "IN_USE";
  error.preconditions = {{"IN_USE", "domains/a", ""},
                         {"IN_USE", "owners/x/ioas/b", ""},
                         {"IN_USE", "devices/c", ""},
                         {"IN_USE", "", "and 3 more"}};
  EXPECT_THAT(HintsFor(error, {}),
              ElementsAre("viommuctl delete domain a",
                          "viommuctl mappings owners/x/ioas/b shows where; then viommuctl unmap "
                          "owners/x/ioas/b --iova ADDRESS --size SIZE",
                          "viommuctl detach c"));
}

TEST(HintsTest, SaysHowToUndoHostMappings) {
  CallError error;
  error.reason = "IN_USE";
  error.preconditions = {{"IN_USE", "host mappings of group 5", ""}};
  EXPECT_THAT(HintsFor(error, {}),
              ElementsAre("viommuctl list devices shows which devices the group 5 has; then "
                          "viommuctl host-unmap DEVICE --iova ADDRESS --size SIZE"));
}

TEST(HintsTest, NamesTheSpaceThatIsReadFrom) {
  CallError error;
  error.reason = "IOVA_NOT_COVERED";
  CommandLine line;
  line.values["IOAS"] = {"vm1"};
  line.values["from"] = {"vm0"};
  EXPECT_THAT(HintsFor(error, line), ElementsAre("viommuctl mappings vm0 shows what is mapped"));
}

TEST(HintsTest, SaysWhatFitsTheCommand) {
  const struct {
    const char* reason;
    const char* command;
    const char* hint;
  } kCases[] = {
      {"DEVICE_NOT_CLAIMED", "attach", "viommuctl claim a"},
      {"DEVICE_NOT_CLAIMED", "detach", "viommuctl get device a shows who has it"},
      {"DEVICE_NOT_CLAIMED", "release", "viommuctl get device a shows who has it"},
      {"MISALIGNED", "map", "write multiples of the alignment; viommuctl get ioas IOAS shows it"},
      {"MISALIGNED", "host-map", "write multiples of 4K"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.command);
    Command command;
    command.name = c.command;
    CommandLine line;
    line.command = &command;
    CallError error;
    error.reason = c.reason;
    error.resource.name = "devices/a";
    EXPECT_THAT(HintsFor(error, line), ElementsAre(c.hint));
  }
}

TEST(HintsTest, WarnsOfAChangeThatMayHaveBeenMade) {
  constexpr char kWarning[] =
      "the change may have been made; get or list show it, --request-id makes a repetition safe";
  CallError error;
  error.code = absl::StatusCode::kUnavailable;
  Command command;
  command.name = "create ioas";
  command.traits = kChanges;
  CommandLine line;
  line.command = &command;
  EXPECT_THAT(HintsFor(error, line, /*may_have_arrived=*/true), ElementsAre(kWarning));
  EXPECT_THAT(HintsFor(error, line, /*may_have_arrived=*/false),
              ElementsAre(StartsWith("is viommud running?")));
  error.reason = "DRAINING";
  EXPECT_THAT(HintsFor(error, line, /*may_have_arrived=*/true),
              ElementsAre(StartsWith("the server is about to stop")));
  error.reason.clear();
  line.values["dry-run"] = {""};
  EXPECT_THAT(HintsFor(error, line, /*may_have_arrived=*/true), Not(Contains(kWarning)));
  command.traits = kPlain;
  line.values.clear();
  EXPECT_THAT(HintsFor(error, line, /*may_have_arrived=*/true), Not(Contains(kWarning)));
}

TEST(HintsTest, NamesTheSettingOfTheLimitThatWasMet) {
  CallError error;
  error.code = absl::StatusCode::kResourceExhausted;
  error.reason = "OBJECT_LIMIT";
  error.metadata["limit"] = "max_ioas";
  EXPECT_THAT(HintsFor(error, {}),
              ElementsAre("delete one that is not needed, or raise --owner_max_ioas of viommud"));
}

TEST(HintsTest, KnowsKindsAndCodesWithoutAReason) {
  CallError error;
  error.code = absl::StatusCode::kNotFound;
  error.resource.name = "memoryRegions/ram";
  EXPECT_THAT(HintsFor(error, {}), ElementsAre("viommuctl list regions shows what there is"));
  error = CallError();
  error.code = absl::StatusCode::kDeadlineExceeded;
  EXPECT_THAT(HintsFor(error, {}),
              ElementsAre("--timeout gives it longer; get or list show whether it was done"));
  error.code = absl::StatusCode::kInternal;
  EXPECT_THAT(HintsFor(error, {}), IsEmpty());
}

}  // namespace
}  // namespace viommu
