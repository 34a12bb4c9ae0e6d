#include "server/metrics_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/counter.h"
#include "prometheus/registry.h"

namespace viommu {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// One HTTP request over a plain socket.
std::string HttpGet(uint16_t port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
    (void)send(fd, request.data(), request.size(), MSG_NOSIGNAL);
    char buffer[4096];
    for (ssize_t n = 0; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) answer.append(buffer, n);
  }
  close(fd);
  return answer;
}

TEST(MetricsEndpointTest, ServesWhatItWasGivenOnAPortThatTheKernelChose) {
  auto registry = std::make_shared<prometheus::Registry>();
  prometheus::BuildCounter().Name("answer_total").Register(*registry).Add({}).Increment(42);
  const auto endpoint = MetricsEndpoint::Serve({"127.0.0.1", 0}, {registry});
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_NE((*endpoint)->address().port, 0);
  EXPECT_THAT(HttpGet((*endpoint)->address().port, "/metrics"),
              AllOf(StartsWith("HTTP/1.1 200"), HasSubstr("\nanswer_total 42\n")));
}

TEST(MetricsEndpointTest, NamesTheAddressThatIsInUse) {
  const auto first = MetricsEndpoint::Serve({"127.0.0.1", 0}, {});
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = MetricsEndpoint::Serve((*first)->address(), {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr((*first)->address().ToString()));
}

TEST(MetricsEndpointTest, FreesItsPortWhenItIsDestroyed) {
  auto first = MetricsEndpoint::Serve({"127.0.0.1", 0}, {});
  ASSERT_TRUE(first.ok()) << first.status();
  const SocketAddress address = (*first)->address();
  first->reset();
  EXPECT_TRUE(MetricsEndpoint::Serve(address, {}).ok());
}

}  // namespace
}  // namespace viommu
