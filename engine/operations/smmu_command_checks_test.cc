#include "engine/operations/smmu_command_checks.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/backend/viommus.h"
#include "engine/base/errors.h"
#include "engine/model/viommu.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using Op = ArmSmmuV3Opcode;
using Command = ArmSmmuV3Invalidation;

class SmmuCommandChecksTest : public ::testing::Test {
 protected:
  SmmuCommandChecksTest() { viommu_.vdevices[7] = 100; }

  // "OK", or "REASON field".
  std::string Check(const Command& command, bool ranges = true) const {
    const absl::Status status = CheckCommand(command, viommu_, ranges);
    if (status.ok()) return "OK";
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DetailOf(status)->errno_name, "EIO");
    return absl::StrCat(DetailOf(status)->reason, " ", DetailOf(status)->field);
  }
  // One of the opcode that names a device it knows, if it names any.
  static Command Of(Op opcode) {
    Command command;
    command.opcode = opcode;
    const bool named = opcode == Op::kAtcInv || opcode == Op::kCfgiCd || opcode == Op::kCfgiCdAll;
    if (named) command.stream_id = 7;
    return command;
  }

  Viommu viommu_{"alice", "vm0", 1, ViommuType::kArmSmmuV3, 0, "smmu0", 2};
};

TEST_F(SmmuCommandChecksTest, KnowsTheFieldsOfEachOpcode) {
  const struct {
    const char* name;
    void (*set)(Command&);
    std::vector<Op> of;
  } kFields[] = {
      {"asid", [](Command& c) { c.asid = 1; }, {Op::kTlbiAsid, Op::kTlbiVa}},
      {"stream_id",
       [](Command& c) { c.stream_id = 7; },
       {Op::kAtcInv, Op::kCfgiCd, Op::kCfgiCdAll}},
      {"substream_id", [](Command& c) { c.substream_id = 1; }, {Op::kCfgiCd}},
      {"substream_valid", [](Command& c) { c.substream_valid = true; }, {Op::kAtcInv}},
      {"global", [](Command& c) { c.global = true; }, {}},
      {"address", [](Command& c) { c.address = 0x1000; }, {Op::kTlbiVa, Op::kTlbiVaa, Op::kAtcInv}},
      {"leaves_only",
       [](Command& c) { c.leaves_only = true; },
       {Op::kTlbiVa, Op::kTlbiVaa, Op::kCfgiCd}},
      {"size_log2", [](Command& c) { c.size_log2 = 1; }, {Op::kAtcInv}},
      {"range", [](Command& c) { c.range.granule = 1; }, {Op::kTlbiVa, Op::kTlbiVaa}},
  };
  for (const Op opcode : {Op::kTlbiAll, Op::kTlbiAsid, Op::kTlbiVa, Op::kTlbiVaa, Op::kAtcInv,
                          Op::kCfgiCd, Op::kCfgiCdAll}) {
    EXPECT_EQ(Check(Of(opcode)), "OK");
    for (const auto& field : kFields) {
      Command command = Of(opcode);
      field.set(command);
      bool has = false;
      for (const Op other : field.of) has = has || other == opcode;
      EXPECT_EQ(Check(command), has ? "OK" : absl::StrCat("INVALID_COMMAND ", field.name))
          << static_cast<int>(opcode) << " " << field.name;
    }
  }
  EXPECT_EQ(Check(Command()), "INVALID_COMMAND opcode");
}

TEST_F(SmmuCommandChecksTest, AsksForSubstreamValidBeforeASubstreamOfAtcInv) {
  Command command = Of(Op::kAtcInv);
  command.substream_id = 1;
  EXPECT_EQ(Check(command), "INVALID_COMMAND substream_id");
  command.substream_valid = true;
  EXPECT_EQ(Check(command), "OK");
  command.global = true;
  EXPECT_EQ(Check(command), "OK");
}

TEST_F(SmmuCommandChecksTest, RefusesValuesThatAFieldCanNotHave) {
  const struct {
    Op opcode;
    void (*set)(Command&);
    const char* want;
  } kCases[] = {
      {Op::kTlbiAsid, [](Command& c) { c.asid = 0xffff; }, "OK"},
      {Op::kTlbiAsid, [](Command& c) { c.asid = 0x10000; }, "INVALID_COMMAND asid"},
      {Op::kCfgiCd, [](Command& c) { c.substream_id = 0xfffff; }, "OK"},
      {Op::kCfgiCd, [](Command& c) { c.substream_id = 0x100000; }, "INVALID_COMMAND substream_id"},
      {Op::kAtcInv, [](Command& c) { c.size_log2 = 52; }, "OK"},
      {Op::kAtcInv, [](Command& c) { c.size_log2 = 53; }, "INVALID_COMMAND size_log2"},
      {Op::kTlbiVa, [](Command& c) { c.address = 0x800; }, "INVALID_COMMAND address"},
      {Op::kTlbiVa,
       [](Command& c) {
         c.range = {31, 31, 3, 3};
       },
       "OK"},
      {Op::kTlbiVa,
       [](Command& c) {
         c.range = {32, 0, 0, 1};
       },
       "INVALID_COMMAND range.num"},
      {Op::kTlbiVa,
       [](Command& c) {
         c.range = {0, 32, 0, 1};
       },
       "INVALID_COMMAND range.scale"},
      {Op::kTlbiVa,
       [](Command& c) {
         c.range = {0, 0, 4, 1};
       },
       "INVALID_COMMAND range.leaf_level"},
      {Op::kTlbiVa,
       [](Command& c) {
         c.range = {0, 0, 0, 4};
       },
       "INVALID_COMMAND range.granule_bytes"},
      {Op::kTlbiVa,
       [](Command& c) {
         c.range = {1, 0, 0, 0};
       },
       "INVALID_COMMAND range.granule_bytes"},
      {Op::kCfgiCdAll, [](Command& c) { c.stream_id = 8; }, "UNKNOWN_STREAM_ID stream_id"},
      {Op::kAtcInv, [](Command& c) { c.stream_id = 0; }, "UNKNOWN_STREAM_ID stream_id"},
  };
  for (const auto& c : kCases) {
    Command command = Of(c.opcode);
    c.set(command);
    EXPECT_EQ(Check(command), c.want);
  }
}

TEST_F(SmmuCommandChecksTest, TakesRangesOnlyWhereTheUnitDoes) {
  Command command = Of(Op::kTlbiVa);
  EXPECT_EQ(Check(command, /*ranges=*/false), "OK");
  command.range.granule = 1;
  EXPECT_EQ(Check(command, /*ranges=*/false), "INVALID_COMMAND range");
}

}  // namespace
}  // namespace viommu
