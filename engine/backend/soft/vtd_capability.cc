#include "engine/backend/soft/vtd_capability.h"

#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu::vtd {
namespace {

constexpr uint64_t k4K = uint64_t{1} << 12;
constexpr uint64_t k2M = uint64_t{1} << 21;
constexpr uint64_t k1G = uint64_t{1} << 30;

constexpr uint64_t kFaultRecordOffset = 0x400;  // Any place behind the registers in use.
constexpr uint64_t kFaultRecords = 8;

uint64_t Field(uint64_t value, int shift) { return value << shift; }

int WidthOf(int levels) { return 12 + 9 * levels; }

uint64_t FirstStagePageSizesOf(const IommuSpec& spec) {
  return k4K | k2M | (spec.first_stage_leaf_1g ? k1G : 0);
}

uint64_t PageSizesOf(const IommuSpec& spec) {
  return k4K | (spec.leaf_2m ? k2M : 0) | (spec.leaf_1g ? k1G : 0);
}

absl::Status Incompatible(const IommuSpec& spec, const std::string& why) {
  return Error(absl::StatusCode::kFailedPrecondition, "INCOMPATIBLE_DOMAIN",
               absl::StrCat("iommu ", spec.id, " cannot use the domain: ", why))
      .Errno("EINVAL")
      .Meta("iommu", spec.id);
}

absl::Status Unavailable(const IommuSpec& spec, const char* reason, const char* what) {
  return Error(absl::StatusCode::kUnimplemented, reason,
               absl::StrCat("iommu ", spec.id, " has no ", what))
      .Errno("EOPNOTSUPP")
      .Meta("iommu", spec.id);
}

// What a nested entry asks for beside its second stage (vtd/pasid.c: intel_pasid_setup_nested).
absl::Status CheckStage1(const IommuSpec& spec, const VtdStage1& stage1) {
  if (stage1.address_width_bits == 57 && !spec.first_stage_levels_5) {
    return Incompatible(spec, "its first stage has 5 levels");
  }
  if (stage1.supervisor_requests && !spec.supervisor_requests) {
    return Incompatible(spec, "it takes supervisor requests");
  }
  if (stage1.write_protect && !stage1.supervisor_requests) {
    return Incompatible(spec, "it write-protects supervisor requests that it does not take");
  }
  if (stage1.extended_accessed && !spec.extended_access) {
    return Incompatible(spec, "it uses the extended accessed flag");
  }
  return absl::OkStatus();
}

}  // namespace

uint64_t CapabilityOf(const IommuSpec& spec) {
  return Field((spec.domain_id_bits - 4) / 2, 0) |                   // ND 2:0
         Field(spec.levels_3, 9) | Field(spec.levels_4, 10) |        // SAGAW 12:8
         Field(spec.levels_5, 11) |                                  //
         Field(spec.guest_address_width_bits - 1, 16) |              // MGAW 21:16
         Field(kFaultRecordOffset / 16, 24) |                        // FRO 33:24
         Field(spec.leaf_2m, 34) | Field(spec.leaf_1g, 35) |         // SLLPS 37:34
         Field(1, 39) | Field(kFaultRecords - 1, 40) |               // PSI, NFR 47:40
         Field(kMaxAddressMask, 48) | Field(1, 54) | Field(1, 55) |  // MAMV, DWD, DRD
         Field(spec.first_stage_leaf_1g, 56) |                       // FL1GP
         Field(spec.first_stage_levels_5, 60);                       // FL5LP
}

uint64_t ExtendedCapabilityOf(const IommuSpec& spec) {
  return Field(1, 0) | Field(1, 1) |                                   // C, QI
         Field(spec.pass_through, 6) | Field(spec.snoop_control, 7) |  // PT, SC
         Field(spec.device_tlb, 2) | Field(spec.nesting, 26) |         // DT, NEST
         Field(spec.page_requests, 29) |                               // PRS
         Field(spec.page_requests, 42) |                               // PDS
         Field(spec.supervisor_requests, 31) |                         // SRS
         Field(spec.extended_access, 34) |                             // EAFS
         Field(spec.pasid_bits - 1, 35) | Field(1, 40) |               // PSS, PASID
         Field(1, 43) | Field(spec.dirty_tracking, 45) |               // SMTS, SLADS
         Field(1, 46) | Field(spec.first_stage, 47) | Field(1, 48);    // SLTS, FLTS, SMPWC
}

bool HasLevels(const IommuSpec& spec, int levels) {
  return (levels == 3 && spec.levels_3) || (levels == 4 && spec.levels_4) ||
         (levels == 5 && spec.levels_5);
}

int DeepestLevels(const IommuSpec& spec) {
  for (const int levels : {5, 4, 3}) {
    if (HasLevels(spec, levels)) return levels;
  }
  return 0;
}

absl::StatusOr<DomainProperties> PlanSecondStage(const IommuSpec& spec) {
  DomainProperties properties;
  properties.format = kSecondStageFormat;
  properties.levels = DeepestLevels(spec);
  if (properties.levels == 0) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_TABLE_FORMAT",
                 absl::StrCat("iommu ", spec.id, " walks no page table of ours"))
        .Errno("EOPNOTSUPP");
  }
  for (const int levels : {4, 3}) {
    if (HasLevels(spec, levels) && WidthOf(levels) >= spec.guest_address_width_bits) {
      properties.levels = levels;
    }
  }
  const int width = std::min(WidthOf(properties.levels), spec.guest_address_width_bits);
  properties.aperture = {0, (uint64_t{1} << width) - 1};
  properties.page_sizes = PageSizesOf(spec);
  properties.enforces_cache_coherency = spec.snoop_control;
  return properties;
}

absl::StatusOr<DomainProperties> PlanFirstStage(const IommuSpec& spec) {
  if (!spec.first_stage) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_TABLE_FORMAT",
                 absl::StrCat("iommu ", spec.id, " walks no first-stage table"))
        .Errno("EOPNOTSUPP");
  }
  DomainProperties properties;
  properties.format = kFirstStageFormat;
  properties.levels = spec.first_stage_levels_5 ? 5 : 4;
  properties.aperture = {0, (uint64_t{1} << (WidthOf(properties.levels) - 1)) - 1};
  properties.page_sizes = FirstStagePageSizesOf(spec);
  properties.enforces_cache_coherency = spec.snoop_control;
  properties.write_only = false;  // Whatever is present can be read.
  return properties;
}

absl::Status CheckFirstStage(const IommuSpec& spec, const DomainProperties& properties) {
  if (properties.format != kFirstStageFormat) {
    return Incompatible(spec, absl::StrCat("its format is ", properties.format));
  }
  if (!spec.first_stage) return Incompatible(spec, "it walks no first-stage table");
  if (properties.levels == 5 && !spec.first_stage_levels_5) {
    return Incompatible(spec, "it has 5 levels");
  }
  if ((properties.page_sizes & ~FirstStagePageSizesOf(spec)) != 0) {
    return Incompatible(spec, "its tables may hold leaves larger than the unit knows");
  }
  if (properties.enforces_cache_coherency && !spec.snoop_control) {
    return Incompatible(spec, "it enforces cache coherency, which the unit cannot");
  }
  return absl::OkStatus();
}

absl::Status CheckSecondStage(const IommuSpec& spec, const DomainProperties& properties) {
  if (properties.format != kSecondStageFormat) {
    return Incompatible(spec, absl::StrCat("its format is ", properties.format));
  }
  if (!HasLevels(spec, properties.levels)) {
    return Incompatible(spec, absl::StrCat("it has ", properties.levels, " levels"));
  }
  if ((properties.page_sizes & ~PageSizesOf(spec)) != 0) {
    return Incompatible(spec, "its tables may hold leaves larger than the unit knows");
  }
  if (properties.aperture.last >> spec.guest_address_width_bits != 0) {
    return Incompatible(
        spec, absl::StrCat("its last address ", Hex(properties.aperture.last), " is wider than ",
                           spec.guest_address_width_bits, " bits"));
  }
  if (properties.enforces_cache_coherency && !spec.snoop_control) {
    return Incompatible(spec, "it enforces cache coherency, which the unit cannot");
  }
  if (properties.nest_parent && !spec.nesting) return Incompatible(spec, "it is a nest parent");
  if (properties.dirty_tracking && !spec.dirty_tracking) {
    return Incompatible(spec, "it tells which pages are written, which the unit cannot");
  }
  return absl::OkStatus();
}

absl::StatusOr<DomainProperties> PlanPaging(const IommuSpec& unit, const DomainSpec& spec) {
  if (spec.dirty_tracking && !unit.dirty_tracking) {
    return Unavailable(unit, "DIRTY_TRACKING_UNAVAILABLE", "dirty tracking");
  }
  if (spec.nest_parent && !unit.nesting) {
    return Unavailable(unit, "NESTING_UNAVAILABLE", "nested translation");
  }
  const bool second_stage = spec.nest_parent || spec.dirty_tracking || !unit.first_stage;
  if (!second_stage) return PlanFirstStage(unit);
  ASSIGN_OR_RETURN(DomainProperties properties, PlanSecondStage(unit));
  properties.nest_parent = spec.nest_parent;
  properties.dirty_tracking = spec.dirty_tracking;
  if (spec.nest_parent) properties.read_only = false;  // Erratum 772415.
  return properties;
}

absl::StatusOr<DomainProperties> PlanSva(const IommuSpec& unit) {
  if (!unit.first_stage) return Unavailable(unit, "SVA_UNAVAILABLE", "a first stage");
  ASSIGN_OR_RETURN(DomainProperties properties, PlanFirstStage(unit));
  properties.sva = true;
  return properties;
}

absl::StatusOr<DomainProperties> PlanNested(const IommuSpec& unit, const VtdStage1& stage1,
                                            const DomainProperties& parent) {
  if (!unit.nesting) return Unavailable(unit, "NESTING_UNAVAILABLE", "nested translation");
  if (!parent.nest_parent) {
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_A_NEST_PARENT",
                 "the parent was not made to be nested on")
        .Errno("EINVAL");
  }
  DomainProperties properties;
  properties.format = kFirstStageFormat;
  properties.levels = stage1.address_width_bits == 57 ? 5 : 4;
  properties.aperture = {0, (uint64_t{1} << (WidthOf(properties.levels) - 1)) - 1};
  properties.page_sizes = FirstStagePageSizesOf(unit);
  properties.enforces_cache_coherency = parent.enforces_cache_coherency;
  properties.write_only = false;
  properties.parent = std::make_shared<const DomainProperties>(parent);
  properties.stage1 = stage1;
  RETURN_IF_ERROR(CheckDomain(unit, properties));
  return properties;
}

absl::Status NoVste(const IommuSpec& unit) {
  return Unavailable(unit, "NESTING_UNAVAILABLE", "stream table for a guest's entry");
}

absl::Status CheckDomain(const IommuSpec& unit, const DomainProperties& properties) {
  if (properties.format != kFirstStageFormat) return CheckSecondStage(unit, properties);
  if (properties.parent != nullptr) {
    RETURN_IF_ERROR(CheckSecondStage(unit, *properties.parent));
    RETURN_IF_ERROR(CheckStage1(unit, properties.stage1));
  }
  return CheckFirstStage(unit, properties);
}

}  // namespace viommu::vtd
