#include "clients/demo/http_get.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

// Answers one connection with `answer`, whatever is asked; byte by byte with a pause before each,
// if there is one, until nobody listens.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer, absl::Duration pause = absl::ZeroDuration())
      : pause_(pause), fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address_);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address_), size), 0);
    EXPECT_EQ(listen(fd_, 1), 0);
    EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address_), &size), 0);
    thread_ = std::thread([this, answer = std::move(answer)] { Answer(answer); });
  }
  ~OneAnswer() {
    thread_.join();
    close(fd_);
  }

  std::string address() const { return absl::StrCat("127.0.0.1:", ntohs(address_.sin_port)); }
  // After the answer.
  const std::string& asked() {
    if (thread_.joinable()) thread_.join();
    thread_ = std::thread([] {});
    return asked_;
  }

 private:
  void Answer(const std::string& answer) {
    const int fd = accept(fd_, nullptr, nullptr);
    char bytes[1000];
    const ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
    if (got > 0) asked_.assign(bytes, static_cast<size_t>(got));
    if (pause_ == absl::ZeroDuration()) {
      send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    } else {
      for (const char byte : answer) {
        absl::SleepFor(pause_);
        if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1) break;
      }
    }
    close(fd);
  }

  const absl::Duration pause_;
  const int fd_;
  sockaddr_in address_ = {};
  std::string asked_;
  std::thread thread_;
};

TEST(HttpGetTest, AnswersTheBody) {
  const std::string body = std::string(100000, 'x') + "\r\n\r\nend";
  OneAnswer server("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + body);
  const absl::StatusOr<std::string> got = HttpGet(server.address(), "/metrics");
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, body);
  EXPECT_EQ(server.asked(), "GET /metrics HTTP/1.0\r\n\r\n");
}

TEST(HttpGetTest, RefusesOtherAnswersThan200) {
  for (const char* answer : {"HTTP/1.1 404 Not Found\r\n\r\nno", "HTTP/1.1 200 OK\r\nno end", ""}) {
    OneAnswer server(answer);
    const absl::StatusOr<std::string> got = HttpGet(server.address(), "/");
    EXPECT_EQ(got.status().code(), absl::StatusCode::kUnavailable) << answer;
  }
}

TEST(HttpGetTest, SaysWhenNobodyListens) {
  std::string address;
  {
    OneAnswer server("");
    address = server.address();
    EXPECT_FALSE(HttpGet(address, "/").ok());
  }
  const absl::StatusOr<std::string> got = HttpGet(address, "/");
  EXPECT_EQ(got.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(got.status().message().find(address), std::string::npos) << got.status();
}

TEST(HttpGetTest, TakesNoLongerThanItsTimeHoweverOftenSomethingComes) {
  const std::string answer = "HTTP/1.1 200 OK\r\n\r\n" + std::string(1000, 'x');
  for (const absl::Duration pause : {absl::Milliseconds(5), absl::Milliseconds(1500)}) {
    SCOPED_TRACE(pause);
    OneAnswer server(answer, pause);
    const absl::Time start = absl::Now();
    const absl::Status status = HttpGet(server.address(), "/", absl::Milliseconds(200)).status();
    EXPECT_LT(absl::Now() - start, absl::Seconds(4));
    EXPECT_GE(absl::Now() - start, absl::Milliseconds(200));
    EXPECT_EQ(status, absl::DeadlineExceededError(server.address() + ": no answer within 200ms"));
  }
}

TEST(HttpGetTest, TakesAPageThatComesSlowlyButInTime) {
  OneAnswer server("HTTP/1.1 200 OK\r\n\r\nslow", absl::Milliseconds(2));
  const absl::StatusOr<std::string> got = HttpGet(server.address(), "/");
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, "slow");
}

TEST(HttpGetTest, RefusesMalformedAddresses) {
  for (const char* address :
       {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "nohost:80", ":80"}) {
    EXPECT_EQ(HttpGet(address, "/").status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
}

}  // namespace
}  // namespace viommu
