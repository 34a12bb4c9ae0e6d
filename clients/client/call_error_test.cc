#include "clients/client/call_error.h"

#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

// What a server sends.
class Answer {
 public:
  Answer(grpc::StatusCode code, std::string message) : code_(code), message_(std::move(message)) {
    rpc_.set_code(code);
    rpc_.set_message(message_);
  }

  template <typename Detail>
  Answer& With(const Detail& detail) {
    rpc_.add_details()->PackFrom(detail);
    return *this;
  }

  grpc::Status Grpc() const { return {code_, message_, rpc_.SerializeAsString()}; }
  const google::rpc::Status& rpc() const { return rpc_; }

 private:
  const grpc::StatusCode code_;
  const std::string message_;
  google::rpc::Status rpc_;
};

google::rpc::ErrorInfo Info(const std::string& reason) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("viommu");
  return info;
}

// DeleteIoas of one that two domains refer to.
Answer InUse() {
  auto info = Info("IN_USE");
  (*info.mutable_metadata())["errno"] = "EBUSY";
  (*info.mutable_metadata())["resource"] = "ioas/vm0";
  google::rpc::PreconditionFailure failure;
  for (const char* domain : {"domains/d0", "domains/d1"}) {
    auto* violation = failure.add_violations();
    violation->set_type("IN_USE");
    violation->set_subject(domain);
  }
  google::rpc::ResourceInfo resource;
  resource.set_resource_type("viommu.v1.Ioas");
  resource.set_resource_name("ioas/vm0");
  resource.set_owner("local");
  resource.set_description("an address space");
  return Answer(grpc::FAILED_PRECONDITION, "ioas/vm0 is in use")
      .With(info)
      .With(failure)
      .With(resource);
}

// Map with a bad fourth entry.
Answer Misaligned() {
  auto info = Info("MISALIGNED");
  (*info.mutable_metadata())["index"] = "3";
  (*info.mutable_metadata())["iova"] = "0x1001";
  (*info.mutable_metadata())["field"] = "mappings[3].iova";
  google::rpc::BadRequest bad;
  auto* violation = bad.add_field_violations();
  violation->set_field("mappings[3].iova");
  violation->set_description("no multiple of 4096");
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(1);
  retry.mutable_retry_delay()->set_nanos(500'000'000);
  return Answer(grpc::INVALID_ARGUMENT, "iova 0x1001").With(info).With(bad).With(retry);
}

TEST(CallErrorTest, KeepsCodeAndMessage) {
  const absl::Status status = ToStatus(InUse().Grpc());
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "ioas/vm0 is in use");
  EXPECT_TRUE(ToStatus(grpc::Status::OK).ok());
  EXPECT_TRUE(ToStatus(google::rpc::Status()).ok());
}

TEST(CallErrorTest, ReadsWhoIsInTheWay) {
  const CallError error = ErrorOf(ToStatus(InUse().Grpc()));
  EXPECT_EQ(error.code, absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(error.reason, "IN_USE");
  EXPECT_THAT(error.metadata, ElementsAre(Pair("errno", "EBUSY"), Pair("resource", "ioas/vm0")));
  ASSERT_EQ(error.preconditions.size(), 2u);
  EXPECT_EQ(error.preconditions[0].type, "IN_USE");
  EXPECT_EQ(error.preconditions[1].subject, "domains/d1");
  EXPECT_EQ(error.resource.type, "viommu.v1.Ioas");
  EXPECT_EQ(error.resource.name, "ioas/vm0");
  EXPECT_EQ(error.resource.owner, "local");
  EXPECT_EQ(error.resource.description, "an address space");
  EXPECT_TRUE(error.fields.empty());
  EXPECT_FALSE(error.retry_delay.has_value());
  EXPECT_FALSE(error.index().has_value());
}

TEST(CallErrorTest, ReadsFieldIndexAndDelay) {
  const CallError error = ErrorOf(ToStatus(Misaligned().Grpc()));
  ASSERT_EQ(error.fields.size(), 1u);
  EXPECT_EQ(error.fields[0].field, "mappings[3].iova");
  EXPECT_EQ(error.fields[0].description, "no multiple of 4096");
  EXPECT_EQ(error.index(), 3u);
  EXPECT_EQ(error.retry_delay, absl::Milliseconds(1500));
}

TEST(CallErrorTest, ReadsTheStatusInsideAnAnswer) {
  const absl::Status status = ToStatus(Misaligned().rpc());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(status), "MISALIGNED");
}

TEST(CallErrorTest, KeepsTheDetailsUnderAnotherMessage) {
  const absl::Status status = WithMessage(ToStatus(InUse().Grpc()), "entry 7: in use");
  EXPECT_EQ(status.message(), "entry 7: in use");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ReasonOf(status), "IN_USE");
}

TEST(CallErrorTest, HasNoDetailsOfErrorsThatAreNotTheServers) {
  for (const absl::Status& status :
       {absl::NotFoundError("gone"), ToStatus(grpc::Status(grpc::NOT_FOUND, "gone")),
        ToStatus(grpc::Status(grpc::NOT_FOUND, "gone", "\xff\xff no message"))}) {
    const CallError error = ErrorOf(status);
    EXPECT_EQ(error.code, absl::StatusCode::kNotFound);
    EXPECT_EQ(error.message, "gone");
    EXPECT_EQ(error.reason, "");
    EXPECT_EQ(Explain(status), "NOT_FOUND: gone");
  }
}

TEST(CallErrorTest, BelievesTheCallNotItsDetails) {
  google::rpc::Status other;
  other.set_code(grpc::NOT_FOUND);
  other.set_message("something else");
  const absl::Status status =
      ToStatus(grpc::Status(grpc::ABORTED, "raced", other.SerializeAsString()));
  EXPECT_EQ(status, absl::AbortedError("raced"));
}

TEST(CallErrorTest, NoIndexWhereThereIsNoNumber) {
  auto info = Info("R");
  (*info.mutable_metadata())["index"] = "many";
  EXPECT_FALSE(ErrorOf(ToStatus(Answer(grpc::ABORTED, "m").With(info).Grpc())).index().has_value());
}

TEST(CallErrorTest, ExplainsWhoRefersToTheObject) {
  EXPECT_EQ(Explain(ToStatus(InUse().Grpc())),
            "FAILED_PRECONDITION (IN_USE): ioas/vm0 is in use\n"
            "  object: ioas/vm0\n"
            "  errno: EBUSY\n"
            "  referred to by: domains/d0\n"
            "  referred to by: domains/d1");
}

TEST(CallErrorTest, ExplainsFieldValuesAndDelay) {
  EXPECT_EQ(Explain(ToStatus(Misaligned().Grpc())),
            "INVALID_ARGUMENT (MISALIGNED): iova 0x1001\n"
            "  field: mappings[3].iova: no multiple of 4096\n"
            "  index: 3\n"
            "  iova: 0x1001\n"
            "  may succeed when repeated after: 1.5s");
  EXPECT_EQ(Explain(absl::OkStatus()), "OK");
}

TEST(CallErrorTest, SaysNothingTwice) {
  google::rpc::BadRequest bad;
  auto* violation = bad.add_field_violations();
  violation->set_field("length");
  violation->set_description("length is 0");
  google::rpc::PreconditionFailure failure;
  failure.add_violations()->set_description("length is 0");
  EXPECT_EQ(Explain(ToStatus(
                Answer(grpc::INVALID_ARGUMENT, "length is 0").With(bad).With(failure).Grpc())),
            "INVALID_ARGUMENT: length is 0\n  field: length");
}

TEST(CallErrorTest, PrintsNothingThatATerminalObeys) {
  const std::string text = Explain(ToStatus(grpc::Status(grpc::NOT_FOUND, "a\033[2Jb\nc")));
  EXPECT_THAT(text, Not(HasSubstr("\033")));
  EXPECT_EQ(text, "NOT_FOUND: a [2Jb c");
}

}  // namespace
}  // namespace viommu
