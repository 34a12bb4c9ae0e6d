#include "clients/demo/transcript.h"

#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

TEST(TranscriptTest, FormatsBytesInTheLargestUnitThatFits) {
  const struct {
    uint64_t bytes;
    const char* want;
  } kCases[] = {{0, "0 B"},
                {1023, "1023 B"},
                {1024, "1 KiB"},
                {1536, "1536 B"},
                {3 << 20, "3 MiB"},
                {uint64_t{1} << 30, "1 GiB"},
                {5 << 10, "5 KiB"},
                {uint64_t{1} << 44, "16 TiB"},
                {uint64_t{1} << 60, "1048576 TiB"}};
  for (const auto& c : kCases) EXPECT_EQ(FormatBytes(c.bytes), c.want);
}

TEST(TranscriptTest, TimesHaveOneWidth) {
  EXPECT_EQ(FormatMilliseconds(absl::Microseconds(17)), "     0.02 ms");
  EXPECT_EQ(FormatMilliseconds(absl::Seconds(12.3456)), " 12345.60 ms");
}

TEST(TranscriptTest, AlignsResultsAndTheLinesBelowThem) {
  std::ostringstream out;
  Transcript transcript(&out, /*colours=*/false);
  EXPECT_TRUE(transcript.Step("begin", [] { return "one\ntwo"; }));
  EXPECT_TRUE(transcript.Step("a step with a name that is long", [] { return "three"; }));
  std::istringstream lines(out.str());
  std::string first, second, third;
  std::getline(lines, first);
  std::getline(lines, second);
  std::getline(lines, third);
  EXPECT_TRUE(absl::StartsWith(first, " 1  begin ")) << first;
  EXPECT_TRUE(absl::StartsWith(third, " 2  a step ")) << third;
  EXPECT_NE(first.find(" ok "), std::string::npos);
  EXPECT_EQ(first.find("one"), second.find("two"));
  EXPECT_EQ(first.find("one"), third.find("three"));
  EXPECT_EQ(transcript.steps(), 2);
  EXPECT_EQ(transcript.failed_step(), "");
}

TEST(TranscriptTest, NamesTheStepThatFailed) {
  std::ostringstream out;
  Transcript transcript(&out, /*colours=*/false);
  EXPECT_TRUE(transcript.Step("good", [] { return ""; }));
  EXPECT_FALSE(transcript.Step("bad", [] { return absl::InternalError("it broke"); }));
  EXPECT_EQ(transcript.failed_step(), "bad");
  EXPECT_NE(out.str().find("FAILED"), std::string::npos);
  EXPECT_NE(out.str().find("it broke"), std::string::npos);
}

TEST(TranscriptTest, ColoursOnlyWhenToldTo) {
  for (const bool colours : {false, true}) {
    std::ostringstream out;
    Transcript(&out, colours).Step("step", [] { return "done"; });
    EXPECT_EQ(out.str().find('\033') != std::string::npos, colours);
  }
}

}  // namespace
}  // namespace viommu
