// A server that answers when it is told to; the real engine is in tests/client.
#include "clients/client/mapping_batcher.h"

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "viommu/v1/mapping.grpc.pb.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Mappings final : public v1::MappingService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::StreamMappingsResponse, v1::StreamMappingsRequest>;

  // Lets `answers` more batches be answered.
  void Allow(int answers) {
    const absl::MutexLock lock(&mutex_);
    allowed_ += answers;
  }
  // Ends the stream with `status` instead of the next answer that is not allowed.
  void EndWith(grpc::Status status) {
    const absl::MutexLock lock(&mutex_);
    end_ = std::move(status);
    ends_ = true;
  }
  // Says of the next batch that it failed.
  void FailNext() {
    const absl::MutexLock lock(&mutex_);
    fails_ = true;
  }
  // Takes nothing from the streams that are opened from now on.
  void ReadNothing() {
    const absl::MutexLock lock(&mutex_);
    reads_ = false;
  }
  void AnswerOutOfTurn() {
    const absl::MutexLock lock(&mutex_);
    out_of_turn_ = true;
  }
  std::vector<std::string> batches() {
    const absl::MutexLock lock(&mutex_);
    return batches_;
  }

  grpc::Status StreamMappings(grpc::ServerContext* context, Stream* stream) override {
    if (!Reads()) return AwaitEnd(*context);
    for (v1::StreamMappingsRequest request; stream->Read(&request);) {
      if (!request.has_map() && !request.has_unmap()) continue;
      if (!MayAnswer(request, *context)) return End();
      stream->Write(AnswerTo(request));
    }
    return grpc::Status::OK;
  }

 private:
  bool Reads() {
    const absl::MutexLock lock(&mutex_);
    return reads_;
  }

  grpc::Status AwaitEnd(const grpc::ServerContext& context) {
    const absl::MutexLock lock(&mutex_);
    while (!ends_ && !context.IsCancelled()) {
      mutex_.AwaitWithTimeout(absl::Condition(&ends_), absl::Milliseconds(5));
    }
    return end_;
  }

  bool MayAnswer(const v1::StreamMappingsRequest& request, const grpc::ServerContext& context) {
    const absl::MutexLock lock(&mutex_);
    batches_.push_back(request.has_map()
                           ? absl::StrCat("map ", request.map().offset_size())
                           : absl::StrCat("unmap ", request.unmap().all() ? "all" : "some"));
    while (allowed_ == 0) {
      if (ends_ || context.IsCancelled()) return false;
      mutex_.AwaitWithTimeout(
          absl::Condition(
              +[](Mappings* self) { return self->allowed_ > 0 || self->ends_; }, this),
          absl::Milliseconds(5));
    }
    --allowed_;
    return true;
  }

  grpc::Status End() {
    const absl::MutexLock lock(&mutex_);
    return end_;
  }

  v1::StreamMappingsResponse AnswerTo(const v1::StreamMappingsRequest& request) {
    const absl::MutexLock lock(&mutex_);
    v1::StreamMappingsResponse response;
    response.set_sequence(request.has_map() ? request.map().sequence()
                                            : request.unmap().sequence());
    if (std::exchange(fails_, false)) response.mutable_status()->set_code(grpc::ALREADY_EXISTS);
    if (out_of_turn_) response.set_sequence(99);
    return response;
  }

  absl::Mutex mutex_;
  int allowed_ = 0;
  bool reads_ = true;
  bool ends_ = false;
  bool fails_ = false;
  bool out_of_turn_ = false;
  grpc::Status end_ = grpc::Status::OK;
  std::vector<std::string> batches_;
};

// For a few entries to be sent, on a machine that compiles meanwhile.
constexpr absl::Duration kTimeToFill = absl::Seconds(2);

class MappingBatcherTest : public ::testing::Test {
 protected:
  MappingBatcherTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&mappings_);
    server_ = builder.BuildAndStart();
    auto client = Client::Connect(absl::StrCat("127.0.0.1:", port));
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    options_.ioas = "ioas/vm0";
    options_.default_memory_region = "memoryRegions/ram";
    options_.batch_entries = 4;
    options_.max_in_flight = 2;
  }

  ~MappingBatcherTest() override {
    batcher_.reset();
    server_->Shutdown(absl::ToChronoTime(absl::Now()));
  }

  void Open() {
    auto batcher = MappingBatcher::Open(client_.get(), options_);
    ASSERT_TRUE(batcher.ok()) << batcher.status();
    batcher_ = *std::move(batcher);
  }

  static MapOne Page(uint64_t number) { return {number * 4096, number * 4096, 4096}; }

  // Adds from page `first` on, until as many batches are in flight as may be and the one being
  // filled is full; the first page that was not added.
  uint64_t Fill(uint64_t first = 0) {
    const uint64_t in_flight = options_.max_in_flight * options_.batch_entries;
    for (uint64_t i = first;;) {
      const auto added = batcher_->TryMap(Page(i));
      if (added.ok()) {
        EXPECT_EQ(*added, i++);
        continue;
      }
      EXPECT_EQ(added.status().code(), absl::StatusCode::kResourceExhausted) << added.status();
      if (!absl::IsResourceExhausted(added.status()) ||
          CountOf(batcher_->outcome().unknown) == in_flight) {
        return i;
      }
      absl::SleepFor(absl::Milliseconds(1));  // A batch is being sent.
    }
  }

  // Tries to add pages, until none was taken for a while; how long the slowest try took.
  absl::Duration FillConnection(uint64_t* added) {
    absl::Duration longest;
    for (int refused = 0; refused < 100;) {
      const absl::Time start = absl::Now();
      const absl::Status status = batcher_->TryMap(Page(*added)).status();
      longest = std::max(longest, absl::Now() - start);
      if (status.ok()) {
        ++*added;
        refused = 0;
        continue;
      }
      EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
      ++refused;
      absl::SleepFor(absl::Milliseconds(2));
    }
    return longest;
  }

  static uint64_t CountOf(const std::vector<EntryRange>& ranges) {
    uint64_t count = 0;
    for (const EntryRange& range : ranges) count += range.count();
    return count;
  }

  void ExpectOutcome(const std::vector<EntryRange>& applied,
                     const std::vector<EntryRange>& not_applied,
                     const std::vector<EntryRange>& unknown) {
    const BatcherOutcome outcome = batcher_->outcome();
    EXPECT_EQ(outcome.applied, applied) << Describe(outcome.applied);
    EXPECT_EQ(outcome.not_applied, not_applied) << Describe(outcome.not_applied);
    EXPECT_EQ(outcome.unknown, unknown) << Describe(outcome.unknown);
  }

  Mappings mappings_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
  BatcherOptions options_;
  std::unique_ptr<MappingBatcher> batcher_;
};

TEST_F(MappingBatcherTest, TakesNoMoreThanItsLimits) {
  Open();
  EXPECT_EQ(Fill(), 12u) << "two batches in flight and one full";
  ExpectOutcome({}, {{8, 11}}, {{0, 7}});
  mappings_.Allow(100);
  EXPECT_TRUE(batcher_->Flush().ok());
  ExpectOutcome({{0, 11}}, {}, {});
}

TEST_F(MappingBatcherTest, AddingBlocksUntilThereIsRoom) {
  Open();
  Fill();
  absl::Time allowed;
  std::thread server([&] {
    absl::SleepFor(absl::Milliseconds(50));
    allowed = absl::Now();
    mappings_.Allow(1);
  });
  const auto added = batcher_->Map(Page(12));
  const absl::Time done = absl::Now();
  server.join();
  EXPECT_GE(done, allowed) << "there was no room before";
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_EQ(*added, 12u);
  mappings_.Allow(100);
  EXPECT_TRUE(batcher_->Close().ok());
}

TEST_F(MappingBatcherTest, TryingNeverWaitsForAConnectionThatIsFull) {
  mappings_.ReadNothing();
  options_.batch_entries = 10'000;  // A message of some 100 KB.
  options_.max_in_flight = 1'000;
  Open();
  uint64_t added = 0;
  const absl::Duration longest = FillConnection(&added);
  EXPECT_LT(longest, options_.answer_timeout / 2);
  EXPECT_LT(added, options_.max_in_flight * options_.batch_entries) << "nothing is read";

  // What was handed over may have arrived.
  EXPECT_GE(CountOf(batcher_->outcome().unknown), options_.batch_entries);
  mappings_.EndWith(grpc::Status(grpc::UNAVAILABLE, "Socket closed"));
  EXPECT_EQ(batcher_->Flush().code(), absl::StatusCode::kUnavailable);
  const BatcherOutcome outcome = batcher_->outcome();
  EXPECT_THAT(outcome.applied, IsEmpty());
  EXPECT_GE(CountOf(outcome.unknown), options_.batch_entries);
  EXPECT_EQ(CountOf(outcome.unknown) + CountOf(outcome.not_applied), added);
}

TEST_F(MappingBatcherTest, KnowsThatABatchDidNotGoOutBehindOneThatIsNotTaken) {
  mappings_.ReadNothing();
  options_.batch_entries = 10'000;
  options_.max_in_flight = 1'000;
  options_.answer_timeout = absl::Seconds(2);
  Open();
  uint64_t added = 0;
  FillConnection(&added);
  const BatcherOutcome before = batcher_->outcome();
  const absl::Status status = batcher_->Flush();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the server took nothing for 2s"));
  ExpectOutcome({}, before.not_applied, before.unknown);
  EXPECT_EQ(CountOf(before.unknown) + CountOf(before.not_applied), added);
  EXPECT_EQ(CountOf(before.not_applied), options_.batch_entries);
}
TEST_F(MappingBatcherTest, PacksEntriesOfOneKind) {
  mappings_.Allow(100);
  Open();
  for (uint64_t i = 0; i < 6; ++i) ASSERT_TRUE(batcher_->Map(Page(i)).ok());
  MapOne anywhere;
  anywhere.length = 4096;
  ASSERT_TRUE(batcher_->Map(anywhere).ok());
  ASSERT_TRUE(batcher_->Unmap({0, 4096}).ok());
  ASSERT_TRUE(batcher_->Unmap({4096, 4096}).ok());
  const auto all = batcher_->UnmapAll();
  ASSERT_TRUE(all.ok()) << all.status();
  EXPECT_EQ(*all, 9u);
  const auto batch = batcher_->MapBatch({Page(0), Page(1), Page(2), Page(3), Page(4), Page(5)});
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_EQ(*batch, 10u);
  const auto unmap_batch = batcher_->UnmapBatch({{0, 4096}});
  ASSERT_TRUE(unmap_batch.ok()) << unmap_batch.status();
  EXPECT_EQ(*unmap_batch, 16u);
  EXPECT_TRUE(batcher_->Close().ok());
  EXPECT_THAT(mappings_.batches(), ElementsAre("map 4", "map 2", "map 1", "unmap some", "unmap all",
                                               "map 6", "unmap some"));
  ExpectOutcome({{0, 16}}, {}, {});
}

TEST_F(MappingBatcherTest, RefusesWhatCanBeNoBatch) {
  mappings_.Allow(100);
  Open();
  constexpr auto kRefused = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(batcher_->MapBatch({}).status().code(), kRefused);
  EXPECT_EQ(batcher_->UnmapBatch({}).status().code(), kRefused);
  EXPECT_EQ(batcher_->MapBatch({Page(0), MapOne()}).status().code(), kRefused);
  options_.default_memory_region = "";
  Open();
  EXPECT_EQ(batcher_->Map(Page(0)).status().code(), kRefused);
  EXPECT_TRUE(batcher_->Close().ok());
  ExpectOutcome({}, {}, {});
}

TEST_F(MappingBatcherTest, RefusesWrongOptions) {
  BatcherOptions wrong[] = {options_, options_, options_};
  wrong[0].ioas = "";
  wrong[1].batch_entries = 0;
  wrong[2].max_in_flight = 0;
  for (const BatcherOptions& options : wrong) {
    EXPECT_EQ(MappingBatcher::Open(client_.get(), options).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(MappingBatcherTest, TellsWhatIsKnownWhenTheStreamBreaks) {
  Open();
  mappings_.Allow(3);
  for (uint64_t i = 0; i < 12; ++i) ASSERT_TRUE(batcher_->Map(Page(i)).ok());
  ASSERT_TRUE(batcher_->Flush().ok());
  EXPECT_EQ(Fill(12), 24u);
  mappings_.EndWith(grpc::Status(grpc::UNAVAILABLE, "Socket closed"));
  const absl::Status status = batcher_->Flush();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  const BatcherOutcome outcome = batcher_->outcome();
  EXPECT_EQ(outcome.applied, (std::vector<EntryRange>{{0, 11}}));
  EXPECT_EQ(outcome.unknown, (std::vector<EntryRange>{{12, 19}}));
  EXPECT_EQ(outcome.not_applied, (std::vector<EntryRange>{{20, 23}}));
  EXPECT_EQ(std::string(status.message()),
            "the mapping stream is broken: Socket closed; entries applied: 0 to 11; not applied: "
            "20 to 23; unknown: 12 to 19");
  EXPECT_EQ(batcher_->Map(Page(0)).status(), status) << "every call says it from now on";
  EXPECT_EQ(batcher_->Acknowledge(), status);
}

TEST_F(MappingBatcherTest, KnowsThatNothingIsAppliedBehindAnEndOfTheServers) {
  Open();
  mappings_.Allow(1);
  Fill();
  // Without an error the server says itself that it is finished.
  mappings_.EndWith(grpc::Status::OK);
  const absl::Status status = batcher_->Flush();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("the server ended it"));
  EXPECT_THAT(batcher_->outcome().unknown, IsEmpty());
  EXPECT_THAT(batcher_->outcome().applied, ElementsAre(EntryRange{0, 3}));
}

TEST_F(MappingBatcherTest, KnowsThatNothingIsAppliedBehindAFailureThatStops) {
  Open();
  Fill();
  mappings_.FailNext();
  mappings_.Allow(1);
  mappings_.EndWith(grpc::Status(grpc::UNAVAILABLE, "Socket closed"));
  const absl::Status status = batcher_->Flush();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("; entries 0 to 3 (batch 1): "));
  ExpectOutcome({}, {{0, 11}}, {});
}

TEST_F(MappingBatcherTest, GivesUpOnASilentServer) {
  options_.answer_timeout = kTimeToFill;
  Open();
  Fill();
  const absl::Status status = batcher_->Flush();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no answer for 2s"));
  ExpectOutcome({}, {{8, 11}}, {{0, 7}});
}

TEST_F(MappingBatcherTest, EndsWithItsTime) {
  options_.timeout = kTimeToFill;
  Open();
  Fill();
  EXPECT_EQ(batcher_->Flush().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(MappingBatcherTest, BelievesNoAnswerOutOfTurn) {
  mappings_.AnswerOutOfTurn();
  mappings_.Allow(1);
  Open();
  ASSERT_TRUE(batcher_->Map(Page(0)).ok());
  const absl::Status status = batcher_->Flush();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("answers batch 99 out of turn"));
  ExpectOutcome({}, {}, {{0, 0}});
}

TEST_F(MappingBatcherTest, IsToldOfAFailureBeforeItIsAcknowledged) {
  Open();
  ASSERT_TRUE(batcher_->Map(Page(0)).ok());
  mappings_.FailNext();
  std::thread server([this] {
    absl::SleepFor(absl::Milliseconds(50));
    mappings_.Allow(1);
  });
  const absl::Status first = batcher_->Acknowledge();
  server.join();
  EXPECT_EQ(first.code(), absl::StatusCode::kAlreadyExists) << first;
  EXPECT_EQ(batcher_->Map(Page(1)).status(), first);
  EXPECT_TRUE(batcher_->Acknowledge().ok());
  mappings_.Allow(1);
  EXPECT_TRUE(batcher_->Map(Page(1)).ok());
  EXPECT_TRUE(batcher_->Close().ok());
  ExpectOutcome({{1, 1}}, {{0, 0}}, {});
}

TEST_F(MappingBatcherTest, DoesNotTakeASlowListenerForASilentServer) {
  options_.answer_timeout = absl::Milliseconds(1500);
  options_.max_in_flight = 1;
  int told = 0;  // Flush makes it safe to look.
  options_.on_answer = [&told](const BatchAnswer& /*answer*/) {
    absl::SleepFor(absl::Seconds(2));
    ++told;
  };
  mappings_.Allow(100);
  Open();
  for (uint64_t i = 0; i < 6; ++i) ASSERT_TRUE(batcher_->Map(Page(i)).ok());
  EXPECT_TRUE(batcher_->Close().ok());
  EXPECT_EQ(told, 2);
  ExpectOutcome({{0, 5}}, {}, {});
}

TEST_F(MappingBatcherTest, MayBeDroppedWithBatchesInFlight) {
  Open();
  Fill();
  batcher_.reset();  // Does not wait for answers that never come.
}

TEST_F(MappingBatcherTest, TakesNothingOnceItIsClosed) {
  mappings_.Allow(100);
  Open();
  ASSERT_TRUE(batcher_->Map(Page(0)).ok());
  EXPECT_TRUE(batcher_->Close().ok());
  EXPECT_EQ(batcher_->Map(Page(1)).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(batcher_->Close().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(batcher_->Flush().ok()) << "everything is answered";
  ExpectOutcome({{0, 0}}, {}, {});
}

TEST_F(MappingBatcherTest, TellsEachAnswerBeforeFlushReturns) {
  std::vector<EntryRange> told;  // Flush makes it safe to look.
  options_.on_answer = [&told](const BatchAnswer& answer) {
    absl::SleepFor(absl::Milliseconds(5));
    told.push_back(answer.entries);
  };
  mappings_.Allow(100);
  Open();
  for (uint64_t i = 0; i < 10; ++i) ASSERT_TRUE(batcher_->Map(Page(i)).ok());
  EXPECT_TRUE(batcher_->Flush().ok());
  EXPECT_THAT(told, ElementsAre(EntryRange{0, 3}, EntryRange{4, 7}, EntryRange{8, 9}));
}

}  // namespace
}  // namespace viommu
