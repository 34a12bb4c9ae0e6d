#include "server/socket_address.h"

#include "gtest/gtest.h"

namespace viommu {
namespace {

TEST(SocketAddressTest, ReadsHostAndPortAndWritesThemBack) {
  const struct {
    const char* text;
    const char* host;
    int port;
  } kCases[] = {
      {"127.0.0.1:0", "127.0.0.1", 0},
      {"localhost:9477", "localhost", 9477},
      {"[::1]:65535", "::1", 65535},
      {"node-1.example:7700", "node-1.example", 7700},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    const auto address = ParseSocketAddress(c.text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(address->host, c.host);
    EXPECT_EQ(address->port, c.port);
    EXPECT_EQ(address->ToString(), c.text);
  }
}

TEST(SocketAddressTest, RefusesWhatIsNoAddress) {
  for (const char* text :
       {"", ":", ":1", "host", "host:", "host:65536", "host:-1", "host:+1", "host:1a", "host: 1",
        "::1:80", "[::1]", "[::1:80", "[host]:80", "unix:/a:1", "a b:1", "[]:1", "[:1"}) {
    SCOPED_TRACE(text);
    const auto address = ParseSocketAddress(text);
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(address.status().message().find(text), absl::string_view::npos);
  }
}

}  // namespace
}  // namespace viommu
