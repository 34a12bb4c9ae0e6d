#include "engine/backend/soft/smmu_capability.h"

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/topology.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu::smmu {
namespace {

IommuSpec Smmu() {
  IommuSpec unit;
  unit.id = "smmu0";
  unit.architecture = IommuArchitecture::kSmmuV3;
  unit.smmu_v3.nesting = true;
  return unit;
}

DomainSpec Flags(bool nest_parent, bool pasid, bool dirty = false) {
  DomainSpec spec;
  spec.nest_parent = nest_parent;
  spec.pasid = pasid;
  spec.dirty_tracking = dirty;
  return spec;
}

TEST(SmmuCapabilityTest, PlansTheStageThatTheFlagsAskForInTheSmallestGranule) {
  const struct {
    const char* name;
    int granule_kib;
    bool stage1, nest_parent;
    int oas_bits;
    const char* format;
    int levels, input_bits;
  } kCases[] = {
      {"first stage", 4, true, false, 44, "arm-stage1-4k", 4, 48},
      {"of 16 KiB", 16, true, false, 48, "arm-stage1-16k", 4, 48},
      {"of 64 KiB", 64, true, false, 48, "arm-stage1-64k", 3, 48},
      {"second stage", 4, false, false, 48, "arm-stage2-4k", 4, 48},
      {"second stage of fewer bits", 4, false, false, 40, "arm-stage2-4k", 3, 40},
      {"second stage of 16 KiB", 16, false, false, 48, "arm-stage2-16k", 3, 48},
      {"second stage of 64 KiB", 64, false, false, 42, "arm-stage2-64k", 2, 42},
      {"nest parent", 4, true, true, 48, "arm-stage2-4k", 4, 48},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    IommuSpec unit = Smmu();
    unit.smmu_v3.stage1 = c.stage1;
    unit.smmu_v3.oas_bits = c.oas_bits;
    unit.smmu_v3.granule_4k = c.granule_kib == 4;
    unit.smmu_v3.granule_16k = c.granule_kib == 16;
    unit.smmu_v3.granule_64k = true;
    const DomainProperties properties = *PlanPaging(unit, Flags(c.nest_parent, false));
    EXPECT_EQ(properties.format, c.format);
    EXPECT_EQ(properties.levels, c.levels);
    EXPECT_EQ(properties.aperture.last, (uint64_t{1} << c.input_bits) - 1);
    EXPECT_EQ(InputBits(properties), c.input_bits);
    EXPECT_EQ(1 << GranuleLog2(properties), c.granule_kib * 1024);
    EXPECT_EQ(properties.iommu, "smmu0");
    EXPECT_EQ(properties.nest_parent, c.nest_parent);
    const bool first = std::string(c.format).find("stage1") != std::string::npos;
    EXPECT_EQ(IsFirstStageFormat(properties), first);
    EXPECT_EQ(IsSecondStageFormat(properties), !first);
    EXPECT_EQ(properties.write_only, !first);
    EXPECT_TRUE(properties.read_only);
  }
}

TEST(SmmuCapabilityTest, RefusesWhatTheUnitDoesNotHave) {
  IommuSpec plain = Smmu();
  plain.smmu_v3.nesting = false;
  IommuSpec second = plain;
  second.smmu_v3.stage1 = false;
  IommuSpec large = plain;
  large.smmu_v3.granule_4k = false;
  large.smmu_v3.granule_16k = true;
  const struct {
    const char* name;
    absl::Status status;
    const char* reason;
  } kCases[] = {
      {"no nesting", PlanPaging(plain, Flags(true, false)).status(), "NESTING_UNAVAILABLE"},
      {"no dirty tracking", PlanPaging(plain, Flags(false, false, true)).status(),
       "DIRTY_TRACKING_UNAVAILABLE"},
      {"nest parent for PASIDs", PlanPaging(Smmu(), Flags(true, true)).status(),
       "PASID_DOMAIN_UNSUPPORTED"},
      {"second stage for PASIDs", PlanPaging(second, Flags(false, true)).status(),
       "PASID_DOMAIN_UNSUPPORTED"},
      {"process in a second stage", PlanSva(second).status(), "SVA_UNAVAILABLE"},
      {"process in pages of 16 KiB", PlanSva(large).status(), "SVA_UNAVAILABLE"},
      {"a guest's VT-d stage", NoVtdStage1(Smmu()), "NESTING_UNAVAILABLE"},
      {"a guest's entry without nesting", PlanVste(plain, {}, {}).status(), "NESTING_UNAVAILABLE"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(c.status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_EQ(DetailOf(c.status)->reason, c.reason);
    EXPECT_EQ(DetailOf(c.status)->errno_name, "EOPNOTSUPP");
  }
  EXPECT_TRUE(PlanSva(plain)->sva);
  const DomainProperties paging = *PlanPaging(Smmu(), {});
  EXPECT_EQ(DetailOf(PlanVste(Smmu(), {}, paging).status())->reason, "NOT_A_NEST_PARENT");
}

TEST(SmmuCapabilityTest, TracksInFirstStagesOfUnitsThatManageDirtyState) {
  IommuSpec unit = Smmu();
  unit.smmu_v3.hardware_access = true;
  EXPECT_FALSE(PlanPaging(unit, Flags(false, false, true)).ok());
  unit.smmu_v3.hardware_dirty = true;
  for (const bool pasid : {false, true}) {
    const auto properties = PlanPaging(unit, Flags(false, pasid, true));
    ASSERT_TRUE(properties.ok()) << properties.status();
    EXPECT_TRUE(properties->dirty_tracking);
    EXPECT_EQ(properties->format, "arm-stage1-4k");
    EXPECT_FALSE(PlanPaging(unit, Flags(false, pasid))->dirty_tracking);
  }
  EXPECT_FALSE(PlanSva(unit)->dirty_tracking);
  EXPECT_FALSE(PlanPaging(unit, Flags(true, false, true)).ok()) << "a second stage";
  unit.smmu_v3.stage1 = false;
  EXPECT_FALSE(PlanPaging(unit, Flags(false, false, true)).ok()) << "a second stage";
}

TEST(SmmuCapabilityTest, ADomainIsOfOneUnitAlone) {
  IommuSpec other = Smmu();
  other.id = "smmu1";
  for (const bool nest_parent : {false, true}) {
    const DomainProperties properties = *PlanPaging(Smmu(), Flags(nest_parent, false));
    EXPECT_TRUE(CheckDomain(Smmu(), properties).ok());
    const absl::Status refused = CheckDomain(other, properties);
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(DetailOf(refused)->reason, "INCOMPATIBLE_DOMAIN");
  }
  DomainProperties vtd;
  vtd.format = "vtd-second-stage";
  EXPECT_FALSE(CheckDomain(Smmu(), vtd).ok());
}

TEST(SmmuCapabilityTest, OnlyFirstStagesAreForPasidsAndBesideThem) {
  using Kind = TranslationKind;
  const Kind kAll[] = {Kind::kBlocked, Kind::kIdentity,    Kind::kFirstStage,
                       Kind::kProcess, Kind::kSecondStage, Kind::kNested};
  for (const Kind rid : kAll) {
    EXPECT_TRUE(CheckTogether(Smmu(), rid, {}).ok());
    const bool second = rid == Kind::kSecondStage || rid == Kind::kNested;
    for (const Kind pasid : kAll) {
      const bool first = pasid == Kind::kFirstStage || pasid == Kind::kProcess;
      const absl::Status status = CheckTogether(Smmu(), rid, {Kind::kFirstStage, pasid});
      EXPECT_EQ(status.ok(), first && !second);
      if (status.ok()) continue;
      EXPECT_EQ(DetailOf(status)->reason, first ? "PASIDS_IN_USE" : "PASID_DOMAIN_UNSUPPORTED");
      EXPECT_EQ(DetailOf(status)->errno_name, first ? "EBUSY" : "EOPNOTSUPP");
    }
  }
}

TEST(SmmuCapabilityTest, ForcesWriteBackUnderGuestsAlone) {
  IommuSpec unit = Smmu();
  const DomainProperties parent = *PlanPaging(unit, Flags(true, false));
  EXPECT_FALSE(ForcesWriteBack(unit, parent));
  unit.smmu_v3.s2fwb = true;
  EXPECT_TRUE(ForcesWriteBack(unit, parent));
  EXPECT_FALSE(ForcesWriteBack(unit, *PlanPaging(unit, {})));
}

TEST(SmmuCapabilityTest, AsksForTheHardwareThatIsConfigured) {
  IommuSpec unit = Smmu();
  EXPECT_EQ(HardwareSpecOf(unit).httu, 0);
  EXPECT_EQ(HardwareSpecOf(unit).stall_model, hardware::smmu::StallModel::kTerminateOnly);
  unit.smmu_v3.hardware_access = true;
  EXPECT_EQ(HardwareSpecOf(unit).httu, 1);
  unit.smmu_v3.hardware_dirty = unit.smmu_v3.stall = true;
  unit.smmu_v3.asid_bits = 8;
  unit.smmu_v3.oas_bits = 42;
  unit.smmu_v3.stream_id_bits = 20;
  unit.smmu_v3.substream_id_bits = 11;
  const hardware::smmu::Spec spec = HardwareSpecOf(unit);
  EXPECT_EQ(spec.httu, 2);
  EXPECT_EQ(spec.stall_model, hardware::smmu::StallModel::kStallAndTerminate);
  EXPECT_FALSE(spec.asid16);
  EXPECT_TRUE(spec.vmid16);
  EXPECT_EQ(spec.output_address_bits, 42);
  EXPECT_EQ(spec.stream_id_bits, 20);
  EXPECT_EQ(spec.substream_id_bits, 11);
}

}  // namespace
}  // namespace viommu::smmu
