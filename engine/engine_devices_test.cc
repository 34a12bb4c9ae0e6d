// Claims, groups, attachments and default domains: every refusal, and what a success does.
#include <map>
#include <string>
#include <vector>

#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

// SmallTopology: dev0 plain; dev1 and dev2 one group; dev3 DIRECT; dev4 untrusted; dev5 allows
// IDENTITY, behind another unit.
class EngineDevicesTest : public EngineTest {
 protected:
  // alice holds every device that can be claimed, and has domains d and e over ioas/as, f over
  // ioas/other.
  void SetUp() override {
    SetUpAlice();
    ASSERT_TRUE(engine_->CreateIoas(alice_, "other").ok());
    ASSERT_TRUE(engine_->CreateDomain(alice_, "e", PagingDomainRequest{Ref("as"), "dev0"}).ok());
    ASSERT_TRUE(engine_->CreateDomain(alice_, "f", PagingDomainRequest{Ref("other"), "dev0"}).ok());
    for (const char* const device : {"dev1", "dev4"}) {
      ASSERT_TRUE(engine_->ClaimDevice(alice_, device, "").ok());
    }
  }
  std::string Attach(const std::string& device, const std::string& domain) {
    return Described(engine_->AttachDevice(alice_, device, Ref(domain)).status());
  }
  std::string Replace(const std::string& device, const std::string& domain) {
    return Described(engine_->ReplaceAttachment(alice_, device, Ref(domain)).status());
  }
  std::string Detach(const std::string& device) {
    return Described(engine_->DetachDevice(alice_, device).status());
  }
  std::string On(const std::string& device) { return engine_->GetDevice(alice_, device)->domain; }
  bool Attached(const std::string& device) { return engine_->GetDevice(alice_, device)->attached; }
  // Whether the MSI window is closed in an Ioas.
  bool MsiReserved(const std::string& ioas) {
    return engine_->ListIovaRanges(alice_, Ref(ioas))->front().last == 0xfedfffff;
  }
  bool InBackend(const std::string& line) {
    return backend_.State().find(line + "\n") != std::string::npos;
  }
  template <typename F>
  void ExpectRefused(const char* want, F call) {
    const std::string before = Everything();
    EXPECT_EQ(call(), want);
    EXPECT_EQ(Everything(), before);
  }
};

TEST_F(EngineDevicesTest, AClaimTakesTheWholeGroupFromTheHost) {
  EXPECT_TRUE(InBackend("device 1 on blocked") && InBackend("device 2 on blocked"));
  const auto sibling = engine_->GetDevice(alice_, "dev2");
  EXPECT_EQ(sibling->ownership, DeviceOwnership::kClaimed);
  EXPECT_EQ(sibling->claimed_by, "alice");
  EXPECT_EQ(sibling->domain, "domains/blocked");
  EXPECT_EQ(sibling->group_members, std::vector<std::string>{"devices/dev1"});
  const size_t records = journal_.records().size();
  const std::string before = Everything();
  EXPECT_TRUE(engine_->ClaimDevice(alice_, "dev2", "").ok()) << "what one holds can be claimed";
  EXPECT_EQ(Everything(), before);
  EXPECT_EQ(journal_.records().size(), records);
}

TEST_F(EngineDevicesTest, RefusesClaims) {
  const std::string etag = engine_->GetDevice(bob_, "dev5")->etag;
  const struct {
    const CallContext& caller;
    const char* device;
    std::string etag;
    const char* want;
  } kCases[] = {
      {bob_, "dev0", "", "FAILED_PRECONDITION DEVICE_CLAIMED"},
      {bob_, "dev2", "", "FAILED_PRECONDITION DEVICE_CLAIMED"},
      {operator_, "dev0", "", "FAILED_PRECONDITION DEVICE_CLAIMED"},
      {bob_, "dev3", "", "FAILED_PRECONDITION DIRECT_REGION"},
      {bob_, "dev9", "", "NOT_FOUND DEVICE_NOT_FOUND"},
      {bob_, "dev5", etag + "0", "ABORTED ETAG_MISMATCH"},
  };
  for (const auto& c : kCases) {
    ExpectRefused(c.want, [&] {
      return Described(engine_->ClaimDevice(c.caller, c.device, c.etag).status());
    });
  }
  const auto claimed = engine_->ClaimDevice(bob_, "dev5", etag);
  ASSERT_TRUE(claimed.ok());
  EXPECT_NE(claimed->etag, etag);
}

TEST_F(EngineDevicesTest, RefusesReleases) {
  ASSERT_EQ(Attach("dev2", "d"), "OK");
  const struct {
    const CallContext& caller;
    const char* device;
    const char* etag;
    const char* want;
  } kCases[] = {
      {bob_, "dev0", "", "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {alice_, "dev5", "", "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {operator_, "dev5", "", "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {alice_, "dev9", "", "NOT_FOUND DEVICE_NOT_FOUND"},
      {alice_, "dev4", "stale", "ABORTED ETAG_MISMATCH"},
      {alice_, "dev2", "", "FAILED_PRECONDITION STILL_ATTACHED"},
      {alice_, "dev1", "", "FAILED_PRECONDITION STILL_ATTACHED"},
      {operator_, "dev1", "", "FAILED_PRECONDITION STILL_ATTACHED"},
  };
  for (const auto& c : kCases) {
    ExpectRefused(c.want, [&] {
      return Described(engine_->ReleaseDevice(c.caller, c.device, c.etag).status());
    });
  }
  const absl::Status attached = engine_->ReleaseDevice(alice_, "dev1", "").status();
  EXPECT_EQ(DetailOf(attached)->violations, std::vector<std::string>{"devices/dev2"});
}

TEST_F(EngineDevicesTest, AReleaseGivesTheWholeGroupBack) {
  EXPECT_TRUE(engine_->ReleaseDevice(alice_, "dev2", "").ok());
  EXPECT_TRUE(InBackend("device 1 on host dma") && InBackend("device 2 on host dma"));
  EXPECT_EQ(engine_->GetDevice(alice_, "dev1")->ownership, DeviceOwnership::kHost);
  EXPECT_TRUE(engine_->ReleaseDevice(operator_, "dev0", "").ok()) << "an operator may";
  EXPECT_TRUE(engine_->ClaimDevice(bob_, "dev0", "").ok());
}

TEST_F(EngineDevicesTest, RefusesAttachments) {
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev5", "").ok());
  ASSERT_EQ(Attach("dev0", "d"), "OK");
  ASSERT_EQ(Attach("dev1", "d"), "OK");
  const struct {
    const CallContext& caller;
    const char* device;
    ObjectRef domain;
    const char* want;
  } kCases[] = {
      {bob_, "dev0", Ref("blocked"), "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {alice_, "dev3", Ref("d"), "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {operator_, "dev4", {"d", "alice"}, "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {alice_, "dev0", Ref("e"), "FAILED_PRECONDITION ALREADY_ATTACHED"},
      {alice_, "dev0", Ref("d"), "FAILED_PRECONDITION ALREADY_ATTACHED"},
      {alice_, "dev2", Ref("e"), "FAILED_PRECONDITION GROUP_MISMATCH"},
      {alice_, "dev2", Ref("blocked"), "FAILED_PRECONDITION GROUP_MISMATCH"},
      {alice_, "dev5", Ref("d"), "FAILED_PRECONDITION INCOMPATIBLE_DOMAIN"},
      {alice_, "dev4", Ref("none"), "NOT_FOUND DOMAIN_NOT_FOUND"},
      {alice_, "dev9", Ref("d"), "NOT_FOUND DEVICE_NOT_FOUND"},
      {alice_, "dev5", Ref("identity"), "PERMISSION_DENIED IDENTITY_NOT_ALLOWED"},
      {operator_, "dev0", Ref("identity"), "PERMISSION_DENIED IDENTITY_NOT_ALLOWED"},
      {operator_, "dev4", Ref("identity"), "PERMISSION_DENIED IDENTITY_NOT_ALLOWED"},
      {operator_, "dev5", Ref("identity"), "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.want);
    ExpectRefused(c.want, [&] {
      return Described(engine_->AttachDevice(c.caller, c.device, c.domain).status());
    });
  }
}

TEST_F(EngineDevicesTest, RefusesReplacements) {
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev5", "").ok());
  ASSERT_EQ(Attach("dev5", "blocked"), "OK");
  const struct {
    const char* device;
    const char* domain;
    const char* want;
  } kCases[] = {
      {"dev0", "d", "FAILED_PRECONDITION NOT_ATTACHED"},
      {"dev3", "d", "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {"dev5", "d", "FAILED_PRECONDITION INCOMPATIBLE_DOMAIN"},
      {"dev5", "identity", "PERMISSION_DENIED IDENTITY_NOT_ALLOWED"},
      {"dev5", "none", "NOT_FOUND DOMAIN_NOT_FOUND"},
  };
  for (const auto& c : kCases) {
    ExpectRefused(c.want, [&] { return Replace(c.device, c.domain); });
  }
}

TEST_F(EngineDevicesTest, TellsOfAMappingInTheWayBeforeAUnitThatCanNotUseTheDomain) {
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev5", "").ok());
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0xfee00000, 0x1000)).ok());
  const std::string conflict = "FAILED_PRECONDITION IOVA_CONFLICT";
  ExpectRefused(conflict.c_str(), [&] { return Attach("dev5", "d"); });
  ASSERT_EQ(Attach("dev5", "blocked"), "OK");
  ExpectRefused(conflict.c_str(), [&] { return Replace("dev5", "d"); });
  // But only to the owner of the address space.
  ExpectRefused("FAILED_PRECONDITION DEVICE_NOT_CLAIMED", [&] {
    return Described(engine_->ReplaceAttachment(operator_, "dev5", {"d", "alice"}).status());
  });
  UnmapBatch all;
  all.all = true;
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), all).ok());
  ExpectRefused("FAILED_PRECONDITION INCOMPATIBLE_DOMAIN", [&] { return Replace("dev5", "d"); });
  EXPECT_FALSE(MsiReserved("as")) << "what was reserved for it is free again";
}

TEST_F(EngineDevicesTest, OnlyAnOperatorPutsATrustedDeviceOnIdentity) {
  CallContext& root = operator_;
  ASSERT_TRUE(engine_->ClaimDevice(root, "dev5", "").ok());
  ASSERT_TRUE(engine_->AttachDevice(root, "dev5", Ref("identity")).ok());
  EXPECT_TRUE(InBackend("device 5 on identity"));
  EXPECT_EQ(engine_->GetDomain(root, Ref("identity"))->attached_devices,
            std::vector<std::string>{"devices/dev5"});
  ASSERT_TRUE(engine_->DetachDevice(root, "dev5").ok());
  EXPECT_TRUE(InBackend("device 5 on blocked")) << "a claimed device is never left on identity";
}

TEST_F(EngineDevicesTest, HardwareChangesOnceForAGroup) {
  const size_t effects = backend_.log().size();
  ASSERT_EQ(Attach("dev1", "d"), "OK");
  ASSERT_EQ(Attach("dev2", "d"), "OK") << "joins what its sibling is on";
  EXPECT_EQ(backend_.log().size(), effects + 1);
  ASSERT_EQ(Replace("dev2", "f"), "OK");
  EXPECT_EQ(backend_.log().size(), effects + 2);
  EXPECT_EQ(On("dev1"), "domains/f") << "a replacement moves all attached members";
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("d"))->attached_devices.size(), 0u);
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("f"))->attached_devices.size(), 2u);
  ASSERT_EQ(Detach("dev1"), "OK");
  EXPECT_EQ(backend_.log().size(), effects + 2) << "the sibling is still there";
  EXPECT_EQ(On("dev2"), "domains/f");
  ASSERT_EQ(Detach("dev2"), "OK");
  EXPECT_EQ(backend_.log().back().rfind("Switch 1 to blocked", 0), 0u);
  EXPECT_EQ(On("dev1"), "domains/blocked");
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("f"), "").ok());
}

TEST_F(EngineDevicesTest, AReplacementMovesOnlyMembersThatAreAttached) {
  ASSERT_EQ(Attach("dev1", "d"), "OK");
  ASSERT_EQ(Replace("dev1", "e"), "OK");
  EXPECT_FALSE(Attached("dev2"));
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("e"))->attached_devices,
            std::vector<std::string>{"devices/dev1"});
}

TEST_F(EngineDevicesTest, ChangesNothingWhereNothingIsToBeChanged) {
  ASSERT_EQ(Attach("dev0", "d"), "OK");
  const std::string before = Everything();
  const size_t records = journal_.records().size();
  EXPECT_EQ(Replace("dev0", "d"), "OK");
  EXPECT_EQ(Detach("dev4"), "OK") << "it is not attached";
  EXPECT_EQ(Everything(), before);
  EXPECT_EQ(journal_.records().size(), records);
  ExpectRefused("FAILED_PRECONDITION DEVICE_NOT_CLAIMED", [&] { return Detach("dev5"); });
  ExpectRefused("FAILED_PRECONDITION DEVICE_NOT_CLAIMED",
                [&] { return Described(engine_->DetachDevice(bob_, "dev0").status()); });
  EXPECT_TRUE(engine_->DetachDevice(operator_, "dev0").ok()) << "an operator may";
}

TEST_F(EngineDevicesTest, ReservedRegionsComeAndGoWithTheAttachment) {
  const struct {
    std::string verb;
    const char* domain;
    bool in_as, in_other;
  } kSteps[] = {
      {"attach", "d", true, false},         {"replace within the Ioas", "e", true, false},
      {"replace", "f", false, true},        {"replace", "d", true, false},
      {"replace", "blocked", false, false}, {"replace", "f", false, true},
      {"detach", "", false, false},
  };
  for (const auto& step : kSteps) {
    SCOPED_TRACE(step.verb + " " + step.domain);
    const std::string done = step.verb == "attach"   ? Attach("dev0", step.domain)
                             : step.verb == "detach" ? Detach("dev0")
                                                     : Replace("dev0", step.domain);
    EXPECT_EQ(done, "OK");
    EXPECT_EQ(MsiReserved("as"), step.in_as);
    EXPECT_EQ(MsiReserved("other"), step.in_other);
  }
}

TEST_F(EngineDevicesTest, ARegionStaysReservedWhileAnyDeviceNeedsIt) {
  ASSERT_EQ(Attach("dev0", "d"), "OK");
  ASSERT_EQ(Attach("dev1", "e"), "OK");
  ASSERT_EQ(Attach("dev2", "e"), "OK");
  ASSERT_EQ(Detach("dev0"), "OK");
  ASSERT_EQ(Detach("dev1"), "OK");
  EXPECT_TRUE(MsiReserved("as"));
  ASSERT_EQ(Detach("dev2"), "OK");
  EXPECT_FALSE(MsiReserved("as"));
}

TEST_F(EngineDevicesTest, RefusesToAttachOverWhatIsMappedInAReservedRegion) {
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0xfeeff000, 0x1000)).ok());
  ASSERT_TRUE(engine_->SetAllowedIovaRanges(alice_, Ref("other"), {{0, 0xfee00000}}, "").ok());
  ExpectRefused("FAILED_PRECONDITION IOVA_CONFLICT", [&] { return Attach("dev0", "d"); });
  ExpectRefused("FAILED_PRECONDITION IOVA_CONFLICT", [&] { return Attach("dev0", "f"); });
  ASSERT_EQ(Attach("dev0", "blocked"), "OK");
  ExpectRefused("FAILED_PRECONDITION IOVA_CONFLICT", [&] { return Replace("dev0", "d"); });
  EXPECT_EQ(On("dev0"), "domains/blocked");
}

TEST_F(EngineDevicesTest, CountsTransitionsByKind) {
  ASSERT_EQ(Attach("dev1", "d"), "OK");
  ASSERT_EQ(Attach("dev2", "d"), "OK");
  ASSERT_EQ(Replace("dev1", "e"), "OK");
  ASSERT_EQ(Detach("dev1"), "OK");
  ASSERT_EQ(Detach("dev2"), "OK");
  ASSERT_TRUE(engine_->ReleaseDevice(alice_, "dev1", "").ok());
  const std::map<std::string, uint64_t> want = {{"host_dma_to_blocked", 3},
                                                {"blocked_to_paging", 1},
                                                {"paging_to_paging", 1},
                                                {"paging_to_blocked", 1},
                                                {"blocked_to_host_dma", 1}};
  const EngineStats stats = engine_->Stats();
  for (const EngineStats::Transitions& t : stats.transitions) {
    const auto it = want.find(t.kind);
    EXPECT_EQ(t.hitless, it == want.end() ? 0 : it->second) << t.kind;
    EXPECT_EQ(t.not_hitless, 0u) << t.kind;
  }
  EXPECT_EQ(stats.claimed_devices, 2u);
  EXPECT_EQ(stats.attached_devices, 0u);
}

}  // namespace
}  // namespace viommu
