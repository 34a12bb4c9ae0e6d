// The driver's side of the PRI queue, over the hardware model.
#include "engine/backend/soft/smmu_page_request_queue.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/types/optional.h"
#include "engine/backend/backend.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/page_request_backlog.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/smmu_registers.h"
#include "engine/backend/soft/smmu_unit.h"
#include "engine/backend/soft/unit_port.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/entries/smmu_commands.h"
#include "engine/entries/smmu_ste.h"
#include "engine/pagetable/store.h"
#include "engine/pagetable/table_arena.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using hardware::smmu::PageRequestFate;

constexpr uint64_t kPage = 4096;
constexpr uint32_t kDevice = 0x110, kOther = 0x111, kMute = 0x112;
constexpr std::optional<uint32_t> kNoPasid = std::nullopt;

IommuSpec Spec() {
  IommuSpec spec;
  spec.architecture = IommuArchitecture::kSmmuV3;
  spec.smmu_v3.pri = true;
  spec.smmu_v3.substream_id_bits = 8;
  return spec;
}

class SmmuPageRequestQueueTest : public testing::Test {
 protected:
  SmmuPageRequestQueueTest() {
    const auto window = *memory_.AddWindow(512 * kPage, 128 * kPage);
    arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
    unit_ = *SmmuUnit::Create(Spec(),
                              {{kDevice, 8, true, false, true},
                               {kOther, 8, true, false, true},
                               {kMute, 8, true, false, false}},
                              &memory_, arena_.get());
    EXPECT_TRUE(unit_->EnableTranslation().ok());
    queue_ = unit_->page_requests();
  }

  static hardware::smmu::PageRequest RequestOf(uint32_t stream, std::optional<uint32_t> pasid,
                                               uint16_t group, bool last = true) {
    hardware::smmu::PageRequest request;
    request.stream_id = stream;
    request.substream_id = pasid;
    request.group = group;
    request.last = last;
    request.address = 0x5000;
    request.read = true;
    return request;
  }
  PageRequestFate Raise(const hardware::smmu::PageRequest& request) {
    return unit_->hardware().RequestPages(request);
  }
  void Raise(uint32_t stream, std::optional<uint32_t> pasid, uint16_t group, bool last = true) {
    ASSERT_EQ(Raise(RequestOf(stream, pasid, group, last)), PageRequestFate::kQueued);
  }
  std::string Told(uint32_t stream) {
    std::string all;
    for (const auto& told : unit_->hardware().PageResponses(stream)) {
      all += std::to_string(told.group) + ":" + std::to_string(static_cast<int>(told.answer)) + " ";
    }
    return all;
  }
  // The groups of what was taken: "7 8 ".
  static std::string Groups(const SmmuPageRequestQueue::Taken& taken) {
    std::string all;
    for (const auto& request : taken.requests) all += std::to_string(request.group) + " ";
    return all;
  }
  absl::Status Set(uint32_t pasid, TranslationKind kind) {
    UnitTranslation target;
    target.kind = kind;
    return unit_->SetEntry(PlainStore(), kDevice, pasid, target);
  }

  PhysicalMemory memory_{PhysAddr{kPage}, 40};
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<SmmuUnit> unit_;
  SmmuPageRequestQueue* queue_ = nullptr;
};

TEST_F(SmmuPageRequestQueueTest, ReadsWhatDevicesAskFor) {
  hardware::smmu::PageRequest request = RequestOf(kDevice, 77, 0x1ff);
  request.address = 0x7fff'ffff'f000;
  request.read = false;
  request.write = request.execute = true;
  ASSERT_EQ(Raise(request), PageRequestFate::kQueued);
  Raise(kOther, kNoPasid, 0, /*last=*/false);
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
  EXPECT_EQ(taken.requests[1].requester, kOther);
  EXPECT_EQ(taken.requests[1].pasid, kNoPasid);
  EXPECT_TRUE(taken.requests[1].read);
  EXPECT_FALSE(taken.requests[1].last || taken.requests[1].write || taken.requests[1].execute);
  EXPECT_TRUE(queue_->Take().requests.empty());
}

TEST_F(SmmuPageRequestQueueTest, PassesStopMarkersOver) {
  hardware::smmu::PageRequest marker = RequestOf(kDevice, 5, 1);
  marker.read = false;
  ASSERT_EQ(Raise(marker), PageRequestFate::kQueued);
  marker.substream_id.reset();  // Then it is none, but a request for nothing in particular.
  marker.group = 2;
  ASSERT_EQ(Raise(marker), PageRequestFate::kQueued);
  queue_->Serve();
  EXPECT_EQ(Groups(queue_->Take()), "2 ");
}

TEST_F(SmmuPageRequestQueueTest, AnswersGroups) {
  Raise(kDevice, 5, 1);
  Raise(kDevice, kNoPasid, 2);
  Raise(kDevice, 0, 3);
  queue_->Serve();
  using Answer = smmu::PriAnswer;
  EXPECT_TRUE(queue_->Respond({kDevice, absl::nullopt, 2}, Answer::kInvalidRequest).ok());
  EXPECT_TRUE(queue_->Respond({kDevice, absl::nullopt, 1}, Answer::kSuccess).ok());
  EXPECT_EQ(Told(kDevice), "2:1 ") << "the first wants its PASID";
  EXPECT_TRUE(queue_->Respond({kDevice, 5, 1}, Answer::kSuccess).ok());
  EXPECT_TRUE(queue_->Respond({kDevice, 0, 3}, Answer::kResponseFailure).ok());
  EXPECT_EQ(Told(kDevice), "2:1 1:2 3:0 ");
}

TEST_F(SmmuPageRequestQueueTest, SaysWhenTheHardwareTakesNoAnswer) {
  Raise(kDevice, 5, 1);
  unit_->hardware().HangCommandQueueAfter(0);
  EXPECT_EQ(queue_->Respond({kDevice, 5, 1}, smmu::PriAnswer::kSuccess).code(),
            absl::StatusCode::kInternal);
  unit_->hardware().HangCommandQueueAfter(std::nullopt);
  EXPECT_TRUE(queue_->Respond({kDevice, 5, 1}, smmu::PriAnswer::kSuccess).ok());
  EXPECT_EQ(Told(kDevice), "1:2 ");
}

TEST_F(SmmuPageRequestQueueTest, GoesAroundTheRing) {
  std::string want;
  for (uint32_t i = 0; i < 3 * SmmuPageRequestQueue::kEntries; ++i) {
    Raise(kDevice, 5, i % 512, /*last=*/false);
    if (i % 100 == 99) queue_->Serve();
    want += std::to_string(i % 512) + " ";
  }
  queue_->Serve();
  const auto taken = queue_->Take();
  EXPECT_EQ(Groups(taken), want);
  EXPECT_FALSE(taken.broken);
}

// A full ring: the unit answers what comes last itself, and what had begun is forgotten.
TEST_F(SmmuPageRequestQueueTest, GoesOnAfterAnOverflow) {
  Raise(kOther, kNoPasid, 3);
  Raise(kOther, kNoPasid, 4, /*last=*/false);
  for (uint32_t i = 2; i < SmmuPageRequestQueue::kEntries; ++i) {
    Raise(kDevice, 5, 7, /*last=*/false);
  }
  EXPECT_EQ(Raise(RequestOf(kDevice, 5, 7)), PageRequestFate::kLost);
  EXPECT_EQ(Told(kDevice), "7:2 ") << "with the PASID: its entry says so";
  EXPECT_EQ(Raise(RequestOf(kDevice, 5, 8, false)), PageRequestFate::kLost);
  queue_->Serve();
  EXPECT_EQ(Told(kDevice), "7:2 ") << "the function does not wait any more";
  auto taken = queue_->Take();
  EXPECT_TRUE(taken.broken);
  EXPECT_EQ(Groups(taken), "3 ");
  Raise(kDevice, 5, 7);
  queue_->Serve();
  taken = queue_->Take();
  EXPECT_EQ(Groups(taken), "7 ");
  EXPECT_FALSE(taken.broken) << "it goes on";
}

TEST_F(SmmuPageRequestQueueTest, OverflowsAgain) {
  for (int round = 0; round < 3; ++round) {
    for (uint32_t i = 0; i < SmmuPageRequestQueue::kEntries; ++i) {
      Raise(kDevice, 5, 7, /*last=*/false);
    }
    EXPECT_EQ(Raise(RequestOf(kDevice, 5, 7)), PageRequestFate::kLost);
    queue_->Serve();
    EXPECT_TRUE(queue_->Take().broken);
  }
  EXPECT_EQ(Told(kDevice), "7:2 7:2 7:2 ");
}

TEST_F(SmmuPageRequestQueueTest, FailsWhatNobodyTakesInTheEnd) {
  for (size_t i = 0; i < PageRequestBacklog::kMaxRequests; ++i) {
    Raise(kDevice, 5, 7, /*last=*/false);
    if (i % 256 == 255) queue_->Serve();
  }
  Raise(kDevice, 6, 8);
  queue_->Serve();
  EXPECT_EQ(Told(kDevice), "8:0 ");
  const auto taken = queue_->Take();
  EXPECT_TRUE(taken.broken);
  EXPECT_TRUE(taken.requests.empty()) << "none of it had ended";
}

TEST_F(SmmuPageRequestQueueTest, AnswersWhatIsDropped) {
  Raise(kDevice, 5, 1, /*last=*/false);
  Raise(kDevice, 5, 1);
  queue_->Serve();
  Raise(kDevice, 5, 2);
  Raise(kDevice, 6, 3);
  Raise(kOther, 5, 4);
  queue_->Drop([](const SmmuPageRequestQueue::Request& request) {
    return request.requester == kDevice && request.pasid == 5u;
  });
  EXPECT_EQ(Told(kDevice), "1:1 2:1 ");
  EXPECT_EQ(Told(kOther), "");
  EXPECT_EQ(Groups(queue_->Take()), "3 4 ") << "what was in the ring was read";
}

TEST_F(SmmuPageRequestQueueTest, AnswersWhatNobodyTookWhenItsTranslationChanges) {
  Raise(kDevice, 5, 1);
  Raise(kDevice, kNoPasid, 2);
  Raise(kDevice, 0, 3);
  Raise(kOther, kNoPasid, 4);
  ASSERT_TRUE(Set(kRidPasid, TranslationKind::kIdentity).ok());
  EXPECT_EQ(Told(kDevice), "2:1 3:1 ");
  ASSERT_TRUE(unit_->BlockEntry(PlainStore(), kDevice, 5).ok());
  EXPECT_EQ(Told(kDevice), "2:1 3:1 1:1 ");
  EXPECT_EQ(Told(kOther), "");
  queue_->Serve();
  EXPECT_EQ(Groups(queue_->Take()), "4 ");
}

// The guest's tables may have any; here its entry lets nothing through, and it asks all the same.
TEST_F(SmmuPageRequestQueueTest, AnswersAllPasidsOfAGuestWhenItsEntryGoes) {
  UnitTranslation guest;
  guest.kind = TranslationKind::kNested;
  guest.guest = ArmSmmuV3Stage1{{~uint64_t{0}, 0}};
  ASSERT_TRUE(unit_->SetEntry(PlainStore(), kDevice, kRidPasid, guest).ok());
  Raise(kDevice, 5, 1);
  Raise(kDevice, 9, 2);
  Raise(kOther, 5, 3);
  ASSERT_TRUE(unit_->BlockEntry(PlainStore(), kDevice, kRidPasid).ok());
  EXPECT_EQ(Told(kDevice), "1:1 2:1 ");
  EXPECT_EQ(Told(kOther), "");
}

// From the first moment on: an answer without PASID would be lost on it.
TEST_F(SmmuPageRequestQueueTest, SaysInEveryEntryThatAnswersHaveThePasid) {
  const auto says = [&](uint32_t stream) {
    return (unit_->SteOf(stream)[1] & smmu::kStePageResponsePasid) != 0;
  };
  EXPECT_TRUE(says(kDevice) && says(kOther));
  EXPECT_FALSE(says(kMute));
  ASSERT_TRUE(Set(kRidPasid, TranslationKind::kIdentity).ok());
  EXPECT_TRUE(says(kDevice));
  ASSERT_TRUE(unit_->BlockEntry(PlainStore(), kDevice, kRidPasid).ok());
  EXPECT_TRUE(says(kDevice));
}

TEST_F(SmmuPageRequestQueueTest, IsThereWhereTheUnitHasPri) {
  const auto enabled = [](SmmuUnit& unit) {
    const uint32_t control = unit.hardware().Read32(smmu::kControlAckRegister);
    return (control & smmu::kControlPageRequestQueue) != 0;
  };
  EXPECT_TRUE(enabled(*unit_));
  IommuSpec spec = Spec();
  spec.smmu_v3.pri = false;
  const auto without = *SmmuUnit::Create(spec, {{kDevice, 8, true}}, &memory_, arena_.get());
  EXPECT_EQ(without->page_requests(), nullptr);
  EXPECT_FALSE(enabled(*without));
}

TEST_F(SmmuPageRequestQueueTest, GivesItsRingBack) {
  const auto window = *memory_.AddWindow(128 * kPage, 64 * kPage);
  TableArena arena(window.data, window.base, window.size_bytes);
  const uint64_t used = arena.pages_in_use();
  SmmuUnit::Create(Spec(), {{kDevice, 8, true, false, true}}, &memory_, &arena)->reset();
  EXPECT_EQ(arena.pages_in_use(), used);
}

}  // namespace
}  // namespace viommu
