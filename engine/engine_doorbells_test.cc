// Doorbells: where the interrupts of attached devices are mapped, and what stays of them.
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/engine_attachments_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr IovaRange kWindow{0x8000000, 0x80fffff};
constexpr Iova kFirst = kWindow.first;
constexpr PhysAddr kA{0xfe000000};  // Of dev0, dev2 and dev4.
constexpr PhysAddr kB{0xfe010000};  // Of dev1.

// dev1 and dev2 share a group; dev5's window is beyond what its unit's tables translate.
Topology WithDoorbells() {
  Topology topology = SmallTopology();
  for (const int i : {0, 1, 2, 4}) {
    topology.devices[i].reserved_regions = {{kWindow, ReservedRegionType::kSwMsi}};
    topology.devices[i].msi_doorbell = i == 1 ? kB : kA;
  }
  const Iova beyond = uint64_t{1} << 48;
  topology.devices[5].reserved_regions = {{{beyond, beyond + 0xfff}, ReservedRegionType::kSwMsi}};
  topology.devices[5].msi_doorbell = kA;
  return topology;
}

class EngineDoorbellsTest : public AttachmentsTest {
 protected:
  explicit EngineDoorbellsTest(Topology topology = WithDoorbells())
      : AttachmentsTest(OwnerLimits(), std::move(topology)) {}

  // A nest parent over ioas/other, and a NESTED domain on it.
  void MakeNested() {
    PagingDomainRequest parent{Ref("other"), "dev0"};
    parent.nest_parent = true;
    ASSERT_TRUE(engine_->CreateDomain(alice_, "parent", parent).ok());
    NestedDomainRequest guest{Ref("parent"), "dev0"};
    ASSERT_TRUE(engine_->CreateDomain(alice_, "guest", guest).ok());
  }
  static std::string At(Iova iova, PhysAddr doorbell) {
    return absl::StrCat(Hex(iova), " -> ", Hex(doorbell.value), "\n");
  }
  // What the backend maps in one of alice's domains.
  std::string In(const std::string& domain) {
    const Uid uid = engine_->GetDomain(alice_, Ref(domain))->object.uid;
    std::string in;
    bool found = false;
    for (const absl::string_view line : absl::StrSplit(backend_.State(), '\n')) {
      if (!absl::StartsWith(line, "  doorbell ")) {
        found = absl::StartsWith(line, absl::StrCat("domain ", uid, " "));
      } else if (found) {
        absl::StrAppend(&in, line.substr(11), "\n");
      }
    }
    return in;
  }
  // As the attachment of a device's RID shows it.
  std::optional<Iova> MsiOf(const std::string& device) {
    const auto attachments = engine_->ListAttachments(alice_, device, {});
    for (const AttachmentView& a : attachments->items) {
      if (!a.pasid.has_value()) return a.msi_iova;
    }
    ADD_FAILURE() << device << " is not attached";
    return std::nullopt;
  }
  record::Attach LastAttach() {
    return std::get<record::Attach>(journal_.records().back().operation);
  }
  std::string Map(const std::string& ioas, Iova iova, uint64_t length = kPage) {
    return Described(engine_->Map(alice_, Ref(ioas), OneMap(iova, length)).status());
  }
  // Verbs of doorbells and switches that the backend was asked for, since `skip` of all.
  std::string VerbsSince(size_t skip) {
    std::string verbs;
    const std::vector<std::string> log = backend_.log();
    for (size_t i = skip; i < log.size(); ++i) {
      verbs += log[i].substr(0, log[i].find(' ')) + " ";
    }
    return verbs;
  }
};

TEST_F(EngineDoorbellsTest, TheDoorbellIsMappedBeforeTheDeviceGetsThere) {
  const size_t before = backend_.log().size();
  const auto answer = engine_->AttachDevice(alice_, "dev0", Ref("d"));
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(VerbsSince(before), "MapDoorbell Switch ");
  EXPECT_EQ(answer->attachment.msi_iova, kFirst);
  EXPECT_EQ(MsiOf("dev0"), kFirst);
  EXPECT_EQ(In("d"), At(kFirst, kA));
  const record::Attach attach = LastAttach();
  ASSERT_EQ(attach.doorbells.size(), 1u);
  EXPECT_EQ(attach.doorbells[0].domain, attach.domain);
  EXPECT_EQ(attach.doorbells[0].iova, kFirst);
  EXPECT_EQ(attach.doorbells[0].address, kA.value);
}

TEST_F(EngineDoorbellsTest, DevicesThatShareADoorbellShareItsPage) {
  ASSERT_EQ(Attach("dev0", "d"), "OK");
  ASSERT_EQ(Attach("dev1", "d"), "OK");
  ASSERT_EQ(Attach("dev2", "d"), "OK") << "joins dev1, hardware is not switched";
  EXPECT_EQ(In("d"), At(kFirst, kA) + At(kFirst + kPage, kB));
  EXPECT_EQ(MsiOf("dev0"), kFirst);
  EXPECT_EQ(MsiOf("dev1"), kFirst + kPage);
  EXPECT_EQ(MsiOf("dev2"), kFirst);
  EXPECT_TRUE(LastAttach().doorbells.empty()) << "it was there";
}

TEST_F(EngineDoorbellsTest, AMemberThatJoinsBringsItsDoorbell) {
  ASSERT_EQ(Attach("dev1", "d"), "OK");
  const size_t before = backend_.log().size();
  ASSERT_EQ(Attach("dev2", "d"), "OK");
  EXPECT_EQ(VerbsSince(before), "MapDoorbell ");
  EXPECT_EQ(In("d"), At(kFirst, kB) + At(kFirst + kPage, kA));
}

TEST_F(EngineDoorbellsTest, ADoorbellIsAtTheSameIovaInEveryDomainOfAnOwner) {
  ASSERT_EQ(Attach("dev1", "q"), "OK");
  ASSERT_EQ(Attach("dev2", "q"), "OK");
  EXPECT_EQ(In("q"), At(kFirst, kB) + At(kFirst + kPage, kA));
  ASSERT_EQ(Attach("dev0", "d"), "OK");
  EXPECT_EQ(In("d"), At(kFirst + kPage, kA));
  ASSERT_EQ(Replace("dev1", "p"), "OK") << "dev2 moves along";
  EXPECT_EQ(In("p"), In("q"));
  EXPECT_EQ(MsiOf("dev1"), kFirst);
  EXPECT_EQ(MsiOf("dev2"), kFirst + kPage);
}

TEST_F(EngineDoorbellsTest, OnANestedDomainTheNestParentMapsIt) {
  MakeNested();
  ASSERT_EQ(Attach("dev0", "guest"), "OK");
  EXPECT_EQ(In("parent"), At(kFirst, kA));
  EXPECT_EQ(In("guest"), "");
  EXPECT_EQ(MsiOf("dev0"), kFirst);
  const record::Attach attach = LastAttach();
  EXPECT_EQ(attach.doorbells.at(0).domain, engine_->GetDomain(alice_, Ref("parent"))->object.uid);
  EXPECT_EQ(Map("other", kFirst), "INVALID_ARGUMENT IOVA_RESERVED");
  EXPECT_EQ(Replace("dev0", "parent"), "OK");
  EXPECT_EQ(MsiOf("dev0"), kFirst);
}

TEST_F(EngineDoorbellsTest, PasidsAndStaticDomainsNeedNone) {
  ASSERT_EQ(Attach("dev0", "p", 5), "OK");
  EXPECT_EQ(In("p"), "");
  EXPECT_EQ(engine_->ListAttachments(alice_, "dev0", {})->items.at(0).msi_iova, std::nullopt);
  ASSERT_EQ(Attach("dev1", "blocked"), "OK");
  EXPECT_EQ(MsiOf("dev1"), std::nullopt);
  for (const std::string& line : backend_.log()) EXPECT_NE(line.substr(0, 11), "MapDoorbell");
}

TEST_F(EngineDoorbellsTest, MappingsKeepClearOfTheWindowToThePage) {
  ASSERT_EQ(Attach("dev0", "d"), "OK");
  EXPECT_EQ(Map("as", kFirst), "INVALID_ARGUMENT IOVA_RESERVED");
  EXPECT_EQ(Map("as", kFirst - kPage, 2 * kPage), "INVALID_ARGUMENT IOVA_RESERVED");
  EXPECT_EQ(Map("as", kWindow.last + 1 - kPage), "INVALID_ARGUMENT IOVA_RESERVED");
  EXPECT_EQ(Map("as", kFirst - kPage), "OK");
  EXPECT_EQ(Map("as", kWindow.last + 1), "OK");
  UnmapBatch all;
  all.all = true;
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), all).ok());
  EXPECT_EQ(In("d"), At(kFirst, kA));
}

TEST_F(EngineDoorbellsTest, AMappingInTheWindowRefusesTheDevice) {
  ASSERT_EQ(Map("as", kWindow.last + 1 - kPage), "OK");
  ExpectRefused("FAILED_PRECONDITION IOVA_CONFLICT", [&] { return Attach("dev0", "d"); });
}

TEST_F(EngineDoorbellsTest, ThePageStaysUntilTheDomainGoes) {
  ASSERT_EQ(Attach("dev0", "d"), "OK");
  ASSERT_EQ(Detach("dev0"), "OK");
  EXPECT_EQ(In("d"), At(kFirst, kA));
  EXPECT_EQ(Map("as", kFirst), "INVALID_ARGUMENT IOVA_RESERVED");
  EXPECT_EQ(Map("as", kFirst + kPage), "OK") << "the rest of the window is open again";
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(kFirst + kPage, kPage)).ok());
  ASSERT_EQ(Attach("dev0", "d"), "OK");
  EXPECT_EQ(MsiOf("dev0"), kFirst);
  ASSERT_EQ(Detach("dev0"), "OK");
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("d"), "").ok());
  EXPECT_EQ(Map("as", kFirst), "OK");
  ASSERT_EQ(Attach("dev1", "q"), "OK");
  EXPECT_EQ(MsiOf("dev1"), kFirst) << "its place is free for another";
}

TEST_F(EngineDoorbellsTest, AnAutoDomainTakesItsDoorbellsAlong) {
  ASSERT_EQ(AttachToIoas("dev0", "as"), "OK");
  EXPECT_EQ(In(On("dev0").substr(8)), At(kFirst, kA));
  ASSERT_EQ(Detach("dev0"), "OK");
  EXPECT_EQ(Map("as", kFirst), "OK");
}

TEST_F(EngineDoorbellsTest, ADryRunShowsThePlaceAndTakesNone) {
  const std::string before = Everything();
  CallContext dry = alice_;
  dry.validate_only = true;
  EXPECT_EQ(engine_->AttachDevice(dry, "dev0", Ref("d"))->attachment.msi_iova, kFirst);
  EXPECT_EQ(Everything(), before);
  ASSERT_EQ(Attach("dev1", "d"), "OK");
  EXPECT_EQ(MsiOf("dev1"), kFirst);
}

TEST_F(EngineDoorbellsTest, AFailureAtAnyStepLeavesNothing) {
  ASSERT_EQ(Attach("dev1", "d"), "OK");
  ASSERT_EQ(Attach("dev2", "d"), "OK");
  const struct {
    const char* verb;
    int nth;
  } kFailures[] = {{"MapDoorbell", 1}, {"MapDoorbell", 2}, {"Switch", 1}};
  for (const auto& failure : kFailures) {
    SCOPED_TRACE(absl::StrCat(failure.verb, " ", failure.nth));
    backend_.SetHook(RefuseNth(failure.verb, failure.nth));
    ExpectRefused("RESOURCE_EXHAUSTED TEST", [&] { return Replace("dev1", "q"); });
  }
  for (const char* const verb : {"CreateDomain", "MapDoorbell", "Switch"}) {
    SCOPED_TRACE(verb);
    backend_.SetHook(RefuseNth(verb, 1));
    ExpectRefused("RESOURCE_EXHAUSTED TEST", [&] { return AttachToIoas("dev0", "other"); });
  }
  backend_.SetHook(nullptr);
  EXPECT_EQ(Map("other", kFirst), "OK");
}

TEST_F(EngineDoorbellsTest, APageThatCanNotBeTakenAwayKeepsItsPlace) {
  backend_.SetHook([](const std::string& verb) {
    const bool fails = verb == "Switch" || verb == "UnmapDoorbell";
    return fails ? absl::InternalError("the hardware is gone") : absl::OkStatus();
  });
  EXPECT_EQ(Attach("dev0", "d"), "INTERNAL");
  EXPECT_EQ(Map("as", kFirst), "INVALID_ARGUMENT IOVA_RESERVED");
  EXPECT_EQ(Map("as", kFirst + kPage), "OK");
  backend_.SetHook(nullptr);
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(kFirst + kPage, kPage)).ok());
  ASSERT_EQ(Attach("dev0", "d"), "OK");
  EXPECT_EQ(In("d"), At(kFirst, kA));
  ASSERT_EQ(Detach("dev0"), "OK");
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("d"), "").ok());
  EXPECT_EQ(Map("as", kFirst), "OK");
}

TEST_F(EngineDoorbellsTest, RefusesTablesThatCanNotTranslateThePage) {
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev5", "").ok());
  ASSERT_EQ(Make("far", "as", "dev5", false), "OK");
  ExpectRefused("FAILED_PRECONDITION INCOMPATIBLE_DOMAIN", [&] { return Attach("dev5", "far"); });
}

// 65 devices with a doorbell each, besides dev0 to dev5.
Topology WithManyDoorbells() {
  Topology topology = WithDoorbells();
  for (size_t i = 0; i <= kMaxDoorbellPages; ++i) {
    DeviceSpec device = topology.devices[4];
    device.untrusted = false;
    device.default_domain = DefaultDomainType::kDma;
    device.id = device.group = absl::StrCat("many", i);
    device.msi_doorbell = PhysAddr{0x10000000 + i * kPage};
    topology.devices.push_back(device);
  }
  return topology;
}

class EngineManyDoorbellsTest : public EngineDoorbellsTest {
 protected:
  EngineManyDoorbellsTest() : EngineDoorbellsTest(WithManyDoorbells()) {}
};

TEST_F(EngineManyDoorbellsTest, RefusesOneMoreThanAnOwnerMayHave) {
  for (size_t i = 0; i <= kMaxDoorbellPages; ++i) {
    ASSERT_TRUE(engine_->ClaimDevice(alice_, absl::StrCat("many", i), "").ok());
    if (i == kMaxDoorbellPages) break;
    ASSERT_EQ(Attach(absl::StrCat("many", i), i % 2 == 0 ? "d" : "q"), "OK");
    EXPECT_EQ(MsiOf(absl::StrCat("many", i)), kFirst + i * kPage);
  }
  const std::string last = absl::StrCat("many", kMaxDoorbellPages);
  ExpectRefused("OUT_OF_RANGE DOORBELLS_EXHAUSTED", [&] { return Attach(last, "d"); });
  ExpectRefused("OUT_OF_RANGE DOORBELLS_EXHAUSTED", [&] { return AttachToIoas(last, "other"); });
  const auto refused = engine_->AttachDevice(alice_, last, Ref("d")).status();
  EXPECT_EQ(DetailOf(refused)->errno_name, "EOVERFLOW");
  // dev0's would be one more as well; those that are there can be had again.
  ExpectRefused("OUT_OF_RANGE DOORBELLS_EXHAUSTED", [&] { return Attach("dev0", "d"); });
  EXPECT_EQ(Replace("many0", "q"), "OK");
  ASSERT_EQ(Attach(last, "blocked"), "OK");
  ExpectRefused("OUT_OF_RANGE DOORBELLS_EXHAUSTED", [&] { return Replace(last, "p"); });
}

}  // namespace
}  // namespace viommu
