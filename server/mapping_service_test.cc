#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "server/services_fixture.h"

namespace viommu {
namespace {

class MappingServiceTest : public ServicesTest {
 protected:
  using Stream = grpc::ClientReaderWriter<v1::StreamMappingsRequest, v1::StreamMappingsResponse>;

  MappingServiceTest() {
    CreateRegion("ram");
    EXPECT_TRUE(CreateIoas("vm0").ok());
    context_.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
    stream_ = client_->mapping.StreamMappings(&context_);
  }

  void Open(v1::OnError on_error) {
    v1::StreamMappingsRequest request;
    request.mutable_open()->set_name("ioas/vm0");
    request.mutable_open()->set_on_error(on_error);
    request.mutable_open()->set_default_memory_region("memoryRegions/ram");
    EXPECT_TRUE(stream_->Write(request));
  }

  void Map(uint64_t sequence, const std::vector<uint64_t>& iovas,
           const std::vector<uint64_t>& lengths) {
    v1::StreamMappingsRequest request;
    request.mutable_map()->set_sequence(sequence);
    for (const uint64_t iova : iovas) request.mutable_map()->add_iova(iova);
    for (const uint64_t length : lengths) request.mutable_map()->add_length(length);
    EXPECT_TRUE(stream_->Write(request));
  }

  void Acknowledge() {
    v1::StreamMappingsRequest request;
    request.mutable_acknowledge();
    EXPECT_TRUE(stream_->Write(request));
  }

  // "SEQUENCE OK" or "SEQUENCE CODE REASON" of the next answer.
  std::string Next(v1::StreamMappingsResponse* response = nullptr) {
    v1::StreamMappingsResponse own;
    if (response == nullptr) response = &own;
    if (!stream_->Read(response)) return "end";
    if (!response->has_status()) return absl::StrCat(response->sequence(), " OK");
    const auto code = static_cast<absl::StatusCode>(response->status().code());
    return absl::StrCat(response->sequence(), " ", absl::StatusCodeToString(code), " ",
                        ReasonIn(response->status()));
  }

  std::string Finish() {
    stream_->WritesDone();
    while (Next() != "end") {
    }
    return Told(stream_->Finish());
  }

  grpc::ClientContext context_;
  std::unique_ptr<Stream> stream_;
};

TEST_F(MappingServiceTest, AnswersEachBatchInOrder) {
  Open(v1::ON_ERROR_UNSPECIFIED);
  Map(1, {0x10000, 0x20000}, {kPage});
  Map(5, {}, {kPage, 2 * kPage});
  v1::StreamMappingsRequest unmap;
  unmap.mutable_unmap()->set_sequence(6);
  unmap.mutable_unmap()->set_all(true);
  ASSERT_TRUE(stream_->Write(unmap));

  v1::StreamMappingsResponse response;
  EXPECT_EQ(Next(&response), "1 OK");
  EXPECT_EQ(response.iovas_size(), 0) << "the client chose them";
  const uint64_t first_revision = response.mapping_revision();
  EXPECT_EQ(Next(&response), "5 OK");
  EXPECT_EQ(response.iovas_size(), 2);
  EXPECT_GT(response.mapping_revision(), first_revision);
  EXPECT_EQ(Next(&response), "6 OK");
  EXPECT_EQ(response.unmapped_bytes(), 5 * kPage);
  EXPECT_EQ(response.unmapped_count(), 4u);
  EXPECT_EQ(Finish(), "OK ");
}

TEST_F(MappingServiceTest, StopsAfterAFailureUntilItIsAcknowledged) {
  Open(v1::ON_ERROR_STOP);
  Map(1, {0x10000}, {kPage});
  Map(2, {0x10000}, {kPage});
  Map(3, {0x20000}, {kPage});
  EXPECT_EQ(Next(), "1 OK");
  EXPECT_EQ(Next(), "2 ALREADY_EXISTS IOVA_OCCUPIED");
  EXPECT_EQ(Next(), "3 ABORTED STREAM_STOPPED");
  Acknowledge();
  Map(4, {0x20000}, {kPage});
  EXPECT_EQ(Next(), "4 OK");
  EXPECT_EQ(Finish(), "OK ");
}

TEST_F(MappingServiceTest, ContinuesWhenToldTo) {
  Open(v1::ON_ERROR_CONTINUE);
  Map(1, {0x10000}, {kPage});
  Map(2, {0x10000}, {kPage});
  Map(3, {0x20000}, {kPage});
  EXPECT_EQ(Next(), "1 OK");
  EXPECT_EQ(Next(), "2 ALREADY_EXISTS IOVA_OCCUPIED");
  EXPECT_EQ(Next(), "3 OK");
}

TEST_F(MappingServiceTest, AnswersMalformedBatchesInTheirTurn) {
  Open(v1::ON_ERROR_STOP);
  Map(1, {0x10000}, {kPage});
  Map(2, {0x20000, 0x30000, 0x40000}, {kPage, kPage});
  Map(3, {0x20000}, {kPage});
  EXPECT_EQ(Next(), "1 OK");
  EXPECT_EQ(Next(), "2 INVALID_ARGUMENT ARRAY_LENGTH_MISMATCH");
  EXPECT_EQ(Next(), "3 ABORTED STREAM_STOPPED");
  Acknowledge();
  Map(4, {0x20000}, {kPage});
  EXPECT_EQ(Next(), "4 OK");
  Map(4, {0x30000}, {kPage});
  EXPECT_EQ(Next(), "4 INVALID_ARGUMENT SEQUENCE_NOT_ASCENDING");
}

TEST_F(MappingServiceTest, EndsWithoutOpen) {
  Map(1, {0x10000}, {kPage});
  EXPECT_EQ(Finish(), "INVALID_ARGUMENT OPEN_EXPECTED");
}

TEST_F(MappingServiceTest, EndsAtASecondOpenAfterAnsweringWhatCameBefore) {
  Open(v1::ON_ERROR_STOP);
  Map(1, {0x10000}, {kPage});
  Open(v1::ON_ERROR_STOP);
  EXPECT_EQ(Next(), "1 OK");
  EXPECT_EQ(Finish(), "INVALID_ARGUMENT UNEXPECTED_OPEN");
}

TEST_F(MappingServiceTest, EndsForAnUnknownIoas) {
  v1::StreamMappingsRequest request;
  request.mutable_open()->set_name("ioas/none");
  ASSERT_TRUE(stream_->Write(request));
  EXPECT_EQ(Finish(), "NOT_FOUND IOAS_NOT_FOUND");
}

TEST_F(MappingServiceTest, SurvivesManyBatchesWhoseAnswersAreReadLate) {
  Open(v1::ON_ERROR_STOP);
  constexpr uint64_t kBatches = 200;  // More than may be in flight.
  for (uint64_t i = 1; i <= kBatches; ++i) Map(i, {i << 20}, {kPage});
  for (uint64_t i = 1; i <= kBatches; ++i) EXPECT_EQ(Next(), absl::StrCat(i, " OK"));
  EXPECT_EQ(Finish(), "OK ");
}

TEST_F(MappingServiceTest, IsCancelledWithItsClient) {
  Open(v1::ON_ERROR_STOP);
  for (uint64_t i = 1; i <= 10; ++i) Map(i, {i << 20}, {kPage});
  context_.TryCancel();
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::CANCELLED);
  server_->Shutdown(absl::Now() + absl::Seconds(20));  // Returns: no thread hangs.
}

}  // namespace
}  // namespace viommu
