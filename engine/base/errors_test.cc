#include "engine/base/errors.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(ErrorsTest, CarriesEveryDetailThroughAStatus) {
  const absl::Status status =
      Error(absl::StatusCode::kFailedPrecondition, "IN_USE", "ioas/a is in use")
          .Errno("EBUSY")
          .Field("name")
          .Index(7)
          .Resource("ioas/a")
          .Violation("domains/d")
          .Violation("12:tricky:3:bytes")
          .Meta("etag", "a:b");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(status.message(), "ioas/a is in use");
  const std::optional<ErrorDetail> detail = DetailOf(status);
  ASSERT_TRUE(detail.has_value());
  EXPECT_EQ(detail->reason, "IN_USE");
  EXPECT_EQ(detail->errno_name, "EBUSY");
  EXPECT_EQ(detail->field, "name");
  EXPECT_EQ(detail->index, 7u);
  EXPECT_EQ(detail->resource, "ioas/a");
  EXPECT_THAT(detail->violations, ElementsAre("domains/d", "12:tricky:3:bytes"));
  EXPECT_THAT(detail->metadata, ElementsAre(Pair("etag", "a:b")));
}

TEST(ErrorsTest, APlainStatusHasNoDetail) {
  EXPECT_FALSE(DetailOf(absl::InternalError("x")).has_value());
  EXPECT_FALSE(DetailOf(absl::OkStatus()).has_value());
}

TEST(ErrorsTest, AtIndexNamesTheEntryAndItsField) {
  const absl::Status entry =
      Error(absl::StatusCode::kInvalidArgument, "MISALIGNED", "iova 0x1").Field("iova");
  const absl::Status batch = AtIndex(entry, 3, "mappings[3]");
  EXPECT_EQ(batch.message(), "entry 3: iova 0x1");
  EXPECT_EQ(DetailOf(batch)->index, 3u);
  EXPECT_EQ(DetailOf(batch)->field, "mappings[3].iova");
  EXPECT_EQ(DetailOf(batch)->reason, "MISALIGNED");
}

}  // namespace
}  // namespace viommu
