// Page faults over real gRPC, from a simulated device to a client and back.
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/soft/test_topology.h"
#include "gtest/gtest.h"
#include "server/services_fixture.h"
#include "viommu/v1/fault.grpc.pb.h"

namespace viommu {
namespace {

constexpr char kDevice[] = "devices/disk-b";
constexpr v1::PageResponseCode kSuccess = v1::PAGE_RESPONSE_CODE_SUCCESS;
constexpr v1::PageResponseCode kInvalid = v1::PAGE_RESPONSE_CODE_INVALID;

Topology AskingTopology() {
  Topology topology = StagesTopology();
  topology.iommus[0].page_requests = true;
  topology.devices[kDiskB].pri = true;
  return topology;
}

// Over the software IOMMU: faultQueues/q of two groups takes the faults of domains/d over ioas/as,
// to which devices/disk-b is attached.
class FaultServiceTest : public ServicesTest {
 protected:
  using Stub = v1::FaultService::Stub;
  using Stream = grpc::ClientReaderWriter<v1::StreamFaultsRequest, v1::StreamFaultsResponse>;

  FaultServiceTest() {
    server_.reset();
    engine_.reset();
    SoftBackendOptions options;
    options.table_arena_bytes = uint64_t{64} << 20;
    soft_ = *SoftBackend::Create(AskingTopology(), options, {});
    engine_ = *Engine::Create({"1.2.3"}, soft_.get(), &journal_, RealEnv());
    server_ = StartServer();
    client_ = std::make_unique<Client>(server_->ports()[0]);
    stub_ = std::make_unique<Stub>(client_->channel);
  }
  ~FaultServiceTest() override {
    server_.reset();
    engine_.reset();
  }

  void SetUp() override {
    ASSERT_TRUE(CreateIoas("as").ok());
    CreateRegion("ram");
    v1::ClaimDeviceRequest claim;
    claim.set_name(kDevice);
    v1::Device device;
    ASSERT_TRUE(Call(client_->device, &v1::DeviceService::Stub::ClaimDevice, claim, &device).ok());
    v1::CreateFaultQueueRequest queue;
    queue.set_fault_queue_id("q");
    queue.mutable_fault_queue()->set_depth(2);
    v1::FaultQueue made;
    ASSERT_TRUE(Call(*stub_, &Stub::CreateFaultQueue, queue, &made).ok());
    v1::CreateDomainRequest domain;
    domain.set_domain_id("d");
    domain.mutable_domain()->mutable_paging()->set_ioas("ioas/as");
    domain.mutable_domain()->mutable_paging()->set_device(kDevice);
    domain.mutable_domain()->mutable_paging()->set_fault_queue("faultQueues/q");
    v1::Domain shown;
    ASSERT_TRUE(Call(client_->domain, &v1::DomainService::Stub::CreateDomain, domain, &shown).ok());
    EXPECT_EQ(shown.paging().fault_queue(), "faultQueues/q");
    v1::AttachDeviceRequest attach;
    attach.set_name(kDevice);
    attach.set_domain("domains/d");
    v1::AttachDeviceResponse attached;
    ASSERT_TRUE(
        Call(client_->device, &v1::DeviceService::Stub::AttachDevice, attach, &attached).ok());
  }

  std::string Raise(uint32_t group, uint64_t iova = 0x10000, bool more = false) {
    v1::RaisePageFaultRequest request;
    request.set_name(kDevice);
    request.set_iova(iova);
    request.set_write(true);
    request.set_group(group);
    request.set_more(more);
    v1::RaisePageFaultResponse response;
    return Told(Call(client_->simulation, &v1::SimulationService::Stub::RaisePageFault, request,
                     &response));
  }
  // What the device was told: "7 SUCCESS ".
  std::string Responses() {
    v1::ListPageResponsesRequest request;
    request.set_name(kDevice);
    v1::ListPageResponsesResponse response;
    EXPECT_TRUE(Call(client_->simulation, &v1::SimulationService::Stub::ListPageResponses, request,
                     &response)
                    .ok());
    std::string all;
    for (const auto& one : response.responses()) {
      all += absl::StrCat(
          one.group(), " ",
          v1::PageResponseCode_Name(one.code()).substr(sizeof("PAGE_RESPONSE_CODE")), " ");
    }
    return all;
  }
  std::string Write(uint64_t iova) {
    v1::DmaRequest request;
    request.set_name(kDevice);
    request.set_iova(iova);
    request.set_write_data("word");
    v1::DmaResponse response;
    EXPECT_TRUE(
        Call(client_->simulation, &v1::SimulationService::Stub::Dma, request, &response).ok());
    return response.has_fault() ? response.fault().reason() : "done";
  }
  void Map(uint64_t iova) {
    v1::MapRequest request;
    request.set_name("ioas/as");
    v1::MapEntry& entry = *request.add_mappings();
    entry.set_iova(iova);
    entry.set_memory_region("memoryRegions/ram");
    entry.set_length(kPage);
    v1::MapResponse response;
    ASSERT_TRUE(Call(client_->ioas, &v1::IoasService::Stub::Map, request, &response).ok());
  }
  std::string Respond(const std::vector<std::pair<uint32_t, v1::PageResponseCode>>& responses) {
    v1::RespondFaultRequest request;
    request.set_name("faultQueues/q");
    for (const auto& [cookie, code] : responses) {
      v1::FaultResponse& one = *request.add_responses();
      one.set_cookie(cookie);
      one.set_code(code);
    }
    v1::RespondFaultResponse response;
    return Told(Call(*stub_, &Stub::RespondFault, request, &response));
  }
  v1::FaultQueue Queue() {
    v1::GetFaultQueueRequest request;
    request.set_name("faultQueues/q");
    v1::FaultQueue queue;
    EXPECT_TRUE(Call(*stub_, &Stub::GetFaultQueue, request, &queue).ok());
    return queue;
  }

  // A client's end of a stream.
  struct Reader {
    grpc::ClientContext context;
    std::unique_ptr<Stream> stream;

    void Send(uint64_t sequence, uint32_t cookie, v1::PageResponseCode code) {
      v1::StreamFaultsRequest request;
      request.mutable_responses()->set_sequence(sequence);
      v1::FaultResponse& one = *request.mutable_responses()->add_responses();
      one.set_cookie(cookie);
      one.set_code(code);
      EXPECT_TRUE(stream->Write(request));
    }
    // "fault COOKIE/SEQUENCE group G pages N", "lost N", "answer S", " CODE REASON" behind it.
    std::string Next() {
      v1::StreamFaultsResponse response;
      if (!stream->Read(&response)) return "end";
      if (response.has_lost()) return absl::StrCat("lost ", response.lost().lost_groups());
      if (response.has_fault()) {
        const v1::Fault& fault = response.fault();
        return absl::StrCat("fault ", fault.cookie(), "/", fault.sequence(), " group ",
                            fault.group(), " pages ", fault.pages_size());
      }
      const std::string answer = absl::StrCat("answer ", response.answer().sequence());
      if (!response.answer().has_error()) return answer;
      return absl::StrCat(answer, " ", ReasonIn(response.answer().error()));
    }
    std::string Finish() {
      stream->WritesDone();
      while (Next() != "end") {
      }
      return Told(stream->Finish());
    }
  };
  std::unique_ptr<Reader> Begin() {
    auto reader = std::make_unique<Reader>();
    reader->context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(60)));
    reader->stream = stub_->StreamFaults(&reader->context);
    return reader;
  }
  std::unique_ptr<Reader> Open(const std::string& name = "faultQueues/q") {
    auto reader = Begin();
    v1::StreamFaultsRequest request;
    request.mutable_open()->set_name(name);
    EXPECT_TRUE(reader->stream->Write(request));
    return reader;
  }

  std::unique_ptr<SoftBackend> soft_;
  std::unique_ptr<Stub> stub_;
};

TEST_F(FaultServiceTest, LetsADeviceGoOnOnceItsPageIsMapped) {
  EXPECT_NE(Write(0x10000), "done");
  ASSERT_EQ(Raise(7, 0x20000, /*more=*/true), "OK ");
  ASSERT_EQ(Raise(7), "OK ");
  EXPECT_EQ(Raise(7), "FAILED_PRECONDITION PAGE_GROUP_OUTSTANDING");
  v1::ListFaultsRequest list;
  list.set_name("faultQueues/q");
  v1::ListFaultsResponse faults;
  ASSERT_TRUE(Call(*stub_, &Stub::ListFaults, list, &faults).ok());
  ASSERT_EQ(faults.faults_size(), 1);
  const v1::Fault& fault = faults.faults(0);
  EXPECT_EQ(fault.cookie(), 1u);
  EXPECT_EQ(fault.device(), kDevice);
  EXPECT_EQ(fault.domain(), "domains/d");
  EXPECT_FALSE(fault.has_pasid());
  ASSERT_EQ(fault.pages_size(), 2);
  EXPECT_EQ(fault.pages(0).iova_text(), "0x20000");
  EXPECT_TRUE(fault.pages(1).write());
  EXPECT_FALSE(fault.pages(1).read());
  Map(0x10000);
  EXPECT_EQ(Respond({{1, kSuccess}}), "OK ");
  EXPECT_EQ(Responses(), "7 SUCCESS ");
  EXPECT_EQ(Write(0x10000), "done");
  EXPECT_EQ(Respond({{1, kSuccess}}), "NOT_FOUND FAULT_NOT_FOUND");
}

TEST_F(FaultServiceTest, RefusesResponsesThatSayNothing) {
  ASSERT_EQ(Raise(7), "OK ");
  EXPECT_EQ(Respond({{1, v1::PAGE_RESPONSE_CODE_UNSPECIFIED}}), "INVALID_ARGUMENT MISSING_FIELD");
  EXPECT_EQ(Respond({{1, v1::PAGE_RESPONSE_CODE_FAILURE}}), "INVALID_ARGUMENT INVALID_RESPONSE");
  EXPECT_EQ(Respond({{1, static_cast<v1::PageResponseCode>(9)}}),
            "INVALID_ARGUMENT UNKNOWN_ENUM_VALUE");
  EXPECT_EQ(Respond({}), "INVALID_ARGUMENT EMPTY_BATCH");
  EXPECT_EQ(Queue().waiting_groups(), 1u);
}

TEST_F(FaultServiceTest, StreamsFaultsOutAndAnswersIn) {
  const auto reader = Open();
  ASSERT_EQ(Raise(7), "OK ");
  EXPECT_EQ(reader->Next(), "fault 1/1 group 7 pages 1");
  Map(0x10000);
  reader->Send(1, 1, kSuccess);
  EXPECT_EQ(reader->Next(), "answer 1");
  EXPECT_EQ(Responses(), "7 SUCCESS ");
  reader->Send(2, 1, kSuccess);
  EXPECT_EQ(reader->Next(), "answer 2 FAULT_NOT_FOUND");
  reader->Send(2, 1, kSuccess);
  EXPECT_EQ(reader->Next(), "answer 2 SEQUENCE_NOT_ASCENDING");
  ASSERT_EQ(Raise(8), "OK ");
  EXPECT_EQ(reader->Next(), "fault 2/2 group 8 pages 1") << "what failed does not stop it";
  reader->Send(3, 2, kInvalid);
  EXPECT_EQ(reader->Next(), "answer 3");
  EXPECT_EQ(Responses(), "7 SUCCESS 8 INVALID ");
  EXPECT_TRUE(Queue().streamed());
  EXPECT_EQ(reader->Finish(), "OK ");
  EXPECT_FALSE(Queue().streamed());
}

TEST_F(FaultServiceTest, ShowsWhatIsUnansweredAgainAfterAStreamBroke) {
  ASSERT_EQ(Raise(7), "OK ");
  ASSERT_EQ(Raise(8), "OK ");
  auto broken = Open();
  EXPECT_EQ(broken->Next(), "fault 1/1 group 7 pages 1");
  EXPECT_EQ(broken->Next(), "fault 2/2 group 8 pages 1");
  broken->Send(1, 1, kInvalid);
  EXPECT_EQ(broken->Next(), "answer 1");
  broken->context.TryCancel();
  const auto reader = Open();
  EXPECT_EQ(reader->Next(), "fault 2/2 group 8 pages 1");
  reader->Send(1, 2, kSuccess);
  EXPECT_EQ(reader->Next(), "answer 1");
  EXPECT_EQ(Responses(), "7 INVALID 8 SUCCESS ");
  EXPECT_EQ(reader->Finish(), "OK ");
}

TEST_F(FaultServiceTest, GivesTheQueueToTheLastStream) {
  ASSERT_EQ(Raise(7), "OK ");
  const auto first = Open();
  EXPECT_EQ(first->Next(), "fault 1/1 group 7 pages 1");
  const auto second = Open();
  EXPECT_EQ(second->Next(), "fault 1/1 group 7 pages 1");
  EXPECT_EQ(first->Next(), "end");
  const grpc::Status ended = first->stream->Finish();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_NE(ended.error_message().find("STREAM_TAKEN_OVER"), std::string::npos)
      << ended.error_message();
  EXPECT_EQ(second->Finish(), "OK ");
}

TEST_F(FaultServiceTest, LosesWhatNobodyTakesAndTellsSo) {
  for (const uint32_t group : {1, 2, 3}) ASSERT_EQ(Raise(group), "OK ");
  EXPECT_EQ(Responses(), "3 FAILURE ");
  EXPECT_EQ(Queue().lost_groups(), 1u);
  const auto reader = Open();
  EXPECT_EQ(reader->Next(), "lost 1");
  EXPECT_EQ(reader->Next(), "fault 1/1 group 1 pages 1");
  EXPECT_EQ(reader->Next(), "fault 2/2 group 2 pages 1");
  reader->Send(1, 1, kInvalid);
  EXPECT_EQ(reader->Next(), "answer 1");
  ASSERT_EQ(Raise(4), "OK ");
  EXPECT_EQ(reader->Next(), "fault 3/4 group 4 pages 1");
  EXPECT_EQ(reader->Finish(), "OK ");
}

TEST_F(FaultServiceTest, RefusesMessagesOutOfPlace) {
  auto reader = Begin();
  reader->Send(1, 1, kSuccess);
  EXPECT_EQ(reader->Finish(), "INVALID_ARGUMENT OPEN_EXPECTED");
  reader = Open();
  v1::StreamFaultsRequest request;
  request.mutable_open()->set_name("faultQueues/q");
  EXPECT_TRUE(reader->stream->Write(request));
  EXPECT_EQ(reader->Finish(), "INVALID_ARGUMENT UNEXPECTED_OPEN");
  reader = Open();
  EXPECT_TRUE(reader->stream->Write(v1::StreamFaultsRequest()));
  EXPECT_EQ(reader->Finish(), "INVALID_ARGUMENT MISSING_FIELD");
  EXPECT_EQ(Open("faultQueues/none")->Finish(), "NOT_FOUND FAULT_QUEUE_NOT_FOUND");
  EXPECT_EQ(Open("queues/q")->Finish(), "INVALID_ARGUMENT MALFORMED_NAME");
  EXPECT_EQ(Open()->Finish(), "OK ");
}

TEST_F(FaultServiceTest, EndsItsStreamsWhenTheServerStops) {
  const auto reader = Open();
  ASSERT_EQ(Raise(7), "OK ");
  EXPECT_EQ(reader->Next(), "fault 1/1 group 7 pages 1");
  std::thread stopping([&] { server_->Shutdown(absl::Now() + absl::Seconds(30)); });
  EXPECT_EQ(reader->Next(), "end");
  const grpc::Status ended = reader->stream->Finish();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_NE(ended.error_message().find("DRAINING"), std::string::npos) << ended.error_message();
  stopping.join();
}

TEST_F(FaultServiceTest, KeepsAQueueThatIsInUse) {
  v1::DeleteFaultQueueRequest request;
  request.set_name("faultQueues/q");
  google::protobuf::Empty nothing;
  EXPECT_EQ(Told(Call(*stub_, &Stub::DeleteFaultQueue, request, &nothing)),
            "FAILED_PRECONDITION IN_USE");
  v1::ListFaultQueuesRequest list;
  v1::ListFaultQueuesResponse all;
  ASSERT_TRUE(Call(*stub_, &Stub::ListFaultQueues, list, &all).ok());
  ASSERT_EQ(all.fault_queues_size(), 1);
  EXPECT_EQ(all.fault_queues(0).domains(0), "domains/d");
  EXPECT_EQ(all.fault_queues(0).depth(), 2u);
}

}  // namespace
}  // namespace viommu
