// Claims for others: operators give devices to owners, move them, and take them back.
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/engine_fixture.h"
#include "engine/viommu_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

// SmallTopology: dev1 and dev2 are one group; dev3 has a DIRECT region; dev5 has PASIDs.
class EngineClaimsTest : public EngineTest {
 protected:
  EngineClaimsTest() {
    tenant_.principal = "tenant";
    tenant_.may_claim = false;
  }

  std::string Claim(const CallContext& caller, const std::string& device,
                    const ClaimOptions& options) {
    return Described(engine_->ClaimDevice(caller, device, "", options).status());
  }
  std::string HolderOf(const std::string& device) {
    return engine_->GetDevice(operator_, device)->claimed_by;
  }
  // tenant's domains/d over ioas/as for a device that it has.
  void MakeDomain(const std::string& device, bool pasid = false) {
    ASSERT_TRUE(engine_->CreateIoas(tenant_, "as").ok());
    PagingDomainRequest request{Ref("as"), device};
    request.pasid = pasid;
    ASSERT_TRUE(engine_->CreateDomain(tenant_, "d", request).ok());
  }
  template <typename F>
  void ExpectRefused(const std::string& want, F call) {
    const std::string before = Everything();
    EXPECT_EQ(call(), want);
    EXPECT_EQ(Everything(), before);
  }

  CallContext tenant_;
};

TEST_F(EngineClaimsTest, AnOperatorClaimsForSomebodyElse) {
  const auto claimed = engine_->ClaimDevice(operator_, "dev2", "", {"tenant"});
  ASSERT_TRUE(claimed.ok()) << claimed.status();
  EXPECT_EQ(claimed->claimed_by, "tenant");
  EXPECT_EQ(HolderOf("dev1"), "tenant") << "of the same group";
  EXPECT_EQ(engine_->GetDevice(tenant_, "dev1")->claimed_by, "tenant");
  EXPECT_EQ(engine_->GetDevice(bob_, "dev1")->claimed_by, "");
  MakeDomain("dev1");
  EXPECT_TRUE(engine_->AttachDevice(tenant_, "dev1", Ref("d")).ok());
  EXPECT_EQ(Claim(operator_, "dev2", {"tenant"}), "OK") << "again";
}

TEST_F(EngineClaimsTest, TheJournalKnowsWhomADeviceIsClaimedFor) {
  ASSERT_EQ(Claim(operator_, "dev0", {"tenant"}), "OK");
  ASSERT_EQ(Claim(operator_, "dev0", {"other", "tenant"}), "OK");
  const auto records = journal_.records();
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(std::get<record::Claim>(records[0].operation).owner, "tenant");
  EXPECT_EQ(std::get<record::MoveClaim>(records[1].operation).owner, "other");
  EXPECT_EQ(std::get<record::MoveClaim>(records[1].operation).device, "dev0");
}

TEST_F(EngineClaimsTest, RefusesThoseWhoMayNotClaim) {
  ASSERT_EQ(Claim(operator_, "dev0", {"tenant"}), "OK");
  ASSERT_EQ(Claim(operator_, "dev1", {"bob"}), "OK");
  const std::string kDenied = "PERMISSION_DENIED NOT_OPERATOR";
  const struct {
    const char* name;
    const CallContext& caller;
    const char* device;
    ClaimOptions options;
  } kCases[] = {
      {"a tenant", tenant_, "dev5", {}},
      {"a tenant, what it has", tenant_, "dev0", {}},
      {"a tenant, for itself", tenant_, "dev5", {"tenant"}},
      {"a tenant, from another", tenant_, "dev1", {"tenant", "bob"}},
      {"for another", alice_, "dev5", {"bob"}},
      {"from another", alice_, "dev1", {"", "bob"}},
      {"what one has, to another", bob_, "dev1", {"alice", "bob"}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    ExpectRefused(kDenied, [&] { return Claim(c.caller, c.device, c.options); });
  }
  ExpectRefused(kDenied,
                [&] { return Described(engine_->ReleaseDevice(tenant_, "dev0", "").status()); });
  ExpectRefused(kDenied, [&] {
    return Described(engine_->ReleaseDevice(alice_, "dev1", "", "bob").status());
  });
}

TEST_F(EngineClaimsTest, MovesAClaimWithoutTouchingTheHardware) {
  ASSERT_EQ(Claim(operator_, "dev1", {"tenant"}), "OK");
  const std::string hardware = backend_.State();
  const size_t calls = backend_.log().size();
  const std::string etag = engine_->GetDevice(operator_, "dev2")->etag;
  const auto moved = engine_->ClaimDevice(operator_, "dev1", "", {"other", "tenant"});
  ASSERT_TRUE(moved.ok()) << moved.status();
  EXPECT_EQ(moved->claimed_by, "other");
  EXPECT_EQ(moved->domain, "domains/blocked");
  EXPECT_EQ(HolderOf("dev2"), "other");
  EXPECT_NE(engine_->GetDevice(operator_, "dev2")->etag, etag);
  EXPECT_EQ(backend_.State(), hardware);
  EXPECT_EQ(backend_.log().size(), calls);
  EXPECT_EQ(Claim(operator_, "dev1", {"other", "tenant"}), "OK") << "once moved, it is held";
  EXPECT_EQ(Described(engine_->AttachDevice(tenant_, "dev1", Ref("blocked")).status()),
            "FAILED_PRECONDITION DEVICE_NOT_CLAIMED");
}

TEST_F(EngineClaimsTest, AMoveThatIsOnlyCheckedMovesNothing) {
  ASSERT_EQ(Claim(operator_, "dev0", {"tenant"}), "OK");
  CallContext dry = operator_;
  dry.validate_only = true;
  const std::string before = Everything();
  const auto foreseen = engine_->ClaimDevice(dry, "dev0", "", {"other", "tenant"});
  ASSERT_TRUE(foreseen.ok()) << foreseen.status();
  EXPECT_EQ(foreseen->claimed_by, "other");
  EXPECT_EQ(Everything(), before);
}

TEST_F(EngineClaimsTest, RefusesMoves) {
  ASSERT_EQ(Claim(operator_, "dev0", {"tenant"}), "OK");
  ASSERT_EQ(Claim(operator_, "dev1", {"bob"}), "OK");
  MakeDomain("dev0");
  ASSERT_TRUE(engine_->AttachDevice(tenant_, "dev0", Ref("d")).ok());
  const struct {
    const char* name;
    const char* device;
    ClaimOptions options;
    const char* want;
  } kCases[] = {
      {"the host has it", "dev5", {"other", "tenant"}, "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {"somebody else has it", "dev1", {"other", "tenant"}, "FAILED_PRECONDITION DEVICE_CLAIMED"},
      {"from nobody", "dev0", {"other"}, "FAILED_PRECONDITION DEVICE_CLAIMED"},
      {"attached", "dev0", {"other", "tenant"}, "FAILED_PRECONDITION IN_USE"},
      {"attached, to oneself", "dev0", {"", "tenant"}, "FAILED_PRECONDITION IN_USE"},
      {"no such device", "dev9", {"other", "bob"}, "NOT_FOUND DEVICE_NOT_FOUND"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    ExpectRefused(c.want, [&] { return Claim(operator_, c.device, c.options); });
  }
  ExpectRefused("ABORTED ETAG_MISMATCH", [&] {
    return Described(engine_->ClaimDevice(operator_, "dev1", "0", {"", "bob"}).status());
  });
}

TEST_F(EngineClaimsTest, NamesWhatIsAttached) {
  ASSERT_EQ(Claim(operator_, "dev5", {"tenant"}), "OK");
  MakeDomain("dev5", /*pasid=*/true);
  ASSERT_TRUE(engine_->AttachDevice(tenant_, "dev5", Ref("d"), 7).ok());
  const absl::Status refused =
      engine_->ClaimDevice(operator_, "dev5", "", {"other", "tenant"}).status();
  ASSERT_EQ(Described(refused), "FAILED_PRECONDITION IN_USE");
  EXPECT_EQ(DetailOf(refused)->violations, std::vector<std::string>{"devices/dev5 pasid 7"});
}

TEST_F(EngineClaimsTest, AMoveFreesWhatTheOldOwnerKeptOfTheDevice) {
  ASSERT_EQ(Claim(operator_, "dev5", {"tenant"}), "OK");
  ASSERT_TRUE(engine_->ReservePasid(tenant_, "dev5", 9, "kept").ok());
  ASSERT_EQ(Claim(operator_, "dev5", {"other", "tenant"}), "OK");
  EXPECT_TRUE(engine_->ListPasids(operator_, "dev5", {10, ""})->items.empty());
  EXPECT_EQ(UsageOf(operator_), "");
}

TEST_F(EngineClaimsTest, AnOperatorActsOnWhatTheNamedOwnerHas) {
  ASSERT_EQ(Claim(operator_, "dev5", {"tenant"}), "OK");
  MakeDomain("dev5", /*pasid=*/true);
  ASSERT_TRUE(engine_->AttachDevice(tenant_, "dev5", Ref("d")).ok());
  ASSERT_TRUE(engine_->ReservePasid(tenant_, "dev5", 9, "").ok());
  const auto detach = [&](const CallContext& caller, const std::string& owner) {
    return Described(engine_->DetachDevice(caller, "dev5", std::nullopt, owner).status());
  };
  const auto free = [&](const CallContext& caller, const std::string& owner) {
    return Described(engine_->FreePasid(caller, "dev5", 9, owner));
  };
  const auto release = [&](const CallContext& caller, const std::string& owner) {
    return Described(engine_->ReleaseDevice(caller, "dev5", "", owner).status());
  };
  const std::string kClaimed = "FAILED_PRECONDITION DEVICE_CLAIMED";
  const std::string kDenied = "PERMISSION_DENIED NOT_OPERATOR";
  ExpectRefused(kClaimed, [&] { return detach(operator_, "other"); });
  ExpectRefused(kDenied, [&] { return detach(bob_, "tenant"); });
  ExpectRefused(kClaimed, [&] { return free(operator_, "other"); });
  ExpectRefused(kDenied, [&] { return free(bob_, "tenant"); });
  EXPECT_EQ(detach(operator_, "tenant"), "OK");
  ExpectRefused(kClaimed, [&] { return release(operator_, "other"); });
  EXPECT_EQ(free(operator_, "tenant"), "OK");
  EXPECT_EQ(release(operator_, "tenant"), "OK");
  EXPECT_EQ(HolderOf("dev5"), "");
  ExpectRefused("FAILED_PRECONDITION DEVICE_NOT_CLAIMED",
                [&] { return release(operator_, "tenant"); });
}

// alice has dev0, of a simulated machine.
using SimulatedClaimsTest = ViommuTest;

TEST_F(SimulatedClaimsTest, WhatIsBrokenIsTakenBackButNotGiven) {
  ASSERT_TRUE(engine_->SetDeviceHealth(operator_, "dev0", DeviceHealth::kUnhealthy, "test").ok());
  const std::string before = Everything();
  EXPECT_EQ(Described(engine_->ClaimDevice(operator_, "dev0", "", {"bob", "alice"}).status()),
            "FAILED_PRECONDITION DEVICE_UNHEALTHY");
  EXPECT_EQ(Everything(), before);
  const auto taken = engine_->ClaimDevice(operator_, "dev0", "", {"", "alice"});
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(taken->claimed_by, "root");
}

TEST_F(SimulatedClaimsTest, VdevicesGoWithTheClaim) {
  ASSERT_TRUE(MakeVdevice("nic", "dev0", 9).ok());
  ASSERT_TRUE(engine_->ClaimDevice(operator_, "dev0", "", {"bob", "alice"}).ok());
  EXPECT_TRUE(Vm().vdevices.empty());
  EXPECT_EQ(Described(engine_->GetVdevice(alice_, Ref("vm/vdevices/nic")).status()),
            "NOT_FOUND VDEVICE_NOT_FOUND");
  const auto records = journal_.records();
  EXPECT_EQ(std::get<record::MoveClaim>(records.back().operation).vdevices.size(), 1u);
}

}  // namespace
}  // namespace viommu
