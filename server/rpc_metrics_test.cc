#include "server/rpc_metrics.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.pb.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Scrape(const prometheus::Registry& registry) {
  return prometheus::TextSerializer().Serialize(registry.Collect());
}

// A service with one method of each type.
const google::protobuf::ServiceDescriptor* ServiceOfAllTypes(
    google::protobuf::DescriptorPool* pool) {
  google::protobuf::FileDescriptorProto file;
  file.set_name("t.proto");
  file.set_package("t");
  file.add_message_type()->set_name("M");
  auto* service = file.add_service();
  service->set_name("S");
  for (int type = 0; type < 4; ++type) {
    auto* method = service->add_method();
    method->set_name(absl::StrCat("Method", type));
    method->set_input_type(".t.M");
    method->set_output_type(".t.M");
    method->set_client_streaming((type & 1) != 0);
    method->set_server_streaming((type & 2) != 0);
  }
  return pool->BuildFile(file)->FindServiceByName("S");
}

TEST(RpcMetricsTest, TakesMethodsAndTypesFromTheDescriptor) {
  google::protobuf::DescriptorPool pool;
  const std::vector<RpcMethod> methods = MethodsOf(*ServiceOfAllTypes(&pool));
  ASSERT_EQ(methods.size(), 4u);
  EXPECT_EQ(methods[0].service, "t.S");
  EXPECT_EQ(methods[3].method, "Method3");
  EXPECT_EQ(methods[0].type, RpcType::kUnary);
  EXPECT_EQ(methods[1].type, RpcType::kClientStream);
  EXPECT_EQ(methods[2].type, RpcType::kServerStream);
  EXPECT_EQ(methods[3].type, RpcType::kBidiStream);
}

TEST(RpcMetricsTest, LeavesOutServicesThatAreNotLinkedIn) {
  EXPECT_THAT(MethodsOf(std::vector<std::string>{"no.such.Service"}), IsEmpty());
}

TEST(RpcMetricsTest, HasEverySeriesOfEveryMethodAtZeroFromTheStart) {
  google::protobuf::DescriptorPool pool;
  prometheus::Registry registry;
  const RpcMetrics metrics(MethodsOf(*ServiceOfAllTypes(&pool)), &registry);
  const std::string text = Scrape(registry);
  const char* const kTypes[] = {"unary", "client_stream", "server_stream", "bidi_stream"};
  const char* const kCodes[] = {"OK",
                                "Canceled",
                                "Unknown",
                                "InvalidArgument",
                                "NotFound",
                                "DeadlineExceeded",
                                "AlreadyExists",
                                "PermissionDenied",
                                "Aborted",
                                "ResourceExhausted",
                                "OutOfRange",
                                "FailedPrecondition",
                                "Internal",
                                "Unimplemented",
                                "Unavailable",
                                "DataLoss",
                                "Unauthenticated"};
  for (int type = 0; type < 4; ++type) {
    const std::string labels = absl::StrCat(
        "grpc_method=\"Method", type, "\",grpc_service=\"t.S\",grpc_type=\"", kTypes[type], "\"");
    for (const char* name : {"started_total", "msg_received_total", "msg_sent_total",
                             "handling_seconds_count", "handling_seconds_sum"}) {
      EXPECT_THAT(text, HasSubstr(absl::StrCat("grpc_server_", name, "{", labels, "} 0\n")));
    }
    EXPECT_THAT(text, HasSubstr(absl::StrCat("grpc_server_handling_seconds_bucket{", labels,
                                             ",le=\"5e-05\"} 0\n")));
    for (const char* code : kCodes) {
      EXPECT_THAT(text, HasSubstr(absl::StrCat("grpc_server_handled_total{grpc_code=\"", code,
                                               "\",", labels, "} 0\n")));
    }
  }
}

TEST(RpcMetricsTest, FindsAMethodByItsPathOnly) {
  prometheus::Registry registry;
  const RpcMetrics metrics(BuiltInMethods(), &registry);
  EXPECT_NE(metrics.Find("/grpc.health.v1.Health/Check"), nullptr);
  EXPECT_EQ(metrics.Find("/grpc.health.v1.Health/Chick"), nullptr);
  EXPECT_EQ(metrics.Find("grpc.health.v1.Health/Check"), nullptr);
}

TEST(RpcMetricsTest, CountsAStrangeCodeAsUnknown) {
  prometheus::Registry registry;
  const RpcMetrics metrics({{"s", "m", RpcType::kUnary}}, &registry);
  metrics.Find("/s/m")->Handled(static_cast<grpc::StatusCode>(20), absl::Milliseconds(2));
  metrics.Find("/s/m")->Handled(grpc::StatusCode::UNAUTHENTICATED, absl::Milliseconds(2));
  const std::string text = Scrape(registry);
  EXPECT_THAT(text, HasSubstr("grpc_code=\"Unknown\",grpc_method=\"m\",grpc_service=\"s\","
                              "grpc_type=\"unary\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("grpc_code=\"Unauthenticated\",grpc_method=\"m\","
                              "grpc_service=\"s\",grpc_type=\"unary\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("le=\"0.0025\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("le=\"0.001\"} 0\n"));
}

}  // namespace
}  // namespace viommu
