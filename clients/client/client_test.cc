// A server that fails as it is told, on a socket whose name is not easy.
#include "clients/client/client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "google/protobuf/empty.pb.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "viommu/v1/host.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

// Fails calls, and notes their request_ids; "" where there is none.
class Script {
 public:
  void FailWith(std::deque<grpc::Status> failures) {
    const absl::MutexLock lock(&mutex_);
    failures_ = std::move(failures);
  }

  grpc::Status Next(const std::string& request_id) {
    const absl::MutexLock lock(&mutex_);
    request_ids_.push_back(request_id);
    if (failures_.empty()) return grpc::Status::OK;
    grpc::Status failure = failures_.front();
    failures_.pop_front();
    return failure;
  }

  // Of the calls since the last time.
  std::vector<std::string> TakeRequestIds() {
    const absl::MutexLock lock(&mutex_);
    return std::exchange(request_ids_, {});
  }

 private:
  absl::Mutex mutex_;
  std::deque<grpc::Status> failures_;
  std::vector<std::string> request_ids_;
};

class Host final : public v1::HostService::Service {
 public:
  explicit Host(Script* script) : script_(*script) {}
  grpc::Status GetHost(grpc::ServerContext* /*context*/, const v1::GetHostRequest* /*request*/,
                       v1::Host* host) override {
    host->set_version("7");
    return script_.Next("");
  }
  // Answers only when the client has lost patience.
  grpc::Status ListIommus(grpc::ServerContext* context, const v1::ListIommusRequest* /*request*/,
                          v1::ListIommusResponse* /*response*/) override {
    while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(1));
    return script_.Next("");
  }

 private:
  Script& script_;
};

class Ioas final : public v1::IoasService::Service {
 public:
  explicit Ioas(Script* script) : script_(*script) {}
  grpc::Status CreateIoas(grpc::ServerContext* /*context*/, const v1::CreateIoasRequest* request,
                          v1::Ioas* ioas) override {
    ioas->set_name("ioas/" + request->ioas_id());
    return script_.Next(request->request_id());
  }
  grpc::Status DeleteIoas(grpc::ServerContext* /*context*/, const v1::DeleteIoasRequest* request,
                          google::protobuf::Empty* /*empty*/) override {
    return script_.Next(request->request_id());
  }

 private:
  Script& script_;
};

class Simulation final : public v1::SimulationService::Service {
 public:
  explicit Simulation(Script* script) : script_(*script) {}
  grpc::Status Dma(grpc::ServerContext* /*context*/, const v1::DmaRequest* /*request*/,
                   v1::DmaResponse* /*response*/) override {
    return script_.Next("");
  }

 private:
  Script& script_;
};

// For what takes milliseconds, on a machine that compiles meanwhile.
constexpr absl::Duration kPatience = absl::Seconds(20);

const grpc::Status kLost(grpc::UNAVAILABLE, "lost");

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    // Short, whatever the test's own folder is.
    std::string folder = "/tmp/viommu-client-XXXXXX";
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    socket_ = folder_ + "/50% of a socket";
    Start("unix:" + socket_);
    options_.first_backoff = absl::Milliseconds(1);
    options_.max_backoff = absl::Milliseconds(2);
  }

  ~ClientTest() override {
    if (server_ != nullptr) server_->Shutdown(absl::ToChronoTime(absl::Now()));
    std::filesystem::remove_all(folder_);
  }

  void Start(const std::string& address) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&host_);
    builder.RegisterService(&ioas_);
    builder.RegisterService(&simulation_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }

  void Stop() {
    server_->Shutdown(absl::ToChronoTime(absl::Now()));
    server_.reset();
  }

  std::unique_ptr<Client> Connected() { return ConnectedTo(socket_); }
  std::unique_ptr<Client> ConnectedTo(const std::string& target) {
    absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(target, options_);
    EXPECT_TRUE(client.ok()) << client.status();
    return client.ok() ? *std::move(client) : nullptr;
  }

  absl::Status NobodyAt(const std::string& target) {
    options_.connect_timeout = absl::Milliseconds(150);
    const auto client = Client::Connect(target, options_);
    EXPECT_EQ(client.status().code(), absl::StatusCode::kUnavailable) << client.status();
    return client.status();
  }

  absl::StatusOr<v1::Host> GetHost(Client* client, CallOptions options = {}) {
    return client->Call(&v1::HostService::Stub::GetHost, v1::GetHostRequest(), options);
  }
  absl::Status CreateIoas(Client* client, const std::string& request_id = "",
                          CallOptions options = {}) {
    v1::CreateIoasRequest request;
    request.set_ioas_id("vm0");
    request.set_request_id(request_id);
    return client->Call(&v1::IoasService::Stub::CreateIoas, request, options).status();
  }

  Script script_;
  Host host_{&script_};
  Ioas ioas_{&script_};
  Simulation simulation_{&script_};
  std::string folder_;
  std::string socket_;
  int port_ = 0;
  ClientOptions options_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(ClientTest, AnswersThroughEitherFormOfCall) {
  const auto client = Connected();
  const auto host = client->Call(client->Of<v1::HostService>(), &v1::HostService::Stub::GetHost,
                                 v1::GetHostRequest());
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_EQ(host->version(), "7");
  EXPECT_EQ(GetHost(client.get())->version(), "7");
}

TEST_F(ClientTest, HasOneStubOfAServiceForAllThreads) {
  const auto client = Connected();
  std::vector<v1::HostService::Stub*> found(16);
  std::vector<std::thread> threads;
  for (v1::HostService::Stub*& stub : found) {
    threads.emplace_back([&client, &stub] { stub = &client->Of<v1::HostService>(); });
  }
  for (std::thread& thread : threads) thread.join();
  client->Of<v1::IoasService>();
  EXPECT_THAT(found, Each(&client->Of<v1::HostService>()));
}

TEST_F(ClientTest, ConnectsOverTcpWithoutTheProxyOfTheEnvironment) {
  setenv("http_proxy", "http://127.0.0.1:9", 1);
  Stop();
  Start("127.0.0.1:0");
  const auto client = ConnectedTo(absl::StrCat("127.0.0.1:", port_));
  unsetenv("http_proxy");
  ASSERT_NE(client, nullptr);
  EXPECT_TRUE(GetHost(client.get()).ok());
}

TEST_F(ClientTest, ReadsAreRepeated) {
  const auto client = Connected();
  script_.FailWith({kLost, kLost, kLost});
  EXPECT_EQ(GetHost(client.get())->version(), "7");
  EXPECT_THAT(script_.TakeRequestIds(), SizeIs(4));
}

TEST_F(ClientTest, ChangesAreRepeatedUnderOneNewRequestId) {
  const auto client = Connected();
  std::set<std::string> seen;
  for (int i = 0; i < 3; ++i) {
    script_.FailWith({kLost, kLost});
    EXPECT_TRUE(CreateIoas(client.get()).ok());
    const std::vector<std::string> ids = script_.TakeRequestIds();
    ASSERT_THAT(ids, SizeIs(3));
    EXPECT_THAT(ids.front(), SizeIs(36));
    EXPECT_THAT(ids, Each(ids.front()));
    seen.insert(ids.front());
  }
  EXPECT_THAT(seen, SizeIs(3)) << "each call has an id of its own";
}

TEST_F(ClientTest, KeepsTheCallersRequestId) {
  const auto client = Connected();
  script_.FailWith({kLost});
  EXPECT_TRUE(CreateIoas(client.get(), "mine").ok());
  EXPECT_THAT(script_.TakeRequestIds(), ElementsAre("mine", "mine"));
}

TEST_F(ClientTest, NeitherRepeatsNorGivesIdsWhenThatIsOff) {
  const auto client = Connected();
  CallOptions once;
  once.max_attempts = 1;
  script_.FailWith({kLost});
  EXPECT_EQ(CreateIoas(client.get(), "", once), absl::UnavailableError("lost"));
  EXPECT_THAT(script_.TakeRequestIds(), ElementsAre(""));

  options_.max_attempts = 1;
  const auto never = Connected();
  script_.FailWith({kLost});
  EXPECT_FALSE(GetHost(never.get()).ok());
  EXPECT_FALSE(script_.TakeRequestIds().empty());
  CallOptions twice;
  twice.max_attempts = 2;
  script_.FailWith({kLost});
  EXPECT_TRUE(GetHost(never.get(), twice).ok());
}

TEST_F(ClientTest, NeverRepeatsWhatHasNoRequestIdAndIsNoRead) {
  const auto client = Connected();
  script_.FailWith({kLost});
  EXPECT_EQ(client->Call(&v1::SimulationService::Stub::Dma, v1::DmaRequest()).status(),
            absl::UnavailableError("lost"));
  EXPECT_THAT(script_.TakeRequestIds(), SizeIs(1));
}

TEST_F(ClientTest, NeverRepeatsOnOtherCodes) {
  const auto client = Connected();
  for (int code = 1; code <= 16; ++code) {
    if (code == grpc::UNAVAILABLE || code == grpc::CANCELLED) continue;
    SCOPED_TRACE(code);
    const grpc::Status failure(static_cast<grpc::StatusCode>(code), "no");
    script_.FailWith({failure});
    EXPECT_EQ(GetHost(client.get()).status().raw_code(), code);
    script_.FailWith({failure});
    EXPECT_EQ(CreateIoas(client.get()).raw_code(), code);
    EXPECT_THAT(script_.TakeRequestIds(), SizeIs(2));
  }
}

TEST_F(ClientTest, RepeatsWhatTheServerSaysMayBeRepeated) {
  const auto client = Connected();
  google::rpc::Status rpc;
  rpc.set_code(grpc::ABORTED);
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_nanos(20'000'000);
  rpc.add_details()->PackFrom(info);
  script_.FailWith({grpc::Status(grpc::ABORTED, "raced", rpc.SerializeAsString())});
  const absl::Time start = absl::Now();
  EXPECT_TRUE(CreateIoas(client.get()).ok());
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(20));
  EXPECT_THAT(script_.TakeRequestIds(), SizeIs(2));
}

TEST_F(ClientTest, SaysHowOftenItTried) {
  const auto client = Connected();
  script_.FailWith(std::deque<grpc::Status>(100, kLost));
  EXPECT_EQ(GetHost(client.get()).status(), absl::UnavailableError("lost (after 4 attempts)"));
}

TEST_F(ClientTest, EndsInTimeHoweverManyAttemptsThereAre) {
  options_.max_attempts = 1'000'000;
  options_.call_timeout = absl::Seconds(1);
  const auto client = Connected();
  script_.FailWith(std::deque<grpc::Status>(100'000, kLost));
  const absl::Time start = absl::Now();
  const absl::StatusCode code = GetHost(client.get()).status().code();
  EXPECT_TRUE(code == absl::StatusCode::kUnavailable ||
              code == absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(absl::Now() - start, absl::Seconds(20));
  EXPECT_GT(script_.TakeRequestIds().size(), 5u);
}

TEST_F(ClientTest, GivesUpOnAServerThatDoesNotAnswer) {
  const auto client = Connected();
  CallOptions soon;
  soon.timeout = absl::Milliseconds(50);
  const absl::Time start = absl::Now();
  EXPECT_EQ(client->Call(&v1::HostService::Stub::ListIommus, v1::ListIommusRequest(), soon)
                .status()
                .code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(40)) << "gRPC rounds";
}

TEST_F(ClientTest, WaitsForAServerThatIsStartedAnew) {
  options_.reconnect_timeout = kPatience;
  const auto client = Connected();
  EXPECT_TRUE(GetHost(client.get()).ok());
  Stop();
  std::thread restart([this] {
    absl::SleepFor(absl::Milliseconds(300));
    Start("unix:" + socket_);
  });
  const absl::Status created = CreateIoas(client.get());
  restart.join();
  EXPECT_TRUE(created.ok()) << created;
}

TEST_F(ClientTest, SaysSoWhenTheServerIsGoneForGood) {
  options_.reconnect_timeout = absl::Milliseconds(100);
  const auto client = Connected();
  Stop();
  EXPECT_FALSE(GetHost(client.get()).ok());  // Now the client knows that its connection is gone.
  const absl::Status status = CreateIoas(client.get());
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("no server answers at " + socket_ + " within 100ms"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("was sent")));
}

TEST_F(ClientTest, TellsOfAnAttemptThatWasSentBeforeTheServerWasGone) {
  options_.reconnect_timeout = absl::Milliseconds(100);
  options_.first_backoff = options_.max_backoff = absl::Seconds(2);
  const auto client = Connected();
  script_.FailWith({kLost});
  // In the wait for the second attempt, which lasts a second or more. The first is answered before.
  std::thread stop([this] {
    while (script_.TakeRequestIds().empty()) absl::SleepFor(absl::Milliseconds(1));
    server_->Shutdown(absl::ToChronoTime(absl::Now() + kPatience));
    server_.reset();
  });
  const absl::Status status = CreateIoas(client.get());
  stop.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), StartsWith("no server answers at " + socket_));
  EXPECT_THAT(std::string(status.message()),
              EndsWith("an earlier attempt was sent and ended with: lost"));
}

TEST_F(ClientTest, AnswersUnavailableWhenItsTimeEndsWithoutAConnection) {
  const auto client = Connected();
  Stop();
  CallOptions soon;
  soon.timeout = absl::Milliseconds(1500);
  soon.max_attempts = 1;
  const absl::Status status = GetHost(client.get(), soon).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(socket_ + " within 1.5s: "));
}

TEST_F(ClientTest, WaitsForNoServerWhenToldSo) {
  options_.reconnect_timeout = absl::ZeroDuration();
  options_.max_attempts = 1;
  const auto client = Connected();
  Stop();
  EXPECT_EQ(GetHost(client.get()).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ClientTest, ConnectWaitsForAServerThatIsAboutToBeThere) {
  options_.connect_timeout = kPatience;
  Stop();
  std::thread start([this] {
    absl::SleepFor(absl::Milliseconds(300));
    Start("unix:" + socket_);
  });
  const auto client = Connected();
  start.join();
  ASSERT_NE(client, nullptr);
  EXPECT_TRUE(GetHost(client.get()).ok());
}

TEST_F(ClientTest, SaysWhyNobodyAnswers) {
  EXPECT_THAT(std::string(NobodyAt("unix:" + folder_ + "/none").message()),
              HasSubstr(folder_ + "/none within 150ms: No such file or directory"));
  std::fclose(std::fopen((folder_ + "/file").c_str(), "w"));
  EXPECT_THAT(std::string(NobodyAt(folder_ + "/file").message()), HasSubstr("it is no socket"));

  // Left behind by a server that was killed.
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof(address.sun_path), "%s/stale", folder_.c_str());
  const int stale = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(stale);
  EXPECT_THAT(std::string(NobodyAt(folder_ + "/stale").message()),
              HasSubstr("nobody listens or answers"));

  Stop();
  Start("127.0.0.1:0");
  Stop();
  const std::string gone = absl::StrCat("127.0.0.1:", port_);
  EXPECT_THAT(std::string(NobodyAt(gone).message()),
              HasSubstr("no server answers at " + gone + " within 150ms"));
}

TEST_F(ClientTest, RefusesAMalformedTarget) {
  EXPECT_EQ(Client::Connect("nowhere").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace viommu
