#include "engine/entries/smmu_range.h"

#include <random>
#include <string>
#include <vector>

#include "engine/base/address.h"
#include "engine/entries/smmu_commands.h"
#include "engine/entries/smmu_fields.h"
#include "gtest/gtest.h"

namespace viommu::smmu {
namespace {

constexpr TlbScope kStage1 = {TlbScope::Stage::kStage1, {0, 7}};
constexpr TlbScope kStage2 = {TlbScope::Stage::kStage2, {9, 0}};

TlbRange Range(uint64_t first, uint64_t size, int leaf_log2 = 12, bool leaf_only = true,
               Granule granule = Granule::k4KiB) {
  return {{first, first + size - 1}, granule, leaf_log2, leaf_only};
}

std::vector<Command> All(const TlbScope& scope, const TlbRange& range, bool range_commands) {
  RangeInvalidation plan(scope, range, range_commands);
  std::vector<Command> commands;
  // One more than there may be, so that a plan without end fails.
  while (commands.size() <= kMaxRangeCommands) {
    const auto command = plan.Next();
    if (!command.has_value()) break;
    commands.push_back(*command);
  }
  EXPECT_FALSE(plan.Next().has_value());
  return commands;
}

TEST(SmmuRangeTest, WritesTheGoldenWords) {
  const struct {
    const char* name;
    TlbScope scope;
    TlbRange range;
    bool range_commands;
    std::vector<Command> want;
  } kCases[] = {
      {"a page", kStage1, Range(0x5000, 0x1000), true, {{0x7'0000'0000'0012, 0x5701}}},
      {"33 pages: 1 and 1 * 2^5",
       kStage1,
       Range(0x1000, 0x2'1000),
       true,
       {{0x7'0000'0000'0012, 0x1701}, {0x7'0000'0050'0012, 0x2701}}},
      {"992 pages: 31 * 2^5", kStage1, Range(0, 992 * 0x1000), true, {{0x7'0000'0051'e012, 0x701}}},
      {"2 MiB leaves, 1 GiB of them: 1 * 2^18",
       kStage1,
       Range(0x4000'0000, 0x4000'0000, 21),
       true,
       {{0x7'0000'0120'0012, 0x4000'0601}}},
      {"a table was unlinked: no level",
       kStage1,
       Range(0x20'0000, 0x20'0000, 12, false),
       true,
       {{0x7'0000'0090'0012, 0x20'0400}}},
      {"one granule of any level is no range",
       kStage1,
       Range(0x5000, 0x1000, 12, false),
       true,
       {{0x7'0000'0000'0012, 0x5000}}},
      {"leaves of several sizes",
       kStage2,
       Range(0x1000, 0x3000, 0),
       true,
       {{0x9'0000'202a, 0x1401}}},
      {"33 pages of no level: a page and a range",
       kStage2,
       Range(0x1000, 0x2'1000, 0),
       true,
       {{0x9'0000'002a, 0x1001}, {0x9'0050'002a, 0x2401}}},
      {"stage 2, without ranges",
       kStage2,
       Range(0x5000, 0x2000),
       false,
       {{0x9'0000'002a, 0x5001}, {0x9'0000'002a, 0x6001}}},
      {"a command per leaf",
       kStage1,
       Range(0x20'0000, 0x40'0000, 21),
       false,
       {{0x7'0000'0000'0012, 0x20'0001}, {0x7'0000'0000'0012, 0x40'0001}}},
      {"16 KiB",
       kStage1,
       Range(0x4000, 0x8000, 14, true, Granule::k16KiB),
       true,
       {{0x7'0000'0010'0012, 0x4b01}}},
      {"64 KiB",
       kStage1,
       Range(0x1'0000, 0x1'0000, 16, true, Granule::k64KiB),
       true,
       {{0x7'0000'0000'0012, 0x1'0f01}}},
      {"everything", kStage1, {{0, kMaxAddress}}, true, {{0x7'0000'0000'0011, 0}}},
      {"everything, stage 2", kStage2, {{0, kMaxAddress}}, true, {{0x9'0000'0028, 0}}},
      {"everything, without ranges", kStage2, {{0, kMaxAddress}}, false, {{0x9'0000'0028, 0}}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(All(c.scope, c.range, c.range_commands), c.want);
  }
}

TEST(SmmuRangeTest, SaysTheLevelOfTheLeaves) {
  const struct {
    Granule granule;
    int leaf_log2;
    uint64_t ttl;
  } kCases[] = {
      {Granule::k4KiB, 12, 3},  {Granule::k4KiB, 21, 2},  {Granule::k4KiB, 30, 1},
      {Granule::k16KiB, 14, 3}, {Granule::k16KiB, 25, 2}, {Granule::k16KiB, 36, 1},
      {Granule::k64KiB, 16, 3}, {Granule::k64KiB, 29, 2}, {Granule::k64KiB, 42, 1},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.leaf_log2);
    const uint64_t bytes = uint64_t{1} << c.leaf_log2;
    for (const bool leaf_only : {true, false}) {
      const auto commands =
          All(kStage1, Range(2 * bytes, 2 * bytes, c.leaf_log2, leaf_only, c.granule), true);
      ASSERT_EQ(commands.size(), 1u);
      EXPECT_EQ(kTlbiTtl.Get(commands[0][1]), leaf_only ? c.ttl : 0);
      EXPECT_EQ(kTlbiTg.Get(commands[0][1]), RangeGranuleCode(c.granule));
    }
  }
}

TEST(SmmuRangeTest, TakesTheWholeFormBeyondTheBound) {
  const struct {
    const char* name;
    TlbRange range;
    bool range_commands;
    bool whole;
  } kCases[] = {
      {"511 pages", Range(0x1000, 511 * 0x1000), false, false},
      {"512 pages", Range(0x1000, 512 * 0x1000), false, true},
      {"511 blocks", Range(0, 511 * 0x20'0000, 21), false, false},
      {"512 blocks", Range(0, 512 * uint64_t{0x20'0000}, 21), false, true},
      {"511 pages of 64 KiB", Range(0, 511 * 0x1'0000, 16, true, Granule::k64KiB), false, false},
      {"512 pages of 64 KiB", Range(0, 512 * 0x1'0000, 16, true, Granule::k64KiB), false, true},
      {"512 pages, ranges", Range(0x1000, 512 * 0x1000), true, false},
      {"2^36 - 1 pages, ranges", Range(0x1000, (uint64_t{1} << 48) - 0x1000), true, false},
      {"2^36 pages, ranges", Range(0, uint64_t{1} << 48), true, true},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(RangeInvalidation(kStage1, c.range, c.range_commands).whole(), c.whole);
    const auto commands = All(kStage1, c.range, c.range_commands);
    EXPECT_LE(commands.size(), kMaxRangeCommands);
    if (c.whole) {
      EXPECT_EQ(commands, std::vector<Command>{InvalidateAsid({0, 7})});
    }
  }
}

// Read as IHI 0070 4.4.1.1 says, the commands cover the range without gap or overlap and nothing
// else, and no combination is reserved.
TEST(SmmuRangeTest, CoversExactlyTheRange) {
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int round = 0; round < 20000; ++round) {
    const Granule granule =
        std::vector<Granule>{Granule::k4KiB, Granule::k16KiB, Granule::k64KiB}[random() % 3];
    const bool range_commands = random() % 2 != 0;
    const bool leaf_known = random() % 2 != 0, leaf_only = random() % 2 != 0;
    const uint64_t granules =
        1 + (range_commands ? random() >> (28 + random() % 36) : random() % 511);
    const uint64_t first = (random() >> 16) >> Log2(granule) << Log2(granule);
    TlbRange range =
        Range(first, granules << Log2(granule), leaf_known ? Log2(granule) : 0, leaf_only, granule);
    // Rounded outwards.
    const uint64_t slack = random() % (uint64_t{1} << Log2(granule));
    range.range.first += granules == 1 ? 0 : slack;
    range.range.last -= granules == 1 ? 0 : slack;
    RangeInvalidation plan(kStage1, range, range_commands);
    if (plan.whole()) continue;
    uint64_t next = first;
    size_t count = 0;
    while (const auto command = plan.Next()) {
      ASSERT_LE(++count, kMaxRangeCommands);
      const uint64_t num = kTlbiNum.Get((*command)[0]), scale = kTlbiScale.Get((*command)[0]);
      const uint64_t tg = kTlbiTg.Get((*command)[1]), ttl = kTlbiTtl.Get((*command)[1]);
      ASSERT_EQ((*command)[1] >> 12 << 12, next);
      ASSERT_EQ((*command)[1] & 1, leaf_only ? 1u : 0u);
      ASSERT_LE(scale, 31u);
      if (tg == 0) {
        ASSERT_EQ(num | scale | ttl, 0u);
        next += uint64_t{1} << Log2(granule);
      } else {
        ASSERT_TRUE(range_commands);
        ASSERT_EQ(10 + 2 * tg, static_cast<uint64_t>(Log2(granule)));
        ASSERT_NE(num | scale | ttl, 0u);
        next += (num + 1) << (scale + 10 + 2 * tg);
      }
    }
    ASSERT_EQ(next, first + (granules << Log2(granule)));
    ASSERT_LE(count, range_commands ? 8u : kMaxRangeCommands);
  }
}

}  // namespace
}  // namespace viommu::smmu
