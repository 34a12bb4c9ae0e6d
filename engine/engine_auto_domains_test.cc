// Auto domains: what an attachment to an Ioas takes, makes and leaves.
#include <algorithm>
#include <string>
#include <vector>

#include "engine/engine_attachments_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class EngineAutoDomainsTest : public AttachmentsTest {
 protected:
  std::vector<std::string> AutoDomains() {
    std::vector<std::string> names;
    const auto domains = engine_->ListDomains(alice_, {});
    for (const DomainView& d : domains->items) {
      if (d.automatic) names.push_back("domains/" + d.object.id);
    }
    return names;
  }
  std::string IoasUidText(const std::string& id) {
    return std::to_string(engine_->GetIoas(alice_, Ref(id))->object.uid);
  }
};

TEST_F(EngineAutoDomainsTest, AnAttachmentMakesADomainThatGoesWithIt) {
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
  const std::vector<std::string> before = DomainIds();
  const size_t records = journal_.records().size();
  const auto attached = engine_->AttachDevice(alice_, "dev0", AttachTarget::OfIoas(Ref("as")));
  ASSERT_TRUE(attached.ok()) << attached.status();
  EXPECT_EQ(journal_.records().size(), records + 1);
  ASSERT_EQ(AutoDomains().size(), 1u);
  EXPECT_EQ(attached->attachment.domain, AutoDomains()[0]);
  EXPECT_EQ(On("dev0"), AutoDomains()[0]);
  EXPECT_TRUE(MsiReserved("as"));
  const std::string id = AutoDomains()[0].substr(8);
  const auto shown = engine_->GetDomain(alice_, Ref(id));
  EXPECT_EQ(shown->ioas, "ioas/as");
  EXPECT_EQ(shown->attached_devices, std::vector<std::string>{"devices/dev0"});
  EXPECT_EQ(Described(engine_->DeleteDomain(alice_, Ref(id), "")), "FAILED_PRECONDITION IN_USE");
  ASSERT_EQ(Detach("dev0"), "OK");
  EXPECT_EQ(DomainIds(), before);
  EXPECT_EQ(Described(engine_->DeleteDomain(alice_, Ref(id), "")), "NOT_FOUND DOMAIN_NOT_FOUND");
  EXPECT_FALSE(MsiReserved("as"));
}

TEST_F(EngineAutoDomainsTest, TakesTheFirstAutoDomainThatFits) {
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev5", "").ok());
  ASSERT_EQ(AttachToIoas("dev0", "as"), "OK");
  const std::string first = On("dev0");
  ASSERT_EQ(AttachToIoas("dev5", "as"), "OK");
  const std::string second = On("dev5");
  EXPECT_NE(first, second) << "dev5 is behind another unit";
  ASSERT_EQ(AttachToIoas("dev4", "as"), "OK");
  EXPECT_EQ(On("dev4"), first);
  EXPECT_EQ(AutoDomains().size(), 2u);
  ASSERT_EQ(Detach("dev0"), "OK");
  EXPECT_EQ(AutoDomains().size(), 2u) << "dev4 is still there";
  EXPECT_TRUE(engine_->DetachDevice(operator_, "dev4").ok()) << "by force";
  EXPECT_EQ(AutoDomains(), std::vector<std::string>{second});
}

TEST_F(EngineAutoDomainsTest, NeverTakesADomainThatSomebodyMade) {
  ASSERT_EQ(AttachToIoas("dev0", "other"), "OK");
  EXPECT_NE(On("dev0"), "domains/q");
}

TEST_F(EngineAutoDomainsTest, AGroupGathersOnOneAutoDomain) {
  ASSERT_EQ(AttachToIoas("dev1", "as"), "OK");
  ASSERT_EQ(AttachToIoas("dev2", "as"), "OK");
  EXPECT_EQ(AutoDomains().size(), 1u);
  ExpectRefused("FAILED_PRECONDITION ALREADY_ATTACHED", [&] { return AttachToIoas("dev2", "as"); });
  ASSERT_EQ(Detach("dev2"), "OK");
  ExpectRefused("FAILED_PRECONDITION GROUP_MISMATCH",
                [&] { return AttachToIoas("dev2", "other"); });
  ASSERT_EQ(Replace("dev1", "d"), "OK");
  EXPECT_EQ(AutoDomains().size(), 0u);
  ExpectRefused("FAILED_PRECONDITION GROUP_MISMATCH", [&] { return AttachToIoas("dev2", "as"); });
}

TEST_F(EngineAutoDomainsTest, AReplacementMovesBetweenAutoDomains) {
  ExpectRefused("FAILED_PRECONDITION NOT_ATTACHED", [&] { return ReplaceByIoas("dev0", "as"); });
  ASSERT_EQ(Attach("dev0", "d"), "OK");
  ASSERT_EQ(ReplaceByIoas("dev0", "as"), "OK");
  const std::string in_as = On("dev0");
  const std::string settled = Everything();
  ASSERT_EQ(ReplaceByIoas("dev0", "as"), "OK");
  EXPECT_EQ(Everything(), settled) << "it is there already";
  ASSERT_EQ(ReplaceByIoas("dev0", "other"), "OK");
  EXPECT_NE(On("dev0"), in_as);
  EXPECT_EQ(AutoDomains(), std::vector<std::string>{On("dev0")});
  EXPECT_FALSE(MsiReserved("as"));
  EXPECT_TRUE(MsiReserved("other"));
}

TEST_F(EngineAutoDomainsTest, RefusesAttachments) {
  ExpectRefused("FAILED_PRECONDITION PASID_INCOMPATIBLE",
                [&] { return AttachToIoas("dev0", "as", 5); });
  ExpectRefused("FAILED_PRECONDITION PASID_INCOMPATIBLE",
                [&] { return AttachToIoas("dev4", "as", 5); });
  ExpectRefused("NOT_FOUND IOAS_NOT_FOUND", [&] { return AttachToIoas("dev0", "none"); });
  ExpectRefused("FAILED_PRECONDITION DEVICE_NOT_CLAIMED",
                [&] { return AttachToIoas("dev3", "as"); });
  ASSERT_EQ(Attach("dev0", "p", 5), "OK");
  ExpectRefused("FAILED_PRECONDITION ALREADY_ATTACHED",
                [&] { return AttachToIoas("dev0", "as", 5); });
  ExpectRefused("FAILED_PRECONDITION PASID_INCOMPATIBLE",
                [&] { return AttachToIoas("dev0", "as"); });
  ASSERT_EQ(Detach("dev0", 5), "OK");
  ASSERT_TRUE(engine_->CreateIoas(bob_, "as").ok());
  ExpectRefused("FAILED_PRECONDITION DEVICE_NOT_CLAIMED", [&] {
    CallContext both = operator_;
    both.principal = "alice";
    return Described(
        engine_->AttachDevice(both, "dev0", AttachTarget::OfIoas({"as", "bob"})).status());
  });
  ASSERT_TRUE(engine_->CreateIoas(alice_, "odd").ok());
  ASSERT_TRUE(engine_->Map(alice_, Ref("odd"), OneMap(uint64_t{1} << 48, 0x1000)).ok());
  ExpectRefused("FAILED_PRECONDITION IOVA_CONFLICT", [&] { return AttachToIoas("dev0", "odd"); });
  ASSERT_TRUE(engine_->CreateIoas(alice_, "msi").ok());
  ASSERT_TRUE(engine_->Map(alice_, Ref("msi"), OneMap(0xfee00000, 0x1000)).ok());
  ExpectRefused("FAILED_PRECONDITION IOVA_CONFLICT", [&] { return AttachToIoas("dev0", "msi"); });
}

TEST_F(EngineAutoDomainsTest, AFailureAtAnyStepLeavesNothingBehind) {
  ASSERT_EQ(Attach("dev4", "d"), "OK");
  for (const char* const verb : {"CreateDomain", "Switch"}) {
    SCOPED_TRACE(verb);
    backend_.SetHook(RefuseNth(verb, 1));
    ExpectRefused("RESOURCE_EXHAUSTED TEST", [&] { return AttachToIoas("dev0", "as"); });
    backend_.SetHook(RefuseNth(verb, 1));
    ExpectRefused("RESOURCE_EXHAUSTED TEST", [&] { return ReplaceByIoas("dev4", "as"); });
  }
  backend_.SetHook(nullptr);
  journal_.SetAnswer(absl::DataLossError("disk gone"));
  ExpectRefused("UNAVAILABLE JOURNAL_FAILED", [&] { return AttachToIoas("dev0", "as"); });
  journal_.SetAnswer(absl::OkStatus());
  CallContext dry = alice_;
  dry.validate_only = true;
  ExpectRefused("OK", [&] {
    return Described(engine_->AttachDevice(dry, "dev0", AttachTarget::OfIoas(Ref("as"))).status());
  });
}

// The hardware may go on with a domain that a failed switch was to enter; the backend keeps it
// then.
TEST_F(EngineAutoDomainsTest, ADomainThatTheBackendKeepsIsShownAndCanBeDeleted) {
  backend_.SetHook([](const std::string& verb) {
    if (verb != "Switch" && verb != "DestroyDomain") return absl::OkStatus();
    return absl::Status(Error(absl::StatusCode::kInternal, "TEST", "refused"));
  });
  EXPECT_EQ(AttachToIoas("dev0", "as"), "INTERNAL TEST");
  backend_.SetHook(nullptr);
  ASSERT_EQ(AutoDomains().size(), 1u);
  EXPECT_EQ(UsageOf(alice_), ShownUsage(*engine_, alice_));
  const std::string kept = AutoDomains()[0];
  ASSERT_EQ(AttachToIoas("dev0", "as"), "OK");
  EXPECT_EQ(On("dev0"), kept) << "it is as good as a new one";
  backend_.SetHook(RefuseNth("DestroyDomain", 1));
  ASSERT_EQ(Detach("dev0"), "OK") << "a detachment is not refused for it";
  ASSERT_EQ(AutoDomains(), std::vector<std::string>{kept});
  EXPECT_EQ(Described(engine_->DeleteDomain(alice_, Ref(kept.substr(8)), "")), "OK");
  EXPECT_EQ(AutoDomains().size(), 0u);
}

OwnerLimits ThreeDomains() {
  OwnerLimits limits;
  limits.max_domains = 3;  // d, p and q.
  return limits;
}

class AutoDomainLimitTest : public AttachmentsTest {
 protected:
  AutoDomainLimitTest() : AttachmentsTest(ThreeDomains()) {}
};

TEST_F(AutoDomainLimitTest, IsChargedToTheOwnerOfTheIoas) {
  ExpectRefused("RESOURCE_EXHAUSTED OBJECT_LIMIT", [&] { return AttachToIoas("dev0", "as"); });
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("q"), "").ok());
  ASSERT_EQ(AttachToIoas("dev0", "as"), "OK");
  EXPECT_EQ(Make("more", "as", "dev0", false), "RESOURCE_EXHAUSTED OBJECT_LIMIT");
  ASSERT_EQ(Detach("dev0"), "OK");
  EXPECT_EQ(Make("more", "as", "dev0", false), "OK");
}

}  // namespace
}  // namespace viommu
