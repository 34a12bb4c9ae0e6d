#include "server/call_context.h"

#include <string>

#include "absl/time/clock.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"
#include "viommu/v1/ioas.pb.h"

namespace viommu {
namespace {

v1::MapRequest SomeMap() {
  v1::MapRequest request;
  request.set_name("ioas/vm0");
  request.set_request_id("r-1");
  request.add_mappings()->set_length(4096);
  return request;
}

TEST(CallContextTest, IsWhoseDoorItCameThrough) {
  const grpc::ServerContext context;
  const CallContext call = MakeCallContext(context, Caller::Tenant("vm0"));
  EXPECT_EQ(call.principal, "vm0");
  EXPECT_FALSE(call.is_operator);
  EXPECT_FALSE(call.may_claim);
}

TEST(CallContextTest, IsTheLocalOperatorWithoutDeadline) {
  const grpc::ServerContext context;
  const CallContext call = MakeCallContext(context, Caller::Operator());
  EXPECT_EQ(call.principal, "local");
  EXPECT_TRUE(call.is_operator);
  EXPECT_TRUE(call.may_claim);
  EXPECT_GT(call.deadline, absl::Now() + absl::Hours(24));
}

TEST(CallContextTest, TakesRequestIdAndValidateOnly) {
  const grpc::ServerContext context;
  v1::MapRequest request = SomeMap();
  request.set_validate_only(true);
  const absl::StatusOr<CallContext> call = MakeCallContext(context, Caller::Operator(), request);
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->request_id, "r-1");
  EXPECT_EQ(call->request_digest, RequestDigest(request));
  EXPECT_TRUE(call->validate_only);
}

TEST(CallContextTest, HasNoRequestIdWhereTheRequestHasNone) {
  const grpc::ServerContext context;
  const absl::StatusOr<CallContext> call =
      MakeCallContext(context, Caller::Operator(), v1::GetIoasRequest());
  ASSERT_TRUE(call.ok()) << call.status();
  EXPECT_EQ(call->request_id, "");
  EXPECT_EQ(call->request_digest, "");
  EXPECT_FALSE(call->validate_only);
}

TEST(CallContextTest, RefusesBadRequestIds) {
  const grpc::ServerContext context;
  v1::MapRequest request = SomeMap();
  request.set_request_id("has a space");
  EXPECT_EQ(DetailOf(MakeCallContext(context, Caller::Operator(), request).status())->reason,
            "MALFORMED_REQUEST_ID");
}

TEST(CallContextTest, DigestLeavesOnlyTheRequestIdOut) {
  const v1::MapRequest request = SomeMap();
  v1::MapRequest other = request;
  other.set_request_id("r-2");
  EXPECT_EQ(RequestDigest(request), RequestDigest(other));
  other.mutable_mappings(0)->set_iova(0);  // Present and 0 is not absent.
  EXPECT_NE(RequestDigest(request), RequestDigest(other));
}

TEST(CallContextTest, DigestTellsRpcsApart) {
  v1::DeleteIoasRequest deletion;
  deletion.set_name("ioas/vm0");
  v1::GetIoasRequest get;
  get.set_name("ioas/vm0");
  ASSERT_EQ(deletion.SerializeAsString(), get.SerializeAsString());
  EXPECT_NE(RequestDigest(deletion), RequestDigest(get));
}

}  // namespace
}  // namespace viommu
