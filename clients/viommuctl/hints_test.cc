#include "clients/viommuctl/hints.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

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
              ElementsAre("viommuctl delete domain a", "viommuctl unmap owners/x/ioas/b --all",
                          "viommuctl detach c"));
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
