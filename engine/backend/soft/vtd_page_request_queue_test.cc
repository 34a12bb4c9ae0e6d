// Software's side of page requests, over the hardware model.
#include "engine/backend/soft/vtd_page_request_queue.h"

#include <memory>
#include <string>

#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/vtd_unit.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/entries/vtd_entries.h"
#include "engine/pagetable/store.h"
#include "engine/pagetable/table_arena.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint16_t kDevice = 0x0110, kOther = 0x0111, kDeaf = 0x0112;

IommuSpec Spec() {
  IommuSpec spec;
  spec.page_requests = true;
  return spec;
}

class VtdPageRequestQueueTest : public testing::Test {
 protected:
  VtdPageRequestQueueTest() {
    const auto window = *memory_.AddWindow(128 * kPage, kPage);
    arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
    unit_ = *VtdUnit::Create(
        Spec(), {{kDevice, 8, true, true}, {kOther, 8, true, true}, {kDeaf, 8, true, false}},
        &memory_, arena_.get());
    EXPECT_TRUE(unit_->EnableTranslation().ok());
    queue_ = unit_->page_requests();
  }

  void Raise(uint16_t source_id, std::optional<uint32_t> pasid, uint32_t group, bool last = true) {
    hardware::PageRequest request;
    request.source_id = source_id;
    request.pasid = pasid;
    request.group = group;
    request.last = last;
    request.address = 0x5000;
    request.read = true;
    Raise(request);
  }
  void Raise(const hardware::PageRequest& request) {
    ASSERT_TRUE(unit_->hardware().RequestPage(request));
  }
  std::string Told(uint16_t source_id) {
    std::string all;
    for (const auto& told : unit_->hardware().PageResponses(source_id)) {
      all += std::to_string(told.group) + ":" + std::to_string(static_cast<int>(told.code)) + " ";
    }
    return all;
  }
  // The groups of what was taken: "7 8 ".
  static std::string Groups(const VtdPageRequestQueue::Taken& taken) {
    std::string all;
    for (const auto& request : taken.requests) all += std::to_string(request.group) + " ";
    return all;
  }

  const vtd::PasidEntry identity_ = vtd::MakePassThroughEntry({4, true});
  PhysicalMemory memory_{PhysAddr{kPage}, 40};
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<VtdUnit> unit_;
  VtdPageRequestQueue* queue_ = nullptr;
};

TEST_F(VtdPageRequestQueueTest, ReadsWhatDevicesAskFor) {
  hardware::PageRequest request;
  request.source_id = kDevice;
  request.pasid = 77;
  request.group = 0x1ff;
  request.last = true;
  request.address = 0x7fff'ffff'f000;
  request.write = request.execute = true;
  Raise(request);
  Raise(kOther, std::nullopt, 0, /*last=*/false);
  EXPECT_TRUE(queue_->Take().requests.empty()) << "nobody has looked at the ring";
  queue_->Serve();
  const auto taken = queue_->Take();
  EXPECT_FALSE(taken.broken);
  ASSERT_EQ(taken.requests.size(), 2u);
  EXPECT_EQ(taken.requests[0].requester, kDevice);
  EXPECT_EQ(taken.requests[0].pasid, 77u);
  EXPECT_EQ(taken.requests[0].group, 0x1ffu);
  EXPECT_EQ(taken.requests[0].address, 0x7fff'ffff'f000u);
  EXPECT_TRUE(taken.requests[0].last && taken.requests[0].write && taken.requests[0].execute);
  EXPECT_FALSE(taken.requests[0].read || taken.requests[0].privileged);
  EXPECT_EQ(taken.requests[1].pasid, std::nullopt);
  EXPECT_FALSE(taken.requests[1].last);
  EXPECT_TRUE(queue_->Take().requests.empty());
}

TEST_F(VtdPageRequestQueueTest, RefusesWhatTheKernelRefuses) {
  hardware::PageRequest request;
  request.source_id = kDevice;
  request.last = true;
  request.read = true;
  request.address = 0x0200'0000'0000'0000;  // Bit 57, without those above.
  request.group = 1;
  Raise(request);
  request.address = 0x1000;
  request.privileged = true;
  request.group = 2;
  Raise(request);
  request.privileged = false;
  request.execute = true;
  request.group = 3;
  Raise(request);
  request.execute = request.read = false;  // A stop marker.
  request.group = 4;
  Raise(request);
  request.read = true;
  request.address = ~uint64_t{0xfff};  // Canonical.
  request.group = 5;
  Raise(request);
  queue_->Serve();
  EXPECT_EQ(Told(kDevice), "1:1 2:1 3:1 ") << "a stop marker is never answered";
  EXPECT_EQ(Groups(queue_->Take()), "5 ");
}

TEST_F(VtdPageRequestQueueTest, AnswersGroups) {
  Raise(kDevice, 5, 1);
  Raise(kDevice, std::nullopt, 2);
  Raise(kOther, 5, 1);
  queue_->Serve();
  EXPECT_TRUE(queue_->Respond(kDevice, std::nullopt, 2, vtd::PageGroupCode::kInvalid).ok());
  EXPECT_TRUE(queue_->Respond(kDevice, 5, 1, vtd::PageGroupCode::kSuccess).ok());
  EXPECT_TRUE(queue_->Respond(kOther, 5, 1, vtd::PageGroupCode::kFailure).ok());
  EXPECT_EQ(Told(kDevice), "2:1 1:0 ");
  EXPECT_EQ(Told(kOther), "1:15 ");
  const auto by_kind = unit_->queue().counters().by_kind;
  EXPECT_EQ(by_kind[static_cast<size_t>(vtd::DescriptorKind::kPageGroupResponse)], 3u);
}

TEST_F(VtdPageRequestQueueTest, TellsThatRequestsWereLost) {
  Raise(kDevice, 5, 100, /*last=*/false);
  Raise(kDevice, 5, 100);
  Raise(kOther, 5, 1);
  for (uint32_t i = 3; i < VtdPageRequestQueue::kEntries; ++i) {
    Raise(kDevice, 5, i % 8, /*last=*/false);
  }
  Raise(kDevice, 5, 1);
  EXPECT_EQ(Told(kDevice), "1:0 ") << "it is to ask again";
  queue_->Serve();
  auto taken = queue_->Take();
  EXPECT_TRUE(taken.broken);
  EXPECT_EQ(Groups(taken), "100 100 1 ") << "what is not whole would become part of the next group";
  Raise(kDevice, 5, 1);
  queue_->Serve();
  taken = queue_->Take();
  EXPECT_FALSE(taken.broken) << "it goes on";
  EXPECT_EQ(Groups(taken), "1 ");
}

TEST_F(VtdPageRequestQueueTest, RefusesWhatNobodyTakes) {
  constexpr uint32_t kPages = VtdPageRequestQueue::kMaxUntaken - 2;
  Raise(kOther, 5, 2, /*last=*/false);
  Raise(kOther, 5, 2);
  for (uint32_t i = 0; i < kPages; ++i) {
    Raise(kDevice, 5, 1, /*last=*/false);
    if (i % 256 == 0) queue_->Serve();
  }
  queue_->Serve();
  Raise(kDevice, 5, 1);
  queue_->Serve();
  EXPECT_EQ(Told(kDevice), "1:15 ");
  const auto taken = queue_->Take();
  EXPECT_TRUE(taken.broken);
  EXPECT_EQ(Groups(taken), "2 2 ");
}

TEST_F(VtdPageRequestQueueTest, DropsWhatAnEntryLeavesBehind) {
  ASSERT_TRUE(unit_->SetEntry(PlainStore(), kDevice, 5, identity_).ok());
  Raise(kDevice, 5, 1);
  queue_->Serve();
  Raise(kDevice, 5, 2);  // Still in the ring.
  Raise(kDevice, 5, 3, /*last=*/false);
  Raise(kDevice, 6, 4);
  Raise(kDevice, std::nullopt, 5);
  Raise(kDevice, 0, 6);
  Raise(kOther, 5, 7);
  ASSERT_TRUE(unit_->SetEntry(PlainStore(), kDevice, 5, vtd::MakeBlockedEntry()).ok());
  EXPECT_EQ(Told(kDevice), "1:1 2:1 ");
  ASSERT_TRUE(unit_->BlockEntry(PlainStore(), kDevice, VtdUnit::kRidPasid).ok());
  EXPECT_EQ(Told(kDevice), "1:1 2:1 5:1 6:1 ") << "PASID 0 is served by the same entry";
  EXPECT_EQ(Told(kOther), "");
  EXPECT_EQ(Groups(queue_->Take()), "4 7 ");
}

TEST_F(VtdPageRequestQueueTest, KeepsWhatIsReportedWhileOnlyTheMarkingOfWritesChanges) {
  vtd::SecondStageFields fields;
  fields.root = PhysAddr{3 * kPage};
  fields.domain_id = 7;
  const auto set = [&] {
    return unit_->SetEntry(PlainStore(), kDevice, 5, vtd::MakeSecondStageEntry(fields)).ok();
  };
  ASSERT_TRUE(set());
  Raise(kDevice, 5, 1);
  fields.track_dirty = true;
  ASSERT_TRUE(set());
  fields.track_dirty = false;
  ASSERT_TRUE(set());
  EXPECT_EQ(Told(kDevice), "");
  fields.track_dirty = true;
  fields.domain_id = 8;
  ASSERT_TRUE(set());
  EXPECT_EQ(Told(kDevice), "1:1 ") << "it was for another domain";
}

TEST_F(VtdPageRequestQueueTest, LetsOnlyThoseAskWhosePriIsOn) {
  Raise(kDeaf, 5, 1);
  EXPECT_EQ(Told(kDeaf), "1:1 ");
  queue_->Serve();
  EXPECT_TRUE(queue_->Take().requests.empty());
}

}  // namespace
}  // namespace viommu
