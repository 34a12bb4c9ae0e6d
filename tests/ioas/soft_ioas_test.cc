// What devices see of an address space's options and of memory that shrinks or goes: the engine
// over the software IOMMU.
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/env.h"
#include "engine/base/errors.h"
#include "engine/engine.h"
#include "engine/journal/fake_journal.h"
#include "engine/types.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kLarge = uint64_t{2} << 20;

// Two units, one of which can not snoop; a device behind each, and one that the host keeps.
Topology ThreeDevices() {
  Topology topology;
  topology.iommus.resize(2);
  topology.iommus[0].id = "unit0";
  topology.iommus[0].snoop_control = true;
  topology.iommus[1].id = "unit1";
  topology.iommus[1].snoop_control = false;
  for (int i = 0; i < 3; ++i) {
    DeviceSpec device;
    device.id = absl::StrCat("dev", i);
    device.pci_address = absl::StrCat("0000:01:0", i, ".0");
    device.iommu = i == 1 ? "unit1" : "unit0";
    device.group = absl::StrCat("group", i);
    topology.devices.push_back(std::move(device));
  }
  return topology;
}

ObjectRef Ref(const std::string& id) { return {id, std::nullopt}; }

std::string Described(const absl::Status& status) {
  const auto detail = DetailOf(status);
  return absl::StrCat(absl::StatusCodeToString(status.code()),
                      detail ? absl::StrCat(" ", detail->reason) : "");
}

class SoftIoasTest : public ::testing::Test {
 protected:
  void SetUp() override {
    backend_ = *SoftBackend::Create(ThreeDevices(), {}, {});
    engine_ = *Engine::Create({"test"}, backend_.get(), &journal_, RealEnv());
    alice_.principal = "alice";
    operator_.principal = "root";
    operator_.is_operator = true;
    ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "ram", 2 * kLarge, std::nullopt).ok());
    ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev0", "").ok());
  }
  // ioas/`id`, and a domain of the same name to which dev0 is attached.
  void Attach(const std::string& id, const IoasOptions& options) {
    ASSERT_TRUE(engine_->CreateIoas(alice_, id, options).ok());
    AddDomain(id);
    ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref(id)).ok());
  }
  void AddDomain(const std::string& id) {
    const auto domain = engine_->CreateDomain(alice_, id, PagingDomainRequest{Ref(id), "dev0"});
    ASSERT_TRUE(domain.ok()) << domain.status();
  }
  absl::Status Map(const std::string& ioas, Iova iova, uint64_t length, uint64_t offset = 0,
                   Permission permission = Permission::kReadWrite) {
    MapBatch batch;
    batch.regions = {Ref("ram")};
    batch.entries = {{iova, offset, length, 0, permission}};
    return engine_->Map(alice_, Ref(ioas), batch).status();
  }
  std::string Unmap(const std::string& ioas, Iova iova, uint64_t length) {
    UnmapBatch batch;
    batch.entries = {{iova, length}};
    const auto answer = engine_->Unmap(alice_, Ref(ioas), batch);
    return answer.ok() ? absl::StrCat(answer->unmapped_bytes / kPage, " pages")
                       : Described(answer.status());
  }
  // Whether the device reaches one byte.
  bool Reaches(Iova iova) {
    char byte = 0;
    const auto outcome = engine_->Dma(alice_, "dev0", iova, false, absl::MakeSpan(&byte, 1));
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    return !outcome->fault.has_value();
  }
  // Which pages from `first` on the device reaches: "x.x".
  std::string Reached(Iova first, uint64_t pages) {
    std::string reached;
    for (uint64_t i = 0; i < pages; ++i) reached += Reaches(first + i * kPage) ? "x" : ".";
    return reached;
  }
  // Levels of second-stage entries on the way: one fewer for a 2 MiB leaf.
  size_t EntriesTo(Iova iova) {
    size_t entries = 0;
    const auto dump = engine_->DumpTables(alice_, "dev0", iova);
    for (const TableEntryDump& entry : *dump) {
      entries += entry.table.rfind("second-stage", 0) == 0 ? 1 : 0;
    }
    return entries;
  }

  FakeJournal journal_;
  std::unique_ptr<SoftBackend> backend_;
  std::unique_ptr<Engine> engine_;
  CallContext alice_, operator_;
};

TEST_F(SoftIoasTest, HasNoLeafAboveFourKibWithoutLargePages) {
  Attach("large", {});
  ASSERT_TRUE(Map("large", kLarge, kLarge).ok());
  const size_t with = EntriesTo(kLarge);
  ASSERT_TRUE(engine_->DetachDevice(alice_, "dev0").ok());
  Attach("small", {IoasMode::kNative, false});
  ASSERT_TRUE(Map("small", kLarge, kLarge).ok());
  EXPECT_EQ(EntriesTo(kLarge), with + 1);
  EXPECT_TRUE(Reaches(2 * kLarge - 1));
  EXPECT_FALSE(Reaches(2 * kLarge));
  ASSERT_TRUE(engine_->DetachDevice(alice_, "dev0").ok());
  // Also in a domain that is filled with what is mapped already.
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("large"), "").ok());
  ASSERT_TRUE(engine_->SetLargePages(alice_, Ref("large"), false, "").ok());
  AddDomain("large");
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("large")).ok());
  EXPECT_EQ(EntriesTo(kLarge), with + 1);
  // And back: from now on.
  ASSERT_TRUE(engine_->SetLargePages(alice_, Ref("large"), true, "").ok());
  EXPECT_EQ(EntriesTo(kLarge), with + 1);
  ASSERT_TRUE(Map("large", 2 * kLarge, kLarge).ok());
  EXPECT_EQ(EntriesTo(2 * kLarge), with);
  EXPECT_EQ(Described(engine_->SetLargePages(alice_, Ref("large"), false, "").status()),
            "FAILED_PRECONDITION LARGE_PAGES_IN_USE");
}

TEST_F(SoftIoasTest, StopsTheDeviceJustWhereAMappingWasCut) {
  Attach("v", {IoasMode::kVfioType1, std::nullopt});
  ASSERT_TRUE(Map("v", kLarge, kLarge).ok());
  EXPECT_EQ(Reached(kLarge, 6), "xxxxxx");  // Cached from now on.
  EXPECT_EQ(Unmap("v", kLarge + 2 * kPage, 2 * kPage), "2 pages");
  EXPECT_EQ(Reached(kLarge, 6), "xx..xx");
  EXPECT_EQ(Unmap("v", kLarge - kPage, 2 * kPage), "1 pages");
  EXPECT_EQ(Reached(kLarge, 6), ".x..xx");
  ASSERT_TRUE(Map("v", kLarge + 2 * kPage, kPage, 0).ok()) << "into the hole";
  EXPECT_EQ(Reached(kLarge, 6), ".xx.xx");
  EXPECT_EQ(Unmap("v", 0, 2 * kLarge), "510 pages");
  EXPECT_EQ(Reached(kLarge, 6), "......");
}

TEST_F(SoftIoasTest, SuspendsWhatReachesBeyondAShrunkRegion) {
  Attach("as", {});
  const Iova at = 0x10000;
  ASSERT_TRUE(Map("as", at, kPage, 0).ok());
  ASSERT_TRUE(Map("as", at + kPage, 2 * kPage, kPage).ok());
  ASSERT_TRUE(Map("as", at + 3 * kPage, kPage, 3 * kPage).ok());
  ASSERT_EQ(Reached(at, 4), "xxxx");
  const auto shrunk = engine_->ResizeMemoryRegion(alice_, Ref("ram"), 2 * kPage, "");
  ASSERT_TRUE(shrunk.ok()) << shrunk.status();
  EXPECT_EQ(shrunk->size_bytes, 2 * kPage);
  EXPECT_EQ(Reached(at, 4), "x...") << "one that is cut by the end goes as a whole";
  auto view = engine_->GetIoas(alice_, Ref("as"));
  EXPECT_EQ(view->mapping_count, 3u);
  EXPECT_EQ(view->suspended_mapping_count, 2u);
  const auto listed = engine_->ListMappings(alice_, Ref("as"), {0, kMaxAddress}, PageRequest());
  EXPECT_EQ(listed->items.size(), 3u);
  EXPECT_FALSE(listed->items[0].suspended);
  EXPECT_TRUE(listed->items[1].suspended);
  EXPECT_EQ(Described(engine_->Translate(alice_, Ref("as"), at + kPage).status()),
            "FAILED_PRECONDITION MAPPING_SUSPENDED");
  EXPECT_EQ(Described(Map("as", at + kPage, kPage)), "ALREADY_EXISTS IOVA_OCCUPIED");
  EXPECT_EQ(Described(Map("as", 0x80000, kPage, 2 * kPage)), "OUT_OF_RANGE SOURCE_OUT_OF_BOUNDS");
  const CopyRequest copy{Ref("as"), at + kPage, kPage, 0x80000, Permission::kRead};
  EXPECT_EQ(Described(engine_->CopyMappings(alice_, Ref("as"), copy).status()),
            "FAILED_PRECONDITION MAPPING_SUSPENDED");
  // Growing brings nothing back; mapping again does.
  ASSERT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), 2 * kLarge, "").ok());
  EXPECT_EQ(Reached(at, 4), "x...");
  EXPECT_EQ(Unmap("as", at + kPage, 3 * kPage), "3 pages");
  ASSERT_TRUE(Map("as", at + kPage, 3 * kPage, kPage).ok());
  EXPECT_EQ(Reached(at, 4), "xxxx");
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("as"))->suspended_mapping_count, 0u);
}

TEST_F(SoftIoasTest, TakesRevokedMemoryFromEveryDomainAndFromThoseToCome) {
  Attach("as", {});
  ASSERT_TRUE(engine_->CreateIoas(alice_, "other", {}).ok());
  AddDomain("other");
  ASSERT_TRUE(Map("as", 0x10000, kPage).ok());
  ASSERT_TRUE(Map("other", 0x20000, kPage).ok());
  ASSERT_TRUE(Reaches(0x10000));
  const auto revoked = engine_->RevokeMemoryRegion(alice_, Ref("ram"), "");
  ASSERT_TRUE(revoked.ok()) << revoked.status();
  EXPECT_TRUE(revoked->suspended);
  EXPECT_FALSE(revoked->suspend_reason.empty());
  EXPECT_FALSE(Reaches(0x10000));
  ASSERT_TRUE(engine_->ReplaceAttachment(alice_, "dev0", Ref("other")).ok());
  EXPECT_FALSE(Reaches(0x20000));
  ASSERT_TRUE(engine_->DetachDevice(alice_, "dev0").ok());
  ASSERT_TRUE(engine_->CreateDomain(alice_, "new", PagingDomainRequest{Ref("as"), "dev0"}).ok());
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("new")).ok());
  EXPECT_FALSE(Reaches(0x10000)) << "a new domain does not get it";
  EXPECT_EQ(Described(Map("as", 0x30000, kPage)), "FAILED_PRECONDITION REGION_SUSPENDED");
  EXPECT_TRUE(engine_->RevokeMemoryRegion(alice_, Ref("ram"), "").ok()) << "again: no change";
  EXPECT_EQ(Described(engine_->ResizeMemoryRegion(alice_, Ref("ram"), kPage, "").status()),
            "FAILED_PRECONDITION REGION_SUSPENDED");
  EXPECT_EQ(Unmap("as", 0x10000, kPage), "1 pages");
  EXPECT_EQ(Unmap("other", 0x20000, kPage), "1 pages");
  EXPECT_TRUE(engine_->DeleteMemoryRegion(alice_, Ref("ram"), "").ok()) << "nothing holds it";
}

TEST_F(SoftIoasTest, KeepsMemoryThatTheHostMaps) {
  const auto host_map = [&](uint64_t offset) {
    return engine_->HostMap(operator_, "dev2", {"ram", "alice"}, offset, kPage,
                            Permission::kReadWrite);
  };
  const auto iova = host_map(4 * kPage);
  ASSERT_TRUE(iova.ok()) << iova.status();
  EXPECT_EQ(Described(engine_->RevokeMemoryRegion(alice_, Ref("ram"), "").status()),
            "FAILED_PRECONDITION HOST_MAPPINGS");
  EXPECT_EQ(Described(engine_->ResizeMemoryRegion(alice_, Ref("ram"), 4 * kPage, "").status()),
            "FAILED_PRECONDITION HOST_MAPPINGS");
  EXPECT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), 5 * kPage, "").ok());
  EXPECT_EQ(Described(host_map(5 * kPage).status()), "OUT_OF_RANGE SOURCE_OUT_OF_BOUNDS");
  ASSERT_TRUE(engine_->HostUnmap(operator_, "dev2", *iova, kPage).ok());
  EXPECT_TRUE(engine_->RevokeMemoryRegion(alice_, Ref("ram"), "").ok());
  EXPECT_EQ(Described(host_map(0).status()), "FAILED_PRECONDITION REGION_SUSPENDED");
}

TEST_F(SoftIoasTest, RefusesSizesThatARegionCanNotHave) {
  for (const uint64_t size : {uint64_t{0}, kPage + 1, 2 * kLarge + kPage, kMaxAddress}) {
    EXPECT_EQ(Described(engine_->ResizeMemoryRegion(alice_, Ref("ram"), size, "").status()),
              "INVALID_ARGUMENT INVALID_SIZE")
        << size;
  }
  EXPECT_EQ(Described(engine_->ResizeMemoryRegion(alice_, Ref("rom"), kPage, "").status()),
            "NOT_FOUND MEMORY_REGION_NOT_FOUND");
  EXPECT_EQ(Described(engine_->RevokeMemoryRegion(alice_, Ref("ram"), "stale").status()),
            "ABORTED ETAG_MISMATCH");
  EXPECT_EQ(engine_->GetMemoryRegion(alice_, Ref("ram"))->size_bytes, 2 * kLarge);
}

TEST_F(SoftIoasTest, ReachesWithTheProcessorOnlyWhatARegionHas) {
  char byte = 7;
  const auto read = [&](uint64_t offset) {
    return Described(engine_->ReadMemory(alice_, Ref("ram"), offset, absl::MakeSpan(&byte, 1)));
  };
  ASSERT_TRUE(engine_->WriteMemory(alice_, Ref("ram"), kPage, absl::MakeConstSpan(&byte, 1)).ok());
  ASSERT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), kPage, "").ok());
  EXPECT_EQ(read(kPage - 1), "OK");
  EXPECT_EQ(read(kPage), "OUT_OF_RANGE SOURCE_OUT_OF_BOUNDS");
  ASSERT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), 2 * kPage, "").ok());
  EXPECT_EQ(read(kPage), "OK");
  EXPECT_EQ(byte, 7) << "the bytes come back as they were";
  ASSERT_TRUE(engine_->RevokeMemoryRegion(alice_, Ref("ram"), "").ok());
  EXPECT_EQ(read(0), "FAILED_PRECONDITION REGION_SUSPENDED");
}

TEST_F(SoftIoasTest, KeepsPiecesOfASuspendedMappingOutOfTheTables) {
  Attach("v", {IoasMode::kVfioType1, std::nullopt});
  ASSERT_TRUE(Map("v", 0x10000, 4 * kPage, 4 * kPage).ok());
  ASSERT_TRUE(engine_->ResizeMemoryRegion(alice_, Ref("ram"), 5 * kPage, "").ok());
  EXPECT_EQ(Unmap("v", 0x11000, kPage), "1 pages");
  EXPECT_EQ(Reached(0x10000, 4), "....");
  EXPECT_EQ(engine_->GetIoas(alice_, Ref("v"))->suspended_mapping_count, 2u);
  ASSERT_TRUE(Map("v", 0x11000, kPage).ok());
  EXPECT_EQ(Reached(0x10000, 4), ".x..");
}

TEST_F(SoftIoasTest, EnforcesCacheCoherencyAsTheDeviceOfTheDomainCan) {
  ASSERT_TRUE(engine_->CreateIoas(alice_, "as", {}).ok());
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev1", "").ok());
  const auto coherent =
      engine_->CreateDomain(alice_, "coherent", PagingDomainRequest{Ref("as"), "dev0"});
  const auto incoherent =
      engine_->CreateDomain(alice_, "incoherent", PagingDomainRequest{Ref("as"), "dev1"});
  ASSERT_TRUE(coherent.ok() && incoherent.ok());
  EXPECT_TRUE(coherent->properties.enforces_cache_coherency);
  EXPECT_FALSE(incoherent->properties.enforces_cache_coherency);
  EXPECT_EQ(Described(engine_->AttachDevice(alice_, "dev1", Ref("coherent")).status()),
            "FAILED_PRECONDITION INCOMPATIBLE_DOMAIN");
  EXPECT_TRUE(engine_->AttachDevice(alice_, "dev1", Ref("incoherent")).ok());
  EXPECT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("incoherent")).ok());
}

}  // namespace
}  // namespace viommu
