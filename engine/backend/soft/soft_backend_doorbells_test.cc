// Doorbells on the software IOMMU: a device's write gets to the page that answers interrupts.
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "engine/backend/soft/stages_world.h"
#include "engine/backend/soft/test_topology.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr Iova kMsi = 0x8000000;
constexpr PhysAddr kDoorbell{0x1000'0000};
constexpr uint64_t kRegister = 0x40;  // In the page.

Topology WithDoorbell() {
  Topology topology = StagesTopology();
  topology.devices[kDiskA].reserved_regions = {
      {{kMsi, kMsi + 0xf'ffff}, ReservedRegionType::kSwMsi}};
  topology.devices[kDiskA].msi_doorbell = kDoorbell;
  return topology;
}

class SoftBackendDoorbellsTest : public StagesWorld {
 protected:
  SoftBackendDoorbellsTest() : StagesWorld(WithDoorbell()) { Claim(kDiskA); }

  // "ok", or the name of the fault.
  std::string Ring(uint64_t word, Iova at = kMsi + kRegister) {
    const DmaOutcome done = sim_->Dma(kDiskA, kRid, at, true,
                                      absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word)));
    return done.fault.has_value() ? done.fault->reason : "ok";
  }
  uint64_t Rung() { return *backend_->machine().memory().physical().Load64(kDoorbell + kRegister); }
  // kSpare: nested on kParentA, its guest maps the page of the doorbell one to one.
  void MakeIdentityGuest() {
    uint64_t table = GuestTables(2);
    const uint64_t guest = GuestOffset(0);
    for (int level = 4; level >= 1; --level, table += kPage) {
      const uint64_t index = kMsi >> (12 + 9 * (level - 1)) & 511;
      Put(guest + table + index * 8, level > 1 ? (table + kPage) | 0x27 : kMsi | 0x67);
    }
    ASSERT_TRUE(backend_->CreateDomain(kSpare, NestedSpec(kParentA, 2), {}).ok());
  }
};

TEST_F(SoftBackendDoorbellsTest, AWriteReachesTheDoorbellThroughEitherStage) {
  uint64_t word = 0x1001;
  for (const Uid domain : {kFirstA, kParentA}) {
    SCOPED_TRACE(domain);
    ASSERT_TRUE(backend_->MapDoorbell(domain, kMsi, kDoorbell).ok());
    ASSERT_TRUE(Switch(kDiskA, kRid, On(domain)).ok());
    EXPECT_EQ(Ring(++word), "ok");
    EXPECT_EQ(Rung(), word);
    EXPECT_NE(Ring(1, kMsi - 8), "ok");
    EXPECT_NE(Ring(1, kMsi + kPage), "ok");
    EXPECT_EQ(Rung(), word);
  }
}

TEST_F(SoftBackendDoorbellsTest, AWriteReachesTheDoorbellThroughAGuestsStage) {
  MakeIdentityGuest();
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kSpare)).ok());
  EXPECT_NE(Ring(7), "ok") << "the parent does not map it yet";
  ASSERT_TRUE(backend_->MapDoorbell(kParentA, kMsi, kDoorbell).ok());
  EXPECT_EQ(Ring(7), "ok");
  EXPECT_EQ(Rung(), 7u);
}

TEST_F(SoftBackendDoorbellsTest, WhatIsTakenAwayIsInNoCache) {
  MakeIdentityGuest();
  for (const Uid domain : {kFirstA, kParentA, kSpare}) {
    SCOPED_TRACE(domain);
    const Uid paging = domain == kSpare ? kParentA : domain;
    ASSERT_TRUE(backend_->MapDoorbell(paging, kMsi, kDoorbell).ok());
    ASSERT_TRUE(Switch(kDiskA, kRid, On(domain)).ok());
    ASSERT_EQ(Ring(domain), "ok");
    ASSERT_TRUE(backend_->UnmapDoorbell(paging, kMsi).ok());
    EXPECT_NE(Ring(1), "ok");
    EXPECT_EQ(Rung(), domain);
  }
}

TEST_F(SoftBackendDoorbellsTest, MapsOfTheIoasLeaveItAlone) {
  ASSERT_TRUE(backend_->MapDoorbell(kParentA, kMsi, kDoorbell).ok());
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kParentA)).ok());
  MapPage(kIoasParentA, kMsi - kPage, 3 * kPage);
  MapPage(kIoasParentA, kMsi + 0x10'0000, 3 * kPage);
  EXPECT_EQ(Ring(1, kMsi - 8), "ok");
  EXPECT_EQ(Ring(5), "ok");
  UnmapPage(kIoasParentA, kMsi - kPage);
  UnmapPage(kIoasParentA, kMsi + 0x10'0000);
  EXPECT_NE(Ring(1, kMsi - 8), "ok");
  EXPECT_EQ(Ring(6), "ok");
  EXPECT_EQ(Rung(), 6u);
}

TEST_F(SoftBackendDoorbellsTest, RefusesOnlyWhatIsNotTheSamePage) {
  ASSERT_TRUE(backend_->MapDoorbell(kParentA, kMsi, kDoorbell).ok());
  EXPECT_TRUE(backend_->MapDoorbell(kParentA, kMsi, kDoorbell).ok());
  EXPECT_EQ(backend_->MapDoorbell(kParentA, kMsi, kDoorbell + kPage).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(backend_->MapDoorbell(kNestedA, kMsi, kDoorbell).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(backend_->MapDoorbell(kSpare2, kMsi, kDoorbell).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(backend_->UnmapDoorbell(kSpare2, kMsi).code(), absl::StatusCode::kNotFound);
}

TEST_F(SoftBackendDoorbellsTest, AFlushThatFailsIsMadeUpForByTheNextUnmap) {
  ASSERT_TRUE(backend_->MapDoorbell(kParentA, kMsi, kDoorbell).ok());
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kParentA)).ok());
  ASSERT_EQ(Ring(1), "ok");
  StopQueue(kDiskA);
  EXPECT_EQ(backend_->UnmapDoorbell(kParentA, kMsi).code(), absl::StatusCode::kInternal);
  StartEmptyQueue(kDiskA);
  EXPECT_EQ(Ring(2), "ok") << "a cache still leads there";
  UnmapPage(kIoasParentA, iova_);
  EXPECT_NE(Ring(3), "ok");
  ASSERT_TRUE(backend_->MapDoorbell(kParentA, kMsi, kDoorbell).ok());
  EXPECT_EQ(Ring(4), "ok");
  EXPECT_EQ(Rung(), 4u);
}

}  // namespace
}  // namespace viommu
