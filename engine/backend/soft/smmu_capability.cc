#include "engine/backend/soft/smmu_capability.h"

#include <memory>
#include <string>

#include "absl/numeric/bits.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "engine/entries/smmu_guest.h"
#include "engine/pagetable/arm_lpae.h"

namespace viommu::smmu {
namespace {

constexpr char kFirstStage[] = "arm-stage1-";
constexpr char kSecondStage[] = "arm-stage2-";
constexpr int kFirstStageBits = 48;  // Without IDR5.VAX.

absl::Status Unavailable(const IommuSpec& unit, const char* reason, const char* what) {
  return Error(absl::StatusCode::kUnimplemented, reason,
               absl::StrCat("iommu ", unit.id, " has no ", what))
      .Errno("EOPNOTSUPP")
      .Meta("iommu", unit.id);
}

// That of the processors, 4 KiB, or the smallest (io-pgtable-arm.c: arm_lpae_restrict_pgsizes).
int GranuleOf(const SmmuV3Spec& spec) {
  if (spec.granule_4k) return kGranule4K;
  return spec.granule_16k ? kGranule16K : kGranule64K;
}

DomainProperties PlanTables(const IommuSpec& unit, const char* stage, int granule_log2,
                            int input_bits) {
  DomainProperties properties;
  properties.format = absl::StrCat(stage, (1 << granule_log2) / 1024, "k");
  properties.aperture = {0, (uint64_t{1} << input_bits) - 1};
  properties.page_sizes = lpae::PageSizes(granule_log2);
  properties.iommu = unit.id;
  return properties;
}

DomainProperties PlanFirstStage(const IommuSpec& unit, int granule_log2) {
  DomainProperties properties = PlanTables(unit, kFirstStage, granule_log2, kFirstStageBits);
  properties.levels = lpae::PlainRoot(granule_log2, kFirstStageBits).levels;
  properties.write_only = false;  // Whatever can be written can be read.
  return properties;
}

DomainProperties PlanSecondStage(const IommuSpec& unit) {
  const int granule_log2 = GranuleOf(unit.smmu_v3);
  const int input_bits = unit.smmu_v3.oas_bits;
  DomainProperties properties = PlanTables(unit, kSecondStage, granule_log2, input_bits);
  properties.levels = lpae::ConcatenatedRoot(granule_log2, input_bits).levels;
  return properties;
}

// As the seam has it, with the word at fault.
absl::Status InvalidVste(const GuestSteWords& words, const absl::Status& why) {
  const int word = ValidateVste({words[0], 0}).ok() ? 1 : 0;
  return Error(absl::StatusCode::kInvalidArgument, "INVALID_VSTE", why.message())
      .Errno("EIO")
      .Field(absl::StrCat("domain.nested.arm_smmu_v3.ste_", word));
}

}  // namespace

hardware::smmu::Spec HardwareSpecOf(const IommuSpec& unit) {
  const SmmuV3Spec& spec = unit.smmu_v3;
  hardware::smmu::Spec out;
  out.stage1 = spec.stage1;
  out.stage2 = spec.stage2;
  out.el2 = false;
  out.ats = spec.ats;
  out.pri = spec.pri;
  out.httu = spec.hardware_dirty ? 2 : spec.hardware_access ? 1 : 0;
  out.asid16 = spec.asid_bits == 16;
  out.vmid16 = spec.vmid_bits == 16;
  out.stall_model = spec.stall ? hardware::smmu::StallModel::kStallAndTerminate
                               : hardware::smmu::StallModel::kTerminateOnly;
  out.two_level_stream_table = spec.two_level_stream_table;
  out.two_level_cd = spec.two_level_cd;
  out.range_invalidation = spec.range_invalidation;
  out.force_write_back = spec.s2fwb;
  out.granule_4k = spec.granule_4k;
  out.granule_16k = spec.granule_16k;
  out.granule_64k = spec.granule_64k;
  out.stream_id_bits = spec.stream_id_bits;
  out.substream_id_bits = spec.substream_id_bits;
  out.output_address_bits = spec.oas_bits;
  return out;
}

bool IsFirstStageFormat(const DomainProperties& properties) {
  return absl::StartsWith(properties.format, kFirstStage);
}

bool IsSecondStageFormat(const DomainProperties& properties) {
  return absl::StartsWith(properties.format, kSecondStage);
}

int GranuleLog2(const DomainProperties& properties) {
  return absl::countr_zero(properties.page_sizes);
}

int InputBits(const DomainProperties& properties) {
  return static_cast<int>(absl::bit_width(properties.aperture.last));
}

bool ForcesWriteBack(const IommuSpec& unit, const DomainProperties& properties) {
  return unit.smmu_v3.s2fwb && properties.nest_parent;
}

absl::StatusOr<DomainProperties> PlanPaging(const IommuSpec& unit, const DomainSpec& spec) {
  if (spec.dirty_tracking && (spec.nest_parent || !HasDirtyTracking(unit))) {
    return Unavailable(unit, "DIRTY_TRACKING_UNAVAILABLE",
                       spec.nest_parent ? "dirty tracking under a guest" : "dirty tracking");
  }
  if (spec.pasid && (spec.nest_parent || !unit.smmu_v3.stage1)) {
    return Unavailable(unit, "PASID_DOMAIN_UNSUPPORTED", "second stage for requests with PASID");
  }
  if (!spec.nest_parent) {
    if (!unit.smmu_v3.stage1) return PlanSecondStage(unit);
    DomainProperties properties = PlanFirstStage(unit, GranuleOf(unit.smmu_v3));
    properties.dirty_tracking = spec.dirty_tracking;
    return properties;
  }
  if (!unit.smmu_v3.nesting) {
    return Unavailable(unit, "NESTING_UNAVAILABLE", "nested translation");
  }
  DomainProperties properties = PlanSecondStage(unit);
  properties.nest_parent = true;
  return properties;
}

absl::StatusOr<DomainProperties> PlanSva(const IommuSpec& unit) {
  if (!unit.smmu_v3.stage1 || !unit.smmu_v3.granule_4k) {
    return Unavailable(unit, "SVA_UNAVAILABLE", "first stage of 4 KiB pages");
  }
  DomainProperties properties = PlanFirstStage(unit, kGranule4K);
  properties.sva = true;
  return properties;
}

absl::StatusOr<DomainProperties> PlanVste(const IommuSpec& unit, const ArmSmmuV3Stage1& vste,
                                          const DomainProperties& parent) {
  if (!unit.smmu_v3.nesting) {
    return Unavailable(unit, "NESTING_UNAVAILABLE", "nested translation");
  }
  if (!parent.nest_parent) {
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_A_NEST_PARENT",
                 "the parent was not made to be nested on")
        .Errno("EINVAL");
  }
  RETURN_IF_ERROR(CheckDomain(unit, parent));
  const GuestSteWords words = {vste.ste[0], vste.ste[1]};
  const auto guest = ValidateVste(words);
  if (!guest.ok()) return InvalidVste(words, guest.status());
  DomainProperties properties =
      PlanTables(unit, kFirstStage, GranuleOf(unit.smmu_v3), kFirstStageBits);
  properties.format = absl::StrCat(kFirstStage, "guest");  // Of any granule that the unit has.
  properties.write_only = false;
  properties.parent = std::make_shared<const DomainProperties>(parent);
  properties.needs_vdevice = guest->kind == GuestSteKind::kTranslate;
  return properties;
}

absl::Status NoVtdStage1(const IommuSpec& unit) {
  return Unavailable(unit, "NESTING_UNAVAILABLE", "x86-64 tables for a guest's stage");
}

absl::Status CheckDomain(const IommuSpec& unit, const DomainProperties& properties) {
  if (properties.iommu == unit.id) return absl::OkStatus();
  const std::string why = properties.iommu.empty()
                              ? absl::StrCat("its format is ", properties.format)
                              : absl::StrCat("it belongs to iommu ", properties.iommu);
  return Error(absl::StatusCode::kFailedPrecondition, "INCOMPATIBLE_DOMAIN",
               absl::StrCat("iommu ", unit.id, " cannot use the domain: ", why))
      .Errno("EINVAL")
      .Meta("iommu", unit.id);
}

absl::Status CheckTogether(const IommuSpec& unit, TranslationKind without_pasid,
                           absl::Span<const TranslationKind> with_pasids) {
  for (const TranslationKind kind : with_pasids) {
    if (kind == TranslationKind::kFirstStage || kind == TranslationKind::kProcess) continue;
    return Error(absl::StatusCode::kUnimplemented, "PASID_DOMAIN_UNSUPPORTED",
                 absl::StrCat("behind iommu ", unit.id,
                              " requests with PASID can be on a first stage only"))
        .Errno("EOPNOTSUPP")
        .Meta("iommu", unit.id);
  }
  const bool has_second_stage =
      without_pasid == TranslationKind::kSecondStage || without_pasid == TranslationKind::kNested;
  if (with_pasids.empty() || !has_second_stage) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "PASIDS_IN_USE",
               absl::StrCat("behind iommu ", unit.id,
                            " requests without PASID can not be on a second stage while PASIDs are "
                            "attached"))
      .Errno("EBUSY")
      .Meta("iommu", unit.id);
}

}  // namespace viommu::smmu
