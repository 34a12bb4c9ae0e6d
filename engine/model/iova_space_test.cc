#include "engine/model/iova_space.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/base/interval_map.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using ::absl::StatusCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Areas = IntervalMap<int>;

constexpr uint64_t kDevice = 11;
constexpr uint64_t kDomain = 12;
constexpr IovaRange kMsi{0xfee00000, 0xfeefffff};
constexpr IovaRange kAll{0, kMaxAddress};

Areas AreasOf(const std::vector<IovaRange>& ranges) {
  Areas areas;
  for (const IovaRange& range : ranges) EXPECT_TRUE(areas.Insert(range, 0));
  return areas;
}

void ExpectError(const absl::Status& status, StatusCode code, const std::string& reason,
                 const std::string& errno_name, const std::string& says) {
  EXPECT_EQ(status.code(), code) << status;
  const std::optional<ErrorDetail> detail = DetailOf(status);
  ASSERT_TRUE(detail.has_value()) << status;
  EXPECT_EQ(detail->reason, reason);
  EXPECT_EQ(detail->errno_name, errno_name);
  EXPECT_THAT(std::string(status.message()), HasSubstr(says));
}

TEST(IovaSpaceTest, AFreshSpaceIsUsableThroughout) {
  const IovaSpace space;
  EXPECT_THAT(space.UsableRanges(), ElementsAre(kAll));
  EXPECT_THAT(space.allowed(), IsEmpty());
  EXPECT_EQ(space.alignment_bytes(), 1u);
  EXPECT_EQ(space.ReservedOverlap(kAll), nullptr);
}

TEST(IovaSpaceTest, UsableRangesAreTheHolesOfTheReservedOnes) {
  const struct {
    const char* name;
    std::vector<IovaRange> reserved;
    std::vector<IovaRange> want;
  } kCases[] = {
      {"in the middle", {kMsi}, {{0, 0xfedfffff}, {0xfef00000, kMaxAddress}}},
      {"at both ends", {{0, 9}, {100, kMaxAddress}}, {{10, 99}}},
      {"everything", {kAll}, {}},
      {"everything and more", {kAll, kMsi}, {}},
      {"adjacent", {{10, 19}, {20, 29}}, {{0, 9}, {30, kMaxAddress}}},
      {"one inside the other", {{10, 99}, {20, 29}}, {{0, 9}, {100, kMaxAddress}}},
      {"overlapping, later one first", {{20, 39}, {10, 29}}, {{0, 9}, {40, kMaxAddress}}},
      {"the last address", {{kMaxAddress, kMaxAddress}}, {{0, kMaxAddress - 1}}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    IovaSpace space;
    for (const IovaRange& range : c.reserved) ASSERT_TRUE(space.Reserve(range, 1, "x").ok());
    EXPECT_EQ(space.UsableRanges(), c.want);
  }
}

TEST(IovaSpaceTest, ARangeStaysReservedUntilItsLastOwnerGivesItUp) {
  IovaSpace space;
  ASSERT_TRUE(space.Reserve(kMsi, kDevice, "MSI window").ok());
  ASSERT_TRUE(space.Reserve(kMsi, kDevice, "MSI window").ok());
  ASSERT_TRUE(space.Reserve(kMsi, kDomain, "hole").ok());
  space.Unreserve(kDevice);
  ASSERT_NE(space.ReservedOverlap(kMsi), nullptr);
  EXPECT_EQ(space.ReservedOverlap(kMsi)->why, "hole");
  space.Unreserve(kDevice);
  EXPECT_NE(space.ReservedOverlap(kMsi), nullptr);
  space.Unreserve(kDomain);
  EXPECT_EQ(space.ReservedOverlap(kMsi), nullptr);
  EXPECT_THAT(space.UsableRanges(), ElementsAre(kAll));
}

TEST(IovaSpaceTest, ReservedOverlapSeesOneByte) {
  IovaSpace space;
  ASSERT_TRUE(space.Reserve({10, 19}, kDevice, "low").ok());
  ASSERT_TRUE(space.Reserve({30, 39}, kDevice, "high").ok());
  EXPECT_EQ(space.ReservedOverlap({0, 9}), nullptr);
  EXPECT_EQ(space.ReservedOverlap({20, 29}), nullptr);
  EXPECT_EQ(space.ReservedOverlap({40, kMaxAddress}), nullptr);
  EXPECT_EQ(space.ReservedOverlap({19, 30})->why, "low");
  EXPECT_EQ(space.ReservedOverlap({20, 30})->why, "high");
}

TEST(IovaSpaceTest, ADomainReservesWhatLiesOutsideItsAperture) {
  IovaSpace space;
  ASSERT_TRUE(space.ReserveOutside({0x1000, 0xffff}, kDomain, "aperture").ok());
  EXPECT_THAT(space.UsableRanges(), ElementsAre(IovaRange{0x1000, 0xffff}));
  ASSERT_TRUE(space.ReserveOutside({0, 0x7fff}, kDomain + 1, "aperture").ok());
  EXPECT_THAT(space.UsableRanges(), ElementsAre(IovaRange{0x1000, 0x7fff}));
  ASSERT_TRUE(space.ReserveOutside(kAll, kDomain + 2, "aperture").ok());
  space.Unreserve(kDomain);
  EXPECT_THAT(space.UsableRanges(), ElementsAre(IovaRange{0, 0x7fff}));
}

TEST(IovaSpaceTest, RefusesToReserveWhatIsAllowed) {
  IovaSpace space;
  ASSERT_TRUE(space.SetAllowed({{0x1000, 0x1fff}, {kMsi.last, kMsi.last + 9}}).ok());
  ExpectError(space.Reserve(kMsi, kDevice, "MSI window"), StatusCode::kFailedPrecondition,
              "IOVA_CONFLICT", "EADDRINUSE", "allowed range [0xfeefffff, 0xfef00008]");
  EXPECT_EQ(space.ReservedOverlap(kAll), nullptr);
  // The part below the aperture is free, the part above is not: neither is reserved.
  ExpectError(space.ReserveOutside({0x1000, 0xffff}, kDomain, "aperture"),
              StatusCode::kFailedPrecondition, "IOVA_CONFLICT", "EADDRINUSE", "aperture");
  EXPECT_EQ(space.ReservedOverlap(kAll), nullptr);
  EXPECT_TRUE(space.Reserve({0x2000, 0x2fff}, kDevice, "x").ok());
}

TEST(IovaSpaceTest, ABadAllowedListIsRefusedAndTheOldOneStays) {
  const struct {
    const char* name;
    std::vector<IovaRange> ranges;
    StatusCode code;
    const char* reason;
    const char* errno_name;
    uint64_t index;
  } kCases[] = {
      {"one byte", {{1, 2}, {9, 9}}, StatusCode::kInvalidArgument, "RANGE_INVALID", "EINVAL", 1},
      {"backwards", {{9, 8}}, StatusCode::kInvalidArgument, "RANGE_INVALID", "EINVAL", 0},
      {"overlap",
       {{50, 60}, {1, 9}, {9, 20}},
       StatusCode::kInvalidArgument,
       "RANGE_OVERLAP",
       "EINVAL",
       2},
      {"one that overlaps, behind one that is reserved",
       {{kMsi.first, kMsi.last}, {1, 9}, {9, 12}},
       StatusCode::kInvalidArgument,
       "RANGE_OVERLAP",
       "EINVAL",
       2},
      {"reserved",
       {{1, 9}, {kMsi.first - 1, kMsi.first}},
       StatusCode::kFailedPrecondition,
       "IOVA_CONFLICT",
       "EADDRINUSE",
       1},
      {"a bad one behind a reserved one",
       {kMsi, {9, 9}},
       StatusCode::kInvalidArgument,
       "RANGE_INVALID",
       "EINVAL",
       1},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    IovaSpace space;
    ASSERT_TRUE(space.Reserve(kMsi, kDevice, "MSI window").ok());
    ASSERT_TRUE(space.SetAllowed({{0x5000, 0x5fff}}).ok());
    const absl::Status status = space.SetAllowed(c.ranges);
    ExpectError(status, c.code, c.reason, c.errno_name, ToString(c.ranges[c.index]));
    EXPECT_EQ(DetailOf(status)->index, c.index);
    EXPECT_THAT(space.allowed(), ElementsAre(IovaRange{0x5000, 0x5fff}));
  }
}

TEST(IovaSpaceTest, AnAllowedListReplacesTheOldOne) {
  IovaSpace space;
  ASSERT_TRUE(space.SetAllowed({{0x5000, 0x5fff}, {0x1000, 0x1fff}}).ok());
  EXPECT_THAT(space.allowed(), ElementsAre(IovaRange{0x1000, 0x1fff}, IovaRange{0x5000, 0x5fff}));
  EXPECT_THAT(space.UsableRanges(), ElementsAre(kAll));
  ASSERT_TRUE(space.SetAllowed({}).ok());
  EXPECT_THAT(space.allowed(), IsEmpty());
  EXPECT_EQ(*space.Allocate(Areas(), 0x1000, 0), 0x1000u);
}

TEST(IovaSpaceTest, TheLargestDemandForAlignmentHolds) {
  IovaSpace space;
  space.AddAlignment(kDomain, 0x1000);
  space.AddAlignment(kDevice, 0x200);
  EXPECT_EQ(space.alignment_bytes(), 0x1000u);
  space.AddAlignment(kDomain, 0x800);
  EXPECT_EQ(space.alignment_bytes(), 0x800u);
  space.RemoveAlignment(kDomain);
  EXPECT_EQ(space.alignment_bytes(), 0x200u);
  space.RemoveAlignment(kDevice);
  EXPECT_EQ(space.alignment_bytes(), 1u);
}

TEST(IovaSpaceTest, AllocatesTheLowestAddressThatFits) {
  constexpr uint64_t k2M = uint64_t{2} << 20;
  const struct {
    const char* name;
    std::vector<IovaRange> areas, reserved, allowed;
    uint64_t size, source;
    Iova want;
  } kCases[] = {
      {"never the first page", {}, {}, {}, 1, 0, 0x1000},
      {"nor within it when it is allowed", {}, {}, {{0, 0xffff}}, 1, 0, 0x1000},
      {"aligned to its size", {{0x1000, 0x1fff}}, {}, {}, 0x4000, 0, 0x4000},
      {"its size rounded up", {{0x1000, 0x1fff}}, {}, {}, 0x3000, 0, 0x4000},
      {"at most 2 MiB", {{0x1000, 0x1fff}}, {}, {}, 8 * k2M, 0, k2M},
      {"no more than the source", {{0x1000, 0x1fff}}, {}, {}, 0x4000, 0x6000, 0x2000},
      {"low bits of the source", {{0x1000, 0x1fff}}, {}, {}, 0x100, 0x7123, 0x2123},
      {"a large source", {}, {}, {}, 4 * k2M, 3 * k2M, k2M},
      {"over reserved ranges", {}, {{0, 0x4fff}, {0x6000, 0x7fff}}, {}, 0x2000, 0, 0x8000},
      {"between reserved ranges", {}, {{0, 0x4fff}, {0x6000, 0x7fff}}, {}, 0x1000, 0, 0x5000},
      {"over areas and reserved ranges",
       {{0x1000, 0x1fff}, {0x3000, 0x3fff}},
       {{0x2000, 0x2fff}},
       {},
       0x1000,
       0,
       0x4000},
      {"inside allowed ranges", {}, {}, {{0x9000, 0x9fff}, {0x5000, 0x5fff}}, 0x1000, 0, 0x5000},
      {"in the next allowed range",
       {{0x5000, 0x57ff}},
       {},
       {{0x9000, 0x9fff}, {0x5000, 0x5fff}},
       0x1000,
       0,
       0x9000},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    IovaSpace space;
    for (const IovaRange& range : c.reserved) ASSERT_TRUE(space.Reserve(range, 1, "x").ok());
    ASSERT_TRUE(space.SetAllowed(c.allowed).ok());
    const absl::StatusOr<Iova> iova = space.Allocate(AreasOf(c.areas), c.size, c.source);
    ASSERT_TRUE(iova.ok()) << iova.status();
    EXPECT_EQ(*iova, c.want) << Hex(*iova);
  }
}

TEST(IovaSpaceTest, AllocateKeepsTheDemandedAlignment) {
  IovaSpace space;
  space.AddAlignment(kDomain, 0x10000);
  EXPECT_EQ(*space.Allocate(Areas(), 0x10000, 0), 0x10000u);
  space.AddAlignment(kDomain, uint64_t{8} << 20);
  EXPECT_EQ(*space.Allocate(Areas(), uint64_t{8} << 20, 0), uint64_t{8} << 20);
}

TEST(IovaSpaceTest, AllocateRefusesSizesThatCannotBePlaced) {
  const IovaSpace space;
  for (const uint64_t size : {uint64_t{0}, kMaxAddress / 2, kMaxAddress}) {
    ExpectError(space.Allocate(Areas(), size, 0).status(), StatusCode::kOutOfRange,
                "SIZE_OUT_OF_RANGE", "EOVERFLOW", Hex(size));
  }
  EXPECT_TRUE(space.Allocate(Areas(), kMaxAddress / 2 - 1, 0).ok());
}

TEST(IovaSpaceTest, AllocateRefusesWhatIsMisaligned) {
  IovaSpace space;
  space.AddAlignment(kDomain, 0x1000);
  ExpectError(space.Allocate(Areas(), 0x1800, 0).status(), StatusCode::kInvalidArgument,
              "MISALIGNED", "EINVAL", "0x1800");
  ExpectError(space.Allocate(Areas(), 0x1000, 0x1234).status(), StatusCode::kInvalidArgument,
              "MISALIGNED", "EINVAL", "0x1234");
}

TEST(IovaSpaceTest, AllocateSaysWhenNoGapIsLargeEnough) {
  const struct {
    const char* name;
    std::vector<IovaRange> areas, reserved, allowed;
  } kCases[] = {
      {"areas", {{0x1000, kMaxAddress}}, {}, {}},
      {"reserved", {}, {kAll}, {}},
      {"only the ends are free", {{0x1000, kMaxAddress - 0x1000}}, {}, {}},
      {"allowed is full", {{0x5000, 0x5000}}, {}, {{0x5000, 0x5fff}}},
      {"allowed is too small", {}, {}, {{0x5000, 0x5ffe}}},
      {"allowed is the first page", {}, {}, {{0, 0xfff}}},
      {"allowed is the last page", {}, {}, {{kMaxAddress - 0xfff, kMaxAddress}}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    IovaSpace space;
    for (const IovaRange& range : c.reserved) ASSERT_TRUE(space.Reserve(range, 1, "x").ok());
    ASSERT_TRUE(space.SetAllowed(c.allowed).ok());
    ExpectError(space.Allocate(AreasOf(c.areas), 0x1000, 0).status(),
                StatusCode::kResourceExhausted, "IOVA_EXHAUSTED", "ENOSPC", "0x1000");
  }
}

TEST(IovaSpaceTest, AFixedMappingMayLieAnywhereElse) {
  IovaSpace space;
  ASSERT_TRUE(space.Reserve(kMsi, kDevice, "MSI window").ok());
  ASSERT_TRUE(space.SetAllowed({{0x100000, 0x1fffff}}).ok());
  space.AddAlignment(kDomain, 0x1000);
  const Areas areas = AreasOf({{0x3000, 0x3fff}});
  for (const IovaRange& range : std::vector<IovaRange>{{0, 0xfff},
                                                       {0x2000, 0x2fff},
                                                       {0x4000, 0x4fff},
                                                       {kMsi.first - 0x1000, kMsi.first - 1},
                                                       {kMsi.last + 1, kMaxAddress}}) {
    EXPECT_TRUE(space.CheckFixed(areas, range).ok()) << ToString(range);
  }
}

TEST(IovaSpaceTest, RefusesAFixedMappingThatIsMisaligned) {
  IovaSpace space;
  space.AddAlignment(kDomain, 0x1000);
  ExpectError(space.CheckFixed(Areas(), {0x800, 0x17ff}), StatusCode::kInvalidArgument,
              "MISALIGNED", "EINVAL", "iova 0x800");
  ExpectError(space.CheckFixed(Areas(), {0x1000, 0x17ff}), StatusCode::kInvalidArgument,
              "MISALIGNED", "EINVAL", "size 0x800");
}

TEST(IovaSpaceTest, RefusesAFixedMappingOverAReservedRangeAndSaysWhoseItIs) {
  IovaSpace space;
  ASSERT_TRUE(space.Reserve(kMsi, kDevice, "MSI window").ok());
  for (const IovaRange& range :
       {kMsi, kAll, IovaRange{0, kMsi.first}, IovaRange{kMsi.last, kMaxAddress}}) {
    const absl::Status status = space.CheckFixed(Areas(), range);
    ExpectError(status, StatusCode::kInvalidArgument, "IOVA_RESERVED", "EINVAL", "MSI window");
    EXPECT_EQ(DetailOf(status)->metadata.at("reserved_range"), ToString(kMsi));
  }
}

TEST(IovaSpaceTest, RefusesAFixedMappingOverAnAreaAndSaysWhich) {
  const IovaSpace space;
  const Areas areas = AreasOf({{0x3000, 0x3fff}, {0x5000, 0x5fff}});
  for (const IovaRange& range : {IovaRange{0x3000, 0x3fff}, IovaRange{0, 0x3000},
                                 IovaRange{0x3fff, 0x4fff}, IovaRange{0x3800, 0x5fff}, kAll}) {
    const absl::Status status = space.CheckFixed(areas, range);
    ExpectError(status, StatusCode::kAlreadyExists, "IOVA_OCCUPIED", "EEXIST", "[0x3000, 0x3fff]");
    EXPECT_EQ(DetailOf(status)->metadata.at("existing_range"), "[0x3000, 0x3fff]");
  }
}

TEST(IovaSpaceTest, AnAreaIsInTheWayOfAReservation) {
  const Areas areas = AreasOf({{0x3000, 0x3fff}});
  EXPECT_TRUE(IovaSpace::CheckNoAreas(areas, {0, 0x2fff}, "MSI window").ok());
  EXPECT_TRUE(IovaSpace::CheckNoAreas(areas, {0x4000, kMaxAddress}, "MSI window").ok());
  ExpectError(IovaSpace::CheckNoAreas(areas, {0x3fff, 0x4fff}, "MSI window"),
              StatusCode::kFailedPrecondition, "IOVA_CONFLICT", "EADDRINUSE",
              "[0x3000, 0x3fff] is mapped");
}

}  // namespace
}  // namespace viommu
