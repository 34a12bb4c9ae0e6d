#include "server/rpc_interceptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace viommu {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";
constexpr char kReflection[] = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

// A call of any type, message by message, without generated stubs.
class Call {
 public:
  Call(grpc::GenericStub* stub, const std::string& method) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    call_ = stub->PrepareCall(&context_, method, &queue_);
    call_->StartCall(this);
    Await();
  }

  void Send(const std::string& bytes) {
    grpc::Slice slice(bytes);
    call_->Write(grpc::ByteBuffer(&slice, 1), this);
    Await();
  }
  void CloseSending() {
    call_->WritesDone(this);
    Await();
  }
  // False: no more answers.
  bool Receive() {
    grpc::ByteBuffer answer;
    call_->Read(&answer, this);
    return Await();
  }
  void Cancel() { context_.TryCancel(); }
  grpc::Status Finish() {
    grpc::Status status;
    call_->Finish(&status, this);
    Await();
    return status;
  }

 private:
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

// A real server with the services that gRPC brings.
class RpcInterceptorTest : public ::testing::Test {
 protected:
  RpcInterceptorTest() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
    creators.push_back(std::make_unique<RpcInterceptorFactory>(&metrics_, &log_));
    builder.experimental().SetInterceptorCreators(std::move(creators));
    server_ = builder.BuildAndStart();
    stub_ = std::make_unique<grpc::GenericStub>(server_->InProcessChannel({}));
  }
  ~RpcInterceptorTest() override {
    server_->Shutdown();
    close(log_fd_);
  }

  grpc::Status CallUnary(const std::string& method, const std::string& request) {
    Call call(stub_.get(), method);
    call.Send(request);
    call.CloseSending();
    call.Receive();
    return call.Finish();
  }

  // The value of the one series that has this name and every one of these labels.
  std::string Value(const std::string& name, const std::string& method,
                    const std::string& code = "") const {
    std::istringstream text(prometheus::TextSerializer().Serialize(registry_.Collect()));
    for (std::string line; std::getline(text, line);) {
      if (absl::StartsWith(line, name + "{") &&
          absl::StrContains(line, absl::StrCat("grpc_method=\"", method, "\"")) &&
          (code.empty() || absl::StrContains(line, absl::StrCat("grpc_code=\"", code, "\"")))) {
        return line.substr(line.rfind(' ') + 1);
      }
    }
    return "absent";
  }

  std::string LogText() const {
    std::ifstream in(log_path_);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }

  prometheus::Registry registry_;
  const RpcMetrics metrics_{BuiltInMethods(), &registry_};
  const std::string log_path_ = std::string(std::getenv("TEST_TMPDIR")) + "/log";
  const int log_fd_ = open(log_path_.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
  Log log_{LogLevel::kDebug, log_fd_, RealEnv()};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<grpc::GenericStub> stub_;
};

TEST_F(RpcInterceptorTest, CountsAUnaryCall) {
  ASSERT_TRUE(CallUnary(kCheck, "").ok());
  EXPECT_EQ(Value("grpc_server_started_total", "Check"), "1");
  EXPECT_EQ(Value("grpc_server_msg_received_total", "Check"), "1");
  EXPECT_EQ(Value("grpc_server_msg_sent_total", "Check"), "1");
  EXPECT_EQ(Value("grpc_server_handled_total", "Check", "OK"), "1");
  EXPECT_EQ(Value("grpc_server_handled_total", "Check", "NotFound"), "0");
  EXPECT_EQ(Value("grpc_server_handling_seconds_count", "Check"), "1");
  EXPECT_EQ(Value("grpc_server_started_total", "Watch"), "0");
  EXPECT_EQ(LogText(), "");
}

TEST_F(RpcInterceptorTest, CountsAndLogsAFailedCall) {
  // HealthCheckRequest.service = "none".
  ASSERT_EQ(CallUnary(kCheck, "\x0a\x04none").error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Value("grpc_server_handled_total", "Check", "NotFound"), "1");
  EXPECT_EQ(Value("grpc_server_handled_total", "Check", "OK"), "0");
  EXPECT_THAT(LogText(), AllOf(HasSubstr("\"event\":\"rpc_failed\",\"method\":"
                                         "\"/grpc.health.v1.Health/Check\",\"code\":\"NotFound\""),
                               HasSubstr("\"level\":\"debug\"")));
}

TEST_F(RpcInterceptorTest, CountsTheMessagesOfAStream) {
  Call call(stub_.get(), kReflection);
  for (int i = 0; i < 3; ++i) {
    call.Send(std::string("\x3a\x00", 2));  // ServerReflectionRequest.list_services = "".
    ASSERT_TRUE(call.Receive());
  }
  EXPECT_EQ(Value("grpc_server_handled_total", "ServerReflectionInfo", "OK"), "0");
  call.CloseSending();
  ASSERT_FALSE(call.Receive());
  ASSERT_TRUE(call.Finish().ok());
  EXPECT_EQ(Value("grpc_server_started_total", "ServerReflectionInfo"), "1");
  EXPECT_EQ(Value("grpc_server_msg_received_total", "ServerReflectionInfo"), "3");
  EXPECT_EQ(Value("grpc_server_msg_sent_total", "ServerReflectionInfo"), "3");
  EXPECT_EQ(Value("grpc_server_handled_total", "ServerReflectionInfo", "OK"), "1");
}

TEST_F(RpcInterceptorTest, CountsACallThatItsClientGaveUp) {
  Call call(stub_.get(), kWatch);
  call.Send("");
  ASSERT_TRUE(call.Receive());
  call.Cancel();
  EXPECT_EQ(call.Finish().error_code(), grpc::StatusCode::CANCELLED);
  // The server hears of it a little later.
  const absl::Time give_up = absl::Now() + absl::Seconds(20);
  while (Value("grpc_server_handling_seconds_count", "Watch") == "0" && absl::Now() < give_up) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_EQ(Value("grpc_server_handled_total", "Watch", "OK"), "0");
  EXPECT_EQ(Value("grpc_server_handling_seconds_count", "Watch"), "1");
}

TEST_F(RpcInterceptorTest, CountsAStreamThatNeverCarriedAMessage) {
  Call call(stub_.get(), kReflection);
  call.CloseSending();
  ASSERT_FALSE(call.Receive());
  ASSERT_TRUE(call.Finish().ok());
  EXPECT_EQ(Value("grpc_server_started_total", "ServerReflectionInfo"), "1");
  EXPECT_EQ(Value("grpc_server_msg_received_total", "ServerReflectionInfo"), "0");
  EXPECT_EQ(Value("grpc_server_handled_total", "ServerReflectionInfo", "OK"), "1");
}

TEST_F(RpcInterceptorTest, MakesNoSeriesForAMethodThatDoesNotExist) {
  EXPECT_EQ(CallUnary("/made.up.Service/Method", "").error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_THAT(prometheus::TextSerializer().Serialize(registry_.Collect()),
              Not(HasSubstr("made.up")));
}

}  // namespace
}  // namespace viommu
