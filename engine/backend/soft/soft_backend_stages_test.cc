// First stages, guests' stages and PASIDs: what a device reads, and that no cache outlives a
// change.
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/stages_world.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint32_t kPasids[] = {5, 777, 0xfffff};

// A requester, or one of its PASIDs. All kinds of caches take part.
struct Asker {
  DeviceIndex device;
  std::optional<uint32_t> pasid;
};

class StagesTest : public StagesWorld {
 protected:
  static std::vector<Asker> Askers() {
    std::vector<Asker> askers;
    for (const DeviceIndex device : {kDiskA, kDiskB, kFarDisk}) {
      askers.push_back({device, kRid});
      for (const uint32_t pasid : kPasids) askers.push_back({device, pasid});
    }
    return askers;
  }
  void AttachAll(const DomainTarget& target) {
    for (const Asker& a : Askers()) ASSERT_TRUE(Switch(a.device, a.pasid, target).ok());
  }
  void ClaimAll() {
    for (const DeviceIndex device : {kDiskA, kDiskB, kFarDisk}) Claim(device);
  }
  void ExpectAllRead(const std::string& want, Iova iova) {
    for (const Asker& a : Askers()) {
      EXPECT_EQ(Read(a.device, a.pasid, iova), want) << a.device << ":" << a.pasid.value_or(0);
    }
  }
  void ExpectAllRead(const std::string& want) { ExpectAllRead(want, iova_); }
};

TEST_F(StagesTest, LeadsEveryAskerThroughEveryKindOfDomain) {
  ClaimAll();
  for (const Place& place : Places()) {
    SCOPED_TRACE(place.name);
    AttachAll(place.target);
    ExpectAllRead(place.reads);
  }
}

TEST_F(StagesTest, RidsAndPasidsAreIndependent) {
  ClaimAll();
  for (const DeviceIndex device : {kDiskA, kDiskB}) {
    ASSERT_TRUE(Switch(device, kRid, On(kParentA)).ok());
    ASSERT_TRUE(Switch(device, 5, On(kNestedA)).ok());
    ASSERT_TRUE(Switch(device, 777, On(kFirstA)).ok());
    EXPECT_EQ(Read(device, kRid), "103");
    EXPECT_EQ(Read(device, 5), "200");
    EXPECT_EQ(Read(device, 777), "101");
    EXPECT_EQ(Read(device, 6), "blocked");
    ASSERT_TRUE(Switch(device, kRid, {}).ok());
    EXPECT_EQ(Read(device, kRid), "blocked");
    EXPECT_EQ(Read(device, 5), "200");
    ASSERT_TRUE(Switch(device, 5, {}).ok());
    EXPECT_EQ(Read(device, 5), "blocked");
    EXPECT_EQ(Read(device, 777), "101");
  }
}

TEST_F(StagesTest, NoCacheOutlivesAnUnmapOfAnyKindOfDomain) {
  ClaimAll();
  const struct {
    Uid domain, ioas;
    const char* reads;
    const char* fault;
  } kCases[] = {{kFirstA, kIoasFirstA, "101", "SFS.2"}, {kParentA, kIoasParentA, "103", "SSS.2"}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.domain);
    AttachAll(On(c.domain));
    for (int round = 0; round < 3; ++round) {
      ExpectAllRead(c.reads);
      UnmapPage(c.ioas, iova_);
      ExpectAllRead(c.fault);
      MapPage(c.ioas, iova_, 0);  // With the freed tables.
      MapPage(c.ioas, iova_ + kPage, kPage);
      ExpectAllRead("100");
      ExpectAllRead("101", iova_ + kPage);
      UnmapPage(c.ioas, iova_);  // Its table stays: only leaves are flushed.
      ExpectAllRead(c.fault);
      ExpectAllRead("101", iova_ + kPage);
      UnmapPage(c.ioas, iova_ + kPage);
      MapPage(c.ioas, iova_, (c.domain == kFirstA ? 1 : 3) * kPage);
    }
  }
}

TEST_F(StagesTest, AnUnmapDropsOnlyWhatTheDomainHas) {
  ClaimAll();
  ASSERT_TRUE(Switch(kDiskB, kRid, On(kFirstB)).ok());
  ASSERT_TRUE(Switch(kDiskB, 5, On(kFirstA)).ok());
  EXPECT_EQ(Read(kDiskB, kRid), "102");
  const uint64_t rids = Invalidations("device_tlb"), pasids = Invalidations("pasid_device_tlb");
  const uint64_t pages = Invalidations("pasid_iotlb_page");
  UnmapPage(kIoasFirstA, iova_);
  EXPECT_EQ(Invalidations("device_tlb"), rids);
  EXPECT_EQ(Invalidations("pasid_device_tlb"), pasids + 1);
  EXPECT_EQ(Invalidations("pasid_iotlb_page"), pages + 1);
  EXPECT_EQ(Read(kDiskB, kRid), "102");
}

// What the guest's stage leads to goes from below it, in every cache of every asker (I9).
TEST_F(StagesTest, NoCacheOutlivesAnUnmapBelowAGuest) {
  ClaimAll();
  AttachAll(On(kNestedA));
  ASSERT_TRUE(Switch(kDiskA, 9, On(kNestedA2)).ok());
  ASSERT_TRUE(Switch(kDiskA, 10, On(kNestedB)).ok());
  for (int round = 0; round < 3; ++round) {
    ExpectAllRead("200");
    EXPECT_EQ(Read(kDiskA, 9), "201");
    UnmapPage(kIoasParentA, GuestPage(0));
    ExpectAllRead("SSS.2");
    MapPage(kIoasParentA, GuestPage(0), 0);
    ExpectAllRead("100");
    UnmapPage(kIoasParentA, GuestTables(0) + 3 * kPage);  // The guest's last table itself.
    for (const Asker& a : Askers()) EXPECT_NE(Read(a.device, a.pasid), "100");
    EXPECT_EQ(Read(kDiskA, 9), "201");
    EXPECT_EQ(Read(kDiskA, 10), "300");
    MapPage(kIoasParentA, GuestTables(0) + 3 * kPage, GuestOffset(0) + GuestTables(0) + 3 * kPage);
    ExpectAllRead("100");
    UnmapPage(kIoasParentA, GuestPage(0));
    MapPage(kIoasParentA, GuestPage(0), GuestOffset(0) + GuestPage(0));
  }
}

TEST_F(StagesTest, AGuestsChangeShowsOnceItIsInvalidated) {
  ClaimAll();
  AttachAll(On(kNestedA));
  const VtdStage1Invalidation kWays[] = {
      {iova_, 1, true},
      {iova_, 1, false},
      {iova_ - 4 * kPage, 9, true},
      {0, VtdStage1Invalidation::kAllPages, false},
      {0, VtdStage1Invalidation::kAllPages, true},
      {iova_, VtdStage1Invalidation::kAllPages / 2, true},
  };
  const uint64_t guest = GuestOffset(0);
  for (const VtdStage1Invalidation& way : kWays) {
    SCOPED_TRACE(way.page_count);
    ExpectAllRead("200");
    GuestMaps(guest, 0, GuestPage(1));
    ExpectAllRead("200");  // Remembered: the guest has not asked.
    const VtdStage1Invalidation kNothing[] = {{iova_, 0, false}, {iova_ + kPage, 1, false}};
    ASSERT_TRUE(backend_->Invalidate(kNestedA, kNothing).ok());
    ExpectAllRead("200");
    ASSERT_TRUE(backend_->Invalidate(kNestedA, {way}).ok());
    ExpectAllRead("201");
    GuestMaps(guest, 0, 0);
    ASSERT_TRUE(backend_->Invalidate(kNestedA, {way}).ok());
    ExpectAllRead("SFS.2");
    GuestMaps(guest, 0, GuestPage(0));
  }
}

TEST_F(StagesTest, AGuestThatMovesATableAsksForMoreThanLeaves) {
  ClaimAll();
  AttachAll(On(kNestedA));
  // The last table is that of one stage or of the other, as the second one from below points.
  const uint64_t guest = GuestOffset(0), second = GuestTables(0) + 2 * kPage;
  const uint64_t place = guest + second + (iova_ >> 21 & 511) * 8;
  // Few pages go one by one, and many with everything there is.
  for (const size_t others : {3, 40}) {
    SCOPED_TRACE(others);
    std::vector<VtdStage1Invalidation> list(others, VtdStage1Invalidation{0x1000, 1, true});
    list.push_back({iova_, 1, false});
    for (const int number : {0, 1}) {
      Put(place, (GuestTables(number) + 3 * kPage) | 0x27);
      ASSERT_TRUE(backend_->Invalidate(kNestedA, list).ok());
      ExpectAllRead(number == 0 ? "200" : "201");
    }
  }
}

TEST_F(StagesTest, AReusedDomainIdNeverShowsItsLastOwnersMemory) {
  ClaimAll();
  const Uid kDomains[] = {kFirstA, kNestedA, kParentB, kNestedB, kFirstB, kNestedA2};
  const char* const kReads[] = {"101", "200", "104", "300", "102", "201"};
  for (int round = 0; round < 120; ++round) {
    const int now = round % 6;
    for (const DeviceIndex device : {kDiskA, kDiskB}) {
      // A PASID and the RID take turns with the ids just given back.
      const std::optional<uint32_t> pasid = round % 4 < 2 ? std::optional<uint32_t>(777) : kRid;
      ASSERT_TRUE(Switch(device, pasid, On(kDomains[now])).ok());
      ASSERT_EQ(Read(device, pasid), kReads[now]) << round;
      ASSERT_TRUE(Switch(device, pasid, {}).ok());
      ASSERT_EQ(Read(device, pasid), "blocked");
    }
  }
}

TEST_F(StagesTest, DomainsSharedByPasidsKeepTheirIdUntilTheLastOneLeaves) {
  ClaimAll();
  for (const uint32_t pasid : kPasids) ASSERT_TRUE(Switch(kDiskB, pasid, On(kFirstA)).ok());
  for (const uint32_t pasid : kPasids) EXPECT_EQ(Read(kDiskB, pasid), "101");
  ASSERT_TRUE(Switch(kDiskB, kPasids[0], {}).ok());
  EXPECT_EQ(Read(kDiskB, kPasids[0]), "blocked");
  EXPECT_EQ(Read(kDiskB, kPasids[2]), "101");
  UnmapPage(kIoasFirstA, iova_);
  EXPECT_EQ(Read(kDiskB, kPasids[1]), "SFS.2");
  EXPECT_EQ(Read(kDiskB, kPasids[2]), "SFS.2");
}

TEST_F(StagesTest, PasidTablesGoWithTheirLastPasid) {
  Claim(kDiskA);
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kFirstA)).ok());
  const uint64_t pages = backend_->Stats().table_pages;
  for (int round = 0; round < 3; ++round) {
    for (uint32_t pasid = 64; pasid < 64 * 40; pasid += 32) {
      ASSERT_TRUE(Switch(kDiskA, pasid, On(kFirstA)).ok());
      EXPECT_EQ(Read(kDiskA, pasid), "101");
    }
    EXPECT_EQ(backend_->Stats().table_pages, pages + 39);
    for (uint32_t pasid = 64; pasid < 64 * 40; pasid += 32) {
      ASSERT_TRUE(Switch(kDiskA, pasid, {}).ok());
      EXPECT_EQ(Read(kDiskA, pasid), "blocked");
    }
    EXPECT_EQ(backend_->Stats().table_pages, pages);
  }
  EXPECT_EQ(Read(kDiskA, kRid), "101");
  // The hardware may remember where it found an entry: its table goes behind a flush of its own.
  for (const uint32_t pasid : {100u, 101u}) {
    ASSERT_TRUE(Switch(kDiskA, pasid, On(kParentA)).ok());
  }
  for (const uint64_t flushes : {1u, 2u}) {
    const uint64_t before = Invalidations("pasid_cache");
    ASSERT_TRUE(Switch(kDiskA, 99 + flushes, {}).ok());
    EXPECT_EQ(Invalidations("pasid_cache"), before + flushes);
  }
}

TEST_F(StagesTest, RefusesAPasidThatAMemberCanNotIssueAndLeavesNothing) {
  ASSERT_TRUE(backend_->Claim({kFunction0, kFunction1}).ok());
  const uint64_t pages = backend_->Stats().table_pages;
  for (const uint32_t pasid : {0u, 256u, 511u, 0x10'0000u}) {
    const auto status = Switch(kFunction0, pasid, On(kFirstA));
    EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange) << pasid;
    EXPECT_EQ(DetailOf(status)->reason, "PASID_OUT_OF_RANGE");
    EXPECT_EQ(DetailOf(status)->errno_name, "EINVAL");
    EXPECT_EQ(backend_->Stats().table_pages, pages) << "of the member that could";
  }
  ASSERT_TRUE(Switch(kFunction0, 255, On(kFirstB)).ok());
  EXPECT_EQ(Read(kFunction0, 255), "102");
  EXPECT_EQ(Read(kFunction1, 255), "102");
}

TEST_F(StagesTest, ClaimAndReleaseLeaveNoPasidAttached) {
  Claim(kDiskA);
  ASSERT_TRUE(Switch(kDiskA, 5, On(kFirstA)).ok());
  Claim(kDiskA);
  EXPECT_EQ(Read(kDiskA, 5), "blocked");
  ASSERT_TRUE(Switch(kDiskA, 777, On(kNestedA)).ok());
  ASSERT_TRUE(backend_->AssignDefault({kDiskA}, DefaultDomainType::kDma).ok());
  EXPECT_EQ(Read(kDiskA, 777), "blocked");
  EXPECT_EQ(Read(kDiskA, kRid), "SFS.2");  // A default domain is a first stage as well.
}

TEST_F(StagesTest, DefaultDomainsOfAFirstStageServeTheHost) {
  EXPECT_EQ(Read(kUsb, kRid, kUsbRegion.first), "0");
  EXPECT_EQ(Read(kUsb, kRid, kUsbRegion.last + 1), "SFS.2");
  const BackendMapping mapping = {0x8000, kPage, kRegion, 0, Permission::kReadWrite};
  ASSERT_TRUE(sim_->HostMap(kDiskB, mapping).ok());
  EXPECT_EQ(Read(kDiskB, kRid, 0x8000), "100");
  ASSERT_TRUE(sim_->HostUnmap(kDiskB, mapping.range()).ok());
  EXPECT_EQ(Read(kDiskB, kRid, 0x8000), "SFS.2");
}

TEST_F(StagesTest, BlocksADeviceInEveryStateAndPutsItBack) {
  ClaimAll();
  for (const DeviceIndex device : {kDiskA, kDiskB}) {
    for (const Place& rid : Places()) {
      for (const Place& place : Places()) {
        SCOPED_TRACE(std::string(rid.name) + ", PASID on " + place.name);
        ASSERT_TRUE(Switch(device, kRid, rid.target).ok());
        ASSERT_TRUE(Switch(device, 777, place.target).ok());
        EXPECT_EQ(Read(device, kRid), rid.reads);
        EXPECT_EQ(Read(device, 777), place.reads);
        ASSERT_TRUE(backend_->Block(device).ok());
        EXPECT_EQ(Read(device, kRid), "blocked");
        EXPECT_EQ(Read(device, 777), "blocked");
        ASSERT_TRUE(backend_->Unblock(device).ok());
        EXPECT_EQ(Read(device, kRid), rid.reads);
        EXPECT_EQ(Read(device, 777), place.reads);
      }
    }
  }
}

TEST_F(StagesTest, ADeviceComesBackToWhereItsGroupIsThen) {
  ASSERT_TRUE(backend_->Claim({kFunction0, kFunction1}).ok());
  ASSERT_TRUE(Switch(kFunction0, kRid, On(kParentA)).ok());
  ASSERT_TRUE(Switch(kFunction0, 70, On(kFirstA)).ok());
  EXPECT_EQ(Read(kFunction1, 70), "101");
  ASSERT_TRUE(backend_->Block(kFunction1).ok());
  // Its place moves and the other member with it; another PASID comes, one goes.
  const auto moved = backend_->Switch({kFunction0}, kRid, On(kNestedA));
  ASSERT_TRUE(moved.ok());
  ASSERT_TRUE(Switch(kFunction0, 200, On(kNestedB)).ok());
  ASSERT_TRUE(Switch(kFunction0, 70, {}).ok());
  EXPECT_EQ(Read(kFunction0, kRid), "200");
  EXPECT_EQ(Read(kFunction0, 200), "300");
  for (const std::optional<uint32_t> pasid : {kRid, std::optional<uint32_t>(70), {200}}) {
    EXPECT_EQ(Read(kFunction1, pasid), "blocked");
  }
  EXPECT_EQ(Switch(kFunction0, 256, On(kFirstA)).code(), absl::StatusCode::kOutOfRange);
  UnmapPage(kIoasParentA, GuestPage(0));
  ASSERT_TRUE(backend_->Unblock(kFunction1).ok());
  EXPECT_EQ(Read(kFunction1, kRid), "SSS.2");
  EXPECT_EQ(Read(kFunction1, 200), "300");
  EXPECT_EQ(Read(kFunction1, 70), "blocked");
  ASSERT_TRUE(backend_->Unblock(kFunction1).ok()) << "nothing to do";
}

TEST_F(StagesTest, WhatLeavesWhileADeviceIsBlockedIsFree) {
  Claim(kDiskB);
  ASSERT_TRUE(Switch(kDiskB, kRid, On(kNestedA)).ok());
  ASSERT_TRUE(Switch(kDiskB, 777, On(kNestedA)).ok());
  EXPECT_EQ(Read(kDiskB, 777), "200");
  ASSERT_TRUE(backend_->Block(kDiskB).ok());
  ASSERT_TRUE(Switch(kDiskB, 777, {}).ok());
  ASSERT_TRUE(Switch(kDiskB, kRid, On(kFirstA)).ok());
  ASSERT_TRUE(backend_->DestroyDomain(kNestedA).ok());
  ASSERT_TRUE(backend_->AssignDefault({kDiskB}, DefaultDomainType::kDma).ok());
  EXPECT_EQ(Read(kDiskB, kRid), "blocked");
  ASSERT_TRUE(backend_->Unblock(kDiskB).ok());
  EXPECT_EQ(Read(kDiskB, kRid), "SFS.2");
}

// A device that has gone answers nothing more; what it kept has gone with it (case 11).
TEST_F(StagesTest, ADeviceThatIsGoneHoldsNothingUp) {
  ClaimAll();
  AttachAll(On(kNestedA));
  ExpectAllRead("200");
  HardwareOf(kDiskB).SetDeviceTlb(backend_->machine().source_id_of(kDiskB), false);
  ASSERT_TRUE(backend_->Invalidate(kNestedA, {VtdStage1Invalidation{iova_, 1, true}}).ok());
  UnmapPage(kIoasParentA, GuestPage(0));
  ExpectAllRead("SSS.2");
  ASSERT_TRUE(backend_->Block(kDiskB).ok());
  AttachAll({});
  ASSERT_TRUE(backend_->DestroyDomain(kNestedA).ok());
}

TEST_F(StagesTest, AParentStaysWhileSomethingIsNestedOnIt) {
  const absl::Status refused = backend_->DestroyDomain(kParentA);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(DetailOf(refused)->errno_name, "EBUSY");
  ASSERT_TRUE(backend_->DestroyDomain(kNestedA).ok());
  EXPECT_FALSE(backend_->DestroyDomain(kParentA).ok());
  ASSERT_TRUE(backend_->DestroyDomain(kNestedA2).ok());
  EXPECT_TRUE(backend_->DestroyDomain(kParentA).ok());
  EXPECT_EQ(backend_->CreateDomain(kSpare, NestedSpec(kParentA, 0), {}).code(),
            absl::StatusCode::kNotFound);
  const VtdStage1Invalidation all = {0, VtdStage1Invalidation::kAllPages, false};
  EXPECT_EQ(DetailOf(backend_->Invalidate(kFirstA, {all}))->reason, "NOT_NESTED");
  EXPECT_EQ(backend_->Invalidate(kNestedA, {all}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(DetailOf(backend_->CreateDomain(kSpare, NestedSpec(kNestedB, 0), {}))->reason,
            "NOT_A_NEST_PARENT");
  EXPECT_EQ(DetailOf(backend_->CreateDomain(kSpare, NestedSpec(kFirstA, 0), {}))->reason,
            "NOT_A_NEST_PARENT");
  EXPECT_EQ(backend_->CreateDomain(kNestedB, NestedSpec(kParentB, 0), {}).code(),
            absl::StatusCode::kAlreadyExists);
}

TEST_F(StagesTest, NothingIsLeftBehind) {
  const uint64_t pages = backend_->Stats().table_pages;
  const std::vector<Place> places = Places();
  for (const DeviceIndex device : {kDiskA, kDiskB}) {
    Claim(device);
    for (size_t i = 0; i < places.size(); ++i) {
      ASSERT_TRUE(Switch(device, 100 * (i + 1), places[i].target).ok());
      EXPECT_EQ(Read(device, 100 * (i + 1)), places[i].reads);
    }
    ASSERT_TRUE(backend_->AssignDefault({device}, DefaultDomainType::kDma).ok());
  }
  EXPECT_EQ(backend_->Stats().table_pages, pages);
  for (const Uid domain : {kNestedA, kNestedA2, kNestedB, kParentA, kParentB, kFirstA, kFirstB}) {
    ASSERT_TRUE(backend_->DestroyDomain(domain).ok());
  }
  EXPECT_LT(backend_->Stats().table_pages, pages);
}

TEST_F(StagesTest, DumpsWhatAPasidMeets) {
  Claim(kDiskA);
  ASSERT_TRUE(Switch(kDiskA, 777, On(kNestedA)).ok());
  ASSERT_TRUE(Switch(kDiskA, 5, On(kFirstA)).ok());
  const auto tables = [&](std::optional<uint32_t> pasid) {
    std::string names;
    for (const auto& entry : sim_->DumpTables(kDiskA, pasid, iova_)) names += entry.table + "\n";
    return names;
  };
  const std::string kWay = "root\ncontext\npasid-directory\n";
  const std::string kFirst =
      "first-stage level 4\nfirst-stage level 3\nfirst-stage level 2\nfirst-stage level 1\n";
  const std::string kSecond =
      "second-stage level 4\nsecond-stage level 3\nsecond-stage level 2\nsecond-stage level 1\n";
  EXPECT_EQ(tables(kRid), kWay + "pasid\n");
  EXPECT_EQ(tables(5), kWay + "pasid\n" + kFirst);
  // Each entry of the guest behind the way to it, and then the page.
  std::string nested;
  for (int level = 4; level >= 1; --level) {
    nested += kSecond + "first-stage level " + std::to_string(level) + "\n";
  }
  EXPECT_EQ(tables(777), kWay + "pasid\n" + nested + kSecond);
  EXPECT_EQ(tables(0x4'0000), kWay) << "no table";
  EXPECT_EQ(tables(0x10'0000), "root\ncontext\n") << "beyond the directory";
  const auto path = sim_->DumpTables(kDiskA, 777, iova_);
  const uint64_t guest = sim_->PhysicalAddress(kRegion, GuestOffset(0))->value;
  EXPECT_EQ(path[8].address.value, guest + GuestTables(0) + (iova_ >> 39 & 511) * 8);
  EXPECT_EQ(path.back().words[0] & 0xf'ffff'ffff'f000, guest + GuestPage(0));
  UnmapPage(kIoasParentA, GuestTables(0));
  EXPECT_EQ(tables(777), kWay + "pasid\n" + kSecond) << "where the guest's root is not";
  EXPECT_EQ(sim_->DumpTables(kDiskA, 777, iova_).back().decoded, "not present");
}

TEST_F(StagesTest, SaysWhatTheHardwareCanDo) {
  const auto hardware = std::get<VtdHardware>(backend_->DescribeHardware(kDiskA));
  EXPECT_EQ(hardware.flags, 1u);
  EXPECT_NE(hardware.extended_capability >> 47 & 1, 0u);  // FLTS.
  EXPECT_NE(hardware.extended_capability >> 26 & 1, 0u);  // NEST.
  Topology plain = TestTopology();
  const auto other = SoftBackend::Create(plain, {uint64_t{64} << 20}, PlainStore());
  const auto less = std::get<VtdHardware>((*other)->DescribeHardware(kDiskA));
  EXPECT_EQ(less.flags, 0u);
  EXPECT_EQ(less.extended_capability >> 26 & 1, 0u);
}

TEST_F(StagesTest, ChecksWhatANestedDomainRestsOn) {
  DomainSpec spec = NestedSpec(kParentA, 0);
  const auto near = backend_->PlanDomain(spec);
  ASSERT_TRUE(near.ok());
  EXPECT_TRUE(backend_->CheckCompatible(kFarDisk, *near).ok());
  spec.device = kFarDisk;
  spec.stage1.address_width_bits = 57;
  const auto far = backend_->PlanDomain(spec);
  ASSERT_TRUE(far.ok());
  EXPECT_EQ(far->levels, 5);
  EXPECT_EQ(DetailOf(backend_->CheckCompatible(kDiskA, *far))->reason, "INCOMPATIBLE_DOMAIN");
  ASSERT_TRUE(backend_->DestroyDomain(kNestedB).ok());
  spec.parent = kParentB;
  ASSERT_TRUE(backend_->CreateDomain(kNestedB, spec, {}).ok());
  spec.device = kDiskA;
  EXPECT_EQ(DetailOf(backend_->PlanDomain(spec).status())->reason, "INCOMPATIBLE_DOMAIN");
  EXPECT_EQ(DetailOf(backend_->CreateDomain(kSpare, spec, {}))->reason, "INCOMPATIBLE_DOMAIN");
}

}  // namespace
}  // namespace viommu
