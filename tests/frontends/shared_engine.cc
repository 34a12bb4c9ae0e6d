#include "tests/frontends/shared_engine.h"

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/backend/topology.h"
#include "engine/base/env.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

Topology EightDevices() {
  Topology topology;
  topology.iommus.resize(1);
  topology.iommus[0].id = "unit0";
  for (int i = 0; i < kDevices; ++i) {
    DeviceSpec device;
    device.id = absl::StrCat("dev", i);
    device.pci_address = absl::StrCat("0000:01:0", i, ".0");
    device.iommu = "unit0";
    device.group = absl::StrCat("group", i);
    topology.devices.push_back(std::move(device));
  }
  return topology;
}

// Short, whatever the test's own folder is: the path of a unix socket may have 107 bytes only.
std::string MakeFolder() {
  std::string path = "/tmp/viommu-frontends-XXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

}  // namespace

SharedEngine::SharedEngine() : folder_(MakeFolder()) {
  auto backend = SoftBackend::Create(EightDevices(), {}, {});
  EXPECT_TRUE(backend.ok()) << backend.status();
  backend_ = *std::move(backend);
  auto engine = Engine::Create({"test"}, backend_.get(), &journal_, RealEnv());
  EXPECT_TRUE(engine.ok()) << engine.status();
  engine_ = *std::move(engine);
  Start(Side::kLeft);
  Start(Side::kRight);
}

SharedEngine::~SharedEngine() {
  Destroy(Side::kLeft);
  Destroy(Side::kRight);
  std::filesystem::remove_all(folder_);
}

std::string SharedEngine::Target(Side side) const {
  return absl::StrCat("unix:", folder_, side == Side::kLeft ? "/left" : "/right");
}

void SharedEngine::Start(Side side) {
  ServerOptions options;
  options.listen_addresses = {Target(side)};
  // On a busy machine all of a test's clients may be unmapping at once.
  options.admission.max_revokes = 64;
  auto server = Server::Start(engine_.get(), std::move(options));
  EXPECT_TRUE(server.ok()) << server.status();
  frontend(side) = *std::move(server);
}

std::unique_ptr<Client> Wanderer::ConnectTo(const std::string& target) {
  ClientOptions options;
  options.max_attempts = 1;
  options.reconnect_timeout = absl::ZeroDuration();
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(target, options);
  EXPECT_TRUE(client.ok()) << client.status();
  return *std::move(client);
}

v1::CreateMemoryRegionRequest NewRegion(const std::string& id, uint64_t size_bytes) {
  v1::CreateMemoryRegionRequest request;
  request.set_memory_region_id(id);
  request.mutable_memory_region()->set_size_bytes(size_bytes);
  return request;
}

v1::CreateIoasRequest NewIoas(const std::string& id) {
  v1::CreateIoasRequest request;
  request.set_ioas_id(id);
  return request;
}

v1::CreateDomainRequest NewDomain(const std::string& id, const std::string& ioas,
                                  const std::string& device) {
  v1::CreateDomainRequest request;
  request.set_domain_id(id);
  request.mutable_domain()->mutable_paging()->set_ioas(ioas);
  request.mutable_domain()->mutable_paging()->set_device(device);
  return request;
}

v1::MapRequest OneMap(const std::string& ioas, const std::string& region, uint64_t iova,
                      uint64_t length) {
  v1::MapRequest request;
  request.set_name(ioas);
  v1::MapEntry* entry = request.add_mappings();
  entry->set_iova(iova);
  entry->set_memory_region(region);
  entry->set_length(length);
  return request;
}

}  // namespace viommu
