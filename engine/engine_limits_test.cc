// Limits of an owner: what fills one passes, one more is refused and changes nothing, and what is
// taken away or fails is given back.
#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "engine/engine_fixture.h"
#include "engine/shown_usage.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;

OwnerLimits SmallLimits() {
  OwnerLimits limits;
  limits.max_memory_regions = 3;
  limits.max_ioas = 3;
  limits.max_domains = 2;
  limits.max_mappings = 4;
  limits.max_mapped_bytes = 8 * kPage;
  limits.max_region_bytes_total = 64 * kPage;
  limits.max_operations_in_flight = 3;
  limits.max_streams = 2;
  return limits;
}

class EngineLimitsTest : public EngineTest {
 protected:
  EngineLimitsTest() : EngineTest(SmallLimits()) {}

  // memoryRegions/ram of 32 pages, ioas/as, and dev0 claimed.
  void SetUpOwner(const CallContext& owner, const char* device) {
    ASSERT_TRUE(engine_->CreateMemoryRegion(owner, "ram", 32 * kPage, std::nullopt).ok());
    ASSERT_TRUE(engine_->CreateIoas(owner, "as").ok());
    ASSERT_TRUE(engine_->ClaimDevice(owner, device, "").ok());
  }
  void SetUp() override { SetUpOwner(alice_, "dev0"); }
  void TearDown() override {
    for (const CallContext& owner : {alice_, bob_}) {
      EXPECT_EQ(UsageOf(owner), ShownUsage(*engine_, owner));
    }
  }

  // `count` areas of `pages` each, one behind the other from the page `first_page`.
  static MapBatch Pages(uint64_t first_page, size_t count, uint64_t pages = 1) {
    MapBatch batch;
    batch.regions = {Ref("ram")};
    for (size_t i = 0; i < count; ++i) {
      batch.entries.push_back(
          {(first_page + i * pages) * kPage, 0, pages * kPage, 0, Permission::kReadWrite});
    }
    return batch;
  }
  absl::Status Map(const CallContext& caller, const MapBatch& batch) {
    return engine_->Map(caller, Ref("as"), batch).status();
  }

  // "REASON limit in_use/limit_value +requested owner", with " #index field" for a batch.
  static std::string Refused(const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    const auto detail = DetailOf(status);
    if (!detail.has_value()) return "no detail";
    std::map<std::string, std::string> meta = detail->metadata;
    std::string text = detail->reason + " " + meta["limit"] + " " + meta["in_use"] + "/" +
                       meta["limit_value"] + " +" + meta["requested"] + " " + meta["owner"];
    if (detail->index.has_value()) text += " #" + std::to_string(*detail->index);
    if (!detail->field.empty()) text += " " + detail->field;
    return text;
  }

  // That `call` is refused as `want` says and changes nothing.
  void ExpectRefused(const std::function<absl::Status()>& call, const std::string& want) {
    const std::string before = Everything();
    const size_t records = journal_.records().size();
    EXPECT_EQ(Refused(call()), want);
    EXPECT_EQ(Everything(), before);
    EXPECT_EQ(journal_.records().size(), records);
  }

  uint64_t RefusalsOf(const std::string& limit) {
    for (const auto& [name, count] : engine_->Stats().limit_refusals) {
      if (name == limit) return count;
    }
    ADD_FAILURE() << limit;
    return 0;
  }
};

TEST_F(EngineLimitsTest, ObjectsOfEachKindAreLimited) {
  ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "r2", kPage, std::nullopt).ok());
  ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "r3", kPage, std::nullopt).ok());
  ExpectRefused(
      [&] { return engine_->CreateMemoryRegion(alice_, "r4", kPage, std::nullopt).status(); },
      "OBJECT_LIMIT max_memory_regions 3/3 +1 alice");
  ASSERT_TRUE(engine_->CreateIoas(alice_, "i2").ok());
  ASSERT_TRUE(engine_->CreateIoas(alice_, "i3").ok());
  ExpectRefused([&] { return engine_->CreateIoas(alice_, "i4").status(); },
                "OBJECT_LIMIT max_ioas 3/3 +1 alice");
  ASSERT_TRUE(engine_->CreateDomain(alice_, "d1", PagingDomainRequest{Ref("as"), "dev0"}).ok());
  ASSERT_TRUE(engine_->CreateDomain(alice_, "d2", PagingDomainRequest{Ref("as"), "dev0"}).ok());
  ExpectRefused(
      [&] {
        return engine_->CreateDomain(alice_, "d3", PagingDomainRequest{Ref("i2"), "dev0"}).status();
      },
      "OBJECT_LIMIT max_domains 2/2 +1 alice");

  // What is deleted makes room.
  EXPECT_TRUE(engine_->DeleteMemoryRegion(alice_, Ref("r2"), "").ok());
  EXPECT_TRUE(engine_->CreateMemoryRegion(alice_, "r4", kPage, std::nullopt).ok());
  EXPECT_TRUE(engine_->DeleteDomain(alice_, Ref("d1"), "").ok());
  EXPECT_TRUE(engine_->CreateDomain(alice_, "d3", PagingDomainRequest{Ref("i2"), "dev0"}).ok());
  EXPECT_TRUE(engine_->DeleteIoas(alice_, Ref("i3"), "").ok());
  EXPECT_TRUE(engine_->CreateIoas(alice_, "i4").ok());
}

TEST_F(EngineLimitsTest, ATakenNameIsToldAtTheLimitToo) {
  ASSERT_TRUE(engine_->CreateIoas(alice_, "i2").ok());
  ASSERT_TRUE(engine_->CreateIoas(alice_, "i3").ok());
  EXPECT_EQ(Described(engine_->CreateIoas(alice_, "i3").status()), "ALREADY_EXISTS IOAS_EXISTS");
}

TEST_F(EngineLimitsTest, BytesOfMemoryRegionsAreLimited) {
  ExpectRefused(
      [&] { return engine_->CreateMemoryRegion(alice_, "x", 33 * kPage, std::nullopt).status(); },
      "REGION_BYTES_LIMIT max_region_bytes_total 131072/262144 +135168 alice");
  EXPECT_TRUE(engine_->CreateMemoryRegion(alice_, "x", 32 * kPage, std::nullopt).ok());
  EXPECT_FALSE(engine_->CreateMemoryRegion(alice_, "y", kPage, std::nullopt).ok());
  EXPECT_TRUE(engine_->DeleteMemoryRegion(alice_, Ref("x"), "").ok());
  EXPECT_TRUE(engine_->CreateMemoryRegion(alice_, "y", kPage, std::nullopt).ok());
}

TEST_F(EngineLimitsTest, MappingsAreLimitedAndTheEntryThatPassesIsNamed) {
  ASSERT_TRUE(Map(alice_, Pages(0, 2)).ok());
  ExpectRefused([&] { return Map(alice_, Pages(8, 3)); },
                "MAPPING_LIMIT max_mappings 2/4 +3 alice #2 mappings[2]");
  ASSERT_TRUE(Map(alice_, Pages(8, 2)).ok());
  ExpectRefused([&] { return Map(alice_, Pages(16, 1)); },
                "MAPPING_LIMIT max_mappings 4/4 +1 alice #0 mappings[0]");
  // All address spaces of an owner count together.
  ASSERT_TRUE(engine_->CreateIoas(alice_, "i2").ok());
  ExpectRefused([&] { return engine_->Map(alice_, Ref("i2"), Pages(0, 1)).status(); },
                "MAPPING_LIMIT max_mappings 4/4 +1 alice #0 mappings[0]");
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0, kPage)).ok());
  EXPECT_TRUE(engine_->Map(alice_, Ref("i2"), Pages(0, 1)).ok());
  // An address space gives back what it mapped when it goes.
  ASSERT_TRUE(engine_->DeleteIoas(alice_, Ref("as"), "").ok());
  EXPECT_TRUE(engine_->Map(alice_, Ref("i2"), Pages(1, 3)).ok());
}

TEST_F(EngineLimitsTest, MappedBytesAreLimited) {
  ExpectRefused([&] { return Map(alice_, Pages(0, 3, 3)); },
                "MAPPED_BYTES_LIMIT max_mapped_bytes 0/32768 +36864 alice #2 mappings[2]");
  ASSERT_TRUE(Map(alice_, Pages(0, 1, 8)).ok());
  ExpectRefused([&] { return Map(alice_, Pages(8, 1)); },
                "MAPPED_BYTES_LIMIT max_mapped_bytes 32768/32768 +4096 alice #0 mappings[0]");
  UnmapBatch all;
  all.all = true;
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), all).ok());
  EXPECT_TRUE(Map(alice_, Pages(8, 1)).ok());
}

TEST_F(EngineLimitsTest, WhatIsWrongWithAnEntryIsToldBeforeItsLimit) {
  MapBatch batch = Pages(0, 5);
  batch.entries[1].length_bytes = 0;
  EXPECT_EQ(DescribedInFull(Map(alice_, batch)),
            "INVALID_ARGUMENT INVALID_LENGTH "
            "mappings[1].length #1");
  batch = Pages(0, 5);
  batch.entries[4].length_bytes = ~uint64_t{0};  // The one that would pass the limit.
  EXPECT_EQ(Described(Map(alice_, batch)), "OUT_OF_RANGE IOVA_OVERFLOW");
}

TEST_F(EngineLimitsTest, CopiesCountAsMapsDo) {
  ASSERT_TRUE(Map(alice_, Pages(0, 3)).ok());
  CopyRequest copy;
  copy.source = Ref("as");
  copy.length_bytes = 2 * kPage;
  copy.iova = 16 * kPage;
  ExpectRefused([&] { return engine_->CopyMappings(alice_, Ref("as"), copy).status(); },
                "MAPPING_LIMIT max_mappings 3/4 +2 alice");
  copy.length_bytes = kPage;
  EXPECT_TRUE(engine_->CopyMappings(alice_, Ref("as"), copy).ok());
}

TEST_F(EngineLimitsTest, OwnersAreIndependent) {
  SetUpOwner(bob_, "dev5");
  ASSERT_TRUE(Map(alice_, Pages(0, 4, 2)).ok());
  EXPECT_TRUE(Map(bob_, Pages(0, 4, 2)).ok());
  ExpectRefused([&] { return Map(bob_, Pages(8, 1)); },
                "MAPPING_LIMIT max_mappings 4/4 +1 bob #0 mappings[0]");
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0, 2 * kPage)).ok());
  EXPECT_FALSE(Map(bob_, Pages(8, 1)).ok()) << "alice's room is not bob's";
  EXPECT_TRUE(Map(alice_, Pages(0, 1)).ok());
}

TEST_F(EngineLimitsTest, AnOperatorsActsAreChargedToTheObjectsOwner) {
  const ObjectRef space{"as", "alice"};
  MapBatch batch = Pages(0, 4);
  batch.regions = {{"ram", "alice"}};
  ASSERT_TRUE(engine_->Map(operator_, space, batch).ok());
  EXPECT_EQ(UsageOf(alice_),
            "alice max_memory_regions 1\nalice max_ioas 1\nalice max_mappings 4\n"
            "alice max_mapped_bytes 16384\nalice max_region_bytes_total 131072\n");
  batch.entries[0].iova = 32 * kPage;
  batch.entries.resize(1);
  ExpectRefused([&] { return engine_->Map(operator_, space, batch).status(); },
                "MAPPING_LIMIT max_mappings 4/4 +1 alice #0 mappings[0]");
  EXPECT_TRUE(engine_->Unmap(operator_, space, OneUnmap(0, kPage)).ok());
  EXPECT_TRUE(engine_->Map(operator_, space, batch).ok());
}

TEST_F(EngineLimitsTest, EverybodySeesItsOwnUsageAndOperatorsAll) {
  ASSERT_TRUE(engine_->CreateIoas(bob_, "as").ok());
  EXPECT_EQ(UsageOf(bob_), "bob max_ioas 1\n");
  EXPECT_EQ(UsageOf(operator_), UsageOf(alice_) + UsageOf(bob_));
  ASSERT_TRUE(engine_->DeleteIoas(bob_, Ref("as"), "").ok());
  EXPECT_EQ(UsageOf(operator_), UsageOf(alice_));
}

TEST_F(EngineLimitsTest, WhatFailsOrIsADryRunIsGivenBack) {
  const std::string before = Everything();
  backend_.SetHook(RefuseNth("Map", 1));
  EXPECT_EQ(Described(Map(alice_, Pages(0, 4))), "RESOURCE_EXHAUSTED TEST");
  EXPECT_EQ(Everything(), before);
  journal_.SetAnswer(absl::DataLossError("disk gone"));
  EXPECT_EQ(Described(Map(alice_, Pages(0, 4))), "UNAVAILABLE JOURNAL_FAILED");
  journal_.SetAnswer(absl::OkStatus());
  EXPECT_EQ(Everything(), before);
  CallContext dry = alice_;
  dry.validate_only = true;
  EXPECT_TRUE(Map(dry, Pages(0, 4)).ok());
  EXPECT_EQ(Refused(Map(dry, Pages(0, 5))),
            "MAPPING_LIMIT max_mappings 0/4 +5 alice #4 mappings[4]");
  EXPECT_EQ(Everything(), before);
  EXPECT_TRUE(Map(alice_, Pages(0, 4)).ok());
}

TEST_F(EngineLimitsTest, BatchesUnderWayCanNotPassALimitTogether) {
  ASSERT_TRUE(engine_->CreateIoas(alice_, "i2").ok());
  journal_.Hold();
  std::thread first([&] { EXPECT_TRUE(Map(alice_, Pages(0, 3)).ok()); });
  while (journal_.held() == 0) std::this_thread::yield();
  // In another address space, so in another lane: refused at once.
  EXPECT_EQ(Refused(engine_->Map(alice_, Ref("i2"), Pages(0, 2)).status()),
            "MAPPING_LIMIT max_mappings 3/4 +2 alice #1 mappings[1]");
  std::thread second([&] { EXPECT_TRUE(engine_->Map(alice_, Ref("i2"), Pages(0, 1)).ok()); });
  while (journal_.held() != 2) std::this_thread::yield();
  journal_.Release();
  first.join();
  second.join();
  EXPECT_EQ(RefusalsOf("max_mappings"), 1u);
}

TEST_F(EngineLimitsTest, AMapBehindTheUnmapThatMakesRoomForItWaitsForIt) {
  ASSERT_TRUE(Map(alice_, Pages(0, 4)).ok());
  journal_.Hold();
  std::thread unmap(
      [&] { EXPECT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0, kPage)).ok()); });
  while (journal_.held() != 1) std::this_thread::yield();
  // The unmap may still fail, so its room is not free yet; nor is a refusal final.
  std::thread map([&] { EXPECT_TRUE(Map(alice_, Pages(0, 1)).ok()); });
  while (UsageOf(alice_).find("in_flight 1") == std::string::npos) std::this_thread::yield();
  journal_.Release();
  unmap.join();
  map.join();
  EXPECT_EQ(RefusalsOf("max_mappings"), 0u) << "only final answers are counted";
}

// The second map stands on the first, whose effect is refused. While the second one's record is not
// durable yet, a map in another lane takes the room that its plan gave back.
TEST_F(EngineLimitsTest, AnotherLaneMayTakeTheRoomOfWhatIsPlannedAgain) {
  ASSERT_TRUE(engine_->CreateIoas(alice_, "i2").ok());
  absl::Notification applying, refuse;
  backend_.SetHook([&, refuse_first = RefuseNth("Map", 1)](const std::string& verb) {
    absl::Status answer = refuse_first(verb);
    if (answer.ok()) return answer;
    applying.Notify();
    refuse.WaitForNotification();
    return answer;
  });
  std::thread first(
      [&] { EXPECT_EQ(Described(Map(alice_, Pages(0, 1))), "RESOURCE_EXHAUSTED TEST"); });
  applying.WaitForNotification();
  journal_.Hold();
  std::thread second([&] {
    EXPECT_EQ(Refused(Map(alice_, Pages(8, 3))),
              "MAPPING_LIMIT max_mappings 2/4 +3 alice #2 mappings[2]");
  });
  while (journal_.held() != 1) std::this_thread::yield();
  EXPECT_EQ(Refused(engine_->Map(alice_, Ref("i2"), Pages(0, 2)).status()),
            "MAPPING_LIMIT max_mappings 4/4 +1 alice #0 mappings[0]")
      << "both are planned still";
  refuse.Notify();
  first.join();
  std::thread elsewhere([&] { EXPECT_TRUE(engine_->Map(alice_, Ref("i2"), Pages(0, 2)).ok()); });
  while (journal_.held() != 2) std::this_thread::yield();
  EXPECT_EQ(RefusalsOf("max_mappings"), 1u);
  journal_.Release();
  second.join();
  elsewhere.join();
  EXPECT_EQ(RefusalsOf("max_mappings"), 2u) << "counted once";
  EXPECT_EQ(UsageOf(alice_), ShownUsage(*engine_, alice_));
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->mapping_count, 0u);
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("i2"))->mapping_count, 2u);
}

TEST_F(EngineLimitsTest, AnUnmapGetsInWhereOneMoreMapDoesNot) {
  ASSERT_TRUE(Map(alice_, Pages(0, 1)).ok());
  journal_.Hold();
  std::vector<std::thread> maps;
  for (uint64_t i = 1; i <= 3; ++i) {
    maps.emplace_back([this, i] { EXPECT_TRUE(Map(alice_, Pages(i, 1)).ok()); });
  }
  while (journal_.held() != 3) std::this_thread::yield();
  EXPECT_EQ(Refused(Map(alice_, Pages(8, 1))),
            "IN_FLIGHT_LIMIT max_operations_in_flight 3/3 +1 alice");
  std::atomic<bool> answered{false};
  std::thread unmap([&] {
    EXPECT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0, kPage)).ok());
    answered = true;
  });
  while (journal_.held() != 4 && !answered) std::this_thread::yield();
  EXPECT_NE(UsageOf(alice_).find("max_operations_in_flight 3\n"), std::string::npos)
      << "a revoke is not counted: " << UsageOf(alice_);
  journal_.Release();
  for (std::thread& map : maps) map.join();
  unmap.join();
}

TEST_F(EngineLimitsTest, StreamsAreLimitedAndGivenBack) {
  StreamOptions options;
  options.ioas = Ref("as");
  auto first = engine_->OpenMappingStream(alice_, options);
  auto second = engine_->OpenMappingStream(alice_, options);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(Refused(engine_->OpenMappingStream(alice_, options).status()),
            "STREAM_LIMIT max_streams 2/2 +1 alice");
  EXPECT_EQ(RefusalsOf("max_streams"), 1u);
  // A stream is its caller's, wherever it maps.
  options.ioas.owner = "alice";
  EXPECT_TRUE(engine_->OpenMappingStream(operator_, options).ok());
  options.ioas.owner.reset();
  first->reset();
  EXPECT_TRUE(engine_->OpenMappingStream(alice_, options).ok());
}

TEST_F(EngineLimitsTest, AStreamWaitsForItsOwnBatchesBeforeItIsRefused) {
  StreamOptions options;
  options.ioas = Ref("as");
  auto stream = *engine_->OpenMappingStream(alice_, options);
  journal_.Hold();
  std::thread submitter([&] {
    for (uint64_t i = 0; i < 8; ++i) {  // More than max_operations_in_flight.
      StreamBatch batch;
      batch.sequence = i + 1;
      if (i % 2 == 0) batch.map = Pages(i, 1);
      if (i % 2 == 1) batch.unmap = OneUnmap((i - 1) * kPage, kPage);
      stream->Submit(std::move(batch));
    }
    stream->CloseSubmissions();
  });
  while (journal_.held() == 0) std::this_thread::yield();
  journal_.Release();
  StreamReply reply;
  uint64_t replies = 0;
  while (stream->NextReply(&reply)) {
    EXPECT_TRUE(reply.status.ok()) << reply.status;
    ++replies;
  }
  submitter.join();
  EXPECT_EQ(replies, 8u);
  EXPECT_EQ(RefusalsOf("max_operations_in_flight"), 0u);
}

TEST_F(EngineLimitsTest, EveryLimitIsInTheHostsView) {
  const OwnerLimits limits = engine_->GetHost().owner_limits;
  EXPECT_EQ(limits.max_domains, 2u);
  EXPECT_EQ(limits.max_streams, 2u);
}

}  // namespace
}  // namespace viommu
