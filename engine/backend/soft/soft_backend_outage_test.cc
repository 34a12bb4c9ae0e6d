// Hardware that stops answering in the middle of changes of first stages, guests' stages and
// PASIDs: what failed is undone or held, and nothing that may be cached is reused before it is
// flushed.
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/stages_world.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/base/address.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr absl::StatusCode kInternal = absl::StatusCode::kInternal;
constexpr uint32_t kPasid = 777;

class OutageTest : public StagesWorld {
 protected:
  // Runs `change`, during which the queue of `device` stops for good at store `at`, counted from 1.
  // Answers false when there were fewer stores.
  template <typename Change>
  bool StopAt(DeviceIndex device, uint64_t at, Change change) {
    stores_ = 0;
    look_ = [this, device, at] {
      if (stores_ == at) StopQueue(device);
    };
    change();
    look_ = nullptr;
    return stores_ >= at;
  }
  // The next descriptor to come is refused: a tail between two of them.
  void RefuseNext(DeviceIndex device) { HardwareOf(device).Write64(vtd::kQueueTailRegister, 16); }
};

TEST_F(OutageTest, AFailedSwitchGoesBackAtEveryStoreOfEveryPair) {
  int failures = 0;
  for (const DeviceIndex device : {kDiskA, kDiskB}) {
    Claim(device);
    for (const std::optional<uint32_t> pasid : {kRid, std::optional(kPasid)}) {
      for (const Place& from : Places()) {
        for (const Place& to : Places()) {
          SCOPED_TRACE(std::string(from.name) + " to " + to.name);
          for (uint64_t at = 1;; ++at) {
            ASSERT_TRUE(Switch(device, pasid, from.target).ok());
            ASSERT_EQ(Read(device, pasid), from.reads);
            absl::Status status;
            if (!StopAt(device, at, [&] { status = Switch(device, pasid, to.target); })) {
              EXPECT_TRUE(status.ok());
              break;
            }
            if (from.target.kind == DomainTarget::Kind::kBlocked) {
              ASSERT_TRUE(status.ok()) << "what was blocked is not cached";
              EXPECT_EQ(ReadCold(device, pasid), to.reads);
              StartEmptyQueue(device);
              continue;
            }
            ASSERT_EQ(status.code(), kInternal);
            EXPECT_EQ(ReadCold(device, pasid), from.reads);
            StartEmptyQueue(device);
            ASSERT_TRUE(Switch(device, pasid, from.target).ok());
            ASSERT_TRUE(Switch(device, pasid == kRid ? 5 : 6, On(kFirstA)).ok()) << "owed";
            ASSERT_TRUE(Switch(device, pasid == kRid ? 5 : 6, {}).ok());
            EXPECT_EQ(Read(device, pasid), from.reads);
            ++failures;
          }
        }
      }
      ASSERT_TRUE(Switch(device, pasid, {}).ok());
    }
  }
  EXPECT_GT(failures, 4 * 64);
}

// Both members of a group, the first one moved already.
TEST_F(OutageTest, AllMembersOfAGroupGoBackWithTheirPasid) {
  ASSERT_TRUE(backend_->Claim({kFunction0, kFunction1}).ok());
  for (const Place& to : Places()) {
    SCOPED_TRACE(to.name);
    for (uint64_t at = 1;; ++at) {
      ASSERT_TRUE(Switch(kFunction0, 70, On(kNestedA)).ok());
      absl::Status status;
      if (!StopAt(kFunction0, at, [&] { status = Switch(kFunction0, 70, to.target); })) break;
      EXPECT_EQ(status.code(), kInternal);
      for (const DeviceIndex member : {kFunction0, kFunction1}) {
        EXPECT_EQ(ReadCold(member, 70), "200");
      }
      StartEmptyQueue(kFunction0);
    }
  }
}

TEST_F(OutageTest, AnUnmapBelowAGuestFailsWhileAnyUnitDoesNotAnswer) {
  Claim(kDiskB), Claim(kFarDisk);
  const uint64_t pages = backend_->Stats().table_pages;
  for (const DeviceIndex dead : {kDiskB, kFarDisk}) {
    for (const DeviceIndex device : {kDiskB, kFarDisk}) {
      ASSERT_TRUE(Switch(device, kPasid, On(kNestedA)).ok());
      EXPECT_EQ(Read(device, kPasid), "200");
    }
    const DeviceIndex alive = dead == kDiskB ? kFarDisk : kDiskB;
    const IovaRange page = {GuestPage(0), GuestPage(0) + kPage - 1};
    StopQueue(dead);
    for (int attempt = 0; attempt < 2; ++attempt) {
      EXPECT_EQ(backend_->Unmap(kIoasParentA, {page}).code(), kInternal);
      EXPECT_EQ(Read(alive, kPasid), "SSS.2");
      EXPECT_EQ(Read(dead, kPasid), "200") << "remembered";
    }
    StartEmptyQueue(dead);
    // Another page's unmap makes good for what was lost.
    UnmapPage(kIoasParentA, 0x3'0000);
    EXPECT_EQ(Read(dead, kPasid), "SSS.2");
    MapPage(kIoasParentA, 0x3'0000, GuestOffset(0) + 0x3'0000);
    MapPage(kIoasParentA, GuestPage(0), GuestOffset(0) + GuestPage(0));
    for (const DeviceIndex device : {kDiskB, kFarDisk}) {
      ASSERT_TRUE(Switch(device, kPasid, {}).ok());
    }
  }
  EXPECT_EQ(backend_->Stats().table_pages, pages);
}

TEST_F(OutageTest, AnUnmapOfAFirstStageIsMadeGoodFor) {
  Claim(kDiskB);
  for (const uint32_t pasid : {5u, kPasid}) {
    ASSERT_TRUE(Switch(kDiskB, pasid, On(kFirstA)).ok());
    EXPECT_EQ(Read(kDiskB, pasid), "101");
  }
  const uint64_t pages = backend_->Stats().table_pages;
  RefuseNext(kDiskB);
  EXPECT_EQ(backend_->Unmap(kIoasFirstA, {IovaRange{iova_, iova_ + kPage - 1}}).code(), kInternal);
  EXPECT_EQ(backend_->Stats().table_pages, pages);
  ASSERT_TRUE(backend_->Unmap(kIoasFirstA, {IovaRange{0, kPage - 1}}).ok());
  for (const uint32_t pasid : {5u, kPasid}) EXPECT_EQ(Read(kDiskB, pasid), "SFS.2");
  EXPECT_LT(backend_->Stats().table_pages, pages);
}

TEST_F(OutageTest, AGuestsInvalidationIsMadeGoodForByItsNext) {
  Claim(kDiskB);
  ASSERT_TRUE(Switch(kDiskB, kRid, On(kNestedA)).ok());
  ASSERT_TRUE(Switch(kDiskB, kPasid, On(kNestedA)).ok());
  EXPECT_EQ(Read(kDiskB, kRid), "200");
  EXPECT_EQ(Read(kDiskB, kPasid), "200");
  GuestMaps(GuestOffset(0), 0, GuestPage(1));
  StopQueue(kDiskB);
  EXPECT_EQ(backend_->Invalidate(kNestedA, {VtdStage1Invalidation{iova_, 1, true}}).code(),
            kInternal);
  StartEmptyQueue(kDiskB);
  EXPECT_EQ(Read(kDiskB, kRid), "200");
  ASSERT_TRUE(backend_->Invalidate(kNestedA, {VtdStage1Invalidation{0x1000, 1, true}}).ok());
  EXPECT_EQ(Read(kDiskB, kRid), "201");
  EXPECT_EQ(Read(kDiskB, kPasid), "201");
}

// Of every two places that its PASID moves between, and of a guest's invalidation and an unmap
// below the guest there.
TEST_F(OutageTest, ADeviceThatDoesNotAnswerStopsNothing) {
  const uint16_t source_id = backend_->machine().source_id_of(kDiskB);
  const auto answers = [&](bool does) { HardwareOf(kDiskB).SetDeviceTlbAnswers(source_id, does); };
  const auto expect_out = [&](const char* what) {
    SCOPED_TRACE(what);
    EXPECT_EQ(backend_->Quarantined(), std::vector<DeviceIndex>{kDiskB});
    EXPECT_EQ(Read(kDiskB, kRid), "SCT.2");
    EXPECT_EQ(Read(kDiskB, kPasid), "SCT.2");
    EXPECT_EQ(backend_->Unblock(kDiskB).code(), kInternal);
    EXPECT_EQ(Read(kDiskB, kPasid), "SCT.2");
  };
  Claim(kDiskA), Claim(kDiskB);
  for (const Place& from : Places()) {
    if (from.target.kind == DomainTarget::Kind::kBlocked) continue;
    for (const Place& to : Places()) {
      SCOPED_TRACE(std::string(from.name) + " to " + to.name);
      for (const DeviceIndex device : {kDiskA, kDiskB}) {
        ASSERT_TRUE(Switch(device, kPasid, from.target).ok());
        EXPECT_EQ(Read(device, kPasid), from.reads);
      }
      answers(false);
      // Without a change there is no flush.
      const bool moves = std::string(from.name) != to.name;
      ASSERT_TRUE(Switch(kDiskB, kPasid, to.target).ok());
      if (moves) expect_out("moved");
      EXPECT_EQ(Read(kDiskA, kPasid), from.reads);
      answers(true);
      ASSERT_TRUE(backend_->Unblock(kDiskB).ok());
      EXPECT_EQ(Read(kDiskB, kPasid), to.reads);
    }
  }
  for (const DeviceIndex device : {kDiskA, kDiskB}) {
    ASSERT_TRUE(Switch(device, kPasid, On(kNestedA)).ok());
    EXPECT_EQ(Read(device, kPasid), "200");
  }
  GuestMaps(GuestOffset(0), 0, GuestPage(1));
  answers(false);
  ASSERT_TRUE(backend_->Invalidate(kNestedA, {VtdStage1Invalidation{iova_, 1, true}}).ok());
  expect_out("a guest's invalidation");
  EXPECT_EQ(Read(kDiskA, kPasid), "201");
  answers(true);
  ASSERT_TRUE(backend_->Unblock(kDiskB).ok());
  EXPECT_EQ(Read(kDiskB, kPasid), "201");
  answers(false);
  UnmapPage(kIoasParentA, GuestPage(1));
  expect_out("an unmap below a guest");
  EXPECT_EQ(Read(kDiskA, kPasid), "SSS.2");
}

TEST_F(OutageTest, AQuarantineHoldsBehindADeadQueue) {
  for (const DeviceIndex device : {kDiskA, kDiskB}) {
    Claim(device);
    for (const Place& place : Places()) {
      SCOPED_TRACE(place.name);
      ASSERT_TRUE(Switch(device, kRid, place.target).ok());
      ASSERT_TRUE(Switch(device, kPasid, place.target).ok());
      EXPECT_EQ(Read(device, kPasid), place.reads);
      StopQueue(device);
      for (int attempt = 0; attempt < 2; ++attempt) {
        const absl::Status held = backend_->Block(device);
        const bool was_blocked = place.target.kind == DomainTarget::Kind::kBlocked;
        EXPECT_EQ(held.code(), was_blocked ? absl::StatusCode::kOk : kInternal);
        EXPECT_EQ(ReadCold(device, kRid), "blocked");
        EXPECT_EQ(ReadCold(device, kPasid), "blocked");
        const absl::Status let_go = backend_->Unblock(device);
        EXPECT_EQ(let_go.code(), was_blocked ? absl::StatusCode::kOk : kInternal);
        EXPECT_EQ(ReadCold(device, kRid), "blocked");
        EXPECT_EQ(ReadCold(device, kPasid), "blocked");
      }
      StartEmptyQueue(device);
      ASSERT_TRUE(backend_->Block(device).ok());
      EXPECT_EQ(Read(device, kRid), "blocked");
      EXPECT_EQ(Read(device, kPasid), "blocked");
      ASSERT_TRUE(backend_->Unblock(device).ok());
      EXPECT_EQ(Read(device, kRid), place.reads);
      EXPECT_EQ(Read(device, kPasid), place.reads);
    }
  }
}

// Nothing but the RID's entry, which is blocked already when it is tried again.
TEST_F(OutageTest, AQuarantineOfTheRidAloneOwesItsFlushUntilItIsDone) {
  Claim(kDiskA);
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kFirstA)).ok());
  EXPECT_EQ(Read(kDiskA, kRid), "101");
  StopQueue(kDiskA);
  for (int attempt = 0; attempt < 3; ++attempt) {
    EXPECT_EQ(backend_->Block(kDiskA).code(), kInternal);
  }
  StartEmptyQueue(kDiskA);
  ASSERT_TRUE(backend_->Block(kDiskA).ok());
  EXPECT_EQ(Read(kDiskA, kRid), "blocked");
  ASSERT_TRUE(backend_->Unblock(kDiskA).ok());
  EXPECT_EQ(Read(kDiskA, kRid), "101");
}

TEST_F(OutageTest, AQuarantineBeginsWhereverTheQueueStops) {
  Claim(kDiskB);
  for (const Place& place : Places()) {
    SCOPED_TRACE(place.name);
    for (uint64_t at = 1;; ++at) {
      ASSERT_TRUE(Switch(kDiskB, kRid, place.target).ok());
      ASSERT_TRUE(Switch(kDiskB, kPasid, place.target).ok());
      EXPECT_EQ(Read(kDiskB, kRid), place.reads);
      absl::Status held;
      const bool stopped = StopAt(kDiskB, at, [&] { held = backend_->Block(kDiskB); });
      EXPECT_EQ(held.ok(), !stopped);
      EXPECT_EQ(ReadCold(kDiskB, kRid), "blocked");
      EXPECT_EQ(ReadCold(kDiskB, kPasid), "blocked");
      if (stopped) StartEmptyQueue(kDiskB);
      ASSERT_TRUE(backend_->Block(kDiskB).ok());
      EXPECT_EQ(Read(kDiskB, kRid), "blocked");
      EXPECT_EQ(Read(kDiskB, kPasid), "blocked");
      ASSERT_TRUE(backend_->Unblock(kDiskB).ok());
      if (!stopped) break;
    }
  }
}

TEST_F(OutageTest, ADeviceThatCouldNotBeLetGoStaysBlockedWholly) {
  Claim(kDiskB);
  ASSERT_TRUE(Switch(kDiskB, kRid, On(kFirstA)).ok());
  ASSERT_TRUE(Switch(kDiskB, kPasid, On(kNestedA)).ok());
  ASSERT_TRUE(Switch(kDiskB, 5, On(kParentB)).ok());
  ASSERT_TRUE(backend_->Block(kDiskB).ok());
  for (uint64_t at = 1;; ++at) {
    absl::Status let_go;
    if (!StopAt(kDiskB, at, [&] { let_go = backend_->Unblock(kDiskB); })) break;
    if (let_go.ok()) {  // What was blocked needs no flush.
      StartEmptyQueue(kDiskB);
      ASSERT_TRUE(backend_->Block(kDiskB).ok());
      continue;
    }
    EXPECT_EQ(let_go.code(), kInternal);
    for (const std::optional<uint32_t> pasid : {kRid, std::optional(kPasid), {5}}) {
      EXPECT_EQ(ReadCold(kDiskB, pasid), "blocked");
    }
    StartEmptyQueue(kDiskB);
    ASSERT_TRUE(backend_->Block(kDiskB).ok());
    for (const std::optional<uint32_t> pasid : {kRid, std::optional(kPasid), {5}}) {
      EXPECT_EQ(Read(kDiskB, pasid), "blocked");
    }
  }
  EXPECT_EQ(Read(kDiskB, kPasid), "200");
}

// What a quarantined device had may be cached still: its domain leaves nothing to others.
TEST_F(OutageTest, WhatLeavesAQuarantinedDeviceIsNotReusedBeforeItIsFlushed) {
  Claim(kDiskB), Claim(kDiskA);
  ASSERT_TRUE(Switch(kDiskB, kPasid, On(kFirstA)).ok());
  EXPECT_EQ(Read(kDiskB, kPasid), "101");
  StopQueue(kDiskB);
  EXPECT_EQ(backend_->Block(kDiskB).code(), kInternal);
  ASSERT_TRUE(Switch(kDiskB, kPasid, {}).ok()) << "only its place";
  EXPECT_EQ(Read(kDiskB, kPasid), "101") << "remembered";
  const uint64_t pages = backend_->Stats().table_pages;
  EXPECT_EQ(backend_->Unmap(kIoasFirstA, {IovaRange{iova_, iova_ + kPage - 1}}).code(), kInternal);
  EXPECT_EQ(backend_->DestroyDomain(kFirstA).code(), kInternal);
  EXPECT_EQ(backend_->Stats().table_pages, pages);
  StartEmptyQueue(kDiskB);
  ASSERT_TRUE(Switch(kDiskA, kPasid, On(kFirstB)).ok());
  EXPECT_EQ(Read(kDiskB, kPasid), "blocked");
  EXPECT_EQ(Read(kDiskA, kPasid), "102");
  ASSERT_TRUE(backend_->DestroyDomain(kFirstA).ok());
  EXPECT_LT(backend_->Stats().table_pages, pages);
}

TEST_F(OutageTest, WhatIsNestedAndGoesLeavesItsFlushToTheParent) {
  Claim(kDiskB);
  ASSERT_TRUE(Switch(kDiskB, kPasid, On(kNestedA)).ok());
  EXPECT_EQ(Read(kDiskB, kPasid), "200");
  StopQueue(kDiskB);
  EXPECT_EQ(backend_->Block(kDiskB).code(), kInternal);
  ASSERT_TRUE(Switch(kDiskB, kPasid, {}).ok());
  const IovaRange page = {GuestPage(0), GuestPage(0) + kPage - 1};
  EXPECT_EQ(backend_->Unmap(kIoasParentA, {page}).code(), kInternal);
  EXPECT_EQ(Read(kDiskB, kPasid), "200");
  EXPECT_EQ(backend_->DestroyDomain(kNestedA).code(), kInternal);
  StartEmptyQueue(kDiskB);
  UnmapPage(kIoasParentA, 0x3'0000);
  EXPECT_EQ(Read(kDiskB, kPasid), "blocked");
  EXPECT_TRUE(backend_->DestroyDomain(kNestedA).ok());
}

TEST_F(OutageTest, ATableWhosePasidsAreGoneIsKeptUntilNothingLeadsToIt) {
  Claim(kDiskA);
  ASSERT_TRUE(Switch(kDiskA, kPasid, On(kFirstA)).ok());
  const uint64_t pages = backend_->Stats().table_pages;
  ASSERT_TRUE(Switch(kDiskA, kPasid, {}).ok());
  EXPECT_EQ(backend_->Stats().table_pages, pages - 1);
  ASSERT_TRUE(Switch(kDiskA, kPasid, On(kFirstA)).ok());
  StopQueue(kDiskA);
  EXPECT_EQ(backend_->Block(kDiskA).code(), kInternal);
  EXPECT_EQ(ReadCold(kDiskA, kPasid), "blocked");
  EXPECT_EQ(backend_->Stats().table_pages, pages) << "kept";
  StartEmptyQueue(kDiskA);
  ASSERT_TRUE(backend_->Block(kDiskA).ok());
  EXPECT_EQ(backend_->Stats().table_pages, pages - 1);
  ASSERT_TRUE(backend_->Unblock(kDiskA).ok());
  EXPECT_EQ(Read(kDiskA, kPasid), "101");
}

}  // namespace
}  // namespace viommu
