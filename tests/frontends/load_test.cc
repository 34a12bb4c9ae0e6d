// Many clients at once over two frontends, one of which is drained and ends in the midst of it.
//
// Every client knows exactly what it has made. A call that a frontend does not take any more is
// repeated at the other, under its request_id: nothing may be lost or done twice.
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/client/client.h"
#include "engine/types.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"
#include "gtest/gtest.h"
#include "tests/frontends/shared_engine.h"
#include "viommu/v1/device.grpc.pb.h"
#include "viommu/v1/domain.grpc.pb.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/mapping.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"
#include "viommu/v1/simulation.grpc.pb.h"

namespace viommu {
namespace {

using Devices = v1::DeviceService::Stub;
using Domains = v1::DomainService::Stub;
using IoasStub = v1::IoasService::Stub;
using Memory = v1::MemoryService::Stub;
using Simulation = v1::SimulationService::Stub;

constexpr int kClients = 64;
constexpr int kRounds = 6;             // What each client does at least.
constexpr uint64_t kMapsPerRound = 8;  // Of one page each.
constexpr uint64_t kFirstIova = uint64_t{1} << 32;

// Whether a frontend that ends has not begun the call: it came too late for the connection
// (UNAVAILABLE), or was on it, but no handler had taken it (gRPC says CANCELLED then).
bool WasNotTaken(int code) {
  return code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::CANCELLED;
}

// One client: has an address space of its own, and the first kDevices a device each.
class LoadClient {
 public:
  LoadClient(const SharedEngine& engine, int number)
      : client_(engine, number % 2 == 0 ? Side::kLeft : Side::kRight),
        number_(number),
        id_(absl::StrCat("client-", number)),
        ioas_("ioas/" + id_),
        region_("memoryRegions/" + id_),
        domain_("domains/" + id_),
        device_(absl::StrCat("devices/dev", number)) {}

  // All rounds, and as many more as the drain lasts; after each, `rounds_done` is raised.
  void Run(std::atomic<int>* rounds_done, const std::atomic<bool>& drained) {
    Change(&Memory::CreateMemoryRegion, NewRegion(id_, 1 << 20));
    Change(&IoasStub::CreateIoas, NewIoas(id_));
    for (int round = 0; (round < kRounds || !drained) && !failed_; ++round) {
      MapAndUnmap();
      Stream();
      if (number_ < kDevices) UseDevice(round);
      ++*rounds_done;
    }
    Change(&IoasStub::DeleteIoas, Named<v1::DeleteIoasRequest>(ioas_));
    Change(&Memory::DeleteMemoryRegion, Named<v1::DeleteMemoryRegionRequest>(region_));
  }

  int repeated_calls() const { return repeated_calls_; }

 private:
  // Calls at whichever frontend is next, and at the other when that one does not take it.
  template <typename Stub, typename Request, typename Response>
  Response Ask(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
               const Request& request) {
    absl::StatusOr<Response> response = client_.Do(method, request);
    if (WasNotTaken(response.status().raw_code())) {
      ++repeated_calls_;
      response = client_.Do(method, request);
    }
    failed_ = failed_ || !response.ok();
    EXPECT_TRUE(response.ok()) << response.status() << "\n"
                               << id_ << ": " << request.ShortDebugString();
    return response.ok() ? *std::move(response) : Response();
  }

  template <typename Stub, typename Request, typename Response>
  Response Change(grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  Request request) {
    request.set_request_id(absl::StrCat(id_, ".", ++requests_));
    return Ask(method, request);
  }

  void ExpectMapped(uint64_t count) {
    EXPECT_EQ(Ask(&IoasStub::GetIoas, Named<v1::GetIoasRequest>(ioas_)).mapping_count(), count)
        << id_;
  }

  void UnmapAll(uint64_t want_count) {
    auto unmap = Named<v1::UnmapRequest>(ioas_);
    unmap.set_all(true);
    EXPECT_EQ(Change(&IoasStub::Unmap, unmap).unmapped_count(), want_count) << id_;
  }

  void MapAndUnmap() {
    for (uint64_t i = 0; i < kMapsPerRound; ++i) {
      Change(&IoasStub::Map, OneMap(ioas_, region_, kFirstIova + 2 * i * kPage, kPage));
    }
    ExpectMapped(kMapsPerRound);
    auto translate = Named<v1::TranslateRequest>(ioas_);
    translate.set_iova(kFirstIova + 2 * kPage + 5);
    EXPECT_EQ(Ask(&IoasStub::Translate, translate).offset(), 5u);
    UnmapAll(kMapsPerRound);
  }

  // The same over one stream. Its frontend takes it or not; it never breaks off.
  void Stream() {
    grpc::Status status = TryStream(&client_.Next());
    if (WasNotTaken(status.error_code())) {
      ++repeated_calls_;
      status = TryStream(&client_.Next());
    }
    EXPECT_TRUE(status.ok()) << id_ << ": " << status.error_message();
    failed_ = failed_ || !status.ok();
    if (!failed_) UnmapAll(kMapsPerRound);
  }

  grpc::Status TryStream(Client* client) {
    grpc::ClientContext context;
    Client::SetDeadline(&context, client->options().call_timeout);
    const auto stream = client->Of<v1::MappingService>().StreamMappings(&context);
    v1::StreamMappingsRequest request;
    request.mutable_open()->set_name(ioas_);
    request.mutable_open()->set_default_memory_region(region_);
    stream->Write(request);
    for (uint64_t i = 1; i <= kMapsPerRound; ++i) {
      request.mutable_map()->set_sequence(i);
      request.mutable_map()->clear_length();
      request.mutable_map()->add_length(kPage);
      stream->Write(request);
    }
    stream->WritesDone();
    uint64_t answers = 0;
    for (v1::StreamMappingsResponse response; stream->Read(&response);) {
      EXPECT_FALSE(response.has_status()) << id_ << ": " << response.ShortDebugString();
      EXPECT_EQ(response.sequence(), ++answers) << id_;
    }
    grpc::Status status = stream->Finish();
    EXPECT_EQ(answers, status.ok() ? kMapsPerRound : 0) << id_ << ": " << status.error_message();
    return status;
  }

  // From claim to release, with bytes out and in.
  void UseDevice(int round) {
    Change(&Devices::ClaimDevice, Named<v1::ClaimDeviceRequest>(device_));
    Change(&Domains::CreateDomain, NewDomain(id_, ioas_, device_));
    auto attach = Named<v1::AttachDeviceRequest>(device_);
    attach.set_domain(domain_);
    Change(&Devices::AttachDevice, attach);
    Change(&IoasStub::Map, OneMap(ioas_, region_, kFirstIova, kPage));
    auto write = Named<v1::DmaRequest>(device_);
    write.set_iova(kFirstIova);
    write.set_write_data(absl::StrCat(id_, " in round ", round));
    EXPECT_FALSE(Ask(&Simulation::Dma, write).has_fault()) << id_;
    auto read = Named<v1::DmaRequest>(device_);
    read.set_iova(kFirstIova);
    read.set_read_length(write.write_data().size());
    EXPECT_EQ(Ask(&Simulation::Dma, read).data(), write.write_data());
    UnmapAll(1);
    EXPECT_TRUE(Ask(&Simulation::Dma, read).has_fault()) << id_;
    Change(&Devices::DetachDevice, Named<v1::DetachDeviceRequest>(device_));
    Change(&Domains::DeleteDomain, Named<v1::DeleteDomainRequest>(domain_));
    Change(&Devices::ReleaseDevice, Named<v1::ReleaseDeviceRequest>(device_));
  }

  Wanderer client_;
  const int number_;
  const std::string id_;
  const std::string ioas_;
  const std::string region_;
  const std::string domain_;
  const std::string device_;
  int requests_ = 0;
  int repeated_calls_ = 0;
  bool failed_ = false;
};

TEST(FrontendLoadTest, LosesAndDoublesNothingWhenOneOfTwoIsDrained) {
  SharedEngine engine;
  std::vector<LoadClient> clients;
  for (int i = 0; i < kClients; ++i) clients.emplace_back(engine, i);
  std::atomic<int> rounds_done{0};
  std::atomic<bool> drained{false};
  std::vector<std::thread> threads;
  for (LoadClient& client : clients) {
    threads.emplace_back([&] { client.Run(&rounds_done, drained); });
  }

  // As SIGTERM does, when a third of the work is done.
  while (rounds_done < kClients * kRounds / 3) absl::SleepFor(absl::Milliseconds(1));
  engine.server(Side::kLeft).Drain();
  engine.server(Side::kLeft).Shutdown(absl::Now() + absl::Seconds(30));
  drained = true;
  engine.Destroy(Side::kLeft);
  for (std::thread& thread : threads) thread.join();

  int repeated_calls = 0;
  for (const LoadClient& client : clients) repeated_calls += client.repeated_calls();
  EXPECT_GT(repeated_calls, kClients / 2) << "clients went on calling the one that is gone";

  // Everybody has cleaned up: whatever is left was made twice, or lost on its way out.
  const EngineStats stats = engine.engine().Stats();
  for (const auto& [kind, count] : stats.objects) {
    const bool made_by_clients = kind != "device" && kind != "iommu";
    EXPECT_TRUE(!made_by_clients || count == 0) << count << " left of " << kind;
  }
  EXPECT_EQ(stats.mappings, 0u);
  EXPECT_EQ(stats.mapped_bytes, 0u);
  EXPECT_EQ(stats.claimed_devices, 0u);
  EXPECT_EQ(stats.attached_devices, 0u);
}

}  // namespace
}  // namespace viommu
