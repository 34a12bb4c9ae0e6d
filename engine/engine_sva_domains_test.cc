// SVA: devices share the address space of a process, each at the one PASID that it has.
#include <string>

#include "engine/engine_attachments_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

// AttachmentsTest, and the processes ioas/proc and ioas/shell. PASIDs of dev0 have 8 bits, of dev1
// and dev2 the 4 of dev2; dev4 has none.
class SvaDomainsTest : public AttachmentsTest {
 protected:
  void SetUp() override {
    AttachmentsTest::SetUp();
    IoasOptions process;
    process.mode = IoasMode::kProcess;
    for (const char* const id : {"proc", "shell"}) {
      ASSERT_TRUE(engine_->CreateIoas(alice_, id, process).ok());
    }
  }
  absl::StatusOr<DomainView> Share(const std::string& id, const std::string& process,
                                   const std::string& device) {
    return engine_->CreateDomain(alice_, id, SvaDomainRequest{Ref(process), device});
  }
  std::string Told(const absl::StatusOr<DomainView>& made) { return Described(made.status()); }
};

TEST_F(SvaDomainsTest, AProcessHasOnePasidForAllItsDomains) {
  const auto first = Share("s0", "proc", "dev0");
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->kind, DomainKind::kSva);
  EXPECT_EQ(first->ioas, "ioas/proc");
  EXPECT_EQ(first->sva_pasid, 1u);
  EXPECT_EQ(Share("s1", "proc", "dev1")->sva_pasid, 1u);
  EXPECT_EQ(Share("s2", "shell", "dev0")->sva_pasid, 2u);
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("s0"), "").ok());
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("s1"))->sva_pasid, 1u);
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("s1"), "").ok());
  IoasOptions process;
  process.mode = IoasMode::kProcess;
  ASSERT_TRUE(engine_->CreateIoas(alice_, "third", process).ok());
  EXPECT_EQ(Share("s3", "third", "dev0")->sva_pasid, 1u) << "free again";
}

TEST_F(SvaDomainsTest, ADomainServesThePasidOfItsProcessAndNothingElse) {
  ASSERT_TRUE(Share("s0", "proc", "dev0").ok());
  EXPECT_EQ(Attach("dev0", "s0"), "FAILED_PRECONDITION SVA_PASID");
  EXPECT_EQ(Attach("dev0", "s0", 2), "FAILED_PRECONDITION SVA_PASID");
  EXPECT_EQ(Attach("dev0", "s0", 1), "OK");
  EXPECT_EQ(Attach("dev1", "s0", 1), "OK") << "devices share a domain";
  EXPECT_EQ(Described(engine_->DeleteDomain(alice_, Ref("s0"), "")), "FAILED_PRECONDITION IN_USE");
  EXPECT_EQ(Detach("dev1", 1), "OK");
  EXPECT_EQ(Detach("dev0", 1), "OK");
  EXPECT_TRUE(engine_->DeleteDomain(alice_, Ref("s0"), "").ok());
}

TEST_F(SvaDomainsTest, NobodyElseGetsThePasidOfAProcess) {
  ASSERT_TRUE(Share("s0", "proc", "dev0").ok());
  EXPECT_EQ(Attach("dev0", "p", 1), "FAILED_PRECONDITION PASID_TAKEN");
  EXPECT_EQ(Attach("dev0", "blocked", 1), "FAILED_PRECONDITION PASID_TAKEN");
  EXPECT_EQ(engine_->AllocatePasid(alice_, "dev0", {})->pasid, 2u);
  EXPECT_EQ(Described(engine_->ReservePasid(alice_, "dev0", 1, "").status()),
            "ALREADY_EXISTS PASID_EXISTS");
}

TEST_F(SvaDomainsTest, PassesOverPasidsThatAnyGroupHasTaken) {
  ASSERT_TRUE(engine_->ReservePasid(alice_, "dev1", 1, "").ok());
  ASSERT_EQ(Attach("dev0", "p", 2), "OK");
  EXPECT_EQ(Share("s0", "proc", "dev0")->sva_pasid, 3u);
}

TEST_F(SvaDomainsTest, RefusesWhatCanNotShare) {
  const std::string before = Everything();
  EXPECT_EQ(Told(Share("s0", "as", "dev0")), "FAILED_PRECONDITION NOT_A_PROCESS");
  EXPECT_EQ(Told(Share("s0", "none", "dev0")), "NOT_FOUND IOAS_NOT_FOUND");
  EXPECT_EQ(Told(Share("s0", "proc", "none")), "NOT_FOUND DEVICE_NOT_FOUND");
  EXPECT_EQ(Told(Share("s0", "proc", "dev5")), "FAILED_PRECONDITION DEVICE_NOT_CLAIMED");
  EXPECT_EQ(Told(Share("s0", "proc", "dev4")), "UNIMPLEMENTED PASID_UNAVAILABLE");
  EXPECT_EQ(Told(Share("blocked", "proc", "dev0")), "ALREADY_EXISTS DOMAIN_EXISTS");
  EXPECT_EQ(Make("x", "proc", "dev0", true), "FAILED_PRECONDITION PROCESS_ADDRESS_SPACE");
  EXPECT_EQ(AttachToIoas("dev0", "proc"), "FAILED_PRECONDITION PROCESS_ADDRESS_SPACE");
  EXPECT_EQ(Everything(), before);
}

TEST_F(SvaDomainsTest, RefusesADeviceWhosePasidsEndBelowThatOfTheProcess) {
  for (uint32_t pasid = 1; pasid < 16; ++pasid) {
    ASSERT_TRUE(engine_->ReservePasid(alice_, "dev0", pasid, "").ok());
  }
  EXPECT_EQ(Told(Share("s0", "proc", "dev1")), "RESOURCE_EXHAUSTED PASIDS_EXHAUSTED");
  ASSERT_EQ(Share("s0", "proc", "dev0")->sva_pasid, 16u);
  EXPECT_EQ(Told(Share("s1", "proc", "dev1")), "OUT_OF_RANGE PASID_OUT_OF_RANGE");
  EXPECT_EQ(Attach("dev1", "s0", 16), "OUT_OF_RANGE PASID_OUT_OF_RANGE");
}

TEST_F(SvaDomainsTest, AFailureLeavesNoPasidBehind) {
  backend_.SetHook([](const std::string& verb) -> absl::Status {
    if (verb != "CreateDomain") return absl::OkStatus();
    return Error(absl::StatusCode::kResourceExhausted, "TEST", "refused");
  });
  EXPECT_EQ(Told(Share("s0", "proc", "dev0")), "RESOURCE_EXHAUSTED TEST");
  backend_.SetHook(nullptr);
  EXPECT_EQ(Told(Share("d", "proc", "dev0")), "ALREADY_EXISTS DOMAIN_EXISTS");
  EXPECT_EQ(engine_->AllocatePasid(alice_, "dev0", {})->pasid, 1u);
}

}  // namespace
}  // namespace viommu
