// Which pages devices write: what their requests, through every cache, leave in the tables of a
// domain that is tracked, and what reading and clearing make of it.
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/stages_world.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/base/dirty_bitmap.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

Topology TrackingTopology() {
  Topology topology = StagesTopology();
  for (IommuSpec& unit : topology.iommus) unit.dirty_tracking = true;
  return topology;
}

// A nest parent that tracks, over an Ioas of its own that maps a guest's memory from address 0 and
// 16 pages from kBase. Two guests' stages are on it, the first in use, which lead iova_ to the
// pages of their guests.
class SoftDirtyTest : public StagesWorld {
 protected:
  enum : Uid { kIoas = 100, kTracked, kGuest, kGuest2, kLarge, kLargeIoas };
  static constexpr Iova kBase = 0x10'0000;
  static constexpr uint64_t kPages = 16;
  static constexpr uint64_t kMemory = 0xc'0000;  // In the region, what kBase shows.

  SoftDirtyTest() : StagesWorld(TrackingTopology()) {
    EXPECT_TRUE(backend_->CreateIoas(kIoas).ok());
    DomainSpec spec;
    spec.ioas = kIoas;
    spec.device = kDiskA;
    spec.nest_parent = spec.dirty_tracking = spec.pasid = true;
    EXPECT_TRUE(backend_->CreateDomain(kTracked, spec, {}).ok());
    MapGuest(kIoas, GuestOffset(0));
    for (uint64_t page = 0; page < kPages; ++page) {
      MapPage(kIoas, kBase + page * kPage, kMemory + page * kPage);
    }
    for (const int number : {0, 1}) {
      GuestMaps(GuestOffset(0), number, GuestPage(number));
      EXPECT_TRUE(
          backend_->CreateDomain(number == 0 ? kGuest : kGuest2, NestedSpec(kTracked, number), {})
              .ok());
    }
    for (const DeviceIndex device : {kDiskA, kDiskB, kFarDisk}) Claim(device);
  }

  struct Asker {
    DeviceIndex device;
    std::optional<uint32_t> pasid;
  };
  // A unit's own cache, a device's own, another unit, with and without PASID.
  static std::vector<Asker> Askers() {
    return {{kDiskA, kRid}, {kDiskA, 5}, {kDiskB, kRid}, {kDiskB, 777}, {kFarDisk, kRid}};
  }
  void AttachAll(Uid domain) {
    for (const Asker& a : Askers()) ASSERT_TRUE(Switch(a.device, a.pasid, On(domain)).ok());
  }

  void Set(bool enabled) { ASSERT_TRUE(backend_->SetDirtyTracking(kTracked, enabled).ok()); }
  std::string Write(const Asker& asker, Iova iova) {
    uint64_t word = 7;
    const DmaOutcome done = sim_->Dma(asker.device, asker.pasid, iova, true,
                                      absl::MakeSpan(reinterpret_cast<char*>(&word), sizeof(word)));
    return done.fault.has_value() ? NameOf(done.fault->reason) : "written";
  }
  absl::StatusOr<DirtyBitmap> ReadRange(Iova first, uint64_t pages, bool clear) {
    return backend_->ReadDirty(kTracked, {first, first + pages * kPage - 1}, kPage, clear);
  }
  // Of the pages from kBase.
  uint64_t Dirty(bool clear = false) {
    const auto bitmap = ReadRange(kBase, kPages, clear);
    EXPECT_TRUE(bitmap.ok()) << bitmap.status();
    return bitmap.ok() ? bitmap->words()[0] : ~uint64_t{0};
  }
  // Of the guest's memory, as page numbers.
  std::vector<uint64_t> DirtyOfGuest(bool clear) {
    std::vector<uint64_t> pages;
    const auto bitmap = ReadRange(0, kGuestBytes / kPage, clear);
    for (uint64_t page = 0; page < bitmap->page_count(); ++page) {
      if (bitmap->IsDirty(page)) pages.push_back(page);
    }
    return pages;
  }
  // What is flushed of one domain at one unit.
  uint64_t Flushes() const { return Invalidations("iotlb_page") + Invalidations("iotlb_domain"); }
};

TEST_F(SoftDirtyTest, MarksWhatEachAskerWritesWhileItIsOn) {
  AttachAll(kTracked);
  for (const Asker& a : Askers()) ASSERT_EQ(Write(a, kBase), "written");
  EXPECT_EQ(Dirty(), 0u) << "off at first";
  Set(true);
  uint64_t want = 0;
  uint64_t page = 0;
  for (const Asker& a : Askers()) {
    ++page;
    want |= uint64_t{1} << page;
    ASSERT_EQ(Write(a, kBase + page * kPage), "written");
    EXPECT_EQ(Read(a.device, a.pasid, kBase + 10 * kPage), "0") << "a read marks nothing";
    EXPECT_EQ(Dirty(), want);
  }
  Set(false);
  for (const Asker& a : Askers()) ASSERT_EQ(Write(a, kBase + 9 * kPage), "written");
  EXPECT_EQ(Dirty(), want) << "what was marked can be read still";
  Set(true);
  EXPECT_EQ(Dirty(), 0u) << "clean when it is switched on";
}

// A cache that held the page before, for reading or writing, must not hide a write.
TEST_F(SoftDirtyTest, NoCacheHidesAWriteFromTheFirstAfterItIsOn) {
  AttachAll(kTracked);
  for (const Asker& a : Askers()) ASSERT_EQ(Write(a, kBase + 2 * kPage), "written");
  Set(true);
  for (const Asker& a : Askers()) {
    ASSERT_EQ(Write(a, kBase + 2 * kPage), "written");
    EXPECT_EQ(Dirty(/*clear=*/true), 4u) << a.device << ":" << a.pasid.value_or(0);
  }
}

TEST_F(SoftDirtyTest, MarksAnewAfterAClearingRead) {
  AttachAll(kTracked);
  Set(true);
  for (int round = 0; round < 3; ++round) {
    for (const Asker& a : Askers()) {
      SCOPED_TRACE(a.device);
      ASSERT_EQ(Write(a, kBase + 3 * kPage), "written");
      ASSERT_EQ(Write(a, kBase + 3 * kPage), "written");
      EXPECT_EQ(Dirty(/*clear=*/true), 8u);
      EXPECT_EQ(Dirty(), 0u);
    }
  }
}

TEST_F(SoftDirtyTest, FlushesOnceForAClearingReadAndNotForOthers) {
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kTracked)).ok());
  Set(true);
  for (uint64_t page = 0; page < 5; ++page) Write({kDiskA, kRid}, kBase + 2 * page * kPage);
  const uint64_t before = Flushes();
  EXPECT_EQ(Dirty(), 0x155u);
  EXPECT_EQ(Flushes(), before) << "nothing was cleared";
  EXPECT_EQ(Dirty(/*clear=*/true), 0x155u);
  // The guests' stages on it are in use nowhere.
  EXPECT_EQ(Flushes(), before + 1);
  EXPECT_EQ(Dirty(/*clear=*/true), 0u);
  EXPECT_EQ(Flushes(), before + 1) << "nothing was dirty";
}

TEST_F(SoftDirtyTest, ClearsNothingBeyondTheRange) {
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kTracked)).ok());
  Set(true);
  for (uint64_t page = 0; page < 4; ++page) Write({kDiskA, kRid}, kBase + page * kPage);
  EXPECT_EQ(ReadRange(kBase + kPage, 2, true)->words()[0], 3u);
  EXPECT_EQ(Dirty(), 9u);
}

TEST_F(SoftDirtyTest, MarksInTheParentWhatIsWrittenThroughAGuestsStage) {
  AttachAll(kGuest);
  ASSERT_TRUE(Switch(kDiskB, kRid, On(kGuest2)).ok());
  Set(true);
  for (int round = 0; round < 3; ++round) {
    for (const Asker& a : Askers()) {
      if (a.device == kDiskB && a.pasid == kRid) continue;
      SCOPED_TRACE(a.device);
      ASSERT_EQ(Write(a, iova_), "written");
      const auto dirty = DirtyOfGuest(/*clear=*/true);
      ASSERT_FALSE(dirty.empty());
      EXPECT_EQ(dirty[0], GuestPage(0) / kPage);
    }
    ASSERT_EQ(Write({kDiskB, kRid}, iova_), "written");
    const auto dirty = DirtyOfGuest(/*clear=*/true);
    ASSERT_FALSE(dirty.empty());
    EXPECT_EQ(dirty[0], GuestPage(1) / kPage) << "of the other guest's stage";
  }
  Set(false);
  DirtyOfGuest(/*clear=*/true);
  for (const Asker& a : Askers()) ASSERT_EQ(Write(a, iova_), "written");
  EXPECT_TRUE(DirtyOfGuest(false).empty());
}

// The hardware writes to a guest's tables as well: accessed and dirty flags.
TEST_F(SoftDirtyTest, MarksTheGuestsTablesThatTheHardwareWrites) {
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kGuest)).ok());
  GuestMaps(GuestOffset(0), 0, GuestPage(0));
  Set(true);
  // A page that is not marked as used in the guest's own tables.
  const uint64_t leaf = GuestTables(0) + 3 * kPage + (iova_ >> 12 & 511) * 8;
  Put(GuestOffset(0) + leaf, GuestPage(0) | 0x7);
  ASSERT_EQ(Write({kDiskA, kRid}, iova_), "written");
  EXPECT_EQ(DirtyOfGuest(false),
            (std::vector<uint64_t>{GuestPage(0) / kPage, (GuestTables(0) + 3 * kPage) / kPage}));
}

TEST_F(SoftDirtyTest, TracksWhoeverComesLater) {
  Set(true);
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kTracked)).ok());
  ASSERT_TRUE(Switch(kDiskB, 5, On(kGuest)).ok());
  ASSERT_EQ(Write({kDiskA, kRid}, kBase), "written");
  EXPECT_EQ(Dirty(), 1u);
  ASSERT_EQ(Write({kDiskB, 5}, iova_), "written");
  EXPECT_EQ(DirtyOfGuest(false)[0], GuestPage(0) / kPage);
  bool found = false;
  for (const TableEntryDump& entry : sim_->DumpTables(kDiskA, kRid, kBase)) {
    found |= entry.decoded.find("dirty tracking") != std::string::npos;
  }
  EXPECT_TRUE(found);
}

TEST_F(SoftDirtyTest, TracksADeviceThatWasBlockedWhileItWasSwitched) {
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kTracked)).ok());
  ASSERT_TRUE(backend_->Block(kDiskA).ok());
  Set(true);
  EXPECT_EQ(Write({kDiskA, kRid}, kBase), "blocked");
  ASSERT_TRUE(backend_->Unblock(kDiskA).ok());
  ASSERT_EQ(Write({kDiskA, kRid}, kBase), "written");
  EXPECT_EQ(Dirty(), 1u);
}

TEST_F(SoftDirtyTest, DisturbsNoRequestAtAnyStore) {
  AttachAll(kTracked);
  ASSERT_TRUE(Switch(kDiskB, kRid, On(kGuest)).ok());
  const std::string of_guest = ReadCold(kDiskB, kRid);
  Put(kMemory, 55);
  int looked = 0;
  look_ = [&] {
    ++looked;
    EXPECT_EQ(ReadCold(kDiskB, kRid), of_guest);
    EXPECT_EQ(Read(kDiskA, kRid, kBase), "55");
    EXPECT_EQ(Read(kFarDisk, kRid, kBase), "55");
  };
  Set(true);
  Set(false);
  look_ = nullptr;
  EXPECT_EQ(looked, 10) << "one store for each entry and switch";
}

TEST_F(SoftDirtyTest, LosesWithAnUnmapWhatWasMarked) {
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kTracked)).ok());
  Set(true);
  ASSERT_EQ(Write({kDiskA, kRid}, kBase), "written");
  UnmapPage(kIoas, kBase);
  MapPage(kIoas, kBase, kMemory);
  EXPECT_EQ(Dirty(), 0u);
  ASSERT_EQ(Write({kDiskA, kRid}, kBase), "written");
  EXPECT_EQ(Dirty(), 1u);
}

TEST_F(SoftDirtyTest, StaysAsItIsWhenTheHardwareDoesNotAnswer) {
  AttachAll(kTracked);
  ASSERT_TRUE(Switch(kDiskB, 777, On(kGuest)).ok());
  for (const bool to : {true, false}) {
    SCOPED_TRACE(to);
    int failures = 0;
    for (uint64_t at = 0;; ++at) {
      // The queue stops before the first flush, or at one of the stores.
      stores_ = 0;
      if (at == 0) StopQueue(kDiskA);
      look_ = [&] {
        if (stores_ == at) StopQueue(kDiskA);
      };
      const absl::Status status = backend_->SetDirtyTracking(kTracked, to);
      look_ = nullptr;
      StartEmptyQueue(kDiskA);
      if (status.ok()) break;
      ++failures;
      EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
      // What is owed is flushed with the next change of an entry.
      ASSERT_TRUE(Switch(kDiskA, 6, On(kFirstA)).ok());
      ASSERT_TRUE(Switch(kDiskA, 6, {}).ok());
      EXPECT_EQ(Write({kDiskA, kRid}, kBase + kPage), "written");
      EXPECT_EQ(Write({kDiskB, kRid}, kBase + 2 * kPage), "written");
      EXPECT_EQ(Write({kFarDisk, kRid}, kBase + 4 * kPage), "written");
      if (to) {
        EXPECT_EQ(Dirty(), 0u) << "still off";
      } else {
        EXPECT_EQ(Dirty(/*clear=*/true), 0x16u) << "still on";
      }
    }
    EXPECT_GE(failures, 4) << "of the four entries behind the unit";
  }
}

TEST_F(SoftDirtyTest, ForgetsNothingWhenTheFlushOfAReadFails) {
  AttachAll(kTracked);
  Set(true);
  for (const Asker& a : Askers()) ASSERT_EQ(Write(a, kBase + kPage), "written");
  StopQueue(kDiskA);
  EXPECT_EQ(ReadRange(kBase, kPages, true).status().code(), absl::StatusCode::kInternal);
  StartEmptyQueue(kDiskA);
  EXPECT_EQ(Dirty(/*clear=*/true), 2u) << "nobody has got the answer";
  for (const Asker& a : Askers()) {
    ASSERT_EQ(Write(a, kBase + kPage), "written");
    EXPECT_EQ(Dirty(/*clear=*/true), 2u);
  }
}

TEST_F(SoftDirtyTest, RefusesDomainsThatTrackNothing) {
  for (const Uid domain : {Uid{kFirstA}, Uid{kParentA}, Uid{kGuest}}) {
    EXPECT_EQ(DetailOf(backend_->SetDirtyTracking(domain, true))->reason, "NOT_TRACKED");
    EXPECT_EQ(DetailOf(backend_->ReadDirty(domain, {0, kPage - 1}, kPage, true).status())->reason,
              "NOT_TRACKED");
  }
  EXPECT_FALSE(backend_->SetDirtyTracking(999, true).ok());
}

TEST_F(SoftDirtyTest, MarksALargePageAsAWhole) {
  ASSERT_TRUE(backend_->CreateIoas(kLargeIoas).ok());
  ASSERT_TRUE(backend_->CreateMemoryRegion(kLarge, 0x40'0000, 0).ok());
  DomainSpec spec;
  spec.ioas = kLargeIoas;
  spec.device = kDiskA;
  spec.dirty_tracking = true;
  ASSERT_TRUE(backend_->CreateDomain(kSpare, spec, {}).ok());
  const Iova to = sim_->PhysicalAddress(kLarge, 0)->value;
  ASSERT_TRUE(backend_->Map(kLargeIoas, {BackendMapping{to, 0x40'0000, kLarge, 0}}).ok());
  ASSERT_TRUE(Switch(kDiskA, kRid, On(kSpare)).ok());
  ASSERT_TRUE(backend_->SetDirtyTracking(kSpare, true).ok());
  const Iova large = (to + 0x1f'ffff) & ~uint64_t{0x1f'ffff};
  ASSERT_EQ(Write({kDiskA, kRid}, large + 0x12345000 % 0x20'0000), "written");
  const auto bitmap = backend_->ReadDirty(kSpare, {to, to + 0x3f'ffff}, kPage, true);
  EXPECT_EQ(bitmap->dirty_count(), 512u);
  EXPECT_TRUE(bitmap->AnyIn({large, large}));
}

}  // namespace
}  // namespace viommu
