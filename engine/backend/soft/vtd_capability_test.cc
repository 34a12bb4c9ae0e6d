#include "engine/backend/soft/vtd_capability.h"

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu::vtd {
namespace {

TEST(VtdCapabilityTest, WritesTheGoldenRegisters) {
  IommuSpec spec;
  // 16 id bits, 4 levels, 48 bits, both large leaves, MAMV 18, 8 fault records at 0x400, drains.
  EXPECT_EQ(CapabilityOf(spec), 0x00d2'078c'402f'0406u);
  // 20 PASID bits, coherent, queued, pass-through, snoop control, scalable second stage.
  EXPECT_EQ(ExtendedCapabilityOf(spec), 0x0001'4998'0000'00c7u);
  spec.levels_3 = spec.levels_5 = true;
  spec.guest_address_width_bits = 57;
  spec.leaf_2m = spec.leaf_1g = spec.snoop_control = spec.pass_through = spec.device_tlb = false;
  spec.domain_id_bits = 4;
  spec.pasid_bits = 1;
  EXPECT_EQ(CapabilityOf(spec), 0x00d2'0780'4038'0e00u);
  EXPECT_EQ(ExtendedCapabilityOf(spec), 0x0001'4900'0000'0003u);
}

// iommufd-semantics.md 4.9.
TEST(VtdCapabilityTest, PlansPagingDomainsByTheirFlags) {
  IommuSpec plain, rich;
  rich.first_stage = rich.first_stage_levels_5 = rich.nesting = true;
  const struct {
    const char* name;
    const IommuSpec& unit;
    bool nest_parent, pasid;
    const char* format;
    bool read_only, write_only;
  } kCases[] = {{"no first stage", plain, false, false, kSecondStageFormat, true, true},
                {"no first stage, PASIDs", plain, false, true, kSecondStageFormat, true, true},
                {"first stage", rich, false, false, kFirstStageFormat, true, false},
                {"first stage, PASIDs", rich, false, true, kFirstStageFormat, true, false},
                {"nest parent", rich, true, false, kSecondStageFormat, false, true},
                {"nest parent, PASIDs", rich, true, true, kSecondStageFormat, false, true}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    DomainSpec spec;
    spec.nest_parent = c.nest_parent;
    spec.pasid = c.pasid;
    const auto properties = PlanPaging(c.unit, spec);
    ASSERT_TRUE(properties.ok());
    EXPECT_EQ(properties->format, c.format);
    EXPECT_EQ(properties->read_only, c.read_only);
    EXPECT_EQ(properties->write_only, c.write_only);
    EXPECT_EQ(properties->nest_parent, c.nest_parent);
  }
  DomainSpec nest;
  nest.nest_parent = true;
  absl::Status refused = PlanPaging(plain, nest).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(DetailOf(refused)->reason, "NESTING_UNAVAILABLE");
  EXPECT_EQ(DetailOf(refused)->errno_name, "EOPNOTSUPP");
}

TEST(VtdCapabilityTest, TracksWritesInASecondStageWhereTheUnitCan) {
  IommuSpec plain, can;
  plain.first_stage = can.first_stage = plain.nesting = can.nesting = true;
  can.dirty_tracking = true;
  DomainSpec dirty;
  dirty.dirty_tracking = true;
  const absl::Status refused = PlanPaging(plain, dirty).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(DetailOf(refused)->reason, "DIRTY_TRACKING_UNAVAILABLE");
  EXPECT_EQ(DetailOf(refused)->errno_name, "EOPNOTSUPP");
  for (const bool nest_parent : {false, true}) {
    dirty.nest_parent = nest_parent;
    const auto properties = PlanPaging(can, dirty);
    ASSERT_TRUE(properties.ok());
    EXPECT_EQ(properties->format, kSecondStageFormat);
    EXPECT_TRUE(properties->dirty_tracking);
    EXPECT_EQ(properties->nest_parent, nest_parent);
    EXPECT_EQ(properties->read_only, !nest_parent);
    EXPECT_TRUE(CheckDomain(can, *properties).ok());
    EXPECT_EQ(DetailOf(CheckDomain(plain, *properties))->reason, "INCOMPATIBLE_DOMAIN");
  }
  const DomainProperties parent = *PlanPaging(can, dirty);
  const DomainProperties child = *PlanNested(can, {}, parent);
  EXPECT_EQ(DetailOf(CheckDomain(plain, child))->reason, "INCOMPATIBLE_DOMAIN");
}

TEST(VtdCapabilityTest, PlansAGuestsStageForAUnitThatCanWalkIt) {
  IommuSpec everything;
  everything.first_stage = everything.first_stage_levels_5 = everything.nesting = true;
  everything.supervisor_requests = everything.extended_access = true;
  DomainSpec nest;
  nest.nest_parent = true;
  const DomainProperties parent = *PlanPaging(everything, nest);
  const struct {
    const char* name;
    std::function<void(IommuSpec*)> spoil;
    VtdStage1 stage1;
  } kCases[] = {
      {"57 bits", [](IommuSpec* s) { s->first_stage_levels_5 = false; }, {0, 57}},
      {"SRE", [](IommuSpec* s) { s->supervisor_requests = false; }, {0, 48, true}},
      {"SRE, WPE", [](IommuSpec* s) { s->supervisor_requests = false; }, {0, 48, true, true}},
      {"EAFE", [](IommuSpec* s) { s->extended_access = false; }, {0, 48, false, false, true}},
      {"the parent's depth", [](IommuSpec* s) { s->levels_4 = false, s->levels_3 = true; }, {}},
      {"the parent's snooping", [](IommuSpec* s) { s->snoop_control = false; }, {}},
      {"a first stage", [](IommuSpec* s) { s->first_stage = false; }, {}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const auto planned = PlanNested(everything, c.stage1, parent);
    ASSERT_TRUE(planned.ok());
    EXPECT_EQ(planned->format, kFirstStageFormat);
    EXPECT_EQ(planned->levels, c.stage1.address_width_bits == 57 ? 5 : 4);
    EXPECT_EQ(planned->aperture.last, (uint64_t{1} << (c.stage1.address_width_bits - 1)) - 1);
    EXPECT_TRUE(planned->enforces_cache_coherency);
    EXPECT_TRUE(CheckDomain(everything, *planned).ok());
    IommuSpec lacking = everything;
    c.spoil(&lacking);
    for (const absl::Status& refused :
         {PlanNested(lacking, c.stage1, parent).status(), CheckDomain(lacking, *planned)}) {
      EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_EQ(DetailOf(refused)->reason, "INCOMPATIBLE_DOMAIN");
    }
  }
  EXPECT_FALSE(PlanNested(everything, {0, 48, false, true}, parent).ok()) << "WPE without SRE";
  IommuSpec flat = everything;
  flat.nesting = false;
  EXPECT_EQ(DetailOf(PlanNested(flat, {}, parent).status())->reason, "NESTING_UNAVAILABLE");
  EXPECT_EQ(DetailOf(CheckDomain(flat, parent))->reason, "INCOMPATIBLE_DOMAIN");
  EXPECT_EQ(DetailOf(PlanNested(everything, {}, *PlanPaging(everything, {})).status())->reason,
            "NOT_A_NEST_PARENT");
}

TEST(VtdCapabilityTest, ShowsEachFeatureOfTwoStagesByItsOwnBit) {
  const struct {
    bool IommuSpec::*feature;
    uint64_t cap, ecap;
  } kCases[] = {
      {&IommuSpec::device_tlb, 0, 1ull << 2},
      {&IommuSpec::first_stage, 0, 1ull << 47},
      {&IommuSpec::first_stage_levels_5, 1ull << 60, 0},
      {&IommuSpec::first_stage_leaf_1g, 1ull << 56, 0},
      {&IommuSpec::nesting, 0, 1ull << 26},
      {&IommuSpec::supervisor_requests, 0, 1ull << 31},
      {&IommuSpec::extended_access, 0, 1ull << 34},
      {&IommuSpec::dirty_tracking, 0, 1ull << 45},
      {&IommuSpec::page_requests, 0, 1ull << 29 | 1ull << 42},
  };
  for (const auto& c : kCases) {
    IommuSpec off, on;
    off.*c.feature = false;
    on.*c.feature = true;
    EXPECT_EQ(CapabilityOf(on) ^ CapabilityOf(off), c.cap);
    EXPECT_EQ(ExtendedCapabilityOf(on) ^ ExtendedCapabilityOf(off), c.ecap);
    // The hardware does what it is asked to show.
    PhysicalMemory memory(PhysAddr{0x1000}, 46);
    const hardware::VtdModel model({CapabilityOf(on), ExtendedCapabilityOf(on), 46}, &memory);
    EXPECT_EQ(model.Read64(kCapabilityRegister), CapabilityOf(on));
    EXPECT_EQ(model.Read64(kExtendedCapabilityRegister), ExtendedCapabilityOf(on));
  }
}

TEST(VtdCapabilityTest, PlansTheShallowestTableThatReachesTheWholeWidth) {
  const struct {
    const char* name;
    bool levels_3, levels_4, levels_5;
    int mgaw, want_levels, want_width;
  } kCases[] = {
      {"4 levels", false, true, false, 48, 4, 48},
      {"39 bits need 3", true, true, true, 39, 3, 39},
      {"39 bits without 3 levels", false, true, false, 39, 4, 39},
      {"40 bits need 4", true, true, true, 40, 4, 40},
      {"57 bits", true, true, true, 57, 5, 57},
      {"deepest is too narrow", true, false, false, 48, 3, 39},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    IommuSpec spec;
    spec.levels_3 = c.levels_3, spec.levels_4 = c.levels_4, spec.levels_5 = c.levels_5;
    spec.guest_address_width_bits = c.mgaw;
    const auto planned = PlanSecondStage(spec);
    ASSERT_TRUE(planned.ok());
    EXPECT_EQ(planned->levels, c.want_levels);
    EXPECT_EQ(planned->aperture, (IovaRange{0, (uint64_t{1} << c.want_width) - 1}));
    EXPECT_TRUE(CheckSecondStage(spec, *planned).ok());
  }
  IommuSpec none;
  none.levels_4 = false;
  EXPECT_EQ(PlanSecondStage(none).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(VtdCapabilityTest, PlansTheDeepestFirstStageOverTheLowerHalf) {
  IommuSpec spec;
  EXPECT_EQ(PlanFirstStage(spec).status().code(), absl::StatusCode::kFailedPrecondition);
  spec.first_stage = true;
  DomainProperties planned = *PlanFirstStage(spec);
  EXPECT_EQ(planned.levels, 4);
  EXPECT_EQ(planned.aperture, (IovaRange{0, (uint64_t{1} << 47) - 1}));
  EXPECT_EQ(planned.page_sizes, 0x201000u);
  EXPECT_TRUE(planned.enforces_cache_coherency);
  spec.first_stage_levels_5 = spec.first_stage_leaf_1g = true;
  spec.snoop_control = false;
  planned = *PlanFirstStage(spec);
  EXPECT_EQ(planned.levels, 5);
  EXPECT_EQ(planned.aperture, (IovaRange{0, (uint64_t{1} << 56) - 1}));
  EXPECT_EQ(planned.page_sizes, 0x40201000u);
  EXPECT_FALSE(planned.enforces_cache_coherency);
  EXPECT_TRUE(CheckFirstStage(spec, planned).ok());
}

TEST(VtdCapabilityTest, RefusesFirstStageDomainsThatTheUnitCanNotUse) {
  const struct {
    const char* name;
    std::function<void(IommuSpec*, DomainProperties*)> spoil;
    bool ok;
  } kCases[] = {
      {"its own", [](IommuSpec*, DomainProperties*) {}, true},
      {"another format", [](IommuSpec* s, DomainProperties* p) { *p = *PlanSecondStage(*s); },
       false},
      {"no first stage", [](IommuSpec* s, DomainProperties*) { s->first_stage = false; }, false},
      {"5 levels", [](IommuSpec* s, DomainProperties*) { s->first_stage_levels_5 = false; }, false},
      {"4 levels on 5", [](IommuSpec*, DomainProperties* p) { p->levels = 4; }, true},
      {"large leaves", [](IommuSpec* s, DomainProperties*) { s->first_stage_leaf_1g = false; },
       false},
      {"no snoop control", [](IommuSpec* s, DomainProperties*) { s->snoop_control = false; },
       false},
      {"not enforced anyway",
       [](IommuSpec* s, DomainProperties* p) {
         s->snoop_control = false;
         p->enforces_cache_coherency = false;
       },
       true},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    IommuSpec spec;
    spec.first_stage = spec.first_stage_levels_5 = spec.first_stage_leaf_1g = true;
    DomainProperties properties = *PlanFirstStage(spec);
    c.spoil(&spec, &properties);
    const absl::Status status = CheckFirstStage(spec, properties);
    EXPECT_EQ(status.ok(), c.ok);
    if (!c.ok) {
      EXPECT_EQ(DetailOf(status)->reason, "INCOMPATIBLE_DOMAIN");
    }
  }
}

TEST(VtdCapabilityTest, RefusesDomainsThatTheUnitCanNotUse) {
  const struct {
    const char* name;
    std::function<void(IommuSpec*, DomainProperties*)> spoil;
    bool ok;
  } kCases[] = {
      {"its own", [](IommuSpec*, DomainProperties*) {}, true},
      {"another format", [](IommuSpec*, DomainProperties* p) { p->format = "x86"; }, false},
      {"another depth", [](IommuSpec*, DomainProperties* p) { p->levels = 5; }, false},
      {"large leaves", [](IommuSpec* s, DomainProperties*) { s->leaf_1g = false; }, false},
      {"small leaves only", [](IommuSpec*, DomainProperties* p) { p->page_sizes = 4096; }, true},
      {"narrower unit", [](IommuSpec* s, DomainProperties*) { s->guest_address_width_bits = 47; },
       false},
      {"no snoop control", [](IommuSpec* s, DomainProperties*) { s->snoop_control = false; },
       false},
      {"not enforced anyway",
       [](IommuSpec* s, DomainProperties* p) {
         s->snoop_control = false;
         p->enforces_cache_coherency = false;
       },
       true},
      {"not enforced on a coherent unit",
       [](IommuSpec*, DomainProperties* p) { p->enforces_cache_coherency = false; }, true},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    IommuSpec spec;
    DomainProperties properties = *PlanSecondStage(spec);
    c.spoil(&spec, &properties);
    const absl::Status status = CheckSecondStage(spec, properties);
    EXPECT_EQ(status.ok(), c.ok);
    if (!c.ok) {
      EXPECT_EQ(DetailOf(status)->reason, "INCOMPATIBLE_DOMAIN");
    }
  }
}

}  // namespace
}  // namespace viommu::vtd
