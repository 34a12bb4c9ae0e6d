// One stream, two threads: a submitter and a taker of replies, over a journal that answers late.
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kBatches = 3000;

class MappingStreamThreadsTest : public EngineTest {
 protected:
  void SetUp() override {
    SetUpAlice();
    storage_ = std::thread([this] {
      while (!storage_done_) {
        journal_.Hold();
        std::this_thread::yield();
        journal_.Release();
      }
    });
  }
  void TearDown() override { StopStorage(); }

  // From here on the test itself holds and releases the journal.
  void StopStorage() {
    storage_done_ = true;
    if (storage_.joinable()) storage_.join();
  }

  // Maps a page and, in every second batch, unmaps it again: half of the batches stand on the one
  // in flight before them.
  static StreamBatch Batch(uint64_t sequence) {
    const Iova iova = 0x1000 * (1 + sequence / 2 % 64);
    if (sequence % 2 == 0) return {sequence, OneMap(iova, 0x1000), std::nullopt};
    return {sequence, std::nullopt, OneUnmap(iova, 0x1000)};
  }

  std::atomic<bool> storage_done_{false};
  std::thread storage_;
};

TEST_F(MappingStreamThreadsTest, KeepsTheOrderBetweenSubmitterAndTaker) {
  auto stream = *engine_->OpenMappingStream(alice_, {Ref("as"), OnError::kStop});
  std::thread submitter([&] {
    for (uint64_t i = 0; i < kBatches; ++i) stream->Submit(Batch(i));
    stream->CloseSubmissions();
  });
  uint64_t next = 0;
  StreamReply reply;
  while (stream->NextReply(&reply)) {
    EXPECT_EQ(reply.sequence, next++);
    EXPECT_TRUE(reply.status.ok()) << reply.sequence << " " << reply.status;
  }
  submitter.join();
  EXPECT_EQ(next, kBatches);
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->mapping_count, 0u);
}

// After a failure no batch takes effect that was submitted before the failure was acknowledged,
// however the two threads and the storage interleave.
TEST_F(MappingStreamThreadsTest, NothingTakesEffectBetweenAFailureAndItsAcknowledgement) {
  auto stream = *engine_->OpenMappingStream(alice_, {Ref("as"), OnError::kStop});
  auto effects = std::make_shared<std::atomic<int>>(0);
  backend_.SetHook([effects](const std::string&) {
    if (++*effects % 50 != 0) return absl::OkStatus();
    return absl::Status(Error(absl::StatusCode::kResourceExhausted, "TEST", "refused"));
  });
  std::vector<uint64_t> acknowledged;  // Last batch submitted before each acknowledgement.
  std::atomic<bool> failed{false};
  std::thread submitter([&] {
    for (uint64_t i = 0; i < kBatches; ++i) {
      stream->Submit({i, OneMap(std::nullopt, 0x1000), std::nullopt});
      if (!failed.exchange(false)) continue;
      stream->Acknowledge();
      acknowledged.push_back(i);
    }
    stream->CloseSubmissions();
  });
  std::vector<std::string> replies;
  for (StreamReply reply; stream->NextReply(&reply);) {
    EXPECT_EQ(reply.sequence, replies.size());
    replies.push_back(Described(reply.status));
    if (replies.back() == "RESOURCE_EXHAUSTED TEST") failed = true;
  }
  submitter.join();
  ASSERT_EQ(replies.size(), kBatches);
  auto acknowledgement = acknowledged.begin();
  uint64_t failures = 0;
  for (uint64_t i = 0; i < kBatches; ++i) {
    if (replies[i] == "OK") continue;
    ++failures;
    ASSERT_EQ(replies[i], "RESOURCE_EXHAUSTED TEST") << i;
    const bool last = acknowledgement == acknowledged.end();
    const uint64_t until = last ? kBatches - 1 : *acknowledgement++;
    while (i < until) ASSERT_EQ(replies[++i], "ABORTED STREAM_STOPPED") << i;
  }
  EXPECT_GT(failures, 0u);
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->mapping_count,
            static_cast<uint64_t>(std::count(replies.begin(), replies.end(), "OK")));
}

TEST_F(MappingStreamThreadsTest, AClientThatTakesNoRepliesHoldsUpNobody) {
  auto stream = engine_->OpenMappingStream(alice_, {Ref("as"), OnError::kContinue});
  ASSERT_TRUE(stream.ok());
  StopStorage();
  journal_.Hold();
  (*stream)->Submit({1, OneMap(0x10000, 0x1000), std::nullopt});
  while (journal_.held() == 0) std::this_thread::yield();
  journal_.Release();
  // Nobody asks for the reply; an exclusive verb on the same Ioas gets its turn all the same.
  EXPECT_TRUE(engine_->CreateDomain(alice_, "late", PagingDomainRequest{Ref("as"), "dev0"}).ok());
  EXPECT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0x10000, 0x1000)).ok());
}

TEST_F(MappingStreamThreadsTest, StaysBoundToTheIoasThatItWasOpenedFor) {
  ASSERT_TRUE(engine_->CreateIoas(alice_, "other").ok());
  auto stream = engine_->OpenMappingStream(alice_, {Ref("other"), OnError::kContinue});
  ASSERT_TRUE(stream.ok());
  ASSERT_TRUE(engine_->DeleteIoas(alice_, Ref("other"), "").ok());
  ASSERT_TRUE(engine_->CreateIoas(alice_, "other").ok());
  (*stream)->Submit({1, OneMap(0x10000, 0x1000), std::nullopt});
  StreamReply reply;
  ASSERT_TRUE((*stream)->NextReply(&reply));
  EXPECT_EQ(Described(reply.status), "NOT_FOUND IOAS_NOT_FOUND");
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("other"))->mapping_count, 0u);
}

}  // namespace
}  // namespace viommu
