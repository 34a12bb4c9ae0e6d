// What the topology says of a device: kinds of reserved regions, trust, and that a refusal half way
// through a device's regions leaves none of them.
#include <string>
#include <vector>

#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr IovaRange kMsi{0xfee00000, 0xfeefffff};
constexpr IovaRange kReserved{0x100000, 0x1fffff};
constexpr IovaRange kRelaxable{0x300000, 0x3fffff};
constexpr IovaRange kSwMsi{0x8000000, 0x80fffff};

// dev0 has regions of every kind that can be claimed; dev4 is untrusted although allow_identity is
// set; dev1 allows IDENTITY, dev2 of its group does not.
Topology OddTopology() {
  Topology topology = SmallTopology();
  topology.devices[0].reserved_regions = {{kReserved, ReservedRegionType::kReserved},
                                          {kRelaxable, ReservedRegionType::kDirectRelaxable},
                                          {kSwMsi, ReservedRegionType::kSwMsi},
                                          {kMsi, ReservedRegionType::kMsi}};
  topology.devices[4].allow_identity = true;
  topology.devices[1].allow_identity = true;
  return topology;
}

class EngineTopologyTest : public EngineTest {
 protected:
  void SetUp() override {
    engine_ = *Engine::Create({"test"}, &odd_, &journal_, &env_);
    SetUpAlice();
  }
  void TearDown() override {
    engine_.reset();
    EXPECT_TRUE(odd_.breaches().empty());
  }

  FakeBackend odd_{OddTopology()};
};

TEST_F(EngineTopologyTest, AnAttachmentClosesEveryRegionThatIsNotRelaxable) {
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  EXPECT_EQ(*engine_->ListIovaRanges(alice_, Ref("as")),
            (std::vector<IovaRange>{{0, kReserved.first - 1},
                                    {kReserved.last + 1, kSwMsi.first - 1},
                                    {kSwMsi.last + 1, kMsi.first - 1},
                                    {kMsi.last + 1, (uint64_t{1} << 48) - 1}}));
  EXPECT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(kRelaxable.first, 0x1000)).ok());
}

TEST_F(EngineTopologyTest, ARefusalAtALaterRegionLeavesTheEarlierOnesOpen) {
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(kMsi.first, 0x1000)).ok());
  const auto before = *engine_->ListIovaRanges(alice_, Ref("as"));
  EXPECT_EQ(Described(engine_->AttachDevice(alice_, "dev0", Ref("d")).status()),
            "FAILED_PRECONDITION IOVA_CONFLICT");
  EXPECT_EQ(*engine_->ListIovaRanges(alice_, Ref("as")), before);
  EXPECT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(kReserved.first, 0x1000)).ok());
}

TEST_F(EngineTopologyTest, IdentityNeedsEveryMemberToAllowItAndToBeTrusted) {
  for (const char* const device : {"dev1", "dev4"}) {
    ASSERT_TRUE(engine_->ClaimDevice(operator_, device, "").ok());
    EXPECT_EQ(Described(engine_->AttachDevice(operator_, device, Ref("identity")).status()),
              "PERMISSION_DENIED IDENTITY_NOT_ALLOWED")
        << device;
  }
}

// A unit without pass-through, and a group of which one member alone asks for IDENTITY.
Topology UnwillingTopology() {
  Topology topology = SmallTopology();
  topology.iommus[1].pass_through = false;
  topology.devices[1].allow_identity = true;
  topology.devices[1].default_domain = DefaultDomainType::kIdentity;
  return topology;
}

class UnwillingTopologyTest : public EngineTest {
 protected:
  void SetUp() override {
    engine_ = *Engine::Create({"test"}, &unwilling_, &journal_, &env_);
    operator_.principal = "alice";
  }
  FakeBackend unwilling_{UnwillingTopology()};
};

TEST_F(UnwillingTopologyTest, IdentityWithoutPassThroughIsRefusedInADryRunToo) {
  ASSERT_TRUE(engine_->ClaimDevice(operator_, "dev5", "").ok());
  for (const bool dry : {true, false}) {
    CallContext call = operator_;
    call.validate_only = dry;
    EXPECT_EQ(Described(engine_->AttachDevice(call, "dev5", Ref("identity")).status()),
              "UNIMPLEMENTED IDENTITY_UNAVAILABLE");
  }
}

TEST_F(UnwillingTopologyTest, ADefaultOfIdentityWithoutPassThroughBecomesDmaAndSaysWhy) {
  const auto device = engine_->SetDefaultDomain(operator_, "dev5", DefaultDomainType::kIdentity);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ(device->default_domain, DefaultDomainType::kDma);
  EXPECT_NE(device->default_domain_fallback.find("can not pass addresses through"),
            std::string::npos);
}

TEST_F(UnwillingTopologyTest, OneMemberAloneDoesNotPutAGroupOnIdentity) {
  EXPECT_EQ(engine_->GetDevice(operator_, "dev2")->default_domain, DefaultDomainType::kDma);
  EXPECT_EQ(engine_->GetDevice(operator_, "dev1")->default_domain, DefaultDomainType::kDma);
}

}  // namespace
}  // namespace viommu
