#include "engine/backend/soft/soft_backend.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/hardware/vtd_fault.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t k2M = uint64_t{1} << 21;
constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kSmallArena = uint64_t{64} << 20;

// Uids; one namespace, as the engine gives them.
enum : Uid { kRegion = 1, kRegion2, kIoas, kIoas2, kDomain, kDomain2, kDomain3 };

std::unique_ptr<SoftBackend> Make(Topology topology, uint64_t arena_bytes = kSmallArena) {
  auto backend = SoftBackend::Create(std::move(topology), {arena_bytes}, PlainStore());
  EXPECT_TRUE(backend.ok()) << backend.status();
  return *std::move(backend);
}

class SoftBackendTest : public testing::Test {
 protected:
  void Claim(DeviceIndex device) { ASSERT_TRUE(backend_->Claim({device}).ok()); }
  void Attach(DeviceIndex device, Uid domain) {
    const auto done =
        backend_->Switch({device}, std::nullopt, {DomainTarget::Kind::kDomain, domain});
    ASSERT_TRUE(done.ok()) << done.status();
    EXPECT_TRUE(done->hitless);
  }
  // kRegion of 2 GiB, and kDomain on kIoas made for `device`.
  void MakeDomain(DeviceIndex device = kDiskA) {
    ASSERT_TRUE(backend_->CreateMemoryRegion(kRegion, 2 * kGiB, 0).ok());
    ASSERT_TRUE(backend_->CreateIoas(kIoas).ok());
    ASSERT_TRUE(backend_->CreateDomain(kDomain, {kIoas, device}, {}).ok());
  }
  absl::Status Map(Iova iova, uint64_t size_bytes, uint64_t offset_bytes,
                   Permission permission = Permission::kReadWrite, Uid region = kRegion) {
    const BackendMapping mapping = {iova, size_bytes, region, offset_bytes, permission};
    return backend_->Map(kIoas, {mapping});
  }
  absl::Status Unmap(Iova iova, uint64_t size_bytes) {
    return backend_->Unmap(kIoas, {IovaRange{iova, iova + size_bytes - 1}});
  }
  DmaOutcome Write(DeviceIndex device, Iova iova, std::string text) {
    return sim_->Dma(device, std::nullopt, iova, true, absl::MakeSpan(&text[0], text.size()));
  }
  // What the device reads, or the reason why it can not.
  std::string Read(DeviceIndex device, Iova iova, size_t size_bytes = 5) {
    std::string bytes(size_bytes, '?');
    const DmaOutcome done =
        sim_->Dma(device, std::nullopt, iova, false, absl::MakeSpan(&bytes[0], size_bytes));
    return done.fault.has_value() ? done.fault->reason : bytes;
  }
  void Store(Uid region, uint64_t offset_bytes, const std::string& text) {
    ASSERT_TRUE(sim_->WriteMemory(region, offset_bytes, text).ok());
  }
  std::string Load(Uid region, uint64_t offset_bytes, size_t size_bytes = 5) {
    std::string bytes(size_bytes, '?');
    EXPECT_TRUE(sim_->ReadMemory(region, offset_bytes, absl::MakeSpan(&bytes[0], size_bytes)).ok());
    return bytes;
  }
  uint64_t Invalidations(const std::string& kind) {
    for (const auto& [name, count] : backend_->Stats().invalidations) {
      if (name == kind) return count;
    }
    ADD_FAILURE() << "no kind " << kind;
    return 0;
  }

  std::unique_ptr<SoftBackend> backend_ = Make(TestTopology());
  Simulation* sim_ = backend_->simulation();
};

TEST_F(SoftBackendTest, TellsTheLeavesOfAMappingBeforeItIsMade) {
  MakeDomain();
  const DomainProperties properties = *backend_->PlanDomain({kIoas, kDiskA});
  // Regions lie where leaves of every size can map them.
  const auto leaves = backend_->PlanLeaves(
      properties, {0x200000, 0x201000, kRegion, 0x200000, Permission::kReadWrite});
  ASSERT_EQ(leaves.size(), 2u);
  EXPECT_EQ(leaves[0].page_size_bytes, 0x200000u);
  EXPECT_EQ(leaves[0].count, 1u);
  EXPECT_EQ(leaves[1].page_size_bytes, 0x1000u);
  EXPECT_EQ(leaves[1].count, 1u);
  EXPECT_TRUE(
      backend_->PlanLeaves(properties, {0, 0x1000, Uid{999}, 0, Permission::kRead}).empty());
}

TEST_F(SoftBackendTest, DmaReachesTheBytesOfMappedMemory) {
  MakeDomain();
  Claim(kDiskA);
  Attach(kDiskA, kDomain);
  const struct {
    const char* name;
    Iova iova;
    uint64_t size_bytes, offset_bytes;
    const char* leaf;
  } kCases[] = {
      {"one page", 0x1000, kPage, 0x7000, "4 KiB"},
      {"2 MiB", 4 * k2M, k2M, 6 * k2M, "2 MiB"},
      {"1 GiB", 4 * kGiB, kGiB, kGiB, "1 GiB"},
      {"at the end of the aperture", (uint64_t{1} << 48) - kPage, kPage, 0, "4 KiB"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    ASSERT_TRUE(Map(c.iova, c.size_bytes, c.offset_bytes).ok());
    Store(kRegion, c.offset_bytes + c.size_bytes - 5, "hello");
    EXPECT_EQ(Read(kDiskA, c.iova + c.size_bytes - 5), "hello");
    EXPECT_FALSE(Write(kDiskA, c.iova, "there").fault.has_value());
    EXPECT_EQ(Load(kRegion, c.offset_bytes), "there");
    const auto dump = sim_->DumpTables(kDiskA, std::nullopt, c.iova);
    EXPECT_NE(dump.back().decoded.find(c.leaf), std::string::npos) << dump.back().decoded;
  }
}

TEST_F(SoftBackendTest, PermissionsHoldForDma) {
  MakeDomain();
  Claim(kDiskA);
  Attach(kDiskA, kDomain);
  ASSERT_TRUE(Map(0x1000, kPage, 0, Permission::kRead).ok());
  ASSERT_TRUE(Map(0x2000, kPage, kPage, Permission::kWrite).ok());
  EXPECT_EQ(Read(kDiskA, 0x1000), std::string(5, '\0'));
  EXPECT_EQ(Write(kDiskA, 0x1000, "x").fault->code, hardware::kWriteDenied);
  EXPECT_FALSE(Write(kDiskA, 0x2000, "x").fault.has_value());
  EXPECT_EQ(Read(kDiskA, 0x2000), "SGN.7");
}

TEST_F(SoftBackendTest, DmaFaultsOnceUnmapHasAnsweredThoughCachesWereWarm) {
  MakeDomain();
  Claim(kDiskA);
  Attach(kDiskA, kDomain);
  const struct {
    const char* name;
    uint64_t size_bytes;
    bool neighbour;  // Another page below the same table stays mapped.
  } kCases[] = {
      {"a page, its table stays", kPage, true}, {"a page, its table goes", kPage, false},
      {"three pages", 3 * kPage, true},         {"2 MiB", k2M, false},
      {"2 MiB, its table stays", k2M, true},    {"1 GiB and more", kGiB + 3 * k2M, false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const Iova iova = 6 * kGiB;
    if (c.neighbour) {
      ASSERT_TRUE(Map(iova + c.size_bytes, kPage, 0).ok());
    }
    ASSERT_TRUE(Map(iova, c.size_bytes, 0).ok());
    for (Iova at = iova; at < iova + c.size_bytes; at += c.size_bytes / 3 / kPage * kPage + kPage) {
      EXPECT_EQ(Read(kDiskA, at).size(), 5u);
    }
    ASSERT_TRUE(Unmap(iova, c.size_bytes).ok());
    for (Iova at = iova; at < iova + c.size_bytes; at += c.size_bytes / 3 / kPage * kPage + kPage) {
      const DmaOutcome done = Write(kDiskA, at, "leak");
      ASSERT_TRUE(done.fault.has_value());
      EXPECT_EQ(done.fault->code, hardware::kPageNotPresent);
      EXPECT_EQ(done.fault->reason, "SSS.2");
      EXPECT_FALSE(done.fault->description.empty());
      EXPECT_EQ(done.fault->iova, at);
      EXPECT_EQ(done.bytes_done, 0u);
    }
    if (c.neighbour) {
      EXPECT_NE(Read(kDiskA, iova + c.size_bytes), "SSS.2");
      ASSERT_TRUE(Unmap(iova + c.size_bytes, kPage).ok());
    }
  }
}

TEST_F(SoftBackendTest, FreedTablesAreReusedOnlyBehindAFlush) {
  MakeDomain();
  Claim(kDiskA);
  Attach(kDiskA, kDomain);
  Store(kRegion, 0, "first");
  Store(kRegion, kPage, "other");
  // The tables of one IOVA become those of another: a cached pointer would read the wrong ones.
  for (int round = 0; round < 200; ++round) {
    const Iova a = 0x1000 + round * kGiB, b = 0x1000 + (round + 300) * kGiB;
    ASSERT_TRUE(Map(a, kPage, 0).ok());
    EXPECT_EQ(Read(kDiskA, a), "first");
    ASSERT_TRUE(Unmap(a, kPage).ok());
    ASSERT_TRUE(Map(b, kPage, kPage).ok());
    ASSERT_EQ(Read(kDiskA, a), "SSS.2");
    ASSERT_EQ(Read(kDiskA, b), "other");
    ASSERT_TRUE(Unmap(b, kPage).ok());
  }
}

TEST_F(SoftBackendTest, ManyAreasGoWithOneFlushOfTheDomain) {
  MakeDomain();
  Claim(kDiskA);
  Attach(kDiskA, kDomain);
  std::vector<IovaRange> areas;
  for (int i = 0; i < 40; ++i) {
    const Iova iova = (2 * i + 1) * k2M;
    ASSERT_TRUE(Map(iova, kPage, 0).ok());
    EXPECT_EQ(Read(kDiskA, iova).size(), 5u);
    EXPECT_NE(Read(kDiskA, iova), "SSS.2");
    areas.push_back({iova, iova + kPage - 1});
  }
  const uint64_t pages = Invalidations("iotlb_page"), domains = Invalidations("iotlb_domain");
  ASSERT_TRUE(backend_->Unmap(kIoas, areas).ok());
  EXPECT_EQ(Invalidations("iotlb_page"), pages);
  EXPECT_EQ(Invalidations("iotlb_domain"), domains + 1);
  for (const IovaRange& area : areas) EXPECT_EQ(Read(kDiskA, area.first), "SSS.2");
}

TEST_F(SoftBackendTest, ReachesTheTranslationsThatADeviceKeepsForItself) {
  MakeDomain(kDiskB);
  Claim(kDiskB);
  Attach(kDiskB, kDomain);
  Store(kRegion, 0, "first");
  Store(kRegion, kPage, "other");
  ASSERT_TRUE(Map(0x1000, kPage, 0).ok());
  ASSERT_TRUE(Map(0x5000, kPage, kPage).ok());
  EXPECT_EQ(Read(kDiskB, 0x1000), "first");
  EXPECT_EQ(Read(kDiskB, 0x5000), "other");
  const uint64_t flushes = Invalidations("device_tlb");
  ASSERT_TRUE(Unmap(0x1000, kPage).ok());
  EXPECT_EQ(Invalidations("device_tlb"), flushes + 1);
  EXPECT_EQ(Read(kDiskB, 0x1000), "SSS.2");
  ASSERT_TRUE(Map(0x1000, kPage, kPage).ok());
  EXPECT_EQ(Read(kDiskB, 0x1000), "other");
  ASSERT_TRUE(backend_->Switch({kDiskB}, std::nullopt, {DomainTarget::Kind::kBlocked, Uid{}}).ok());
  EXPECT_EQ(Read(kDiskB, 0x1000), "SPT.2");
  EXPECT_EQ(Read(kDiskB, 0x5000), "SPT.2");
}

TEST_F(SoftBackendTest, LetsOnlyTrustedDevicesTranslateForThemselves) {
  const auto context = [&](DeviceIndex device) {
    return sim_->DumpTables(device, std::nullopt, 0)[1].decoded;
  };
  EXPECT_NE(context(kDiskB).find("device TLB"), std::string::npos);
  EXPECT_EQ(context(kThunder).find("device TLB"), std::string::npos);
  EXPECT_EQ(context(kDiskA).find("device TLB"), std::string::npos);
  Topology topology = TestTopology();
  topology.iommus[0].device_tlb = false;
  backend_ = Make(topology);
  sim_ = backend_->simulation();
  EXPECT_EQ(context(kDiskB).find("device TLB"), std::string::npos);
}

TEST_F(SoftBackendTest, StartsEveryGroupOnItsDefaultDomain) {
  ASSERT_TRUE(backend_->CreateMemoryRegion(kRegion, kPage, std::nullopt).ok());
  Store(kRegion, 0, "bytes");
  const Iova physical = sim_->PhysicalAddress(kRegion, 0)->value;
  EXPECT_EQ(Read(kHostNic, physical), "bytes");
  for (const DeviceIndex d : {kDiskA, kDiskB, kFunction0, kFunction1, kFarDisk, kUsb, kThunder}) {
    EXPECT_EQ(Read(d, physical), "SSS.2") << d;
  }
}

TEST_F(SoftBackendTest, DirectRegionsAreMappedOneToOneForTheHost) {
  EXPECT_FALSE(Write(kUsb, kUsbRegion.first, "first").fault.has_value());
  EXPECT_FALSE(Write(kUsb, kUsbRegion.last - 3, "last").fault.has_value());
  EXPECT_EQ(Read(kUsb, kUsbRegion.first), "first");
  EXPECT_EQ(Read(kUsb, kUsbRegion.first - 1), "SSS.2");
  EXPECT_EQ(Read(kUsb, kUsbRegion.last + 1), "SSS.2");
  EXPECT_EQ(Read(kFarDisk, kUsbRegion.first), "SSS.2");  // Only for the device that has it.
  Claim(kUsb);
  EXPECT_EQ(Read(kUsb, kUsbRegion.first), "SPT.2");
  ASSERT_TRUE(backend_->AssignDefault({kUsb}, DefaultDomainType::kDma).ok());
  EXPECT_EQ(Read(kUsb, kUsbRegion.first), "first");
}

TEST_F(SoftBackendTest, ClaimBlocksAndReleaseGivesBack) {
  ASSERT_TRUE(backend_->CreateMemoryRegion(kRegion, kPage, std::nullopt).ok());
  const Iova physical = sim_->PhysicalAddress(kRegion, 0)->value;
  const DeviceIndex nic = kHostNic;
  EXPECT_EQ(Read(nic, physical).size(), 5u);
  Claim(nic);
  EXPECT_EQ(Read(nic, physical), "SPT.2");
  const auto released = backend_->AssignDefault({nic}, DefaultDomainType::kIdentity);
  ASSERT_TRUE(released.ok());
  EXPECT_TRUE(released->hitless);
  EXPECT_EQ(Read(nic, physical), std::string(5, '\0'));
  // The host changes its mind: from identity to DMA, and nothing in between.
  ASSERT_TRUE(backend_->AssignDefault({nic}, DefaultDomainType::kDma).ok());
  EXPECT_EQ(Read(nic, physical), "SSS.2");
}

TEST_F(SoftBackendTest, RefusesDefaultDomainsThatADeviceCanNotHave) {
  EXPECT_EQ(backend_->AssignDefault({kThunder}, DefaultDomainType::kIdentity).status().code(),
            absl::StatusCode::kPermissionDenied);
  Topology plain = TestTopology();
  plain.iommus[1].pass_through = false;
  const auto backend = Make(plain);
  EXPECT_EQ(backend->AssignDefault({kFarDisk}, DefaultDomainType::kIdentity).status().code(),
            absl::StatusCode::kUnimplemented);
  EXPECT_EQ(
      backend->Switch({kFarDisk}, std::nullopt, {DomainTarget::Kind::kIdentity, 0}).status().code(),
      absl::StatusCode::kUnimplemented);
}

TEST_F(SoftBackendTest, MembersOfAGroupMoveTogether) {
  MakeDomain(kFunction0);
  ASSERT_TRUE(Map(0x1000, kPage, 0).ok());
  Store(kRegion, 0, "bytes");
  ASSERT_TRUE(backend_->Claim({kFunction0, kFunction1}).ok());
  EXPECT_EQ(Read(kFunction0, 0x1000), "SPT.2");
  EXPECT_EQ(Read(kFunction1, 0x1000), "SPT.2");
  const DomainTarget target = {DomainTarget::Kind::kDomain, kDomain};
  ASSERT_TRUE(backend_->Switch({kFunction0, kFunction1}, std::nullopt, target).ok());
  EXPECT_EQ(Read(kFunction0, 0x1000), "bytes");
  EXPECT_EQ(Read(kFunction1, 0x1000), "bytes");
  ASSERT_TRUE(backend_->Switch({kFunction1}, std::nullopt, {}).ok());  // One member stands for all.
  EXPECT_EQ(Read(kFunction0, 0x1000), "SPT.2");
  EXPECT_EQ(Read(kFunction1, 0x1000), "SPT.2");
}

TEST_F(SoftBackendTest, AllDomainsOfAnIoasMapTheSame) {
  MakeDomain(kDiskA);
  ASSERT_TRUE(Map(0x1000, kPage, 0).ok());
  Store(kRegion, 0, "early");
  Store(kRegion, kPage, "later");
  const BackendMapping existing = {0x1000, kPage, kRegion, 0, Permission::kReadWrite};
  ASSERT_TRUE(backend_->CreateDomain(kDomain2, {kIoas, kFarDisk}, {existing}).ok());
  Claim(kDiskA), Claim(kFarDisk);
  Attach(kDiskA, kDomain), Attach(kFarDisk, kDomain2);
  ASSERT_TRUE(Map(0x2000, kPage, kPage).ok());
  for (const DeviceIndex device : {kDiskA, kFarDisk}) {
    EXPECT_EQ(Read(device, 0x1000), "early");
    EXPECT_EQ(Read(device, 0x2000), "later");
  }
  ASSERT_TRUE(Unmap(0x1000, kPage).ok());
  for (const DeviceIndex device : {kDiskA, kFarDisk}) {
    EXPECT_EQ(Read(device, 0x1000), "SSS.2");
    EXPECT_EQ(Read(device, 0x2000), "later");
  }
  // One domain fewer, also used by two units.
  ASSERT_TRUE(backend_->Switch({kFarDisk}, std::nullopt, {}).ok());
  ASSERT_TRUE(backend_->DestroyDomain(kDomain2).ok());
  Attach(kFarDisk, kDomain);
  ASSERT_TRUE(Unmap(0x2000, kPage).ok());
  EXPECT_EQ(Read(kDiskA, 0x2000), "SSS.2");
  EXPECT_EQ(Read(kFarDisk, 0x2000), "SSS.2");
}

TEST_F(SoftBackendTest, AFailedMapChangesNothingInAnyDomain) {
  MakeDomain(kDiskA);
  ASSERT_TRUE(backend_->CreateDomain(kDomain2, {kIoas, kFarDisk}, {}).ok());
  Claim(kDiskA), Claim(kFarDisk);
  Attach(kDiskA, kDomain), Attach(kFarDisk, kDomain2);
  ASSERT_TRUE(Map(0x5000, kPage, 0).ok());
  const uint64_t pages = backend_->Stats().table_pages;
  const std::vector<BackendMapping> batch = {
      {0x1000, kPage, kRegion, 0}, {0x40'0000, k2M, kRegion, k2M}, {0x4000, 2 * kPage, kRegion, 0}};
  const absl::Status status = backend_->Map(kIoas, batch);
  EXPECT_EQ(DetailOf(status)->reason, "IOVA_CONFLICT");
  EXPECT_EQ(backend_->Stats().table_pages, pages);
  for (const DeviceIndex device : {kDiskA, kFarDisk}) {
    for (const Iova iova : {0x1000, 0x40'0000, 0x4000}) EXPECT_EQ(Read(device, iova), "SSS.2");
    EXPECT_EQ(Read(device, 0x5000).size(), 5u);
  }
  EXPECT_EQ(backend_->Map(kIoas, {BackendMapping{0x9000, kPage, 77, 0}}).code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(Map(0x9000, kPage, 2 * kGiB).code(), absl::StatusCode::kOutOfRange);
}

TEST_F(SoftBackendTest, ARunOutArenaLeavesEverythingAsItWasAtEverySize) {
  const std::vector<BackendMapping> batch = {{0x1000, 3 * kPage, kRegion, 0},
                                             {kGiB + kPage, 2 * k2M, kRegion, kPage},
                                             {uint64_t{1} << 40, kPage, kRegion, 0}};
  int creations_failed = 0, steps_failed = 0;
  for (uint64_t pages = 1;; ++pages) {
    SCOPED_TRACE(pages);
    auto made = SoftBackend::Create(TestTopology(), {pages * kPage}, PlainStore());
    if (!made.ok()) {
      ASSERT_EQ(made.status().code(), absl::StatusCode::kResourceExhausted);
      ++creations_failed;
      continue;
    }
    backend_ = *std::move(made);
    sim_ = backend_->simulation();
    ASSERT_TRUE(backend_->CreateMemoryRegion(kRegion, kGiB, 0).ok());
    ASSERT_TRUE(backend_->CreateIoas(kIoas).ok());
    ASSERT_TRUE(backend_->CreateIoas(kIoas2).ok());
    ASSERT_TRUE(backend_->Claim({kDiskA}).ok());
    ASSERT_TRUE(backend_->Claim({kFarDisk}).ok());
    bool all = true;
    // Answers whether a step was done; one that was not has changed no count of pages.
    const auto step = [&](auto action) {
      const uint64_t before = backend_->Stats().table_pages;
      const absl::Status status = action();
      if (!status.ok()) {
        EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
        EXPECT_EQ(backend_->Stats().table_pages, before);
        all = false;
        ++steps_failed;
      }
      return status.ok();
    };
    for (const auto& domain : {std::pair{kDomain, kDiskA}, {kDomain2, kFarDisk}}) {
      const auto [uid, device] = domain;
      if (step([&, uid = uid, device = device] {
            return backend_->CreateDomain(uid, {kIoas, device}, {});
          })) {
        Attach(device, uid);
      }
    }
    const bool mapped = step([&] { return backend_->Map(kIoas, batch); });
    for (const DeviceIndex device : {kDiskA, kFarDisk}) {
      const bool attached = sim_->DumpTables(device, std::nullopt, 0).size() > 4;
      for (const BackendMapping& m : batch) {
        const std::string read = Read(device, m.iova);
        EXPECT_EQ(read, !attached ? "SPT.2" : mapped ? std::string(5, '\0') : "SSS.2");
      }
    }
    step([&] { return backend_->CreateDomain(kDomain3, {kIoas2, kDiskA}, batch); });
    step([&] { return backend_->AssignDefault({kFarDisk}, DefaultDomainType::kDma).status(); });
    if (all) break;
  }
  EXPECT_GT(creations_failed, 10);
  EXPECT_GT(steps_failed, 20);
}

// Fourteen domain ids (2 to 15), all taken by DMA default domains, and one more device.
TEST_F(SoftBackendTest, RunningOutOfDomainIdsLeavesADeviceWhereItIs) {
  Topology topology = TestTopology();
  topology.iommus[0].domain_id_bits = 4;
  topology.devices.resize(1);
  topology.devices[0] = TestTopology().devices[kHostNic];
  for (int i = 0; i < 14; ++i) {
    DeviceSpec device = TestTopology().devices[kDiskA];
    device.id = device.group = "disk-" + std::to_string(i);
    device.pci_address = "0000:" + std::to_string(10 + i) + ":00.0";
    topology.devices.push_back(device);
  }
  backend_ = Make(topology);
  sim_ = backend_->simulation();
  MakeDomain(0);
  ASSERT_TRUE(Map(0x1000, kPage, 0).ok());
  const DomainTarget target = {DomainTarget::Kind::kDomain, kDomain};
  const Iova physical = sim_->PhysicalAddress(kRegion, 0)->value;
  const auto refused = backend_->Switch({DeviceIndex{0}}, std::nullopt, target);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailOf(refused.status())->reason, "DOMAIN_IDS_EXHAUSTED");
  EXPECT_EQ(Read(0, physical).size(), 5u);  // Still on IDENTITY.
  EXPECT_NE(Read(0, physical), "SSS.2");
  ASSERT_TRUE(backend_->Claim({DeviceIndex{1}}).ok());
  ASSERT_TRUE(backend_->Switch({DeviceIndex{0}}, std::nullopt, target).ok());
  EXPECT_EQ(Read(0, 0x1000), std::string(5, '\0'));
  EXPECT_EQ(backend_->AssignDefault({DeviceIndex{1}}, DefaultDomainType::kDma).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Read(1, 0x1000), "SPT.2");  // Still BLOCKED.
}

TEST_F(SoftBackendTest, AReusedDomainIdNeverShowsItsLastOwnersMemory) {
  MakeDomain();
  ASSERT_TRUE(backend_->CreateIoas(kIoas2).ok());
  ASSERT_TRUE(backend_->CreateDomain(kDomain2, {kIoas2, kDiskB}, {}).ok());
  ASSERT_TRUE(Map(0x1000, kPage, 0).ok());
  const BackendMapping other = {0x1000, kPage, kRegion, kPage, Permission::kReadWrite};
  ASSERT_TRUE(backend_->Map(kIoas2, {other}).ok());
  Store(kRegion, 0, "alpha");
  Store(kRegion, kPage, "gamma");
  Claim(kDiskA), Claim(kDiskB);
  for (int round = 0; round < 500; ++round) {
    Attach(kDiskA, kDomain);
    ASSERT_EQ(Read(kDiskA, 0x1000), "alpha");
    ASSERT_TRUE(backend_->Switch({kDiskA}, std::nullopt, {}).ok());
    Attach(kDiskB, kDomain2);  // Takes the id just given back.
    ASSERT_EQ(Read(kDiskB, 0x1000), "gamma");
    ASSERT_EQ(Read(kDiskA, 0x1000), "SPT.2");
    ASSERT_TRUE(backend_->Switch({kDiskB}, std::nullopt, {}).ok());
  }
}

TEST_F(SoftBackendTest, SharedDomainsKeepTheirIdUntilTheLastGroupLeaves) {
  MakeDomain();
  ASSERT_TRUE(Map(0x1000, kPage, 0).ok());
  Store(kRegion, 0, "alpha");
  Claim(kDiskA), Claim(kDiskB);
  Attach(kDiskA, kDomain), Attach(kDiskB, kDomain);
  ASSERT_TRUE(backend_->Switch({kDiskA}, std::nullopt, {}).ok());
  EXPECT_EQ(Read(kDiskB, 0x1000), "alpha");
  ASSERT_TRUE(Unmap(0x1000, kPage).ok());
  EXPECT_EQ(Read(kDiskB, 0x1000), "SSS.2");
}

TEST_F(SoftBackendTest, PlansTheDomainThatTheUnitCanWalk) {
  const auto near = backend_->PlanDomain({kIoas, kDiskA});
  const auto far = backend_->PlanDomain({kIoas, kFarDisk});
  ASSERT_TRUE(near.ok() && far.ok());
  EXPECT_EQ(near->levels, 4);
  EXPECT_EQ(near->aperture.last, (uint64_t{1} << 48) - 1);
  EXPECT_EQ(far->levels, 5);
  EXPECT_EQ(far->aperture.last, (uint64_t{1} << 57) - 1);
  EXPECT_TRUE(backend_->CheckCompatible(kFarDisk, *near).ok());
  const absl::Status refused = backend_->CheckCompatible(kDiskA, *far);
  EXPECT_EQ(DetailOf(refused)->reason, "INCOMPATIBLE_DOMAIN");
}

TEST_F(SoftBackendTest, PlansHitlessSwitchesWithoutMovingAnything) {
  MakeDomain();
  const DomainTarget paging = {DomainTarget::Kind::kDomain, kDomain};
  const DomainTarget identity = {DomainTarget::Kind::kIdentity, 0};
  for (const DomainTarget& target : {paging, identity, DomainTarget{}}) {
    EXPECT_TRUE(backend_->PlanSwitch({kHostNic}, std::nullopt, target).hitless);
  }
  const Iova physical = sim_->PhysicalAddress(kRegion, 0)->value;
  EXPECT_EQ(Read(kHostNic, physical).size(), 5u);
  EXPECT_NE(Read(kHostNic, physical), "SPT.2");
  const DomainTarget missing = {DomainTarget::Kind::kDomain, 99};
  EXPECT_FALSE(backend_->PlanSwitch({kHostNic}, std::nullopt, missing).hitless);
  EXPECT_EQ(backend_->Switch({kHostNic}, std::nullopt, missing).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(SoftBackendTest, TheHostMapsIntoItsDmaDomain) {
  ASSERT_TRUE(backend_->CreateMemoryRegion(kRegion, 16 * kPage, 0).ok());
  Store(kRegion, 0, "bytes");
  const BackendMapping mapping = {0x8000, kPage, kRegion, 0, Permission::kRead};
  ASSERT_TRUE(sim_->HostMap(kFunction1, mapping).ok());
  EXPECT_EQ(Read(kFunction0, 0x8000), "bytes");
  ASSERT_TRUE(sim_->HostUnmap(kFunction0, {0x8000, 0x8fff}).ok());
  EXPECT_EQ(Read(kFunction0, 0x8000), "SSS.2");
  EXPECT_EQ(sim_->HostMap(kHostNic, mapping).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(DetailOf(sim_->HostUnmap(kUsb, {0, 0xffff'ffff}))->reason, "RESERVED_RANGE");
  EXPECT_EQ(Read(kUsb, kUsbRegion.first).size(), 5u);
  // What was mapped for the host does not come back with the device.
  ASSERT_TRUE(sim_->HostMap(kFunction1, mapping).ok());
  Claim(kFunction0);
  EXPECT_EQ(sim_->HostMap(kFunction0, mapping).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(backend_->AssignDefault({kFunction0}, DefaultDomainType::kDma).ok());
  EXPECT_EQ(Read(kFunction0, 0x8000), "SSS.2");
}

TEST_F(SoftBackendTest, ADeferredUnmapIsInForceAfterTheFlush) {
  ASSERT_TRUE(backend_->CreateMemoryRegion(kRegion, 16 * kPage, 0).ok());
  Store(kRegion, 0, "bytes");
  ASSERT_TRUE(backend_->AssignDefault({kDiskB}, DefaultDomainType::kDmaFq).ok());
  const uint64_t pages = backend_->Stats().table_pages;
  ASSERT_TRUE(sim_->HostMap(kDiskB, {0x8000, kPage, kRegion, 0}).ok());
  const uint64_t mapped_pages = backend_->Stats().table_pages;
  EXPECT_EQ(Read(kDiskB, 0x8000), "bytes");
  ASSERT_TRUE(sim_->HostUnmapDeferred(kDiskB, {0x8000, 0x8fff}).ok());
  EXPECT_EQ(Read(kDiskB, 0x8000), "bytes") << "it is cached still";
  EXPECT_EQ(backend_->Stats().table_pages, mapped_pages) << "tables are set aside";
  ASSERT_TRUE(sim_->HostFlush(kDiskB).ok());
  EXPECT_EQ(Read(kDiskB, 0x8000), "SSS.2");
  EXPECT_EQ(backend_->Stats().table_pages, pages);
}

TEST_F(SoftBackendTest, AStrictUnmapFlushesWhatWasDeferredBeforeItsTablesAreFreed) {
  ASSERT_TRUE(backend_->CreateMemoryRegion(kRegion, 16 * kPage, 0).ok());
  Store(kRegion, 0, "bytes");
  ASSERT_TRUE(sim_->HostMap(kDiskA, {0x8000, kPage, kRegion, 0}).ok());
  ASSERT_TRUE(sim_->HostMap(kDiskA, {uint64_t{1} << 40, kPage, kRegion, 0}).ok());
  EXPECT_EQ(Read(kDiskA, 0x8000), "bytes");
  ASSERT_TRUE(sim_->HostUnmapDeferred(kDiskA, {0x8000, 0x8fff}).ok());
  const Iova far = uint64_t{1} << 40;
  ASSERT_TRUE(sim_->HostUnmap(kDiskA, {far, far + kPage - 1}).ok());
  EXPECT_EQ(Read(kDiskA, 0x8000), "SSS.2");
}

TEST_F(SoftBackendTest, WhatIsMappedWhereTablesWereUnlinkedIsFoundAtOnce) {
  ASSERT_TRUE(backend_->CreateMemoryRegion(kRegion, 16 * kPage, 0).ok());
  Store(kRegion, 0, "first");
  Store(kRegion, kPage, "other");
  ASSERT_TRUE(sim_->HostMap(kDiskA, {0x8000, kPage, kRegion, 0}).ok());
  EXPECT_EQ(Read(kDiskA, 0x8000), "first");
  // The last page of its tables: they go, while the unit remembers where they are.
  ASSERT_TRUE(sim_->HostUnmapDeferred(kDiskA, {0x8000, 0x8fff}).ok());
  ASSERT_TRUE(sim_->HostMap(kDiskA, {0x9000, kPage, kRegion, kPage}).ok());
  EXPECT_EQ(Read(kDiskA, 0x9000), "other");
}

TEST_F(SoftBackendTest, DumpsThePathOfARequest) {
  MakeDomain();
  Claim(kDiskA);
  EXPECT_EQ(sim_->DumpTables(kDiskA, std::nullopt, 0).back().decoded, "not present");
  Attach(kDiskA, kDomain);
  ASSERT_TRUE(Map(0x1000, kPage, 0).ok());
  std::string tables;
  for (const TableEntryDump& entry : sim_->DumpTables(kDiskA, std::nullopt, 0x1000))
    tables += entry.table + "\n";
  EXPECT_EQ(tables,
            "root\ncontext\npasid-directory\npasid\nsecond-stage level 4\nsecond-stage level 3\n"
            "second-stage level 2\nsecond-stage level 1\n");
  const auto leaf = sim_->DumpTables(kDiskA, std::nullopt, 0x1000).back();
  EXPECT_EQ(leaf.words[0] & ~uint64_t{0x803}, sim_->PhysicalAddress(kRegion, 0)->value);
  EXPECT_EQ(sim_->DumpTables(kHostNic, std::nullopt, 0).back().decoded,
            "present, pass-through, 4 levels, domain id 1, walks snoop");
}

TEST_F(SoftBackendTest, CountsEveryKindOfInvalidationAndFault) {
  const BackendStats fresh = backend_->Stats();
  std::vector<std::string> kinds;
  for (const auto& [name, count] : fresh.invalidations) kinds.push_back(name);
  EXPECT_EQ(kinds, (std::vector<std::string>{"context_cache", "pasid_cache", "iotlb_global",
                                             "iotlb_domain", "iotlb_page", "pasid_iotlb",
                                             "pasid_iotlb_page", "device_tlb", "pasid_device_tlb",
                                             "page_group_response", "wait"}));
  EXPECT_GT(fresh.table_pages, 30u);
  EXPECT_EQ(fresh.table_pages_limit, kSmallArena / 4096);
  std::map<std::string, uint64_t> faults(fresh.faults.begin(), fresh.faults.end());
  EXPECT_EQ(faults.size(), fresh.faults.size());
  EXPECT_EQ(faults.at("SPT.2"), 0u);
  EXPECT_EQ(faults.at("SSS.2"), 0u);
  EXPECT_EQ(faults.count("SGN.8"), 1u);
  Claim(kDiskA);
  Read(kDiskA, 0);
  const BackendStats after = backend_->Stats();
  EXPECT_EQ((std::map<std::string, uint64_t>(after.faults.begin(), after.faults.end()))["SPT.2"],
            1u);
  const auto queues = backend_->Queues();
  ASSERT_EQ(queues.size(), 2u);
  EXPECT_EQ(queues[0].iommu, "dmar0");
  EXPECT_EQ(queues[0].size_entries, 256u);
  EXPECT_EQ(queues[0].head, queues[0].tail);
  EXPECT_GT(queues[0].submitted, queues[0].waits);
  EXPECT_GT(queues[0].waits, 0u);
  EXPECT_EQ(queues[0].errors, 0u);
}

TEST_F(SoftBackendTest, NothingIsLeftBehind) {
  const uint64_t pages = backend_->Stats().table_pages;
  MakeDomain();
  Claim(kDiskA);
  Attach(kDiskA, kDomain);
  ASSERT_TRUE(Map(0x1000, kGiB + k2M, 0).ok());
  EXPECT_GT(backend_->Stats().table_pages, pages);
  ASSERT_TRUE(backend_->AssignDefault({kDiskA}, DefaultDomainType::kDma).ok());
  ASSERT_TRUE(backend_->DestroyDomain(kDomain).ok());
  ASSERT_TRUE(backend_->DestroyIoas(kIoas).ok());
  ASSERT_TRUE(backend_->DestroyMemoryRegion(kRegion).ok());
  EXPECT_EQ(backend_->Stats().table_pages, pages);
}

TEST_F(SoftBackendTest, RefusesUnknownAndRepeatedObjects) {
  MakeDomain();
  EXPECT_EQ(backend_->CreateMemoryRegion(kRegion, kPage, 0).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(backend_->CreateIoas(kIoas).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(backend_->CreateDomain(kDomain, {kIoas, kDiskA}, {}).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(backend_->CreateDomain(kDomain2, {99, kDiskA}, {}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(backend_->Map(99, {}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(backend_->Unmap(99, {}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(backend_->DestroyDomain(99).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(backend_->DestroyIoas(99).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(backend_->DestroyMemoryRegion(99).code(), absl::StatusCode::kNotFound);
}

TEST_F(SoftBackendTest, RefusesABrokenTopologyWithAllItsProblems) {
  Topology topology = TestTopology();
  topology.devices[0].iommu = "nowhere";
  topology.devices[1].pci_address = "x";
  const auto made = SoftBackend::Create(topology, {kSmallArena}, PlainStore());
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailOf(made.status())->violations.size(), 2u);
}

TEST_F(SoftBackendTest, DescribesTheHardwareAsSoftwareSeesIt) {
  const auto near = std::get<VtdHardware>(backend_->DescribeHardware(kDiskA));
  const auto far = std::get<VtdHardware>(backend_->DescribeHardware(kFarDisk));
  EXPECT_EQ(near.capability >> 8 & 0x1f, 0x04u);  // SAGAW: 4 levels.
  EXPECT_EQ(far.capability >> 8 & 0x1f, 0x0eu);
  EXPECT_EQ(near.capability >> 16 & 0x3f, 47u);
  EXPECT_EQ(far.capability >> 16 & 0x3f, 56u);
  EXPECT_NE(near.extended_capability >> 43 & 1, 0u);
}

}  // namespace
}  // namespace viommu
