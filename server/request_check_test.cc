#include "server/request_check.h"

#include <string>

#include "engine/base/errors.h"
#include "gtest/gtest.h"
#include "viommu/v1/domain.pb.h"
#include "viommu/v1/ioas.pb.h"

namespace viommu {
namespace {

ErrorDetail DetailIn(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return DetailOf(status).value_or(ErrorDetail());
}

TEST(RequestCheckTest, AcceptsWhatItKnows) {
  v1::MapRequest request;
  request.set_name("ioas/vm0");
  request.add_mappings()->set_permission(v1::PERMISSION_NONE);
  EXPECT_TRUE(CheckKnown(request).ok());
}

TEST(RequestCheckTest, RefusesUnknownFieldsAtAnyDepth) {
  v1::CreateDomainRequest request;
  auto* paging = request.mutable_domain()->mutable_paging();
  paging->GetReflection()->MutableUnknownFields(paging)->AddVarint(99, 1);
  ErrorDetail detail = DetailIn(CheckKnown(request));
  EXPECT_EQ(detail.reason, "UNKNOWN_FIELD");
  EXPECT_EQ(detail.field, "domain.paging.99");

  v1::GetIoasRequest flat;
  ASSERT_TRUE(flat.ParseFromString(std::string("\x78\x01", 2)));  // Field 15, varint 1.
  detail = DetailIn(CheckKnown(flat));
  EXPECT_EQ(detail.reason, "UNKNOWN_FIELD");
  EXPECT_EQ(detail.field, "15");
}

TEST(RequestCheckTest, RefusesUnknownEnumValuesWithTheirPlace) {
  v1::MapRequest batch;
  batch.add_mappings();
  batch.add_mappings()->set_permission(static_cast<v1::Permission>(77));
  ErrorDetail detail = DetailIn(CheckKnown(batch));
  EXPECT_EQ(detail.reason, "UNKNOWN_ENUM_VALUE");
  EXPECT_EQ(detail.field, "mappings[1].permission");

  v1::CopyMappingsRequest copy;
  copy.set_permission(static_cast<v1::Permission>(-1));
  EXPECT_EQ(DetailIn(CheckKnown(copy)).field, "permission");
}

TEST(RequestCheckTest, ChecksRequestIds) {
  const struct {
    const char* what;
    std::string id;
    bool ok;
  } kCases[] = {
      {"none", "", true},
      {"uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", true},
      {"lowest and highest", "!~", true},
      {"128 bytes", std::string(128, 'x'), true},
      {"129 bytes", std::string(129, 'x'), false},
      {"space", "a b", false},
      {"control", "a\n", false},
      {"DEL", "a\x7f", false},
      {"not ASCII", "\xc3\xa4", false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.what);
    const absl::Status status = CheckRequestId(c.id);
    EXPECT_EQ(status.ok(), c.ok);
    if (!c.ok) {
      EXPECT_EQ(DetailIn(status).reason, "MALFORMED_REQUEST_ID");
    }
  }
}

TEST(RequestCheckTest, NamesTheFieldThatIsMissing) {
  EXPECT_TRUE(Require(true, "iova").ok());
  EXPECT_EQ(DetailIn(Require(false, "iova")).reason, "MISSING_FIELD");
  EXPECT_EQ(DetailIn(Require(false, "iova")).field, "iova");
}

}  // namespace
}  // namespace viommu
