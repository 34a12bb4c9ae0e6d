// Devices at work while the backend maps, unmaps and switches; meant for TSAN as well.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/base/address.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t k2M = uint64_t{1} << 21;
constexpr int kRounds = 300;

enum : Uid { kRegion = 1, kIoas, kIoas2, kDomain, kDomain2 };

class SoftBackendRaceTest : public testing::Test {
 protected:
  SoftBackendRaceTest() {
    SoftBackendOptions options;
    options.table_arena_bytes = uint64_t{64} << 20;
    backend_ = *SoftBackend::Create(TestTopology(), options, PlainStore());
    sim_ = backend_->simulation();
    EXPECT_TRUE(backend_->CreateMemoryRegion(kRegion, 8 * k2M, 0).ok());
    EXPECT_TRUE(backend_->CreateIoas(kIoas).ok());
    EXPECT_TRUE(backend_->CreateIoas(kIoas2).ok());
    EXPECT_TRUE(backend_->CreateDomain(kDomain, {kIoas, kDiskA}, {}).ok());
    EXPECT_TRUE(backend_->CreateDomain(kDomain2, {kIoas2, kDiskB}, {}).ok());
    EXPECT_TRUE(backend_->Claim({kDiskA}).ok());
    EXPECT_TRUE(backend_->Claim({kDiskB}).ok());
    EXPECT_TRUE(sim_->WriteMemory(kRegion, 0, "old bytes").ok());
    EXPECT_TRUE(sim_->WriteMemory(kRegion, kPage, "new bytes").ok());
  }

  absl::Status Map(Uid ioas, Iova iova, uint64_t size_bytes, uint64_t offset_bytes) {
    return backend_->Map(ioas, {BackendMapping{iova, size_bytes, kRegion, offset_bytes}});
  }
  absl::Status Unmap(Uid ioas, Iova iova, uint64_t size_bytes) {
    return backend_->Unmap(ioas, {IovaRange{iova, iova + size_bytes - 1}});
  }
  absl::Status Attach(DeviceIndex device, Uid domain) {
    return backend_->Switch({device}, std::nullopt, {DomainTarget::Kind::kDomain, domain}).status();
  }
  std::string Read(DeviceIndex device, Iova iova) {
    std::string bytes(9, '?');
    const DmaOutcome done =
        sim_->Dma(device, std::nullopt, iova, false, absl::MakeSpan(&bytes[0], bytes.size()));
    return done.fault.has_value() ? done.fault->reason : bytes;
  }

  std::unique_ptr<SoftBackend> backend_;
  Simulation* sim_ = nullptr;
};

TEST_F(SoftBackendRaceTest, DmaDuringReplaceSeesOldOrNewBytesOnly) {
  ASSERT_TRUE(Map(kIoas, 0x1000, kPage, 0).ok());
  ASSERT_TRUE(Map(kIoas2, 0x1000, kPage, kPage).ok());
  ASSERT_TRUE(Attach(kDiskA, kDomain).ok());
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> old_seen{0}, new_seen{0}, else_seen{0};
  std::thread device([&] {
    while (!stop) {
      const std::string bytes = Read(kDiskA, 0x1000);
      ++(bytes == "old bytes" ? old_seen : bytes == "new bytes" ? new_seen : else_seen);
    }
  });
  for (int round = 0; round < kRounds || old_seen == 0 || new_seen == 0; ++round) {
    ASSERT_TRUE(Attach(kDiskA, kDomain2).ok());
    ASSERT_EQ(Read(kDiskA, 0x1000), "new bytes");
    ASSERT_TRUE(Attach(kDiskA, kDomain).ok());
    ASSERT_EQ(Read(kDiskA, 0x1000), "old bytes");
  }
  stop = true;
  device.join();
  EXPECT_EQ(else_seen, 0u);
}

TEST_F(SoftBackendRaceTest, NothingIsReachableOnceUnmapOrDetachHasAnswered) {
  ASSERT_TRUE(Attach(kDiskB, kDomain2).ok());
  std::atomic<bool> stop{false};
  // Keep every cache warm and every table in use, on two Ioases and a default domain.
  std::thread warm([&] {
    for (Iova iova = 0; !stop; iova = (iova + kPage) % (2 * k2M)) {
      Read(kDiskA, iova);
      Read(kDiskB, iova);
      Read(kFunction0, iova);
    }
  });
  const auto churn = [&](DeviceIndex device, Uid ioas, Uid domain) {
    for (int round = 0; round < kRounds; ++round) {
      const uint64_t size_bytes = round % 3 == 0 ? k2M : 3 * kPage;
      ASSERT_TRUE(Map(ioas, 0, size_bytes, 0).ok());
      ASSERT_TRUE(Attach(device, domain).ok());
      ASSERT_EQ(Read(device, 0), "old bytes");
      if (round % 2 == 0) {
        ASSERT_TRUE(backend_->Switch({device}, std::nullopt, {}).ok());
        ASSERT_EQ(Read(device, 0), "SPT.2");
      }
      ASSERT_TRUE(Unmap(ioas, 0, size_bytes).ok());
      ASSERT_NE(Read(device, 0), "old bytes");
    }
  };
  std::thread first([&] { churn(kDiskA, kIoas, kDomain); });
  std::thread second([&] { churn(kDiskB, kIoas2, kDomain2); });
  std::thread host([&] {
    const BackendMapping mapping = {0, kPage, kRegion, kPage};
    for (int round = 0; round < kRounds; ++round) {
      ASSERT_TRUE(sim_->HostMap(kFunction1, mapping).ok());
      ASSERT_EQ(Read(kFunction0, 0), "new bytes");
      ASSERT_TRUE(sim_->HostUnmap(kFunction1, {0, kPage - 1}).ok());
      ASSERT_EQ(Read(kFunction0, 0), "SSS.2");
      backend_->Stats();
      backend_->Queues();
      sim_->DumpTables(kDiskA, std::nullopt, 0);
    }
  });
  first.join();
  second.join();
  host.join();
  stop = true;
  warm.join();
}

}  // namespace
}  // namespace viommu
