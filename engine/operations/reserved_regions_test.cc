#include "engine/operations/reserved_regions.h"

#include <memory>
#include <string>
#include <vector>

#include "engine/backend/fake/fake_backend.h"
#include "engine/base/env.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using Scope = RegionDemand::Scope;

constexpr IovaRange kReserved{0x10000, 0x1ffff};
constexpr IovaRange kRelaxable{0x20000, 0x2ffff};
constexpr IovaRange kSwMsi{0x8000000, 0x80fffff};

Topology OneDevice() {
  Topology topology = SmallTopology();
  topology.devices[0].reserved_regions = {{kReserved, ReservedRegionType::kReserved},
                                          {kRelaxable, ReservedRegionType::kDirectRelaxable},
                                          {kSwMsi, ReservedRegionType::kSwMsi}};
  return topology;
}

class ReservedRegionsTest : public ::testing::Test {
 protected:
  ReservedRegionsTest() {
    as_ = *model_.Reserve(std::make_unique<Ioas>("alice", "as", model_.objects.NextUid()));
    other_ = *model_.Reserve(std::make_unique<Ioas>("alice", "other", model_.objects.NextUid()));
  }
  DomainTarget Make(const Ioas& ioas, DomainSpec::Kind kind) {
    DomainSpec spec{ioas.uid(), 0};
    spec.kind = kind;
    const Uid uid = model_.objects.NextUid();
    const Domain& domain = **model_.Reserve(std::make_unique<Domain>(
        "alice", std::to_string(uid), uid, spec, ioas.uid(), DomainProperties()));
    return {DomainTarget::Kind::kDomain, domain.uid()};
  }
  RegionDemand On(const DomainTarget& target) { return RegionDemandOf(model_, target); }
  absl::Status Move(const RegionDemand& from, const RegionDemand& to) {
    RegionMove move(from, to, {0});
    absl::Status planned = move.Plan(model_);
    if (planned.ok()) move.Commit(model_);
    return planned;
  }
  // Which of the regions an Ioas stays clear of: "RS" for the reserved and the SW_MSI one.
  // The same of what a move is to close or open.
  static std::string Letters(const std::vector<ReservedRegionView>& regions) {
    std::string letters;
    for (const ReservedRegionView& view : regions) {
      EXPECT_EQ(view.source, "devices/dev0");
      letters += view.region.type == ReservedRegionType::kSwMsi ? "S" : "R";
    }
    return letters;
  }
  static std::string Closed(const Ioas& ioas) {
    std::string closed;
    if (ioas.space().ReservedOverlap(kReserved) != nullptr) closed += "R";
    if (ioas.space().ReservedOverlap(kRelaxable) != nullptr) closed += "X";
    if (ioas.space().ReservedOverlap(kSwMsi) != nullptr) closed += "S";
    return closed;
  }
  void MapAt(Ioas& ioas, const IovaRange& range) {
    MemoryRegion* const region = *model_.Reserve(std::make_unique<MemoryRegion>(
        "alice", "ram", model_.objects.NextUid(), 1 << 20, std::nullopt));
    ASSERT_TRUE(ioas.PlanAdd({range.first, 0x1000, 0, Permission::kReadWrite, region}).ok());
  }

  FakeBackend backend_{OneDevice()};
  Model model_{&backend_, RealEnv(), OwnerLimits()};
  Ioas* as_ = nullptr;
  Ioas* other_ = nullptr;
};

TEST_F(ReservedRegionsTest, EachWayFromOneTargetToAnother) {
  const DomainTarget blocked;
  const DomainTarget paging = Make(*as_, DomainSpec::Kind::kPaging);
  const DomainTarget sibling = Make(*as_, DomainSpec::Kind::kPaging);
  const DomainTarget nested = Make(*as_, DomainSpec::Kind::kNested);
  const DomainTarget elsewhere = Make(*other_, DomainSpec::Kind::kPaging);
  const DomainTarget nested_elsewhere = Make(*other_, DomainSpec::Kind::kNested);
  const struct {
    const char* name;
    DomainTarget to;
    const char* in_as;
    const char* in_other;
    const char* gained;
    const char* lost;
  } kSteps[] = {
      {"attach nested directly", nested, "S", "", "S", ""},
      {"to the parent itself", paging, "RS", "", "R", ""},
      {"within the Ioas", sibling, "RS", "", "", ""},
      {"back to nested", nested, "S", "", "", "R"},
      {"nested on another parent", nested_elsewhere, "", "S", "S", "S"},
      {"to a paging one of another Ioas", paging, "RS", "", "RS", "S"},
      {"to nested elsewhere", nested_elsewhere, "", "S", "S", "RS"},
      {"grows there", elsewhere, "", "RS", "R", ""},
      {"to a nested one of the first", nested, "S", "", "S", "RS"},
      {"detach", blocked, "", "", "", "S"},
  };
  DomainTarget now = blocked;
  for (const auto& step : kSteps) {
    SCOPED_TRACE(step.name);
    RegionMove undone(On(now), On(step.to), {0});
    const std::string as = Closed(*as_), other = Closed(*other_);
    ASSERT_TRUE(undone.Plan(model_).ok());
    undone.Unplan(model_);
    EXPECT_EQ(Letters(undone.Gained(model_)), step.gained);
    EXPECT_EQ(Letters(undone.Lost(model_)), step.lost);
    EXPECT_EQ(Closed(*as_), as) << "what is taken back leaves what was";
    EXPECT_EQ(Closed(*other_), other);
    ASSERT_TRUE(Move(On(now), On(step.to)).ok());
    EXPECT_EQ(Closed(*as_), step.in_as);
    EXPECT_EQ(Closed(*other_), step.in_other);
    now = step.to;
  }
}

TEST_F(ReservedRegionsTest, RefusesToGoBackOverAnArea) {
  const DomainTarget paging = Make(*as_, DomainSpec::Kind::kPaging);
  const DomainTarget nested = Make(*as_, DomainSpec::Kind::kNested);
  ASSERT_TRUE(Move(On({}), On(paging)).ok());
  ASSERT_TRUE(Move(On(paging), On(nested)).ok());
  MapAt(*as_, kReserved);
  const absl::Status refused = Move(On(nested), On(paging));
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(DetailOf(refused)->reason, "IOVA_CONFLICT");
  EXPECT_EQ(DetailOf(refused)->errno_name, "EADDRINUSE");
  EXPECT_EQ(DetailOf(refused)->violations, std::vector<std::string>{"unmap [0x10000, 0x10fff]"});
  EXPECT_EQ(Closed(*as_), "S") << "NESTED stays, and with it SW_MSI";
}

TEST_F(ReservedRegionsTest, RefusesWhatAUserWantsUsed) {
  const DomainTarget paging = Make(*as_, DomainSpec::Kind::kPaging);
  const DomainTarget nested = Make(*as_, DomainSpec::Kind::kNested);
  ASSERT_TRUE(as_->space().SetAllowed({kReserved}).ok());
  EXPECT_EQ(DetailOf(Move(On({}), On(paging)))->reason, "IOVA_CONFLICT");
  EXPECT_EQ(Closed(*as_), "");
  EXPECT_TRUE(Move(On({}), On(nested)).ok()) << "the guest lays out its own addresses";
  ASSERT_TRUE(other_->space().SetAllowed({kSwMsi}).ok());
  const DomainTarget elsewhere = Make(*other_, DomainSpec::Kind::kNested);
  EXPECT_EQ(DetailOf(Move(On(nested), On(elsewhere)))->reason, "IOVA_CONFLICT");
  EXPECT_EQ(Closed(*as_), "S");
  EXPECT_EQ(Closed(*other_), "");
}

}  // namespace
}  // namespace viommu
