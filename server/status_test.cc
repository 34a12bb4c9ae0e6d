#include "server/status.h"

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using google::rpc::BadRequest;
using google::rpc::ErrorInfo;
using google::rpc::PreconditionFailure;
using google::rpc::ResourceInfo;
using google::rpc::RetryInfo;

// The detail of type T, an empty one when there is none.
template <typename T>
T Detail(const google::rpc::Status& status, bool* present = nullptr) {
  T detail;
  bool found = false;
  for (const auto& any : status.details()) found = found || any.UnpackTo(&detail);
  if (present != nullptr) *present = found;
  return detail;
}

template <typename T>
bool Has(const google::rpc::Status& status) {
  bool present = false;
  Detail<T>(status, &present);
  return present;
}

TEST(StatusTest, SaysOkWithoutDetails) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  EXPECT_EQ(ToRpcStatus(absl::OkStatus()).details_size(), 0);
}

TEST(StatusTest, KeepsCodeAndMessageAndSerialisesTheDetails) {
  const grpc::Status status =
      ToGrpcStatus(Error(absl::StatusCode::kNotFound, "IOAS_NOT_FOUND", "no ioas/vm0"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "no ioas/vm0");
  google::rpc::Status rpc;
  ASSERT_TRUE(rpc.ParseFromString(status.error_details()));
  EXPECT_EQ(rpc.code(), 5);
  EXPECT_EQ(Detail<ErrorInfo>(rpc).reason(), "IOAS_NOT_FOUND");
}

TEST(StatusTest, TellsProgramsTheCause) {
  const ErrorInfo info = Detail<ErrorInfo>(
      ToRpcStatus(Error(absl::StatusCode::kAlreadyExists, "IOVA_OCCUPIED", "taken")
                      .Errno("EEXIST")
                      .Index(3)
                      .Field("mappings[3].iova")
                      .Resource("ioas/vm0")
                      .Meta("iova", "0x1000")));
  EXPECT_EQ(info.domain(), "viommu");
  EXPECT_EQ(info.reason(), "IOVA_OCCUPIED");
  EXPECT_EQ(info.metadata().at("errno"), "EEXIST");
  EXPECT_EQ(info.metadata().at("index"), "3");
  EXPECT_EQ(info.metadata().at("field"), "mappings[3].iova");
  EXPECT_EQ(info.metadata().at("resource"), "ioas/vm0");
  EXPECT_EQ(info.metadata().at("iova"), "0x1000");
}

TEST(StatusTest, NamesTheCodeWhenThereIsNoReason) {
  const google::rpc::Status rpc = ToRpcStatus(absl::DeadlineExceededError("late"));
  EXPECT_EQ(Detail<ErrorInfo>(rpc).reason(), "DEADLINE_EXCEEDED");
  EXPECT_EQ(rpc.details_size(), 1);
}

TEST(StatusTest, PointsAtTheFieldOfABadRequest) {
  for (const absl::StatusCode code :
       {absl::StatusCode::kInvalidArgument, absl::StatusCode::kOutOfRange}) {
    const google::rpc::Status rpc = ToRpcStatus(Error(code, "R", "why").Field("mappings[3].iova"));
    ASSERT_EQ(Detail<BadRequest>(rpc).field_violations_size(), 1);
    EXPECT_EQ(Detail<BadRequest>(rpc).field_violations(0).field(), "mappings[3].iova");
    EXPECT_EQ(Detail<BadRequest>(rpc).field_violations(0).description(), "why");
  }
  EXPECT_FALSE(Has<BadRequest>(ToRpcStatus(absl::InvalidArgumentError("no field known"))));
  EXPECT_FALSE(Has<BadRequest>(
      ToRpcStatus(Error(absl::StatusCode::kNotFound, "R", "not the request's fault").Field("f"))));
}

TEST(StatusTest, ListsEveryReferrer) {
  const auto failure = Detail<PreconditionFailure>(
      ToRpcStatus(Error(absl::StatusCode::kFailedPrecondition, "IN_USE", "used")
                      .Violation("domains/d0")
                      .Violation("domains/d1")));
  ASSERT_EQ(failure.violations_size(), 2);
  EXPECT_EQ(failure.violations(0).type(), "IN_USE");
  EXPECT_EQ(failure.violations(0).subject(), "domains/d0");
  EXPECT_EQ(failure.violations(1).subject(), "domains/d1");
}

TEST(StatusTest, ExplainsAPreconditionWithoutReferrers) {
  const auto failure = Detail<PreconditionFailure>(
      ToRpcStatus(Error(absl::StatusCode::kFailedPrecondition, "NOT_ATTACHED", "not attached")
                      .Resource("devices/d0")));
  ASSERT_EQ(failure.violations_size(), 1);
  EXPECT_EQ(failure.violations(0).subject(), "devices/d0");
  EXPECT_EQ(failure.violations(0).description(), "not attached");
}

TEST(StatusTest, NamesTheResource) {
  const auto info = Detail<ResourceInfo>(ToRpcStatus(
      Error(absl::StatusCode::kNotFound, "IOAS_NOT_FOUND", "none").Resource("ioas/vm0")));
  EXPECT_EQ(info.resource_type(), "viommu.v1.Ioas");
  EXPECT_EQ(info.resource_name(), "ioas/vm0");
}

TEST(StatusTest, AdvisesToRetryOnlyWhatMaySucceedUnchanged) {
  EXPECT_TRUE(Has<RetryInfo>(ToRpcStatus(absl::UnavailableError("later"))));
  EXPECT_TRUE(Has<RetryInfo>(ToRpcStatus(absl::AbortedError("a race"))));
  for (const char* reason : {"ETAG_MISMATCH", "STREAM_STOPPED"}) {
    EXPECT_FALSE(Has<RetryInfo>(ToRpcStatus(Error(absl::StatusCode::kAborted, reason, "look"))));
  }
  EXPECT_FALSE(Has<RetryInfo>(ToRpcStatus(absl::NotFoundError("no"))));
  const auto exhausted = [](const char* reason) {
    return ToRpcStatus(Error(absl::StatusCode::kResourceExhausted, reason, "too much"));
  };
  EXPECT_TRUE(Has<RetryInfo>(exhausted("IN_FLIGHT_LIMIT"))) << "what is under way ends by itself";
  EXPECT_FALSE(Has<RetryInfo>(exhausted("MAPPING_LIMIT"))) << "the client must unmap first";
}

TEST(StatusTest, StaysBelowTheMetadataLimitOfClients) {
  const std::string endless(2000, '\xfe');
  Error error(absl::StatusCode::kFailedPrecondition, "IN_USE", endless);
  for (int i = 0; i < 100; ++i) {
    // What is moved is itself: nothing is taken from it.
    std::move(error).Violation(endless).Meta(  // NOLINT(bugprone-use-after-move)
        absl::StrCat(i, endless), endless);
  }
  const absl::Status status = std::move(error).Field(endless).Resource(endless);
  const grpc::Status out = ToGrpcStatus(status);
  EXPECT_LT(out.error_details().size() * 4 / 3 + out.error_message().size(), 8000u);

  google::rpc::Status rpc;
  ASSERT_TRUE(rpc.ParseFromString(out.error_details()));
  const auto failure = Detail<PreconditionFailure>(rpc);
  EXPECT_EQ(failure.violations(failure.violations_size() - 1).description(), "and 92 more");
}

TEST(StatusTest, CarriesEachTypeOnce) {
  const google::rpc::Status rpc =
      ToRpcStatus(Error(absl::StatusCode::kFailedPrecondition, "IN_USE", "used")
                      .Field("name")
                      .Resource("ioas/vm0")
                      .Violation("domains/d0"));
  std::set<std::string> types;
  for (const auto& any : rpc.details()) EXPECT_TRUE(types.insert(any.type_url()).second);
  EXPECT_EQ(types.size(), 3u);
}

}  // namespace
}  // namespace viommu
