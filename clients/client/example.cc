// clients/client/example.cc -- Maps a guest's memory, and shows what an error says.
//
//   example TARGET
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "clients/client/client.h"
#include "clients/client/mapping_batcher.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/memory.grpc.pb.h"

namespace {

using Ioas = viommu::v1::IoasService::Stub;
using Memory = viommu::v1::MemoryService::Stub;

constexpr uint64_t kPage = 4096;
constexpr uint64_t kPages = 10'000;

// A region of memory, and an empty IO address space to show it in.
absl::Status Create(viommu::Client& client) {
  viommu::v1::CreateMemoryRegionRequest region;
  region.set_memory_region_id("example-ram");
  region.mutable_memory_region()->set_size_bytes(kPages * kPage);
  absl::Status status = client.Call(&Memory::CreateMemoryRegion, region).status();
  if (!status.ok()) return status;
  viommu::v1::CreateIoasRequest ioas;
  ioas.set_ioas_id("example");
  return client.Call(&Ioas::CreateIoas, ioas).status();
}

// Every page by itself, twice as far apart as in memory.
absl::Status MapPages(viommu::Client& client) {
  viommu::BatcherOptions options;
  options.ioas = "ioas/example";
  options.default_memory_region = "memoryRegions/example-ram";
  const auto batcher = viommu::MappingBatcher::Open(&client, options);
  if (!batcher.ok()) return batcher.status();
  for (uint64_t page = 0; page < kPages; ++page) {
    viommu::MapOne map;
    map.iova = 2 * page * kPage;
    map.offset = page * kPage;
    map.length = kPage;
    const auto entry = (*batcher)->Map(map);
    if (!entry.ok()) return entry.status();  // An earlier one failed, or the stream broke.
  }
  return (*batcher)->Close();
}

absl::StatusOr<uint64_t> MappedBytes(viommu::Client& client) {
  viommu::v1::GetIoasRequest request;
  request.set_name("ioas/example");
  const auto ioas = client.Call(&Ioas::GetIoas, request);
  if (!ioas.ok()) return ioas.status();
  return ioas->mapped_bytes();
}

absl::Status DeleteRegion(viommu::Client& client) {
  viommu::v1::DeleteMemoryRegionRequest request;
  request.set_name("memoryRegions/example-ram");
  return client.Call(&Memory::DeleteMemoryRegion, request).status();
}

absl::Status DeleteIoas(viommu::Client& client) {
  viommu::v1::DeleteIoasRequest request;
  request.set_name("ioas/example");
  return client.Call(&Ioas::DeleteIoas, request).status();
}

absl::Status Run(const std::string& target) {
  const auto client = viommu::Client::Connect(target);
  if (!client.ok()) return client.status();
  absl::Status status = Create(**client);
  if (status.ok()) status = MapPages(**client);
  if (!status.ok()) return status;
  const auto bytes = MappedBytes(**client);
  if (!bytes.ok()) return bytes.status();
  std::cout << "mapped " << *bytes << " bytes\n";

  // The region is still mapped: the answer says where.
  std::cout << viommu::Explain(DeleteRegion(**client)) << "\n";
  status = DeleteIoas(**client);
  return status.ok() ? DeleteRegion(**client) : status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: example TARGET\n";
    return 2;
  }
  const absl::Status status = Run(argv[1]);
  if (!status.ok()) std::cerr << viommu::Explain(status) << "\n";
  return status.ok() ? 0 : 1;
}
