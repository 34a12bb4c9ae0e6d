// The unary services over real gRPC. What the engine decides is tested in engine/: here it is that
// requests arrive, answers and errors come back complete, and that frontends are alike.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "server/services_fixture.h"

namespace viommu {
namespace {

TEST_F(ServicesTest, ShowsHostAndLimits) {
  v1::Host host;
  ASSERT_TRUE(
      Call(client_->host, &v1::HostService::Stub::GetHost, v1::GetHostRequest(), &host).ok());
  EXPECT_EQ(host.version(), "1.2.3");
  EXPECT_EQ(host.backend(), "fake");
  EXPECT_EQ(host.limits().max_batch_entries(), kMaxBatchEntries);
  EXPECT_EQ(host.limits().max_message_bytes(), 4u << 20);
  const OwnerLimits limits;
  const v1::OwnerLimits& shown = host.limits().owner();
  EXPECT_EQ(shown.max_memory_regions(), limits.max_memory_regions);
  EXPECT_EQ(shown.max_ioas(), limits.max_ioas);
  EXPECT_EQ(shown.max_domains(), limits.max_domains);
  EXPECT_EQ(shown.max_mappings(), limits.max_mappings);
  EXPECT_EQ(shown.max_mapped_bytes(), limits.max_mapped_bytes);
  EXPECT_EQ(shown.max_region_bytes_total(), limits.max_region_bytes_total);
  EXPECT_EQ(shown.max_operations_in_flight(), limits.max_operations_in_flight);
  EXPECT_EQ(shown.max_streams(), limits.max_streams);
  EXPECT_EQ(shown.max_pasids(), limits.max_pasids);
  EXPECT_EQ(shown.max_fault_queues(), limits.max_fault_queues);
  EXPECT_EQ(shown.max_fault_groups(), limits.max_fault_groups);
  EXPECT_EQ(shown.max_viommus(), limits.max_viommus);
  EXPECT_EQ(shown.max_queued_events(), limits.max_queued_events);

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
  v1::AttachDeviceResponse attached, foreseen;
  attach.set_validate_only(true);
  ASSERT_TRUE(
      Call(client_->device, &v1::DeviceService::Stub::AttachDevice, attach, &foreseen).ok());
  attach.set_validate_only(false);
  ASSERT_TRUE(
      Call(client_->device, &v1::DeviceService::Stub::AttachDevice, attach, &attached).ok());
  ASSERT_EQ(attached.effects().reserved_regions_gained_size(), 1);
  EXPECT_EQ(attached.effects().reserved_regions_gained(0).range().text(),
            "[0xfee00000, 0xfeefffff]");
  EXPECT_EQ(attached.effects().reserved_regions_gained(0).type(), v1::RESERVED_REGION_TYPE_MSI);
  EXPECT_EQ(attached.effects().reserved_regions_gained(0).source(), "devices/dev0");
  EXPECT_EQ(foreseen.effects().SerializeAsString(), attached.effects().SerializeAsString());
  EXPECT_EQ(attached.attachment().domain(), "domains/d0");
  EXPECT_TRUE(attached.transition().hitless());

  v1::MapRequest map;
  map.set_name("ioas/vm0");
  auto* entry = map.add_mappings();
  entry->set_iova(0x10000);
  entry->set_memory_region("memoryRegions/ram");
  entry->set_length(2 * kPage);
  v1::MapResponse mapped;
  map.set_validate_only(true);
  ASSERT_TRUE(Call(client_->ioas, &v1::IoasService::Stub::Map, map, &mapped).ok());
  ASSERT_EQ(mapped.planned_leaves_size(), 1);
  EXPECT_EQ(mapped.planned_leaves(0).domain(), "domains/d0");
  EXPECT_EQ(mapped.planned_leaves(0).leaves(0).page_size_bytes(), kPage);
  EXPECT_EQ(mapped.planned_leaves(0).leaves(0).count(), 2u);
  map.set_validate_only(false);
  ASSERT_TRUE(Call(client_->ioas, &v1::IoasService::Stub::Map, map, &mapped).ok());
  EXPECT_EQ(mapped.iovas(0), 0x10000u);
  EXPECT_EQ(mapped.planned_leaves_size(), 0) << "it is told before, not after";

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

}  // namespace
}  // namespace viommu
