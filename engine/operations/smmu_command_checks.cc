#include "engine/operations/smmu_command_checks.h"

#include "absl/strings/str_cat.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint32_t kMaxAsid = 0xffff;
constexpr uint32_t kMaxSubstream = 0xfffff;
constexpr uint32_t kMaxSizeLog2 = 52;
constexpr uint32_t kMaxNum = 31;
constexpr uint32_t kMaxScale = 31;
constexpr uint32_t kMaxLeafLevel = 3;
constexpr uint32_t kMaxGranule = 3;

// Fields of a command.
enum Field : unsigned {
  kAsid = 1u << 0,
  kStream = 1u << 1,
  kSubstream = 1u << 2,
  kSubstreamValid = 1u << 3,
  kGlobal = 1u << 4,
  kAddress = 1u << 5,
  kLeaf = 1u << 6,
  kSize = 1u << 7,
  kRange = 1u << 8,
};

// What an opcode has; nothing when a guest may not give it.
unsigned FieldsOf(ArmSmmuV3Opcode opcode) {
  switch (opcode) {
    case ArmSmmuV3Opcode::kNone:
    case ArmSmmuV3Opcode::kTlbiAll:
      return 0;
    case ArmSmmuV3Opcode::kTlbiAsid:
      return kAsid;
    case ArmSmmuV3Opcode::kTlbiVa:
      return kAsid | kAddress | kLeaf | kRange;
    case ArmSmmuV3Opcode::kTlbiVaa:
      return kAddress | kLeaf | kRange;
    case ArmSmmuV3Opcode::kAtcInv:
      return kStream | kSubstream | kSubstreamValid | kGlobal | kAddress | kSize;
    case ArmSmmuV3Opcode::kCfgiCd:
      return kStream | kSubstream | kLeaf;
    case ArmSmmuV3Opcode::kCfgiCdAll:
      return kStream;
  }
  return 0;
}

bool IsSet(const ArmSmmuV3Invalidation::Range& range) {
  return (range.num | range.scale | range.ttl | range.granule) != 0;
}

absl::Status InvalidCommand(absl::string_view field, absl::string_view why) {
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_COMMAND", why)
      .Errno("EIO")
      .Field(field);
}

absl::Status CheckFields(const ArmSmmuV3Invalidation& command) {
  const struct {
    unsigned field;
    bool is_set;
    absl::string_view name;
  } kFields[] = {
      {kAsid, command.asid != 0, "asid"},
      {kStream, command.stream_id != 0, "stream_id"},
      {kSubstream, command.substream_id != 0, "substream_id"},
      {kSubstreamValid, command.substream_valid, "substream_valid"},
      {kGlobal, command.global, "global"},
      {kAddress, command.address != 0, "address"},
      {kLeaf, command.leaves_only, "leaves_only"},
      {kSize, command.size_log2 != 0, "size_log2"},
      {kRange, IsSet(command.range), "range"},
  };
  const unsigned has = FieldsOf(command.opcode);
  for (const auto& field : kFields) {
    if (!field.is_set || (has & field.field) != 0) continue;
    return InvalidCommand(field.name, absl::StrCat("the command has no ", field.name));
  }
  if (command.opcode != ArmSmmuV3Opcode::kAtcInv || command.substream_valid) {
    return absl::OkStatus();
  }
  if (command.substream_id != 0) {
    return InvalidCommand("substream_id", "substream_id says nothing without substream_valid");
  }
  if (command.global)
    return InvalidCommand("global", "global says nothing without substream_valid");
  return absl::OkStatus();
}

absl::Status CheckAtMost(absl::string_view field, uint32_t value, uint32_t most) {
  if (value <= most) return absl::OkStatus();
  return InvalidCommand(field, absl::StrCat(field, " ", value, " is above ", most));
}

absl::Status CheckRange(const ArmSmmuV3Invalidation::Range& range, bool ranges) {
  if (!IsSet(range)) return absl::OkStatus();
  if (!ranges) return InvalidCommand("range", "the unit takes no commands for ranges");
  if (range.granule == 0 || range.granule > kMaxGranule) {
    return InvalidCommand("range.granule_bytes", "the granule is none of 4, 16 and 64 KiB");
  }
  RETURN_IF_ERROR(CheckAtMost("range.num", range.num, kMaxNum));
  RETURN_IF_ERROR(CheckAtMost("range.scale", range.scale, kMaxScale));
  return CheckAtMost("range.leaf_level", range.ttl, kMaxLeafLevel);
}

absl::Status CheckValues(const ArmSmmuV3Invalidation& command, bool ranges) {
  RETURN_IF_ERROR(CheckAtMost("asid", command.asid, kMaxAsid));
  RETURN_IF_ERROR(CheckAtMost("substream_id", command.substream_id, kMaxSubstream));
  RETURN_IF_ERROR(CheckAtMost("size_log2", command.size_log2, kMaxSizeLog2));
  if (!IsAligned(command.address, kPageBytes)) {
    return InvalidCommand("address", absl::StrCat("address ", Hex(command.address),
                                                  " is not a multiple of ", Hex(kPageBytes)));
  }
  return CheckRange(command.range, ranges);
}

}  // namespace

absl::Status CheckCommand(const ArmSmmuV3Invalidation& command, const Viommu& viommu, bool ranges) {
  if (command.opcode == ArmSmmuV3Opcode::kNone) {
    return InvalidCommand("opcode", "opcode is required");
  }
  RETURN_IF_ERROR(CheckFields(command));
  RETURN_IF_ERROR(CheckValues(command, ranges));
  if ((FieldsOf(command.opcode) & kStream) == 0 || viommu.vdevices.contains(command.stream_id)) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_STREAM_ID",
               absl::StrCat("no vdevice has the virtual id ", command.stream_id))
      .Errno("EIO")
      .Field("stream_id");
}

}  // namespace viommu
