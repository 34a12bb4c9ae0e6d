// The batcher against the real engine, and against one that is gone in the midst of it: whatever it
// says of an entry is compared with what is mapped.
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "clients/client/call_error.h"
#include "clients/client/client.h"
#include "clients/client/entry_ranges.h"
#include "clients/client/mapping_batcher.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/frontends/shared_engine.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/mapping.pb.h"
#include "viommu/v1/memory.grpc.pb.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

using IoasStub = v1::IoasService::Stub;

constexpr uint64_t kEntries = 10'000;
constexpr uint64_t kBad = 5'000;  // The entry that fails, where one does.
// Its batch, with the default of 256 entries each.
constexpr EntryRange kBadBatch = {4864, 5119};

class BatcherEngineTest : public ::testing::Test {
 protected:
  BatcherEngineTest() {
    Client& client = client_.At(Side::kRight);
    EXPECT_TRUE(
        client.Call(&v1::MemoryService::Stub::CreateMemoryRegion, NewRegion("ram", 1 << 30)).ok());
    EXPECT_TRUE(client.Call(&IoasStub::CreateIoas, NewIoas("vm0")).ok());
    options_.ioas = "ioas/vm0";
    options_.default_memory_region = "memoryRegions/ram";
    options_.on_answer = [this](const BatchAnswer& answer) {
      iovas_.insert(iovas_.end(), answer.iovas.begin(), answer.iovas.end());
      unmapped_ += answer.unmapped_count;
      if (answer.failed_entry.has_value()) failed_.push_back(*answer.failed_entry);
      if (!answer.status.ok()) reasons_.insert(ReasonOf(answer.status));
    };
  }

  void Open() {
    auto batcher = MappingBatcher::Open(&client_.At(Side::kLeft), options_);
    ASSERT_TRUE(batcher.ok()) << batcher.status();
    batcher_ = *std::move(batcher);
  }

  // A page for itself, so that neighbours stay apart.
  static uint64_t IovaOf(uint64_t entry) { return 2 * entry * kPage; }
  absl::StatusOr<uint64_t> MapAt(uint64_t iova) { return batcher_->Map({iova, 0, kPage}); }

  // All entries, of which kBad wants the address of the first one. Stops where one is refused.
  void AddAllWithOneBad() {
    for (uint64_t i = 0; i < kEntries; ++i) {
      if (!MapAt(IovaOf(i == kBad ? 0 : i)).ok()) return;
      ++added_;
    }
  }

  // What is mapped, by the other frontend; it is there also when the first is gone.
  std::set<uint64_t> Mapped() {
    std::set<uint64_t> all;
    v1::ListMappingsRequest request;
    request.set_parent("ioas/vm0");
    request.set_page_size(1000);
    do {
      const auto page = client_.At(Side::kRight).Call(&IoasStub::ListMappings, request);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) break;
      for (const v1::Mapping& mapping : page->mappings()) all.insert(mapping.iova());
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return all;
  }

  SharedEngine engine_;
  Wanderer client_{engine_, Side::kLeft};
  BatcherOptions options_;
  uint64_t added_ = 0;
  // From the answers; safe to look at after Flush.
  std::vector<uint64_t> iovas_;
  std::vector<uint64_t> failed_;
  std::set<std::string> reasons_;
  uint64_t unmapped_ = 0;
  std::unique_ptr<MappingBatcher> batcher_;
};

TEST_F(BatcherEngineTest, MapsAndUnmapsTenThousand) {
  Open();
  for (uint64_t i = 0; i < kEntries; ++i) ASSERT_TRUE(MapAt(IovaOf(i)).ok());
  ASSERT_TRUE(batcher_->Flush().ok());
  EXPECT_EQ(Mapped().size(), kEntries);
  EXPECT_THAT(batcher_->outcome().applied, ElementsAre(EntryRange{0, kEntries - 1}));
  for (uint64_t i = 0; i < kEntries; ++i) ASSERT_TRUE(batcher_->Unmap({IovaOf(i), kPage}).ok());
  EXPECT_TRUE(batcher_->Close().ok());
  EXPECT_THAT(Mapped(), IsEmpty());
  EXPECT_EQ(unmapped_, kEntries);
}

TEST_F(BatcherEngineTest, TellsTheAddressesThatWereChosen) {
  Open();
  MapOne anywhere;
  anywhere.length = kPage;
  for (uint64_t i = 0; i < 1000; ++i) ASSERT_TRUE(batcher_->Map(anywhere).ok());
  EXPECT_TRUE(batcher_->Close().ok());
  EXPECT_EQ(iovas_.size(), 1000u);
  EXPECT_EQ(std::set<uint64_t>(iovas_.begin(), iovas_.end()), Mapped());
}

TEST_F(BatcherEngineTest, NamesTheEntryThatFailedAndGoesOn) {
  options_.on_error = v1::ON_ERROR_CONTINUE;
  Open();
  AddAllWithOneBad();
  EXPECT_EQ(added_, kEntries);
  const absl::Status status = batcher_->Flush();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReasonOf(status), "IOVA_OCCUPIED");
  EXPECT_THAT(std::string(status.message()), StartsWith("entry 5000 (index 136 of batch 20): "));
  EXPECT_THAT(failed_, ElementsAre(kBad));
  EXPECT_THAT(batcher_->outcome().not_applied, ElementsAre(kBadBatch));
  EXPECT_THAT(batcher_->outcome().applied,
              ElementsAre(EntryRange{0, kBadBatch.first - 1},
                          EntryRange{kBadBatch.last + 1, kEntries - 1}));
  EXPECT_EQ(Mapped().size(), kEntries - kBadBatch.count());
  EXPECT_TRUE(batcher_->Flush().ok()) << "said once";
  EXPECT_TRUE(batcher_->Close().ok());
}

TEST_F(BatcherEngineTest, NamesTheEntryWhoseRegionHasAMalformedName) {
  Open();
  std::vector<MapOne> batch;
  for (uint64_t i = 0; i < 10; ++i) batch.push_back({IovaOf(i), 0, kPage});
  batch[7].memory_region = batch[8].memory_region = "ram";
  ASSERT_TRUE(batcher_->MapBatch(batch).ok());
  const absl::Status status = batcher_->Close();
  EXPECT_EQ(ReasonOf(status), "MALFORMED_NAME");
  EXPECT_THAT(std::string(status.message()), StartsWith("entry 7 (index 7 of batch 1): "));
  EXPECT_THAT(failed_, ElementsAre(7u));
}

TEST_F(BatcherEngineTest, StopsBehindAFailureUntilItIsAcknowledged) {
  Open();
  AddAllWithOneBad();
  EXPECT_LT(added_, kEntries) << "adding goes on for as long as there is room only";
  const absl::Status status = batcher_->Flush();
  EXPECT_EQ(ReasonOf(status), "IOVA_OCCUPIED");
  EXPECT_THAT(std::string(status.message()), StartsWith("entry 5000 "));
  EXPECT_EQ(batcher_->Flush(), status) << "it stays until it is acknowledged";
  EXPECT_EQ(MapAt(0).status(), status);
  EXPECT_THAT(batcher_->outcome().applied, ElementsAre(EntryRange{0, kBadBatch.first - 1}));
  EXPECT_THAT(batcher_->outcome().not_applied,
              ElementsAre(EntryRange{kBadBatch.first, added_ - 1}));
  EXPECT_EQ(Mapped().size(), kBadBatch.first);

  // What was not applied once more, without the bad one.
  ASSERT_TRUE(batcher_->Acknowledge().ok());
  for (uint64_t i = kBadBatch.first; i < kEntries; ++i) {
    if (i == kBad) continue;
    ASSERT_TRUE(MapAt(IovaOf(i)).ok());
  }
  EXPECT_TRUE(batcher_->Close().ok());
  EXPECT_EQ(Mapped().size(), kEntries - 1);
}

TEST_F(BatcherEngineTest, AcknowledgesWithBatchesInFlightAndOneBeingFilled) {
  options_.batch_entries = 4;
  Open();
  ASSERT_TRUE(MapAt(0).ok());
  ASSERT_TRUE(MapAt(0).ok());
  // Behind the failing batch, whatever the batcher knows of it by now.
  for (uint64_t i = 2; i < 11 && MapAt(IovaOf(i)).ok(); ++i) {
  }
  EXPECT_FALSE(batcher_->Flush().ok());
  ASSERT_TRUE(batcher_->Acknowledge().ok());
  ASSERT_TRUE(batcher_->Acknowledge().ok()) << "nothing to acknowledge any more";
  ASSERT_TRUE(MapAt(IovaOf(100)).ok());
  EXPECT_TRUE(batcher_->Close().ok());
  EXPECT_THAT(Mapped(), ElementsAre(IovaOf(100)));
}

TEST_F(BatcherEngineTest, AppliesAWholeBatchOrNothingOfIt) {
  options_.on_error = v1::ON_ERROR_CONTINUE;
  Open();
  std::vector<MapOne> batch;
  for (uint64_t i = 0; i < 1000; ++i) batch.push_back({IovaOf(i), 0, kPage});
  ASSERT_TRUE(batcher_->MapBatch(batch).ok());
  ASSERT_TRUE(batcher_->UnmapAll().ok());
  batch.push_back(batch.front());
  ASSERT_TRUE(batcher_->MapBatch(batch).ok());
  EXPECT_THAT(std::string(batcher_->Close().message()), StartsWith("entry 2001 (index 1000 of "));
  EXPECT_THAT(Mapped(), IsEmpty());
}

TEST_F(BatcherEngineTest, FindsNoAddressSpace) {
  options_.ioas = "ioas/none";
  Open();
  AddAllWithOneBad();
  const absl::Status status = batcher_->Flush();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), "IOAS_NOT_FOUND");
  EXPECT_THAT(batcher_->outcome().unknown, IsEmpty());
  EXPECT_THAT(batcher_->outcome().applied, IsEmpty());
}

TEST_F(BatcherEngineTest, SaysTheTruthOfEveryEntryWhenItsFrontendIsDestroyed) {
  options_.batch_entries = 16;
  Open();
  for (uint64_t i = 0; i < kEntries; ++i) {
    if (i == kBad) engine_.Destroy(Side::kLeft);
    if (!MapAt(IovaOf(i)).ok()) break;
    ++added_;
  }
  const absl::Status status = batcher_->Flush();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("the mapping stream is broken"));
  const std::set<uint64_t> mapped = Mapped();
  const BatcherOutcome outcome = batcher_->outcome();
  uint64_t told = 0;
  const auto for_each = [&told](const std::vector<EntryRange>& ranges, auto check) {
    for (const EntryRange& range : ranges) {
      for (uint64_t entry = range.first; entry <= range.last; ++entry) check(entry);
      told += range.count();
    }
  };
  for_each(outcome.applied, [&](uint64_t e) { EXPECT_EQ(mapped.count(IovaOf(e)), 1u) << e; });
  for_each(outcome.not_applied, [&](uint64_t e) { EXPECT_EQ(mapped.count(IovaOf(e)), 0u) << e; });
  for_each(outcome.unknown, [](uint64_t) {});
  EXPECT_EQ(told, added_) << "every entry is in one of the three";
  ASSERT_FALSE(outcome.applied.empty());
  EXPECT_GE(outcome.applied.front().last, kBad - options_.batch_entries * 10);

  // The rest is mapped elsewhere.
  auto again = MappingBatcher::Open(&client_.At(Side::kRight), options_);
  ASSERT_TRUE(again.ok()) << again.status();
  for (uint64_t i = outcome.applied.front().last + 1; i < kEntries; ++i) {
    if (mapped.count(IovaOf(i)) == 1) continue;
    ASSERT_TRUE((*again)->Map({IovaOf(i), 0, kPage}).ok());
  }
  EXPECT_TRUE((*again)->Close().ok());
  EXPECT_EQ(Mapped().size(), kEntries);
}

}  // namespace
}  // namespace viommu
