#include "server/announcement.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(AnnouncementTest, ListsTheEndpointsForPrograms) {
  EXPECT_EQ(EndpointsJson({"/s/viommud.sock", "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}, 42),
            R"({"pid":42,"unix_socket":"/s/viommud.sock","tcp_address":"127.0.0.1:1",)"
            R"("metrics_address":"127.0.0.1:2","health_address":"127.0.0.1:3"})"
            "\n");
  EXPECT_EQ(EndpointsJson({"/a\"b", "", "", ""}, 1), "{\"pid\":1,\"unix_socket\":\"/a\\\"b\"}\n");
}

TEST(AnnouncementTest, PrintsLinesThatCanBePasted) {
  const std::string text = Greeting({"/s/viommud.sock", "", "127.0.0.1:2", ""}, "grpcurl");
  EXPECT_THAT(text, HasSubstr("\n  grpcurl -plaintext -unix /s/viommud.sock "
                              "viommu.v1.HostService/GetHost\n"));
  EXPECT_THAT(text, HasSubstr("http://127.0.0.1:2/metrics\n"));
  EXPECT_THAT(text, Not(HasSubstr("tcp")));
  EXPECT_THAT(text, Not(HasSubstr("health")));
  EXPECT_THAT(Greeting({"/s", "[::1]:7", "", ""}, "grpcurl"), HasSubstr("[::1]:7\n"));
  EXPECT_THAT(Greeting({"/s", "", "", "[::1]:8"}, "grpcurl"), HasSubstr("health       [::1]:8\n"));
}

TEST(AnnouncementTest, QuotesPathsForTheShell) {
  EXPECT_THAT(Greeting({"/my state/it's", "", "", ""}, "/home/me too/grpcurl"),
              HasSubstr("  '/home/me too/grpcurl' -plaintext -unix '/my state/it'\\''s' "));
}

}  // namespace
}  // namespace viommu
