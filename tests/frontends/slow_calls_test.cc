// Calls that wait, and clients that do not: real gRPC over an engine whose journal holds back.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/client/client.h"
#include "engine/backend/fake/fake_backend.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/fake_journal.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "prometheus/registry.h"
#include "server/admission_metrics.h"
#include "server/server.h"
#include "tests/frontends/shared_engine.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/mapping.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"

namespace viommu {
namespace {

using IoasStub = v1::IoasService::Stub;
using Stream = grpc::ClientReaderWriter<v1::StreamMappingsRequest, v1::StreamMappingsResponse>;

// For a call to reach the place where it is held up, on a machine that compiles meanwhile.
constexpr absl::Duration kTimeToStart = absl::Seconds(2);

void SetTimeToStart(grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(absl::Now() + kTimeToStart));
}

v1::UnmapRequest UnmapAll(const std::string& ioas) {
  v1::UnmapRequest request;
  request.set_name(ioas);
  request.set_all(true);
  return request;
}

class SlowCallsTest : public ::testing::Test {
 protected:
  SlowCallsTest() {
    auto engine = Engine::Create({"test"}, &backend_, &journal_, RealEnv());
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
  }

  ~SlowCallsTest() override { journal_.Release(); }

  // With one ioas, which has one page mapped.
  void Start(ServerOptions options = {}) {
    options.admission_metrics = &admission_metrics_;
    options.listen_addresses = {"127.0.0.1:0"};
    auto server = Server::Start(engine_.get(), std::move(options));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    target_ = absl::StrCat("127.0.0.1:", server_->ports()[0]);
    // What the server answers is what is looked at: nothing is repeated.
    ClientOptions once;
    once.max_attempts = 1;
    auto client = Client::Connect(target_, once);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    ASSERT_TRUE(client_
                    ->Call(&v1::MemoryService::Stub::CreateMemoryRegion,
                           NewRegion("ram", uint64_t{1} << 30))
                    .ok());
    AwaitCallsInFlight("call", 0);
    ASSERT_TRUE(client_->Call(&IoasStub::CreateIoas, NewIoas("vm0")).ok());
    AwaitCallsInFlight("call", 0);
    ASSERT_TRUE(Map(0).ok());
    AwaitCallsInFlight("call", 0);
  }

  absl::Status Map(uint64_t iova) {
    return client_->Call(&IoasStub::Map, OneMap("ioas/vm0", "memoryRegions/ram", iova, kPage))
        .status();
  }

  uint64_t Mappings() {
    const auto ioas = client_->Call(&IoasStub::GetIoas, Named<v1::GetIoasRequest>("ioas/vm0"));
    EXPECT_TRUE(ioas.ok()) << ioas.status();
    return ioas.ok() ? ioas->mapping_count() : 0;
  }

  void AwaitHeld(size_t count) {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (journal_.held() < count && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(2));
    ASSERT_EQ(journal_.held(), count);
  }

  // By what the server tells Prometheus; `kind` as it is named there.
  double CallsInFlight(const std::string& kind) const {
    for (const auto& family : registry_.Collect()) {
      if (family.name != "viommu_calls_in_flight") continue;
      for (const auto& metric : family.metric) {
        if (metric.label[0].value == kind) return metric.gauge.value;
      }
    }
    ADD_FAILURE() << "no series for " << kind;
    return -1;
  }

  // An answer reaches its client before the place of the call is free again: where places are few,
  // the next call has to wait for that.
  void AwaitCallsInFlight(const std::string& kind, double count) {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (CallsInFlight(kind) != count && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(2));
    }
    EXPECT_EQ(CallsInFlight(kind), count) << kind;
  }

  // Ends within a few seconds, whatever is expected.
  void AwaitMappings(uint64_t count) {
    const absl::Time deadline = absl::Now() + absl::Seconds(20);
    while (Mappings() != count && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(5));
    EXPECT_EQ(Mappings(), count);
  }

  FakeBackend backend_{SmallTopology()};
  FakeJournal journal_;
  prometheus::Registry registry_;
  AdmissionMetrics admission_metrics_{&registry_};
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
  std::string target_;
  std::unique_ptr<Client> client_;
};

TEST_F(SlowCallsTest, FinishesAStartedRevokeWhoseDeadlinePasses) {
  Start();
  journal_.Hold();
  std::thread caller([&] {
    grpc::ClientContext context;
    SetTimeToStart(&context);
    v1::UnmapResponse response;
    EXPECT_EQ(client_->Of<v1::IoasService>()
                  .Unmap(&context, UnmapAll("ioas/vm0"), &response)
                  .error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  });
  AwaitHeld(1);
  caller.join();
  journal_.Release();
  AwaitMappings(0);
}

TEST_F(SlowCallsTest, FinishesAStartedRevokeThatIsCancelled) {
  Start();
  journal_.Hold();
  grpc::ClientContext context;
  std::thread caller([&] {
    v1::UnmapResponse response;
    EXPECT_EQ(client_->Of<v1::IoasService>()
                  .Unmap(&context, UnmapAll("ioas/vm0"), &response)
                  .error_code(),
              grpc::StatusCode::CANCELLED);
  });
  AwaitHeld(1);
  context.TryCancel();
  caller.join();
  journal_.Release();
  AwaitMappings(0);
}

// A delete waits for the lane that the held unmap is in.
TEST_F(SlowCallsTest, ChangesNothingForACallWhoseDeadlinePassesWhileItWaits) {
  Start();
  journal_.Hold();
  std::thread holder(
      [&] { EXPECT_TRUE(client_->Call(&IoasStub::Unmap, UnmapAll("ioas/vm0")).ok()); });
  AwaitHeld(1);
  std::thread caller([&] {
    grpc::ClientContext context;
    SetTimeToStart(&context);
    google::protobuf::Empty response;
    EXPECT_EQ(client_->Of<v1::IoasService>()
                  .DeleteIoas(&context, Named<v1::DeleteIoasRequest>("ioas/vm0"), &response)
                  .error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  });
  AwaitCallsInFlight("revoke", 2);
  caller.join();
  AwaitCallsInFlight("revoke", 1);  // Both ends have their own clock.
  journal_.Release();
  holder.join();
  EXPECT_EQ(Mappings(), 0u) << "it is still there";
  EXPECT_EQ(journal_.aborted().size(), 0u);
}

TEST_F(SlowCallsTest, GivesUpAWaitingGrantThatWasCancelled) {
  ServerOptions options;
  options.admission.max_calls = 2;
  options.admission.max_wait = kTimeToStart;
  Start(std::move(options));
  journal_.Hold();
  std::thread holder(
      [&] { EXPECT_TRUE(client_->Call(&IoasStub::Unmap, UnmapAll("ioas/vm0")).ok()); });
  AwaitHeld(1);
  grpc::ClientContext context;
  std::thread canceller([&] {
    AwaitCallsInFlight("call", 1);
    context.TryCancel();
  });
  v1::SetAllowedIovaRangesRequest request;  // Exclusive: waits for the unmap.
  request.set_name("ioas/vm0");
  request.add_ranges()->set_last(0xffff);
  v1::Ioas response;
  EXPECT_EQ(client_->Of<v1::IoasService>()
                .SetAllowedIovaRanges(&context, request, &response)
                .error_code(),
            grpc::StatusCode::CANCELLED);
  canceller.join();
  AwaitCallsInFlight("call", 0);
  journal_.Release();
  holder.join();
  const auto ioas = client_->Call(&IoasStub::GetIoas, Named<v1::GetIoasRequest>("ioas/vm0"));
  ASSERT_TRUE(ioas.ok());
  EXPECT_EQ(ioas->allowed_ranges_size(), 0) << "nobody was there to want it";
}

TEST_F(SlowCallsTest, LetsARevokePassWhenEveryGrantWaits) {
  ServerOptions options;
  options.admission.max_calls = 1;
  options.admission.max_revokes = 1;
  Start(std::move(options));
  ASSERT_TRUE(client_->Call(&IoasStub::CreateIoas, NewIoas("vm1")).ok());
  AwaitCallsInFlight("call", 0);
  journal_.Hold();
  std::thread grant([&] { EXPECT_TRUE(Map(kPage).ok()); });
  AwaitHeld(1);
  EXPECT_EQ(Map(2 * kPage).code(), absl::StatusCode::kResourceExhausted);
  std::thread revoke([&] {
    EXPECT_TRUE(
        client_->Call(&IoasStub::DeleteIoas, Named<v1::DeleteIoasRequest>("ioas/vm1")).ok());
  });
  AwaitHeld(2);
  journal_.Release();
  grant.join();
  revoke.join();
  AwaitCallsInFlight("call", 0);
  EXPECT_EQ(Mappings(), 2u);
}

// A stream over a connection of its own, whose client never reads.
class PumpedStream {
 public:
  explicit PumpedStream(const std::string& target)
      : stub_(grpc::CreateChannel(target, grpc::InsecureChannelCredentials())),
        stream_(stub_.StreamMappings(&context_)) {
    context_.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(60)));
    v1::StreamMappingsRequest open;
    open.mutable_open()->set_name("ioas/vm0");
    open.mutable_open()->set_default_memory_region("memoryRegions/ram");
    EXPECT_TRUE(stream_->Write(open));
  }

  // Sends batches of full size until no more are taken: how many were.
  uint64_t PumpUntilRefused() {
    v1::StreamMappingsRequest request;
    v1::MapBatch& map = *request.mutable_map();
    for (size_t i = 0; i < kMaxBatchEntries; ++i) map.add_length(kPage);
    for (uint64_t sent = 0; sent < 10'000; ++sent) {
      map.set_sequence(sent + 1);
      if (!stream_->Write(request)) return sent;
    }
    return 10'000;
  }

  grpc::Status Finish() {
    v1::StreamMappingsResponse response;
    while (stream_->Read(&response)) ++answers_;
    return stream_->Finish();
  }
  uint64_t answers() const { return answers_; }

 private:
  v1::MappingService::Stub stub_;
  grpc::ClientContext context_;
  std::unique_ptr<Stream> stream_;
  std::atomic<uint64_t> answers_{0};
};

TEST_F(SlowCallsTest, CutsOffAClientThatReadsNothing) {
  ServerOptions options;
  options.stream_write_timeout = absl::Seconds(1);
  Start(std::move(options));
  PumpedStream stream(target_);
  const absl::Time start = absl::Now();
  const uint64_t sent = stream.PumpUntilRefused();
  EXPECT_LT(absl::Now() - start, absl::Seconds(30));
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_NE(status.error_message().find("SLOW_READER"), std::string::npos)
      << status.error_message();
  EXPECT_LT(sent, 10'000u);
  const uint64_t mappings = Mappings();
  EXPECT_EQ((mappings - 1) % kMaxBatchEntries, 0u) << "whole batches only";
  EXPECT_GE((mappings - 1) / kMaxBatchEntries, stream.answers());
  server_->Shutdown(absl::Now() + absl::Seconds(20));
}

TEST_F(SlowCallsTest, ReadsNoFurtherWhileTooManyBytesAreUnanswered) {
  ServerOptions options;
  options.max_stream_bytes_in_flight = 1 << 20;  // Full batches take 0.6 MiB each.
  Start(std::move(options));
  journal_.Hold();
  PumpedStream stream(target_);
  std::thread pump([&] { stream.PumpUntilRefused(); });
  AwaitHeld(2);
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_EQ(journal_.held(), 2u) << "the third batch was not read";
  journal_.Release();
  std::thread reader([&] { EXPECT_NE(stream.Finish().error_code(), grpc::StatusCode::OK); });
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (stream.answers() <= 2 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(2));
  server_->Shutdown(absl::Now());
  pump.join();
  reader.join();
  EXPECT_GT(stream.answers(), 2u) << "and was when there was room";
}

}  // namespace
}  // namespace viommu
