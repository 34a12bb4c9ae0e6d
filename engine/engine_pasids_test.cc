// PASIDs: attaching them, and the table of those that are taken.
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/errors.h"
#include "engine/engine_attachments_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using EnginePasidsTest = AttachmentsTest;

TEST_F(EnginePasidsTest, APasidIsAttachedBesideTheRid) {
  ASSERT_EQ(Attach("dev0", "p", 5), "OK");
  EXPECT_TRUE(InBackend("device 0 on blocked")) << "the RID needs not be attached";
  ASSERT_EQ(Attach("dev0", "q"), "OK");
  ASSERT_EQ(Attach("dev0", "blocked", 255), "OK");
  const std::string p = std::to_string(engine_->GetDomain(alice_, Ref("p"))->object.uid);
  EXPECT_TRUE(InBackend("device 0 pasid 5 on domain " + p));
  EXPECT_EQ(Attachments(),
            "devices/dev0 domains/q\ndevices/dev0 5 domains/p\ndevices/dev0 255 domains/blocked\n");
  ASSERT_EQ(Replace("dev0", "q", 5), "OK");
  EXPECT_EQ(engine_->GetDomain(alice_, Ref("p"))->attached_devices.size(), 0u);
  EXPECT_EQ(Described(engine_->DeleteDomain(alice_, Ref("q"), "")), "FAILED_PRECONDITION IN_USE");
  ASSERT_EQ(Detach("dev0"), "OK") << "the RID may go first";
  EXPECT_EQ(On("dev0"), "domains/blocked");
  EXPECT_EQ(Described(engine_->DeleteDomain(alice_, Ref("q"), "")), "FAILED_PRECONDITION IN_USE");
  ASSERT_EQ(Detach("dev0", 5), "OK");
  ASSERT_EQ(Detach("dev0", 255), "OK");
  EXPECT_EQ(Described(engine_->DeleteDomain(alice_, Ref("q"), "")), "OK");
  EXPECT_EQ(Attachments(), "");
  EXPECT_EQ(Pasids("dev0"), "") << "they were taken only by being attached";
}

TEST_F(EnginePasidsTest, RefusesAttachments) {
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev5", "").ok());
  ASSERT_EQ(Attach("dev0", "p", 5), "OK");
  ASSERT_EQ(Attach("dev1", "p", 7), "OK");
  ASSERT_TRUE(engine_->ReservePasid(operator_, "dev0", 9, "").ok());
  const struct {
    const char* device;
    const char* domain;
    Pasid pasid;
    const char* want;
  } kCases[] = {
      {"dev0", "p", 5, "FAILED_PRECONDITION ALREADY_ATTACHED"},
      {"dev0", "d", 5, "FAILED_PRECONDITION ALREADY_ATTACHED"},
      {"dev2", "q", 7, "FAILED_PRECONDITION GROUP_MISMATCH"},
      {"dev0", "p", 0, "INVALID_ARGUMENT INVALID_PASID"},
      {"dev4", "p", 1, "UNIMPLEMENTED PASID_UNAVAILABLE"},
      {"dev0", "p", 256, "OUT_OF_RANGE PASID_OUT_OF_RANGE"},
      {"dev1", "p", 16, "OUT_OF_RANGE PASID_OUT_OF_RANGE"},  // dev2 of its group has 4 bits.
      {"dev0", "p", 9, "FAILED_PRECONDITION PASID_TAKEN"},
      {"dev0", "d", 6, "FAILED_PRECONDITION PASID_INCOMPATIBLE"},
      {"dev0", "d", {}, "FAILED_PRECONDITION PASID_INCOMPATIBLE"},  // PASID 5 is attached.
      {"dev2", "d", {}, "FAILED_PRECONDITION PASID_INCOMPATIBLE"},  // PASID 7 of dev1 is.
      {"dev5", "p", 1, "FAILED_PRECONDITION INCOMPATIBLE_DOMAIN"},
      {"dev5", "identity", 1, "PERMISSION_DENIED IDENTITY_NOT_ALLOWED"},
      {"dev3", "p", 1, "FAILED_PRECONDITION DEVICE_NOT_CLAIMED"},
      {"dev0", "none", 6, "NOT_FOUND DOMAIN_NOT_FOUND"},
  };
  for (const auto& c : kCases) {
    ExpectRefused(c.want, [&] { return Attach(c.device, c.domain, c.pasid); });
  }
}

TEST_F(EnginePasidsTest, RefusesWhatTheUnitCanNotHaveAtOnce) {
  ASSERT_EQ(Attach("dev0", "p"), "OK");
  backend_.SetSwitchCheck(
      Error(absl::StatusCode::kFailedPrecondition, "PASIDS_IN_USE", "not at once").Errno("EBUSY"));
  ExpectRefused("FAILED_PRECONDITION PASIDS_IN_USE", [&] { return Attach("dev0", "p", 5); });
  ExpectRefused("FAILED_PRECONDITION PASIDS_IN_USE", [&] { return Replace("dev0", "q"); });
  EXPECT_EQ(Replace("dev0", "p"), "OK") << "nothing is switched";
  EXPECT_EQ(Detach("dev0"), "OK");
}

TEST_F(EnginePasidsTest, RefusesReplacements) {
  ASSERT_EQ(Attach("dev0", "p", 5), "OK");
  ASSERT_EQ(Attach("dev0", "p"), "OK");
  ExpectRefused("FAILED_PRECONDITION NOT_ATTACHED", [&] { return Replace("dev0", "p", 6); });
  ExpectRefused("FAILED_PRECONDITION NOT_ATTACHED", [&] { return Replace("dev0", "p", 0); });
  ExpectRefused("FAILED_PRECONDITION PASID_INCOMPATIBLE", [&] { return Replace("dev0", "d", 5); });
  ExpectRefused("FAILED_PRECONDITION PASID_INCOMPATIBLE", [&] { return Replace("dev0", "d"); });
  ASSERT_EQ(Detach("dev0", 5), "OK");
  ASSERT_EQ(Replace("dev0", "d"), "OK") << "no PASID is attached any more";
  ExpectRefused("FAILED_PRECONDITION PASID_INCOMPATIBLE", [&] { return Attach("dev0", "p", 5); });
  ASSERT_EQ(Replace("dev0", "blocked"), "OK");
  ASSERT_EQ(Attach("dev0", "p", 5), "OK") << "static domains stand beside PASIDs";
}

TEST_F(EnginePasidsTest, AnOperatorPutsAPasidOnIdentity) {
  ASSERT_TRUE(engine_->ClaimDevice(operator_, "dev5", "").ok());
  ASSERT_TRUE(engine_->AttachDevice(operator_, "dev5", Ref("identity"), 3).ok());
  EXPECT_TRUE(InBackend("device 5 pasid 3 on identity"));
  ASSERT_TRUE(engine_->DetachDevice(operator_, "dev5", 3).ok());
  EXPECT_FALSE(InBackend("device 5 pasid 3 on identity"));
}

TEST_F(EnginePasidsTest, MembersOfAGroupShareTheirEntries) {
  const size_t effects = backend_.log().size();
  ASSERT_EQ(Attach("dev1", "p", 7), "OK");
  ASSERT_EQ(Attach("dev2", "p", 7), "OK");
  EXPECT_EQ(backend_.log().size(), effects + 1);
  ASSERT_EQ(Replace("dev2", "q", 7), "OK");
  EXPECT_EQ(Attachments(), "devices/dev1 7 domains/q\ndevices/dev2 7 domains/q\n");
  ASSERT_EQ(Detach("dev1", 7), "OK");
  EXPECT_EQ(backend_.log().size(), effects + 2) << "dev2 is still there";
  EXPECT_EQ(Pasids("dev1"), "7 attached alice domains/q\n");
  ASSERT_EQ(Detach("dev2", 7), "OK");
  EXPECT_EQ(backend_.log().back(), "Switch 1 pasid 7 to blocked");
  EXPECT_EQ(Pasids("dev1"), "");
}

TEST_F(EnginePasidsTest, DetachingWhatIsNotAttachedSucceeds) {
  const std::string before = Everything();
  EXPECT_EQ(Detach("dev0", 5), "OK");
  EXPECT_EQ(Detach("dev0", 0), "OK");
  EXPECT_EQ(Detach("dev4", 70000), "OK");
  EXPECT_EQ(Everything(), before);
}

TEST_F(EnginePasidsTest, PasidsTakeNoReservedRegions) {
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0xfee00000, 0x1000)).ok());
  ASSERT_EQ(Attach("dev0", "p", 5), "OK");
  EXPECT_FALSE(MsiReserved("as"));
  ExpectRefused("FAILED_PRECONDITION IOVA_CONFLICT", [&] { return Attach("dev0", "p"); });
}

TEST_F(EnginePasidsTest, AReleaseWaitsForPasidsAndFreesThem) {
  ASSERT_EQ(Attach("dev2", "p", 7), "OK");
  ASSERT_EQ(Attach("dev2", "p"), "OK");
  ASSERT_TRUE(engine_->AllocatePasid(alice_, "dev1", {}).ok());
  const absl::Status refused = engine_->ReleaseDevice(alice_, "dev1", "").status();
  EXPECT_EQ(Described(refused), "FAILED_PRECONDITION STILL_ATTACHED");
  EXPECT_EQ(DetailOf(refused)->violations,
            (std::vector<std::string>{"devices/dev2", "devices/dev2 pasid 7"}));
  ASSERT_EQ(Detach("dev2"), "OK");
  EXPECT_EQ(Described(engine_->ReleaseDevice(alice_, "dev1", "").status()),
            "FAILED_PRECONDITION STILL_ATTACHED");
  ASSERT_EQ(Detach("dev2", 7), "OK");
  ASSERT_TRUE(engine_->ReleaseDevice(alice_, "dev1", "").ok());
  EXPECT_EQ(UsageOf(alice_).find("max_pasids"), std::string::npos);
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev1", "").ok());
  EXPECT_EQ(Pasids("dev1"), "");
}

TEST_F(EnginePasidsTest, AllocatesTheLowestFreePasid) {
  const auto allocate = [&](std::optional<uint32_t> min, std::optional<uint32_t> max) {
    const auto taken = engine_->AllocatePasid(alice_, "dev1", {min, max, "x"});
    return taken.ok() ? std::to_string(taken->pasid) : Described(taken.status());
  };
  ASSERT_TRUE(engine_->ReservePasid(alice_, "dev2", 2, "mine").ok());
  EXPECT_EQ(allocate({}, {}), "1");
  EXPECT_EQ(allocate({}, {}), "3");
  EXPECT_EQ(allocate(2, 4), "4");
  EXPECT_EQ(allocate(2, 4), "RESOURCE_EXHAUSTED PASIDS_EXHAUSTED");
  EXPECT_EQ(allocate(15, {}), "15");
  EXPECT_EQ(allocate(15, {}), "RESOURCE_EXHAUSTED PASIDS_EXHAUSTED");
  EXPECT_EQ(Pasids("dev2"),
            "1 allocated alice x\n2 reserved alice mine\n3 allocated alice x\n"
            "4 allocated alice x\n15 allocated alice x\n");
  ASSERT_TRUE(engine_->FreePasid(alice_, "dev2", 3).ok());
  EXPECT_EQ(allocate({}, {}), "3");
}

TEST_F(EnginePasidsTest, RefusesToTakePasids) {
  ASSERT_TRUE(engine_->ReservePasid(alice_, "dev0", 2, "").ok());
  const auto allocate = [&](const CallContext& who, const char* device,
                            const PasidRequest& request) {
    return Described(engine_->AllocatePasid(who, device, request).status());
  };
  const auto reserve = [&](const char* device, uint32_t pasid, const std::string& label = "") {
    return Described(engine_->ReservePasid(alice_, device, pasid, label).status());
  };
  const std::string long_label(64, 'x');
  ExpectRefused("INVALID_ARGUMENT INVALID_PASID", [&] {
    return allocate(alice_, "dev0", {0, 9, ""});
  });
  ExpectRefused("INVALID_ARGUMENT INVALID_PASID", [&] {
    return allocate(alice_, "dev0", {{}, 0, ""});
  });
  ExpectRefused("INVALID_ARGUMENT RANGE_INVALID", [&] {
    return allocate(alice_, "dev0", {9, 8, ""});
  });
  ExpectRefused("OUT_OF_RANGE PASID_OUT_OF_RANGE", [&] {
    return allocate(alice_, "dev0", {1, 256, ""});
  });
  ExpectRefused("OUT_OF_RANGE PASID_OUT_OF_RANGE", [&] {
    return allocate(alice_, "dev0", {256, {}, ""});
  });
  ExpectRefused("UNIMPLEMENTED PASID_UNAVAILABLE", [&] { return allocate(alice_, "dev4", {}); });
  ExpectRefused("INVALID_ARGUMENT LABEL_TOO_LONG", [&] {
    return allocate(alice_, "dev0", {{}, {}, long_label});
  });
  ExpectRefused("FAILED_PRECONDITION DEVICE_NOT_CLAIMED",
                [&] { return allocate(bob_, "dev0", {}); });
  ExpectRefused("FAILED_PRECONDITION DEVICE_NOT_CLAIMED",
                [&] { return allocate(operator_, "dev5", {}); });
  ExpectRefused("NOT_FOUND DEVICE_NOT_FOUND", [&] { return allocate(alice_, "none", {}); });
  ExpectRefused("ALREADY_EXISTS PASID_EXISTS", [&] { return reserve("dev0", 2); });
  ExpectRefused("INVALID_ARGUMENT INVALID_PASID", [&] { return reserve("dev0", 0); });
  ExpectRefused("OUT_OF_RANGE PASID_OUT_OF_RANGE", [&] { return reserve("dev0", 256); });
  ExpectRefused("INVALID_ARGUMENT LABEL_TOO_LONG", [&] { return reserve("dev0", 3, long_label); });
  EXPECT_EQ(reserve("dev0", 3, std::string(63, 'x')), "OK");
}

TEST_F(EnginePasidsTest, RefusesToFreePasids) {
  ASSERT_TRUE(engine_->AllocatePasid(alice_, "dev1", {}).ok());
  ASSERT_TRUE(engine_->ReservePasid(operator_, "dev1", 2, "").ok());
  ASSERT_EQ(Attach("dev1", "p", 1), "OK");
  ASSERT_EQ(Attach("dev2", "p", 1), "OK");
  ASSERT_EQ(Attach("dev2", "p", 3), "OK");
  const auto free = [&](const CallContext& who, uint32_t pasid) {
    return Described(engine_->FreePasid(who, "dev1", pasid));
  };
  ExpectRefused("FAILED_PRECONDITION IN_USE", [&] { return free(alice_, 1); });
  ExpectRefused("FAILED_PRECONDITION IN_USE", [&] { return free(alice_, 3); });
  ExpectRefused("FAILED_PRECONDITION PASID_TAKEN", [&] { return free(alice_, 2); });
  ExpectRefused("NOT_FOUND PASID_NOT_FOUND", [&] { return free(alice_, 4); });
  ExpectRefused("FAILED_PRECONDITION DEVICE_NOT_CLAIMED", [&] { return free(bob_, 1); });
  EXPECT_EQ(
      DetailOf(engine_->FreePasid(alice_, "dev1", 1))->violations,
      (std::vector<std::string>{"detach devices/dev1 pasid 1", "detach devices/dev2 pasid 1"}));
  ASSERT_EQ(Detach("dev1", 1), "OK");
  ASSERT_EQ(Detach("dev2", 1), "OK");
  EXPECT_EQ(Pasids("dev1"), "1 allocated alice\n2 reserved root\n3 attached alice domains/p\n")
      << "what was allocated outlives its attachment";
  EXPECT_EQ(free(operator_, 1), "OK");
  EXPECT_EQ(free(operator_, 2), "OK");
}

TEST_F(EnginePasidsTest, ListsInPages) {
  for (const uint32_t pasid : {3u, 200u, 1u}) {
    ASSERT_TRUE(engine_->ReservePasid(alice_, "dev0", pasid, "").ok());
    ASSERT_EQ(Attach("dev0", "p", pasid), "OK");
  }
  ASSERT_EQ(Attach("dev0", "p"), "OK");
  ASSERT_EQ(Attach("dev2", "p", 9), "OK");
  std::string pasids, attachments;
  PageRequest page{1, ""};
  do {
    const auto items = engine_->ListPasids(alice_, "dev0", page);
    ASSERT_TRUE(items.ok());
    for (const PasidView& p : items->items) pasids += std::to_string(p.pasid) + " ";
    page.cursor = items->next_cursor;
  } while (!page.cursor.empty());
  EXPECT_EQ(pasids, "1 3 200 ");
  page.page_size = 2;
  do {
    const auto items = engine_->ListAttachments(alice_, "", page);
    ASSERT_TRUE(items.ok());
    for (const AttachmentView& a : items->items) {
      attachments += a.device.substr(8) + ":" + std::to_string(a.pasid.value_or(0)) + " ";
    }
    page.cursor = items->next_cursor;
  } while (!page.cursor.empty());
  EXPECT_EQ(attachments, "dev0:0 dev0:1 dev0:3 dev0:200 dev2:9 ");
  EXPECT_TRUE(engine_->ListPasids(bob_, "dev0", {})->items.empty());
  EXPECT_EQ(engine_->ListPasids(operator_, "dev0", {})->items.size(), 3u);
  for (const char* const cursor : {"x", "1.2.3", "1.x", "-1"}) {
    EXPECT_EQ(Described(engine_->ListAttachments(alice_, "", {1, cursor}).status()),
              "INVALID_ARGUMENT UNKNOWN_PAGE_TOKEN")
        << cursor;
    EXPECT_EQ(Described(engine_->ListPasids(alice_, "dev0", {1, cursor}).status()),
              "INVALID_ARGUMENT UNKNOWN_PAGE_TOKEN")
        << cursor;
  }
  EXPECT_EQ(Described(engine_->ListPasids(alice_, "dev0", {0, ""}).status()),
            "INVALID_ARGUMENT INVALID_PAGE_SIZE");
}

OwnerLimits TwoPasids() {
  OwnerLimits limits;
  limits.max_pasids = 2;
  return limits;
}

class PasidLimitTest : public AttachmentsTest {
 protected:
  PasidLimitTest() : AttachmentsTest(TwoPasids()) {}
};

TEST_F(PasidLimitTest, CountsWhatIsTakenHoweverItIs) {
  ASSERT_TRUE(engine_->AllocatePasid(alice_, "dev0", {}).ok());
  ASSERT_EQ(Attach("dev1", "p", 1), "OK");
  ASSERT_EQ(Attach("dev2", "p", 1), "OK") << "the group has it once";
  ASSERT_EQ(Attach("dev0", "p", 1), "OK") << "it was taken before";
  ExpectRefused("RESOURCE_EXHAUSTED PASID_LIMIT", [&] { return Attach("dev0", "p", 2); });
  ExpectRefused("RESOURCE_EXHAUSTED PASID_LIMIT",
                [&] { return Described(engine_->ReservePasid(alice_, "dev0", 2, "").status()); });
  ASSERT_EQ(Detach("dev1", 1), "OK");
  ASSERT_EQ(Detach("dev2", 1), "OK");
  ASSERT_EQ(Attach("dev0", "p", 2), "OK");
}

}  // namespace
}  // namespace viommu
