// The services over real gRPC on a real engine; only the backend is a fake. What the engine decides
// is tested in engine/: here it is that requests arrive, answers and errors come back complete, and
// that several frontends of one engine are alike.
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "engine/backend/fake/fake_backend.h"
#include "engine/base/env.h"
#include "engine/base/errors.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "google/protobuf/descriptor.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "server/server.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/host.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/mapping.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;

std::string ReasonIn(const google::rpc::Status& status) {
  google::rpc::ErrorInfo info;
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(&info)) break;
  }
  return info.reason();
}

// "CODE REASON", as clients read them from the wire.
std::string Told(const grpc::Status& status) {
  google::rpc::Status rpc;
  rpc.ParseFromString(status.error_details());
  return absl::StrCat(absl::StatusCodeToString(static_cast<absl::StatusCode>(status.error_code())),
                      " ", ReasonIn(rpc));
}

// Calls Stub's `method` with a fresh context.
template <typename Stub, typename Request, typename Response>
grpc::Status Call(Stub& stub,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  const Request& request, Response* response) {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
  return (stub.*method)(&context, request, response);
}

// One client of one frontend.
struct Client {
  explicit Client(int port)
      : channel(grpc::CreateChannel(absl::StrCat("127.0.0.1:", port),
                                    grpc::InsecureChannelCredentials())),
        host(channel),
        device(channel),
        memory(channel),
        ioas(channel),
        mapping(channel),
        domain(channel),
        simulation(channel) {}

  std::shared_ptr<grpc::Channel> channel;
  v1::HostService::Stub host;
  v1::DeviceService::Stub device;
  v1::MemoryService::Stub memory;
  v1::IoasService::Stub ioas;
  v1::MappingService::Stub mapping;
  v1::DomainService::Stub domain;
  v1::SimulationService::Stub simulation;
};

class ServicesTest : public ::testing::Test {
 protected:
  ServicesTest() {
    auto engine = Engine::Create({"1.2.3"}, &backend_, &journal_, RealEnv());
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    server_ = StartServer();
    client_ = std::make_unique<Client>(server_->ports()[0]);
  }

  std::unique_ptr<Server> StartServer() {
    ServerOptions options;
    options.listen_addresses = {"127.0.0.1:0"};
    auto server = Server::Start(engine_.get(), std::move(options));
    EXPECT_TRUE(server.ok()) << server.status();
    return *std::move(server);
  }

  grpc::Status CreateIoas(const std::string& id, const std::string& request_id = "",
                          v1::Ioas* ioas = nullptr, bool validate_only = false) {
    v1::CreateIoasRequest request;
    request.set_ioas_id(id);
    request.set_request_id(request_id);
    request.set_validate_only(validate_only);
    v1::Ioas ignored;
    return Call(client_->ioas, &v1::IoasService::Stub::CreateIoas, request,
                ioas == nullptr ? &ignored : ioas);
  }

  grpc::Status GetIoas(const std::string& name, v1::Ioas* ioas) {
    v1::GetIoasRequest request;
    request.set_name(name);
    return Call(client_->ioas, &v1::IoasService::Stub::GetIoas, request, ioas);
  }

  void CreateRegion(const std::string& id) {
    v1::CreateMemoryRegionRequest request;
    request.set_memory_region_id(id);
    request.mutable_memory_region()->set_size_bytes(1 << 30);
    v1::MemoryRegion region;
    const grpc::Status status =
        Call(client_->memory, &v1::MemoryService::Stub::CreateMemoryRegion, request, &region);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(region.name(), "memoryRegions/" + id);
    EXPECT_EQ(region.owner(), "local");
  }

  FakeBackend backend_{SmallTopology()};
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Client> client_;
};

TEST_F(ServicesTest, ShowsHostAndLimits) {
  v1::Host host;
  ASSERT_TRUE(
      Call(client_->host, &v1::HostService::Stub::GetHost, v1::GetHostRequest(), &host).ok());
  EXPECT_EQ(host.version(), "1.2.3");
  EXPECT_EQ(host.backend(), "fake");
  EXPECT_EQ(host.limits().max_batch_entries(), kMaxBatchEntries);
  EXPECT_EQ(host.limits().max_message_bytes(), 4u << 20);

  v1::ListIommusResponse iommus;
  ASSERT_TRUE(
      Call(client_->host, &v1::HostService::Stub::ListIommus, v1::ListIommusRequest(), &iommus)
          .ok());
  ASSERT_EQ(iommus.iommus_size(), 2);
  EXPECT_TRUE(iommus.iommus(0).has_vtd());
}

TEST_F(ServicesTest, RunsASessionFromClaimToRelease) {
  CreateRegion("ram");
  ASSERT_TRUE(CreateIoas("vm0").ok());

  v1::ClaimDeviceRequest claim;
  claim.set_name("devices/dev0");
  v1::Device device;
  ASSERT_TRUE(Call(client_->device, &v1::DeviceService::Stub::ClaimDevice, claim, &device).ok());
  EXPECT_EQ(device.ownership(), v1::DEVICE_OWNERSHIP_CLAIMED);
  EXPECT_EQ(device.domain(), "domains/blocked");

  v1::CreateDomainRequest create;
  create.set_domain_id("d0");
  create.mutable_domain()->mutable_paging()->set_ioas("ioas/vm0");
  create.mutable_domain()->mutable_paging()->set_device("devices/dev0");
  v1::Domain domain;
  ASSERT_TRUE(Call(client_->domain, &v1::DomainService::Stub::CreateDomain, create, &domain).ok());
  EXPECT_EQ(domain.name(), "domains/d0");
  EXPECT_EQ(domain.type(), v1::DOMAIN_TYPE_PAGING);
  EXPECT_EQ(domain.paging().ioas(), "ioas/vm0");

  v1::AttachDeviceRequest attach;
  attach.set_name("devices/dev0");
  attach.set_domain("domains/d0");
  v1::AttachDeviceResponse attached;
  ASSERT_TRUE(
      Call(client_->device, &v1::DeviceService::Stub::AttachDevice, attach, &attached).ok());
  EXPECT_EQ(attached.attachment().domain(), "domains/d0");
  EXPECT_TRUE(attached.transition().hitless());

  v1::MapRequest map;
  map.set_name("ioas/vm0");
  auto* entry = map.add_mappings();
  entry->set_iova(0x10000);
  entry->set_memory_region("memoryRegions/ram");
  entry->set_length(2 * kPage);
  v1::MapResponse mapped;
  ASSERT_TRUE(Call(client_->ioas, &v1::IoasService::Stub::Map, map, &mapped).ok());
  EXPECT_EQ(mapped.iovas(0), 0x10000u);

  v1::TranslateRequest translate;
  translate.set_name("ioas/vm0");
  translate.set_iova(0x11000);
  v1::TranslateResponse translated;
  ASSERT_TRUE(Call(client_->ioas, &v1::IoasService::Stub::Translate, translate, &translated).ok());
  EXPECT_EQ(translated.memory_region(), "memoryRegions/ram");
  EXPECT_EQ(translated.offset(), kPage);

  v1::DeleteDomainRequest delete_domain;
  delete_domain.set_name("domains/d0");
  google::protobuf::Empty empty;
  const grpc::Status in_use =
      Call(client_->domain, &v1::DomainService::Stub::DeleteDomain, delete_domain, &empty);
  EXPECT_EQ(Told(in_use), "FAILED_PRECONDITION IN_USE");

  v1::UnmapRequest unmap;
  unmap.set_name("ioas/vm0");
  unmap.set_all(true);
  v1::UnmapResponse unmapped;
  ASSERT_TRUE(Call(client_->ioas, &v1::IoasService::Stub::Unmap, unmap, &unmapped).ok());
  EXPECT_EQ(unmapped.unmapped_bytes(), 2 * kPage);
  EXPECT_EQ(unmapped.unmapped_count(), 1u);

  v1::DetachDeviceRequest detach;
  detach.set_name("devices/dev0");
  v1::DetachDeviceResponse detached;
  ASSERT_TRUE(
      Call(client_->device, &v1::DeviceService::Stub::DetachDevice, detach, &detached).ok());
  ASSERT_TRUE(
      Call(client_->domain, &v1::DomainService::Stub::DeleteDomain, delete_domain, &empty).ok());
  v1::ReleaseDeviceRequest release;
  release.set_name("devices/dev0");
  ASSERT_TRUE(
      Call(client_->device, &v1::DeviceService::Stub::ReleaseDevice, release, &device).ok());
  EXPECT_EQ(device.ownership(), v1::DEVICE_OWNERSHIP_HOST);
}

TEST_F(ServicesTest, TellsWhichEntryOfABatchIsWrong) {
  CreateRegion("ram");
  ASSERT_TRUE(CreateIoas("vm0").ok());
  v1::MapRequest map;
  map.set_name("ioas/vm0");
  for (int i = 0; i < 2; ++i) {
    auto* entry = map.add_mappings();
    entry->set_iova(0x10000);
    entry->set_memory_region("memoryRegions/ram");
    entry->set_length(kPage);
  }
  v1::MapResponse mapped;
  const grpc::Status status = Call(client_->ioas, &v1::IoasService::Stub::Map, map, &mapped);
  EXPECT_EQ(Told(status), "ALREADY_EXISTS IOVA_OCCUPIED");
  google::rpc::Status rpc;
  ASSERT_TRUE(rpc.ParseFromString(status.error_details()));
  google::rpc::ErrorInfo info;
  ASSERT_TRUE(rpc.details(0).UnpackTo(&info));
  EXPECT_EQ(info.metadata().at("index"), "1");
}

TEST_F(ServicesTest, RefusesWhatNoRpcAccepts) {
  v1::Ioas ioas;
  EXPECT_EQ(Told(GetIoas("", &ioas)), "INVALID_ARGUMENT MISSING_FIELD");
  EXPECT_EQ(Told(GetIoas("ioas/UPPER", &ioas)), "INVALID_ARGUMENT MALFORMED_NAME");
  EXPECT_EQ(Told(GetIoas("ioas/none", &ioas)), "NOT_FOUND IOAS_NOT_FOUND");
  EXPECT_EQ(Told(CreateIoas("a b")), "INVALID_ARGUMENT MALFORMED_NAME");
  EXPECT_EQ(Told(CreateIoas("vm0", "id with spaces")), "INVALID_ARGUMENT MALFORMED_REQUEST_ID");

  v1::CreateDomainRequest kindless;
  v1::Domain domain;
  EXPECT_EQ(Told(Call(client_->domain, &v1::DomainService::Stub::CreateDomain, kindless, &domain)),
            "INVALID_ARGUMENT MISSING_FIELD");
  v1::TranslateRequest nowhere;
  nowhere.set_name("ioas/vm0");
  v1::TranslateResponse translated;
  EXPECT_EQ(Told(Call(client_->ioas, &v1::IoasService::Stub::Translate, nowhere, &translated)),
            "INVALID_ARGUMENT MISSING_FIELD");
  v1::ListMappingsRequest backwards;
  backwards.set_parent("ioas/vm0");
  backwards.set_first_iova(2);
  backwards.set_last_iova(1);
  v1::ListMappingsResponse mappings;
  EXPECT_EQ(Told(Call(client_->ioas, &v1::IoasService::Stub::ListMappings, backwards, &mappings)),
            "INVALID_ARGUMENT RANGE_INVALID");
}

TEST_F(ServicesTest, AnswersARepeatedRequestIdAsTheFirstTime) {
  v1::Ioas first, again;
  ASSERT_TRUE(CreateIoas("vm0", "r-1", &first).ok());
  ASSERT_TRUE(CreateIoas("vm0", "r-1", &again).ok());
  EXPECT_EQ(first.uid(), again.uid());
  EXPECT_EQ(Told(CreateIoas("vm1", "r-1")), "INVALID_ARGUMENT REQUEST_ID_REUSED");
  EXPECT_EQ(Told(CreateIoas("vm0", "r-2")), "ALREADY_EXISTS IOAS_EXISTS");
}

TEST_F(ServicesTest, ValidateOnlyChangesNothing) {
  v1::Ioas ioas;
  ASSERT_TRUE(CreateIoas("vm0", "", &ioas, /*validate_only=*/true).ok());
  EXPECT_EQ(Told(GetIoas("ioas/vm0", &ioas)), "NOT_FOUND IOAS_NOT_FOUND");
  ASSERT_TRUE(CreateIoas("vm0").ok());
  EXPECT_EQ(Told(CreateIoas("vm0", "", &ioas, /*validate_only=*/true)),
            "ALREADY_EXISTS IOAS_EXISTS");
}

TEST_F(ServicesTest, PagesContinueOnAnyFrontend) {
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(CreateIoas(absl::StrCat("vm", i)).ok());
  const std::unique_ptr<Server> other_server = StartServer();
  Client other(other_server->ports()[0]);
  v1::ListIoasRequest request;
  request.set_page_size(2);
  std::vector<std::string> seen;
  for (int page = 0; page < 3; ++page) {
    Client& client = page % 2 == 0 ? *client_ : other;
    v1::ListIoasResponse response;
    ASSERT_TRUE(Call(client.ioas, &v1::IoasService::Stub::ListIoas, request, &response).ok());
    for (const v1::Ioas& ioas : response.ioas()) seen.push_back(ioas.name());
    EXPECT_EQ(response.next_page_token().empty(), page == 2);
    request.set_page_token(response.next_page_token());
  }
  EXPECT_EQ(seen,
            (std::vector<std::string>{"ioas/vm0", "ioas/vm1", "ioas/vm2", "ioas/vm3", "ioas/vm4"}));
}

TEST_F(ServicesTest, RefusesThePageTokenOfAnotherListing) {
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(CreateIoas(absl::StrCat("vm", i)).ok());
  v1::ListIoasRequest request;
  request.set_page_size(1);
  v1::ListIoasResponse page;
  ASSERT_TRUE(Call(client_->ioas, &v1::IoasService::Stub::ListIoas, request, &page).ok());
  ASSERT_FALSE(page.next_page_token().empty());
  v1::ListDomainsRequest domains;
  domains.set_page_token(page.next_page_token());
  v1::ListDomainsResponse response;
  EXPECT_EQ(Told(Call(client_->domain, &v1::DomainService::Stub::ListDomains, domains, &response)),
            "INVALID_ARGUMENT UNKNOWN_PAGE_TOKEN");
  request.set_page_size(-1);
  EXPECT_EQ(Told(Call(client_->ioas, &v1::IoasService::Stub::ListIoas, request, &page)),
            "INVALID_ARGUMENT INVALID_PAGE_SIZE");
}

TEST_F(ServicesTest, SaysWhenNothingIsSimulated) {
  v1::DmaRequest dma;
  dma.set_name("devices/dev0");
  dma.set_iova(0);
  dma.set_read_length(16);
  v1::DmaResponse response;
  EXPECT_EQ(Told(Call(client_->simulation, &v1::SimulationService::Stub::Dma, dma, &response)),
            "UNIMPLEMENTED SIMULATION_NOT_AVAILABLE");
}

TEST_F(ServicesTest, RefusesOversizedMessages) {
  v1::MapRequest map;
  map.set_name(std::string(5 << 20, 'a'));
  v1::MapResponse response;
  EXPECT_EQ(Call(client_->ioas, &v1::IoasService::Stub::Map, map, &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ServicesTest, RefusesCompressedMessages) {
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  v1::ListIoasRequest request;
  request.set_page_token(std::string(1000, 'a'));
  v1::ListIoasResponse response;
  EXPECT_EQ(client_->ioas.ListIoas(&context, request, &response).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

// ---- StreamMappings ----

class StreamTest : public ServicesTest {
 protected:
  using Stream = grpc::ClientReaderWriter<v1::StreamMappingsRequest, v1::StreamMappingsResponse>;

  StreamTest() {
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

  void Map(uint64_t sequence, std::vector<uint64_t> iovas, std::vector<uint64_t> lengths) {
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

TEST_F(StreamTest, AnswersEachBatchInOrder) {
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

TEST_F(StreamTest, StopsAfterAFailureUntilItIsAcknowledged) {
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

TEST_F(StreamTest, ContinuesWhenToldTo) {
  Open(v1::ON_ERROR_CONTINUE);
  Map(1, {0x10000}, {kPage});
  Map(2, {0x10000}, {kPage});
  Map(3, {0x20000}, {kPage});
  EXPECT_EQ(Next(), "1 OK");
  EXPECT_EQ(Next(), "2 ALREADY_EXISTS IOVA_OCCUPIED");
  EXPECT_EQ(Next(), "3 OK");
}

TEST_F(StreamTest, AnswersMalformedBatchesInTheirTurn) {
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

TEST_F(StreamTest, EndsWithoutOpen) {
  Map(1, {0x10000}, {kPage});
  EXPECT_EQ(Finish(), "INVALID_ARGUMENT OPEN_EXPECTED");
}

TEST_F(StreamTest, EndsAtASecondOpenAfterAnsweringWhatCameBefore) {
  Open(v1::ON_ERROR_STOP);
  Map(1, {0x10000}, {kPage});
  Open(v1::ON_ERROR_STOP);
  EXPECT_EQ(Next(), "1 OK");
  EXPECT_EQ(Finish(), "INVALID_ARGUMENT UNEXPECTED_OPEN");
}

TEST_F(StreamTest, EndsForAnUnknownIoas) {
  v1::StreamMappingsRequest request;
  request.mutable_open()->set_name("ioas/none");
  ASSERT_TRUE(stream_->Write(request));
  EXPECT_EQ(Finish(), "NOT_FOUND IOAS_NOT_FOUND");
}

TEST_F(StreamTest, SurvivesManyBatchesWhoseAnswersAreReadLate) {
  Open(v1::ON_ERROR_STOP);
  constexpr uint64_t kBatches = 200;  // More than may be in flight.
  for (uint64_t i = 1; i <= kBatches; ++i) Map(i, {i << 20}, {kPage});
  for (uint64_t i = 1; i <= kBatches; ++i) EXPECT_EQ(Next(), absl::StrCat(i, " OK"));
  EXPECT_EQ(Finish(), "OK ");
}

TEST_F(StreamTest, IsCancelledWithItsClient) {
  Open(v1::ON_ERROR_STOP);
  for (uint64_t i = 1; i <= 10; ++i) Map(i, {i << 20}, {kPage});
  context_.TryCancel();
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::CANCELLED);
  server_->Shutdown(absl::Now() + absl::Seconds(20));  // Returns: no thread hangs.
}

// ---- The server itself ----

// The standard health service, spoken by hand because no package ships its header:
// HealthCheckRequest{string service = 1}, HealthCheckResponse{enum status = 1; SERVING = 1}.
std::string Health(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  std::string bytes;
  if (!service.empty()) bytes = absl::StrCat("\x0a", std::string(1, service.size()), service);
  grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", request, &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok()) return absl::StrCat("code ", static_cast<int>(status.error_code()));
  std::vector<grpc::Slice> slices;
  if (!response.Dump(&slices).ok() || slices.empty()) return "empty";
  return std::string(reinterpret_cast<const char*>(slices[0].begin()), slices[0].size());
}

const char* const kServing = "\x08\x01";
const char* const kNotServing = "\x08\x02";

TEST_F(ServicesTest, TellsTheHealthOfEveryService) {
  for (const char* service :
       {"", "viommu.v1.HostService", "viommu.v1.DeviceService", "viommu.v1.MemoryService",
        "viommu.v1.IoasService", "viommu.v1.MappingService", "viommu.v1.DomainService",
        "viommu.v1.SimulationService"}) {
    EXPECT_EQ(Health(client_->channel, service), kServing) << service;
  }
  EXPECT_EQ(Health(client_->channel, "viommu.v1.NoService"), "code 5");
}

TEST_F(ServicesTest, DrainsBeforeItStops) {
  server_->Drain();
  EXPECT_EQ(Health(client_->channel, ""), kNotServing);
  EXPECT_EQ(Health(client_->channel, "viommu.v1.IoasService"), kNotServing);
  EXPECT_TRUE(CreateIoas("vm0").ok()) << "calls still work";
  server_->Shutdown(absl::Now() + absl::Seconds(20));
  EXPECT_EQ(CreateIoas("vm1").error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(ServicesTest, GoesOnWhenAnotherFrontendEnds) {
  std::unique_ptr<Server> other = StartServer();
  ASSERT_TRUE(CreateIoas("vm0").ok());
  other.reset();
  v1::Ioas ioas;
  EXPECT_TRUE(GetIoas("ioas/vm0", &ioas).ok());
}

TEST_F(ServicesTest, NamesTheAddressThatIsInUse) {
  const std::string taken = absl::StrCat("127.0.0.1:", server_->ports()[0]);
  ServerOptions options;
  options.listen_addresses = {"127.0.0.1:0", taken};
  const absl::Status status = Server::Start(engine_.get(), std::move(options)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(std::string(status.message()).find(taken), std::string::npos) << status;
}

TEST_F(ServicesTest, WantsAnAddress) {
  const absl::Status status = Server::Start(engine_.get(), ServerOptions()).status();
  EXPECT_EQ(DetailOf(status)->reason, "NO_LISTEN_ADDRESS");
}

TEST_F(ServicesTest, ReflectionKnowsTheTypesOfErrorDetails) {
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const char* type :
       {"ErrorInfo", "BadRequest", "PreconditionFailure", "ResourceInfo", "RetryInfo", "Status"}) {
    EXPECT_NE(pool->FindMessageTypeByName(absl::StrCat("google.rpc.", type)), nullptr) << type;
  }
}

}  // namespace
}  // namespace viommu
