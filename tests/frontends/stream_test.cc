// Mapping streams over two frontends: reopened at the other, open at both, cut off by an end.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clients/client/client.h"
#include "gtest/gtest.h"
#include "tests/frontends/shared_engine.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/mapping.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"

namespace viommu {
namespace {

using IoasStub = v1::IoasService::Stub;

// A stream on ioas/vm0 with memoryRegions/ram.
class OpenedStream {
 public:
  explicit OpenedStream(Client* client) {
    Client::SetDeadline(&context_, client->options().call_timeout);
    stream_ = client->Of<v1::MappingService>().StreamMappings(&context_);
    v1::StreamMappingsRequest request;
    request.mutable_open()->set_name("ioas/vm0");
    request.mutable_open()->set_default_memory_region("memoryRegions/ram");
    EXPECT_TRUE(stream_->Write(request));
  }

  // One page at `iova`, or where the engine chooses. False: the stream is broken.
  bool Map(uint64_t sequence, std::optional<uint64_t> iova) {
    v1::StreamMappingsRequest request;
    request.mutable_map()->set_sequence(sequence);
    if (iova.has_value()) request.mutable_map()->add_iova(*iova);
    request.mutable_map()->add_length(kPage);
    return stream_->Write(request);
  }

  bool Unmap(uint64_t sequence, uint64_t iova) {
    v1::StreamMappingsRequest request;
    request.mutable_unmap()->set_sequence(sequence);
    request.mutable_unmap()->add_iova(iova);
    request.mutable_unmap()->add_length(kPage);
    return stream_->Write(request);
  }

  // Goes on after a failure.
  void Acknowledge() {
    v1::StreamMappingsRequest request;
    request.mutable_acknowledge();
    EXPECT_TRUE(stream_->Write(request));
  }

  // The next answer; none: the stream has ended.
  std::optional<v1::StreamMappingsResponse> Next() {
    v1::StreamMappingsResponse response;
    if (!stream_->Read(&response)) return std::nullopt;
    return response;
  }

  // The next answer, which must be a success.
  v1::StreamMappingsResponse Success() {
    const std::optional<v1::StreamMappingsResponse> response = Next();
    EXPECT_TRUE(response.has_value());
    if (!response.has_value()) return {};
    EXPECT_FALSE(response->has_status()) << response->ShortDebugString();
    return *response;
  }

  grpc::Status Finish() {
    stream_->WritesDone();
    return stream_->Finish();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::StreamMappingsRequest, v1::StreamMappingsResponse>>
      stream_;
};

class FrontendStreamTest : public ::testing::Test {
 protected:
  FrontendStreamTest() {
    EXPECT_TRUE(
        left()
            .Call(&v1::MemoryService::Stub::CreateMemoryRegion, NewRegion("ram", uint64_t{1} << 30))
            .ok());
    EXPECT_TRUE(right().Call(&IoasStub::CreateIoas, NewIoas("vm0")).ok());
  }

  Client& left() { return client_.At(Side::kLeft); }
  Client& right() { return client_.At(Side::kRight); }

  v1::Ioas Vm0() {
    const auto ioas = right().Call(&IoasStub::GetIoas, Named<v1::GetIoasRequest>("ioas/vm0"));
    EXPECT_TRUE(ioas.ok()) << ioas.status();
    return ioas.ok() ? *ioas : v1::Ioas();
  }

  SharedEngine engine_;
  Wanderer client_{engine_, Side::kLeft};
};

TEST_F(FrontendStreamTest, ContinuesWhenReopenedAtTheOther) {
  uint64_t revision = 0;
  std::vector<uint64_t> chosen;
  // Sequence numbers go on, too: they belong to the client, the server only wants them ascending.
  uint64_t sequence = 0;
  for (int turn = 0; turn < 6; ++turn) {
    OpenedStream stream(&client_.Next());
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(stream.Map(++sequence, std::nullopt));
      const v1::StreamMappingsResponse response = stream.Success();
      EXPECT_EQ(response.sequence(), sequence);
      EXPECT_GT(response.mapping_revision(), revision);
      revision = response.mapping_revision();
      ASSERT_EQ(response.iovas_size(), 1);
      chosen.push_back(response.iovas(0));
    }
    // One that an earlier turn, at the other frontend, has mapped.
    ASSERT_TRUE(stream.Unmap(++sequence, chosen.front()));
    EXPECT_EQ(stream.Success().unmapped_bytes(), kPage);
    chosen.erase(chosen.begin());
    EXPECT_TRUE(stream.Finish().ok());
  }
  EXPECT_EQ(Vm0().mapping_count(), chosen.size());
}

TEST_F(FrontendStreamTest, IsOpenAtBothOnOneIoas) {
  OpenedStream a(&left());
  OpenedStream b(&right());
  for (uint64_t i = 1; i <= 100; ++i) {
    ASSERT_TRUE(a.Map(i, std::nullopt));
    ASSERT_TRUE(b.Map(i, std::nullopt));
  }
  for (uint64_t i = 1; i <= 100; ++i) {
    EXPECT_EQ(a.Success().sequence(), i);
    EXPECT_EQ(b.Success().sequence(), i);
  }
  EXPECT_TRUE(a.Finish().ok());
  EXPECT_TRUE(b.Finish().ok());
  EXPECT_EQ(Vm0().mapping_count(), 200u) << "no address was given twice";
}

TEST_F(FrontendStreamTest, AnswersWhatItHasWhenDrained) {
  OpenedStream stream(&left());
  ASSERT_TRUE(stream.Map(1, 16 * kPage));
  stream.Success();
  engine_.server(Side::kLeft).Drain();
  for (uint64_t i = 2; i <= 20; ++i) ASSERT_TRUE(stream.Map(i, (16 + i) * kPage));
  for (uint64_t i = 2; i <= 20; ++i) EXPECT_EQ(stream.Success().sequence(), i);
  EXPECT_TRUE(stream.Finish().ok());
  engine_.Destroy(Side::kLeft);
  EXPECT_EQ(Vm0().mapping_count(), 20u);
}

TEST_F(FrontendStreamTest, LosesNothingThatWasAnsweredWhenItsFrontendIsDestroyed) {
  constexpr uint64_t kAnswered = 10;
  constexpr uint64_t kSent = 30;
  OpenedStream cut(&left());
  for (uint64_t i = 1; i <= kSent; ++i) ASSERT_TRUE(cut.Map(i, i << 20));
  for (uint64_t i = 1; i <= kAnswered; ++i) EXPECT_EQ(cut.Success().sequence(), i);
  engine_.Destroy(Side::kLeft);
  while (cut.Next().has_value()) {
  }
  EXPECT_FALSE(cut.Finish().ok());

  // The rest is sent again, elsewhere: what was applied already is refused, nothing is doubled.
  OpenedStream again(&right());
  for (uint64_t i = kAnswered + 1; i <= kSent; ++i) {
    ASSERT_TRUE(again.Map(i, i << 20));
    const auto response = again.Next();
    ASSERT_TRUE(response.has_value());
    if (!response->has_status()) continue;
    EXPECT_EQ(response->status().code(), grpc::StatusCode::ALREADY_EXISTS)
        << response->ShortDebugString();
    again.Acknowledge();
  }
  EXPECT_TRUE(again.Finish().ok());
  EXPECT_EQ(Vm0().mapping_count(), kSent);
}

}  // namespace
}  // namespace viommu
