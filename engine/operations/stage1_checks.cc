#include "engine/operations/stage1_checks.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

constexpr uint64_t kTableBytes = 4096;
constexpr int kWidth4Levels = 48;
constexpr int kWidth5Levels = 57;

std::string FieldOf(absl::string_view name) { return absl::StrCat("domain.nested.vtd.", name); }

absl::Status CheckValues(const VtdStage1& stage1, const IovaRange& aperture) {
  if (stage1.address_width_bits != kWidth4Levels && stage1.address_width_bits != kWidth5Levels) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_ADDRESS_WIDTH",
                 absl::StrCat("address width ", stage1.address_width_bits, " is neither ",
                              kWidth4Levels, " nor ", kWidth5Levels))
        .Errno("EINVAL")
        .Field(FieldOf("address_width_bits"));
  }
  if (!IsAligned(stage1.table_address, kTableBytes)) {
    return Error(absl::StatusCode::kInvalidArgument, "MISALIGNED",
                 absl::StrCat("table address ", Hex(stage1.table_address), " is not a multiple of ",
                              Hex(kTableBytes)))
        .Errno("EINVAL")
        .Field(FieldOf("table_address"))
        .Meta("alignment", Hex(kTableBytes));
  }
  if (!aperture.Contains(
          IovaRange{stage1.table_address, stage1.table_address + (kTableBytes - 1)})) {
    return Error(absl::StatusCode::kOutOfRange, "TABLE_OUT_OF_RANGE",
                 absl::StrCat("table address ", Hex(stage1.table_address),
                              " is not among the addresses ", ToString(aperture),
                              " that the parent can translate"))
        .Errno("EINVAL")
        .Field(FieldOf("table_address"));
  }
  if (stage1.write_protect && !stage1.supervisor_requests) {
    return Error(absl::StatusCode::kInvalidArgument, "WRITE_PROTECT_WITHOUT_SUPERVISOR",
                 "write_protect says something about supervisor requests, which are not asked for")
        .Errno("EINVAL")
        .Field(FieldOf("write_protect"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckVtdStage1(const VtdStage1& stage1, const IommuSpec& unit, const Device& device,
                            const IovaRange& aperture) {
  RETURN_IF_ERROR(CheckValues(stage1, aperture));
  const std::string name = absl::StrCat("iommus/", unit.id);
  if (stage1.address_width_bits == kWidth5Levels && !unit.first_stage_levels_5) {
    return Stage1Unavailable(device, FieldOf("address_width_bits"),
                             absl::StrCat(name, " walks first stages of 4 levels only"));
  }
  if (stage1.supervisor_requests && !unit.supervisor_requests) {
    return Stage1Unavailable(device, FieldOf("supervisor_requests"),
                             absl::StrCat(name, " has no supervisor requests"));
  }
  if (stage1.extended_accessed && !unit.extended_access) {
    return Stage1Unavailable(device, FieldOf("extended_accessed"),
                             absl::StrCat(name, " has no second accessed flag"));
  }
  return absl::OkStatus();
}

absl::Status Stage1Unavailable(const Device& device, absl::string_view field,
                               absl::string_view why) {
  return Error(absl::StatusCode::kUnimplemented, "STAGE1_UNAVAILABLE", why)
      .Errno("EOPNOTSUPP")
      .Field(field)
      .Resource(device.Name());
}

}  // namespace viommu
