// SVA over the soft backend: two processes on one unit share a domain id and are told apart by
// their PASIDs alone.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/types/span.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;

Topology HostWithPasids() {
  Topology host;
  host.iommus.resize(2);
  host.iommus[0].id = "unit";
  host.iommus[0].first_stage = true;
  host.iommus[1].id = "old";
  for (int i = 0; i < 3; ++i) {
    DeviceSpec device;
    device.id = std::string("dev") + static_cast<char>('0' + i);
    device.pci_address = std::string("0000:0") + static_cast<char>('1' + i) + ":00.0";
    device.iommu = i == 2 ? "old" : "unit";
    device.group = device.id;
    device.pasid_bits = 8;
    device.ats = i == 1;
    host.devices.push_back(device);
  }
  return host;
}

// Both devices claimed; processes proc and shell, whose first pages show "proc!" and "shell".
class SoftSvaTest : public testing::Test {
 protected:
  void SetUp() override {
    SoftBackendOptions options;
    options.table_arena_bytes = uint64_t{4} << 20;
    backend_ = *SoftBackend::Create(HostWithPasids(), options, PlainStore());
    engine_ = *Engine::Create({"sva"}, backend_.get(), &journal_, RealEnv());
    me_.is_operator = true;
    for (const char* const device : {"dev0", "dev1", "dev2"}) {
      ASSERT_TRUE(engine_->ClaimDevice(me_, device, "").ok());
    }
    MakeProcess("proc", "proc!");
    MakeProcess("shell", "shell");
  }
  static ObjectRef Ref(const std::string& id) { return {id, std::nullopt}; }

  void MakeProcess(const std::string& id, const std::string& text) {
    IoasOptions options;
    options.mode = IoasMode::kProcess;
    ASSERT_TRUE(engine_->CreateIoas(me_, id, options).ok());
    ASSERT_TRUE(engine_->CreateMemoryRegion(me_, id, 16 * kPage, std::nullopt).ok());
    ASSERT_TRUE(engine_->WriteMemory(me_, Ref(id), 0, text).ok());
    ASSERT_TRUE(Map(id, kPage).ok());
  }
  absl::Status Map(const std::string& process, Iova address) {
    MapBatch batch;
    batch.regions = {Ref(process)};
    batch.entries = {{address, 0, kPage, 0, Permission::kReadWrite}};
    return engine_->Map(me_, Ref(process), batch).status();
  }
  absl::Status Unmap(const std::string& process, Iova address) {
    UnmapBatch batch;
    batch.entries = {{address, kPage}};
    return engine_->Unmap(me_, Ref(process), batch).status();
  }
  // Makes the domain of a process and attaches both devices that can; answers the PASID.
  uint32_t Share(const std::string& process) {
    const auto domain = engine_->CreateDomain(me_, process, SvaDomainRequest{Ref(process), "dev0"});
    EXPECT_TRUE(domain.ok()) << domain.status();
    for (const char* const device : {"dev0", "dev1"}) {
      EXPECT_TRUE(engine_->AttachDevice(me_, device, Ref(process), domain->sva_pasid).ok());
    }
    return *domain->sva_pasid;
  }
  // What a device reads with a PASID, or the reason why it can not.
  std::string Read(const std::string& device, std::optional<uint32_t> pasid, Iova address) {
    std::string bytes(5, '?');
    const auto done = engine_->Dma(me_, device, address, /*write=*/false,
                                   absl::MakeSpan(&bytes[0], bytes.size()), pasid);
    EXPECT_TRUE(done.ok()) << done.status();
    return done->fault.has_value() ? done->fault->reason : bytes;
  }

  // DID of the PASID-table entry (VT-d 9.6); 0 when there is no entry.
  uint64_t DomainIdOf(const std::string& device, std::optional<uint32_t> pasid) {
    const auto tables = engine_->DumpTables(me_, device, kPage, pasid);
    EXPECT_TRUE(tables.ok()) << tables.status();
    for (const TableEntryDump& entry : *tables) {
      if (entry.table == "pasid") return entry.words[1] & 0xffff;
    }
    return 0;
  }

  std::unique_ptr<SoftBackend> backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  CallContext me_;
};

TEST_F(SoftSvaTest, DevicesReadWhatEachProcessHasMapped) {
  const uint32_t proc = Share("proc");
  const uint32_t shell = Share("shell");
  for (const char* const device : {"dev0", "dev1"}) {
    EXPECT_EQ(Read(device, proc, kPage), "proc!");
    EXPECT_EQ(Read(device, shell, kPage), "shell");
    EXPECT_NE(Read(device, std::nullopt, kPage), "proc!") << "the RID is blocked";
    EXPECT_NE(Read(device, proc + shell, kPage), "proc!") << "nobody's PASID";
  }
}

TEST_F(SoftSvaTest, WhatAProcessUnmapsIsGoneForItAlone) {
  const uint32_t proc = Share("proc");
  const uint32_t shell = Share("shell");
  for (int round = 0; round < 3; ++round) {
    for (const char* const device : {"dev0", "dev1"}) {
      ASSERT_EQ(Read(device, proc, kPage), "proc!");  // Cached, also by the device with ATS.
      ASSERT_EQ(Read(device, shell, kPage), "shell");
    }
    ASSERT_TRUE(Unmap("proc", kPage).ok());
    for (const char* const device : {"dev0", "dev1"}) {
      EXPECT_NE(Read(device, proc, kPage), "proc!");
      EXPECT_EQ(Read(device, shell, kPage), "shell");
    }
    ASSERT_TRUE(Map("proc", kPage).ok());
  }
}

TEST_F(SoftSvaTest, ADetachedDeviceReachesNothingMore) {
  const uint32_t proc = Share("proc");
  const uint32_t shell = Share("shell");
  ASSERT_EQ(Read("dev1", proc, kPage), "proc!");
  ASSERT_TRUE(engine_->DetachDevice(me_, "dev1", proc).ok());
  EXPECT_NE(Read("dev1", proc, kPage), "proc!");
  EXPECT_EQ(Read("dev0", proc, kPage), "proc!");
  EXPECT_EQ(Read("dev1", shell, kPage), "shell");
}

TEST_F(SoftSvaTest, DomainsCanBeMadeAgainAndAgainUnderTheSharedId) {
  for (int round = 0; round < 20; ++round) {
    const uint32_t proc = Share("proc");
    EXPECT_EQ(Read("dev1", proc, kPage), "proc!");
    for (const char* const device : {"dev0", "dev1"}) {
      ASSERT_TRUE(engine_->DetachDevice(me_, device, proc).ok());
    }
    ASSERT_TRUE(engine_->DeleteDomain(me_, Ref("proc"), "").ok());
    EXPECT_NE(Read("dev1", proc, kPage), "proc!");
  }
}

// Identity's entries have it too, and what a second stage caches is told apart by it alone.
TEST_F(SoftSvaTest, NoOtherDomainGetsTheSharedId) {
  for (int round = 0; round < 2; ++round) {
    const uint32_t proc = Share("proc");
    for (const char* const device : {"dev0", "dev1"}) {
      ASSERT_TRUE(engine_->DetachDevice(me_, device, proc).ok());
    }
    ASSERT_TRUE(engine_->DeleteDomain(me_, Ref("proc"), "").ok());
  }
  ASSERT_TRUE(engine_->CreateIoas(me_, "guest").ok());
  ASSERT_TRUE(engine_->CreateDomain(me_, "paging", PagingDomainRequest{Ref("guest"), "dev0"}).ok());
  ASSERT_TRUE(engine_->AttachDevice(me_, "dev0", Ref("paging")).ok());
  EXPECT_NE(DomainIdOf("dev0", std::nullopt), 1u);
}

TEST_F(SoftSvaTest, EntriesOfAllProcessesHaveTheSharedId) {
  EXPECT_EQ(DomainIdOf("dev0", Share("proc")), 1u);  // FLPT_DEFAULT_DID
  EXPECT_EQ(DomainIdOf("dev1", Share("shell")), 1u);
}

TEST_F(SoftSvaTest, AUnitWithoutFirstStageCanNotShare) {
  EXPECT_EQ(engine_->CreateDomain(me_, "x", SvaDomainRequest{Ref("proc"), "dev2"}).status().code(),
            absl::StatusCode::kUnimplemented);
  Share("proc");
  const auto refused = engine_->AttachDevice(me_, "dev2", Ref("proc"), 1);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace viommu
