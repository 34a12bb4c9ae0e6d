// One session over two frontends, call by call: whatever the client began at one goes on at the
// other, also when one of them is gone.
#include <algorithm>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/client/call_error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/frontends/shared_engine.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

using ::testing::SizeIs;

using Devices = v1::DeviceService::Stub;
using Domains = v1::DomainService::Stub;
using IoasStub = v1::IoasService::Stub;
using Memory = v1::MemoryService::Stub;
using Simulation = v1::SimulationService::Stub;

// Which frontend gets the first call.
class SessionTest : public ::testing::TestWithParam<Side> {
 protected:
  // memoryRegions/ram and ioas/vm0 exist, devices/dev0 is attached to domains/d0, 1 GiB is mapped.
  void SetUpVm() {
    Ok(&Memory::CreateMemoryRegion, NewRegion("ram", 1 << 30));
    Ok(&Devices::ClaimDevice, Named<v1::ClaimDeviceRequest>("devices/dev0"));
    Ok(&IoasStub::CreateIoas, NewIoas("vm0"));
    Ok(&Domains::CreateDomain, NewDomain("d0", "ioas/vm0", "devices/dev0"));
    auto attach = Named<v1::AttachDeviceRequest>("devices/dev0");
    attach.set_domain("domains/d0");
    Ok(&Devices::AttachDevice, attach);
    Ok(&IoasStub::Map, OneMap("ioas/vm0", "memoryRegions/ram", 0x40000000, 1 << 30));
  }

  void TearDownVm() {
    auto unmap = Named<v1::UnmapRequest>("ioas/vm0");
    unmap.set_all(true);
    EXPECT_EQ(Ok(&IoasStub::Unmap, unmap).unmapped_bytes(), 1u << 30);
    Ok(&Devices::DetachDevice, Named<v1::DetachDeviceRequest>("devices/dev0"));
    Ok(&Domains::DeleteDomain, Named<v1::DeleteDomainRequest>("domains/d0"));
    Ok(&IoasStub::DeleteIoas, Named<v1::DeleteIoasRequest>("ioas/vm0"));
    Ok(&Memory::DeleteMemoryRegion, Named<v1::DeleteMemoryRegionRequest>("memoryRegions/ram"));
    Ok(&Devices::ReleaseDevice, Named<v1::ReleaseDeviceRequest>("devices/dev0"));
  }

  void WriteAndReadByDma(const std::string& bytes) {
    auto write = Named<v1::DmaRequest>("devices/dev0");
    write.set_iova(0x40001ff0);
    write.set_write_data(bytes);
    EXPECT_FALSE(Ok(&Simulation::Dma, write).has_fault());
    auto read = Named<v1::DmaRequest>("devices/dev0");
    read.set_iova(0x40001ff0);
    read.set_read_length(bytes.size());
    EXPECT_EQ(Ok(&Simulation::Dma, read).data(), bytes);
    auto memory = Named<v1::ReadMemoryRequest>("memoryRegions/ram");
    memory.set_offset(0x1ff0);
    memory.set_length(bytes.size());
    EXPECT_EQ(Ok(&Simulation::ReadMemory, memory).data(), bytes);
  }

  // The answer of a call that must succeed, at the next frontend.
  template <typename Stub, typename Request, typename Response>
  Response Ok(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
              const Request& request) {
    const absl::StatusOr<Response> response = client_.Do(method, request);
    EXPECT_TRUE(response.ok()) << response.status() << "\n" << request.DebugString();
    return response.ok() ? *response : Response();
  }

  SharedEngine engine_;
  Wanderer client_{engine_, GetParam()};
};

INSTANTIATE_TEST_SUITE_P(BeginsAt, SessionTest, ::testing::Values(Side::kLeft, Side::kRight),
                         [](const auto& info) {
                           return info.param == Side::kLeft ? "Left" : "Right";
                         });

TEST_P(SessionTest, GoesOnWhereverACallArrives) {
  SetUpVm();
  WriteAndReadByDma("carried by two frontends in turn");
  TearDownVm();
}

TEST_P(SessionTest, GoesOnWhenOneFrontendIsDestroyed) {
  SetUpVm();
  engine_.Destroy(GetParam());
  client_.StayAt(Other(GetParam()));
  WriteAndReadByDma("carried by the one that is left");
  TearDownVm();
}

TEST_P(SessionTest, GoesOnAtAFrontendThatWasStartedAgain) {
  SetUpVm();
  engine_.Destroy(GetParam());
  engine_.Start(GetParam());
  // The socket is a new one; only this connection has to be made anew.
  Wanderer again(engine_, GetParam());
  again.StayAt(GetParam());
  const auto ioas = again.Do(&IoasStub::GetIoas, Named<v1::GetIoasRequest>("ioas/vm0"));
  ASSERT_TRUE(ioas.ok()) << ioas.status();
  EXPECT_EQ(ioas->mapped_bytes(), 1u << 30);
  client_.StayAt(Other(GetParam()));
  TearDownVm();
}

// ---- Etags, names, referrers: what a client has learned at one frontend holds at the other ----

TEST_P(SessionTest, AnEtagHoldsAtTheOther) {
  const v1::Ioas made = Ok(&IoasStub::CreateIoas, NewIoas("vm0"));
  auto wrong = Named<v1::DeleteIoasRequest>("ioas/vm0");
  wrong.set_etag(made.etag() + "x");
  EXPECT_EQ(ReasonOf(client_.Do(&IoasStub::DeleteIoas, wrong).status()), "ETAG_MISMATCH");
  auto right = Named<v1::DeleteIoasRequest>("ioas/vm0");
  right.set_etag(made.etag());
  client_.Next();  // So that the one that made it is not asked.
  Ok(&IoasStub::DeleteIoas, right);
}

// ---- Page tokens ----

// The names on all pages of a listing, of `page_size` items each; every page is asked for at the
// next frontend.
template <typename Stub, typename Request, typename Response, typename Item>
std::vector<std::string> AllPages(Wanderer* client,
                                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                               Response*),
                                  Request request, int page_size, Item item) {
  std::vector<std::string> all;
  request.set_page_size(page_size);
  do {
    const absl::StatusOr<Response> page = client->Do(method, request);
    EXPECT_TRUE(page.ok()) << page.status();
    if (!page.ok()) break;
    for (const std::string& name : item(*page)) all.push_back(name);
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return all;
}

// The `name` of each of `items`.
template <typename Items>
std::vector<std::string> Names(const Items& items) {
  std::vector<std::string> names;
  for (const auto& item : items) names.push_back(item.name());
  return names;
}

TEST_P(SessionTest, PageTokensOfOneAreGoodAtTheOther) {
  Ok(&Memory::CreateMemoryRegion, NewRegion("ram", 1 << 30));
  for (int i = 0; i < 7; ++i) {
    Ok(&IoasStub::CreateIoas, NewIoas(absl::StrCat("vm", i)));
    Ok(&IoasStub::Map,
       OneMap("ioas/vm0", "memoryRegions/ram", (16 + 2 * static_cast<uint64_t>(i)) * kPage, kPage));
  }
  v1::ListMappingsRequest in_vm0;
  in_vm0.set_parent("ioas/vm0");
  const auto ranges = [](const v1::ListMappingsResponse& page) {
    std::vector<std::string> texts;
    for (const v1::Mapping& mapping : page.mappings()) texts.push_back(mapping.text());
    return texts;
  };
  const auto ioas = [](const v1::ListIoasResponse& page) { return Names(page.ioas()); };
  const auto devices = [](const v1::ListDevicesResponse& page) { return Names(page.devices()); };
  for (const int page_size : {1, 2, 3}) {
    SCOPED_TRACE(page_size);
    EXPECT_EQ(AllPages(&client_, &IoasStub::ListIoas, {}, page_size, ioas),
              AllPages(&client_, &IoasStub::ListIoas, {}, 100, ioas));
    EXPECT_EQ(AllPages(&client_, &IoasStub::ListMappings, in_vm0, page_size, ranges),
              AllPages(&client_, &IoasStub::ListMappings, in_vm0, 100, ranges));
    EXPECT_EQ(AllPages(&client_, &Devices::ListDevices, {}, page_size, devices),
              AllPages(&client_, &Devices::ListDevices, {}, 100, devices));
  }
  EXPECT_THAT(AllPages(&client_, &IoasStub::ListIoas, {}, 3, ioas), SizeIs(7));
  EXPECT_THAT(AllPages(&client_, &IoasStub::ListMappings, in_vm0, 3, ranges), SizeIs(7));
  EXPECT_THAT(AllPages(&client_, &Devices::ListDevices, {}, 3, devices), SizeIs(kDevices));
}

TEST_P(SessionTest, AListingIsFinishedWhenTheFrontendThatBeganItIsGone) {
  for (int i = 0; i < 5; ++i) {
    Ok(&IoasStub::CreateIoas, NewIoas(absl::StrCat("vm", i)));
  }
  const auto first = client_.At(GetParam()).Call(&IoasStub::ListIoas, [] {
    v1::ListIoasRequest request;
    request.set_page_size(2);
    return request;
  }());
  ASSERT_TRUE(first.ok()) << first.status();
  engine_.Destroy(GetParam());
  client_.StayAt(Other(GetParam()));
  v1::ListIoasRequest rest;
  rest.set_page_token(first->next_page_token());
  EXPECT_EQ(Names(Ok(&IoasStub::ListIoas, rest).ioas()),
            (std::vector<std::string>{"ioas/vm2", "ioas/vm3", "ioas/vm4"}));
}

// ---- Request ids ----

// Calls twice, at one frontend and at the other; the answers must be the same in every byte.
template <typename Stub, typename Request, typename Response>
void ExpectOneAnswer(Wanderer* client,
                     grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                     Request request, const std::string& request_id) {
  request.set_request_id(request_id);
  const absl::StatusOr<Response> first = client->Do(method, request);
  const absl::StatusOr<Response> second = client->Do(method, request);
  ASSERT_TRUE(first.ok()) << request_id << ": " << first.status();
  ASSERT_TRUE(second.ok()) << request_id << ": " << second.status();
  EXPECT_EQ(first->SerializeAsString(), second->SerializeAsString()) << request_id;
}

TEST_P(SessionTest, ARepeatedRequestGetsTheFirstAnswerAtTheOther) {
  ExpectOneAnswer(&client_, &Memory::CreateMemoryRegion, NewRegion("ram", 1 << 20), "r1");
  ExpectOneAnswer(&client_, &IoasStub::CreateIoas, NewIoas("vm0"), "r2");
  ExpectOneAnswer(&client_, &IoasStub::CreateIoas, NewIoas(""), "r3");
  ExpectOneAnswer(&client_, &IoasStub::Map,
                  OneMap("ioas/vm0", "memoryRegions/ram", 16 * kPage, kPage), "r4");
  ExpectOneAnswer(&client_, &Devices::ClaimDevice, Named<v1::ClaimDeviceRequest>("devices/dev0"),
                  "r5");
  ExpectOneAnswer(&client_, &Domains::CreateDomain, NewDomain("d0", "ioas/vm0", "devices/dev0"),
                  "r6");
  auto attach = Named<v1::AttachDeviceRequest>("devices/dev0");
  attach.set_domain("domains/d0");
  ExpectOneAnswer(&client_, &Devices::AttachDevice, attach, "r7");
  auto unmap = Named<v1::UnmapRequest>("ioas/vm0");
  unmap.set_all(true);
  ExpectOneAnswer(&client_, &IoasStub::Unmap, unmap, "r8");
  ExpectOneAnswer(&client_, &Devices::DetachDevice, Named<v1::DetachDeviceRequest>("devices/dev0"),
                  "r9");
  ExpectOneAnswer(&client_, &Domains::DeleteDomain, Named<v1::DeleteDomainRequest>("domains/d0"),
                  "r10");
}

TEST_P(SessionTest, ARequestIsRepeatedWhenTheFrontendThatAnsweredItIsGone) {
  v1::CreateIoasRequest request = NewIoas("vm0");
  request.set_request_id("r1");
  const auto first = client_.At(GetParam()).Call(&IoasStub::CreateIoas, request);
  ASSERT_TRUE(first.ok()) << first.status();
  engine_.Destroy(GetParam());
  client_.StayAt(Other(GetParam()));
  EXPECT_EQ(Ok(&IoasStub::CreateIoas, request).uid(), first->uid());
}

TEST_P(SessionTest, AnotherBodyUnderARequestIdOfTheOtherIsRefused) {
  v1::CreateIoasRequest request = NewIoas("vm0");
  request.set_request_id("r1");
  Ok(&IoasStub::CreateIoas, request);
  request.set_ioas_id("vm1");
  const auto refused = client_.Do(&IoasStub::CreateIoas, request);
  EXPECT_EQ(ReasonOf(refused.status()), "REQUEST_ID_REUSED");
}

TEST_P(SessionTest, ARequestSentToBothAtOnceIsDoneOnce) {
  for (int i = 0; i < 50; ++i) {
    v1::CreateIoasRequest request = NewIoas("");  // A second one would get an id of its own.
    request.set_request_id(absl::StrCat("r", i));
    std::string uids[2];
    std::vector<std::thread> clients;
    for (const Side side : {Side::kLeft, Side::kRight}) {
      clients.emplace_back([this, side, &request, &uids] {
        const auto ioas = client_.At(side).Call(&IoasStub::CreateIoas, request);
        EXPECT_TRUE(ioas.ok()) << ioas.status();
        if (ioas.ok()) uids[side == Side::kLeft ? 0 : 1] = ioas->uid();
      });
    }
    for (std::thread& thread : clients) thread.join();
    EXPECT_EQ(uids[0], uids[1]);
  }
  v1::ListIoasRequest all;
  all.set_page_size(100);
  EXPECT_EQ(Ok(&IoasStub::ListIoas, all).ioas_size(), 50);
}

}  // namespace
}  // namespace viommu
