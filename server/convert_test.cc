#include "server/convert.h"

#include <string>

#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

std::string ReasonOf(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return DetailOf(status).value_or(ErrorDetail()).reason;
}

TEST(ConvertTest, ReadsPermissions) {
  const auto parse = [](int value) { return ParsePermission("f", value, Permission::kWrite); };
  EXPECT_EQ(*parse(v1::PERMISSION_UNSPECIFIED), Permission::kWrite);
  EXPECT_EQ(*parse(v1::PERMISSION_READ), Permission::kRead);
  EXPECT_EQ(*parse(v1::PERMISSION_WRITE), Permission::kWrite);
  EXPECT_EQ(*parse(v1::PERMISSION_READ_WRITE), Permission::kReadWrite);
  EXPECT_EQ(ReasonOf(parse(v1::PERMISSION_NONE).status()), "INVALID_PERMISSION");
  EXPECT_EQ(ReasonOf(parse(5).status()), "UNKNOWN_ENUM_VALUE");
  EXPECT_EQ(ReasonOf(parse(-1).status()), "UNKNOWN_ENUM_VALUE");
}

TEST(ConvertTest, PermissionsComeBackAsTheyWere) {
  for (const auto p : {Permission::kRead, Permission::kWrite, Permission::kReadWrite}) {
    EXPECT_EQ(*ParsePermission("f", ToProto(p), Permission::kRead), p);
  }
}

TEST(ConvertTest, DefaultDomainTypesComeBackAsTheyWere) {
  for (const auto type :
       {DefaultDomainType::kIdentity, DefaultDomainType::kDma, DefaultDomainType::kDmaFq}) {
    EXPECT_EQ(*ParseDefaultDomainType("f", ToProto(type)), type);
  }
  EXPECT_EQ(ReasonOf(ParseDefaultDomainType("f", v1::DEFAULT_DOMAIN_TYPE_UNSPECIFIED).status()),
            "MISSING_FIELD");
}

TEST(ConvertTest, HealthComesBackAsItWas) {
  for (const auto health : {DeviceHealth::kHealthy, DeviceHealth::kUnhealthy}) {
    EXPECT_EQ(*ParseDeviceHealth("f", ToProto(health)), health);
  }
  EXPECT_EQ(ReasonOf(ParseDeviceHealth("f", v1::DEVICE_HEALTH_UNSPECIFIED).status()),
            "MISSING_FIELD");
}

TEST(ConvertTest, ShowsRangesInHexToo) {
  const v1::IovaRange range = ToProto(IovaRange{0x1000, kMaxAddress});
  EXPECT_EQ(range.text(), "[0x1000, 0xffffffffffffffff]");
  EXPECT_EQ(ParseRange(range), (IovaRange{0x1000, kMaxAddress}));
}

TEST(ConvertTest, BoundsOneAccess) {
  EXPECT_TRUE(CheckAccessLength("length", 1).ok());
  EXPECT_TRUE(CheckAccessLength("length", kMaxAccessBytes).ok());
  EXPECT_EQ(ReasonOf(CheckAccessLength("length", 0)), "INVALID_LENGTH");
  EXPECT_EQ(ReasonOf(CheckAccessLength("length", kMaxAccessBytes + 1)), "INVALID_LENGTH");
  EXPECT_EQ(ReasonOf(CheckAccessLength("length", ~uint64_t{0})), "INVALID_LENGTH");
}

TEST(ConvertTest, TurnsEveryModeOfAnAddressSpaceBack) {
  for (const IoasMode mode : {IoasMode::kNative, IoasMode::kVfioType1, IoasMode::kVfioType1v2}) {
    EXPECT_EQ(*ParseIoasMode("mode", ToProto(mode)), mode);
  }
  EXPECT_EQ(*ParseIoasMode("mode", v1::IOAS_MODE_UNSPECIFIED), IoasMode::kNative);
  EXPECT_EQ(ReasonOf(ParseIoasMode("mode", static_cast<v1::IoasMode>(99)).status()),
            "UNKNOWN_ENUM_VALUE");
  const absl::Status nesting = ParseIoasMode("mode", v1::IOAS_MODE_VFIO_TYPE1_NESTING).status();
  EXPECT_EQ(DetailOf(nesting).value_or(ErrorDetail()).reason, "MODE_NOT_SUPPORTED");
  EXPECT_EQ(nesting.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(StateToProto(true), v1::OBJECT_STATE_SUSPENDED);
  EXPECT_EQ(StateToProto(false), v1::OBJECT_STATE_ACTIVE);
}

TEST(ConvertTest, NanosecondsAreNeverNegative) {
  const struct {
    absl::Time time;
    int64_t seconds;
    int32_t nanos;
  } kCases[] = {
      {absl::UnixEpoch(), 0, 0},
      {absl::UnixEpoch() + absl::Milliseconds(1500), 1, 500000000},
      {absl::UnixEpoch() - absl::Milliseconds(500), -1, 500000000},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(ToProto(c.time).seconds(), c.seconds);
    EXPECT_EQ(ToProto(c.time).nanos(), c.nanos);
  }
}

}  // namespace
}  // namespace viommu
