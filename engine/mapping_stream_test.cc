// The fast path: batches of one stream in order, several in flight, and what a failure stops.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "engine/engine_fixture.h"
#include "engine/shown_usage.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using Lines = std::vector<std::string>;

class MappingStreamTest : public EngineTest {
 protected:
  void SetUp() override { SetUpAlice(); }
  // Whatever failed, was stopped or was planned again: nothing of it is charged any more.
  void TearDown() override {
    stream_.reset();
    EXPECT_EQ(UsageOf(alice_), ShownUsage(*engine_, alice_));
  }

  void Open(OnError on_error = OnError::kStop) {
    auto stream = engine_->OpenMappingStream(alice_, {Ref("as"), on_error});
    ASSERT_TRUE(stream.ok()) << stream.status();
    stream_ = *std::move(stream);
  }
  static StreamBatch Mapping(uint64_t sequence, std::optional<Iova> iova) {
    return {sequence, OneMap(iova, 0x1000), std::nullopt};
  }
  static StreamBatch Unmapping(uint64_t sequence, Iova iova) {
    return {sequence, std::nullopt, OneUnmap(iova, 0x1000)};
  }
  std::string Next() {
    StreamReply reply;
    if (!stream_->NextReply(&reply)) return "end";
    return std::to_string(reply.sequence) + " " + DescribedInFull(reply.status);
  }
  Lines Next(int count) {
    Lines replies;
    for (int i = 0; i < count; ++i) replies.push_back(Next());
    return replies;
  }
  uint64_t Mapped() { return engine_->GetIoas(alice_, Ref("as"))->mapping_count; }
  void AwaitHeld(size_t count) {
    while (journal_.held() != count) std::this_thread::yield();
  }

  std::unique_ptr<MappingStream> stream_;
};

TEST_F(MappingStreamTest, AnswersInTheOrderOfSubmission) {
  Open();
  for (uint64_t i = 1; i <= 5; ++i) stream_->Submit(Mapping(10 * i, std::nullopt));
  stream_->Submit(Unmapping(60, 0x1000));
  uint64_t revision = 0;
  for (uint64_t i = 1; i <= 5; ++i) {
    StreamReply reply;
    ASSERT_TRUE(stream_->NextReply(&reply));
    EXPECT_TRUE(reply.status.ok()) << reply.status;
    EXPECT_EQ(reply.sequence, 10 * i);
    EXPECT_EQ(reply.map.iovas, std::vector<Iova>{i * 0x1000});
    EXPECT_GT(reply.map.mapping_revision, revision);
    revision = reply.map.mapping_revision;
  }
  StreamReply reply;
  ASSERT_TRUE(stream_->NextReply(&reply));
  EXPECT_EQ(reply.unmap.unmapped_areas, 1u);
  EXPECT_EQ(reply.unmap.unmapped_bytes, 0x1000u);
  EXPECT_GT(reply.unmap.mapping_revision, revision);
}

TEST_F(MappingStreamTest, EndsWhenSubmissionsAreClosedAndEveryReplyIsTaken) {
  Open();
  stream_->Submit(Mapping(1, 0x1000));
  stream_->CloseSubmissions();
  EXPECT_EQ(Next(3), (Lines{"1 OK", "end", "end"}));
  Open();
  std::thread waiting([&] { EXPECT_EQ(Next(), "end"); });
  stream_->CloseSubmissions();
  waiting.join();
}

TEST_F(MappingStreamTest, RefusesToOpenOnWhatIsNotThere) {
  EXPECT_EQ(Described(engine_->OpenMappingStream(alice_, {Ref("no"), OnError::kStop}).status()),
            "NOT_FOUND IOAS_NOT_FOUND");
  EXPECT_EQ(Described(engine_->OpenMappingStream(bob_, {Ref("as"), OnError::kStop}).status()),
            "NOT_FOUND IOAS_NOT_FOUND");
}

TEST_F(MappingStreamTest, RefusesSequencesThatDoNotAscend) {
  Open(OnError::kContinue);
  for (const uint64_t sequence : {5, 5, 4, 0, 6}) {
    stream_->Submit(Mapping(sequence, std::nullopt));
  }
  EXPECT_EQ(Next(5), (Lines{"5 OK", "5 INVALID_ARGUMENT SEQUENCE_NOT_ASCENDING sequence",
                            "4 INVALID_ARGUMENT SEQUENCE_NOT_ASCENDING sequence",
                            "0 INVALID_ARGUMENT SEQUENCE_NOT_ASCENDING sequence", "6 OK"}));
  EXPECT_EQ(Mapped(), 2u);
}

TEST_F(MappingStreamTest, RefusesABatchThatIsNeitherAllMapsNorAllUnmaps) {
  Open(OnError::kContinue);
  stream_->Submit({1, std::nullopt, std::nullopt});
  stream_->Submit({2, OneMap(0x1000, 0x1000), OneUnmap(0x1000, 0x1000)});
  EXPECT_EQ(Next(2),
            (Lines{"1 INVALID_ARGUMENT INVALID_BATCH", "2 INVALID_ARGUMENT INVALID_BATCH"}));
  EXPECT_EQ(Mapped(), 0u);
}

TEST_F(MappingStreamTest, KeepsSeveralBatchesInFlightWithoutWaiting) {
  Open();
  journal_.Hold();
  for (uint64_t i = 1; i <= 4; ++i) stream_->Submit(Mapping(i, std::nullopt));
  EXPECT_EQ(journal_.held(), 4u);
  EXPECT_EQ(Mapped(), 0u);
  journal_.Release();
  EXPECT_EQ(Next(4), (Lines{"1 OK", "2 OK", "3 OK", "4 OK"}));
  EXPECT_EQ(Mapped(), 4u);
}

TEST_F(MappingStreamTest, StopsAtARefusalUntilItIsAcknowledged) {
  Open();
  stream_->Submit(Mapping(1, 0x1000));
  stream_->Submit(Mapping(2, 0x1000));
  stream_->Submit(Mapping(3, 0x2000));
  EXPECT_EQ(Next(3), (Lines{"1 OK", "2 ALREADY_EXISTS IOVA_OCCUPIED mappings[0].iova #0",
                            "3 ABORTED STREAM_STOPPED"}));
  stream_->Submit(Mapping(4, 0x3000));
  EXPECT_EQ(Next(), "4 ABORTED STREAM_STOPPED") << "seeing it is not acknowledging it";
  stream_->Acknowledge();
  stream_->Submit(Mapping(5, 0x4000));
  EXPECT_EQ(Next(), "5 OK");
  EXPECT_EQ(Mapped(), 2u);
}

TEST_F(MappingStreamTest, StopsAtABatchThatIsMalformed) {
  Open();
  stream_->Submit({1, std::nullopt, std::nullopt});
  stream_->Submit(Mapping(2, 0x1000));
  EXPECT_EQ(Next(2), (Lines{"1 INVALID_ARGUMENT INVALID_BATCH", "2 ABORTED STREAM_STOPPED"}));
}

TEST_F(MappingStreamTest, AbortsWhatIsInFlightBehindAFailure) {
  Open();
  journal_.Hold();
  for (uint64_t i = 1; i <= 5; ++i) stream_->Submit(Mapping(i, std::nullopt));
  backend_.SetHook(RefuseNth("Map", 3));
  journal_.Release();
  EXPECT_EQ(Next(5), (Lines{"1 OK", "2 OK", "3 RESOURCE_EXHAUSTED TEST", "4 ABORTED STREAM_STOPPED",
                            "5 ABORTED STREAM_STOPPED"}));
  EXPECT_EQ(Mapped(), 2u);
  EXPECT_EQ(UsageOf(alice_), ShownUsage(*engine_, alice_) + "alice max_streams 1\n")
      << "the aborted ones are no longer under way";
  EXPECT_EQ(journal_.aborted(),
            (std::vector<Ticket>{journal_.records().size(), journal_.records().size() - 1,
                                 journal_.records().size() - 2}));
}

TEST_F(MappingStreamTest, OneAcknowledgementIsEnoughForAllThatAFailureStopped) {
  Open();
  journal_.Hold();
  for (uint64_t i = 1; i <= 3; ++i) stream_->Submit(Mapping(i, std::nullopt));
  backend_.SetHook(RefuseNth("Map", 1));
  journal_.Release();
  EXPECT_EQ(Next(), "1 RESOURCE_EXHAUSTED TEST");
  stream_->Acknowledge();
  stream_->Submit(Mapping(4, 0x4000));
  EXPECT_EQ(Next(3), (Lines{"2 ABORTED STREAM_STOPPED", "3 ABORTED STREAM_STOPPED", "4 OK"}));
  stream_->Submit(Mapping(5, 0x5000));
  EXPECT_EQ(Next(), "5 OK") << "the aborted ones are no failures of their own";
}

TEST_F(MappingStreamTest, StopsAtAFailureOfTheJournal) {
  Open();
  journal_.Hold();
  stream_->Submit(Mapping(1, 0x1000));
  stream_->Submit(Mapping(2, 0x2000));
  journal_.SetAnswer(absl::DataLossError("disk gone"));
  journal_.Release();
  EXPECT_EQ(Next(2), (Lines{"1 UNAVAILABLE JOURNAL_FAILED", "2 ABORTED STREAM_STOPPED"}));
  EXPECT_EQ(Mapped(), 0u);
}

TEST_F(MappingStreamTest, ContinuesPastAFailureWhereAskedTo) {
  Open(OnError::kContinue);
  journal_.Hold();
  for (uint64_t i = 1; i <= 3; ++i) stream_->Submit(Mapping(i, i * 0x1000));
  backend_.SetHook(RefuseNth("Map", 2));
  journal_.Release();
  EXPECT_EQ(Next(3), (Lines{"1 OK", "2 RESOURCE_EXHAUSTED TEST", "3 OK"}));
  stream_->Submit(Mapping(4, 0x1000));
  stream_->Submit(Mapping(5, 0x2000));
  EXPECT_EQ(Next(2), (Lines{"4 ALREADY_EXISTS IOVA_OCCUPIED mappings[0].iova #0", "5 OK"}));
}

// The unmap can not be planned while the map may still be taken back.
TEST_F(MappingStreamTest, SettlesABatchBeforeOneThatDependsOnIt) {
  const struct {
    OnError on_error;
    bool fails;
    Lines want;
  } kCases[] = {
      {OnError::kStop, false, {"1 OK", "2 OK", "3 OK"}},
      {OnError::kStop,
       true,
       {"1 RESOURCE_EXHAUSTED TEST", "2 ABORTED STREAM_STOPPED", "3 ABORTED STREAM_STOPPED"}},
      {OnError::kContinue,
       true,
       {"1 RESOURCE_EXHAUSTED TEST", "2 NOT_FOUND IOVA_NOT_COVERED ranges[0].iova #0", "3 OK"}},
  };
  for (const auto& c : kCases) {
    Open(c.on_error);
    if (c.fails) backend_.SetHook(RefuseNth("Map", 1));
    journal_.Hold();
    stream_->Submit(Mapping(1, 0x1000));
    std::thread storage([&] {
      absl::SleepFor(absl::Milliseconds(5));
      journal_.Release();
    });
    stream_->Submit(Unmapping(2, 0x1000));
    stream_->Submit(Mapping(3, 0x2000));
    storage.join();
    EXPECT_EQ(Next(3), c.want);
    UnmapBatch all;
    all.all = true;
    ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), all).ok());
  }
}

// Batch 1 stands on another client's unmap; when that fails, 1 is planned again and refused.
TEST_F(MappingStreamTest, AbortsWhatIsInFlightBehindABatchThatIsRefusedOnItsSecondPlan) {
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
  Open();
  journal_.Hold();
  std::thread other([&] {
    EXPECT_EQ(Described(engine_->Unmap(alice_, Ref("as"), OneUnmap(0x1000, 0x1000)).status()),
              "RESOURCE_EXHAUSTED TEST");
  });
  AwaitHeld(1);
  stream_->Submit(Mapping(1, 0x1000));
  stream_->Submit(Mapping(2, 0x2000));
  ASSERT_EQ(journal_.held(), 3u);
  backend_.SetHook(RefuseNth("Unmap", 1));
  journal_.Release();
  other.join();
  EXPECT_EQ(Next(2), (Lines{"1 ALREADY_EXISTS IOVA_OCCUPIED mappings[0].iova #0",
                            "2 ABORTED STREAM_STOPPED"}));
  EXPECT_EQ(Mapped(), 1u);
}

TEST_F(MappingStreamTest, AnotherClientsFailureDoesNotStopTheStream) {
  Open();
  journal_.Hold();
  std::thread other([&] {
    EXPECT_EQ(Described(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).status()),
              "RESOURCE_EXHAUSTED TEST");
  });
  AwaitHeld(1);
  stream_->Submit(Mapping(1, 0x2000));
  stream_->Submit(Mapping(2, 0x3000));
  backend_.SetHook(RefuseNth("Map", 1));
  journal_.Release();
  other.join();
  EXPECT_EQ(Next(2), (Lines{"1 OK", "2 OK"}));
}

TEST_F(MappingStreamTest, FinishesWhatWasSubmittedWhenItIsDropped) {
  Open();
  journal_.Hold();
  for (uint64_t i = 1; i <= 3; ++i) stream_->Submit(Mapping(i, std::nullopt));
  journal_.Release();
  stream_.reset();
  EXPECT_EQ(Mapped(), 3u);
  EXPECT_TRUE(engine_->CreateDomain(alice_, "d2", PagingDomainRequest{Ref("as"), "dev0"}).ok())
      << "its lane is free";
}

TEST_F(MappingStreamTest, WaitsWhileTooManyRepliesAreNotTaken) {
  Open();
  for (uint64_t i = 1; i <= kMaxInFlightBatches; ++i) stream_->Submit(Mapping(i, std::nullopt));
  std::atomic<bool> submitted{false};
  std::thread submitter([&] {
    stream_->Submit(Mapping(kMaxInFlightBatches + 1, std::nullopt));
    submitted = true;
  });
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_FALSE(submitted);
  EXPECT_EQ(Next(), "1 OK");
  submitter.join();
  for (uint64_t i = 2; i <= kMaxInFlightBatches + 1; ++i) {
    EXPECT_EQ(Next(), std::to_string(i) + " OK");
  }
}

TEST_F(MappingStreamTest, LeavesNothingToASlowReaderThatCouldBeDone) {
  Open();
  stream_->Submit(Mapping(1, 0x1000));
  stream_->Submit(Mapping(2, 0x2000));
  // No reply was taken, yet nobody waits for the stream.
  EXPECT_TRUE(engine_->Translate(alice_, Ref("as"), 0x2000).ok());
  EXPECT_TRUE(engine_->CreateDomain(alice_, "d2", PagingDomainRequest{Ref("as"), "dev0"}).ok());
}

}  // namespace
}  // namespace viommu
