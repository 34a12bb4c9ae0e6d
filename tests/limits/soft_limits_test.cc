// Limits of an owner over the software IOMMU: the host's own mappings, real failures, and that an
// account is always the sum of what its owner shows.
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/topology.h"
#include "engine/base/env.h"
#include "engine/base/errors.h"
#include "engine/engine.h"
#include "engine/journal/fake_journal.h"
#include "engine/shown_usage.h"
#include "engine/types.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr char kHost[] = "";  // As whose device is whose: no principal is called so.

Topology TwoDevices() {
  Topology topology;
  topology.iommus.resize(1);
  topology.iommus[0].id = "unit0";
  for (int i = 0; i < 2; ++i) {
    DeviceSpec device;
    device.id = absl::StrCat("dev", i);
    device.pci_address = absl::StrCat("0000:01:0", i, ".0");
    device.iommu = "unit0";
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

class SoftLimitsTest : public ::testing::Test {
 protected:
  void Start(const OwnerLimits& limits, const SoftBackendOptions& options = {}) {
    backend_ = *SoftBackend::Create(TwoDevices(), options, {});
    engine_ = *Engine::Create({"test", limits}, backend_.get(), &journal_, RealEnv());
    alice_.principal = "alice";
    operator_.principal = "root";
    operator_.is_operator = true;
    ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "ram", 64 * kPage, std::nullopt).ok());
    ASSERT_TRUE(engine_->CreateIoas(alice_, "as").ok());
    ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev0", "").ok());
    ASSERT_TRUE(engine_->CreateDomain(alice_, "d", PagingDomainRequest{Ref("as"), "dev0"}).ok());
  }

  uint64_t InUse(const std::string& owner, const std::string& limit) {
    for (const UsageView& view : engine_->ListUsage(operator_)) {
      if (view.owner == owner && view.limit == limit) return view.in_use;
    }
    return 0;
  }

  absl::StatusOr<Iova> HostMap(uint64_t pages) { return HostMap(operator_, pages); }
  absl::StatusOr<Iova> HostMap(const CallContext& caller, uint64_t pages) {
    return engine_->HostMap(caller, "dev1", {"ram", "alice"}, 0, pages * kPage,
                            Permission::kReadWrite);
  }

  // How often each region is mapped, by its name: as the region says, and as the spaces do.
  std::map<std::string, uint64_t> ReferencesHeld() {
    std::map<std::string, uint64_t> held;
    const auto regions = engine_->ListMemoryRegions(alice_, PageRequest());
    for (const MemoryRegionView& region : regions->items) {
      if (region.mapping_count == 0) continue;
      held["memoryRegions/" + region.object.id] = region.mapping_count;
    }
    return held;
  }
  std::map<std::string, uint64_t> AreasShown() {
    std::map<std::string, uint64_t> shown;
    const auto spaces = engine_->ListIoas(alice_, PageRequest());
    for (const IoasView& ioas : spaces->items) {
      const auto areas =
          engine_->ListMappings(alice_, Ref(ioas.object.id), {0, kMaxAddress}, PageRequest());
      for (const MappingView& area : areas->items) ++shown[area.memory_region];
    }
    return shown;
  }

  FakeJournal journal_;
  std::unique_ptr<SoftBackend> backend_;
  std::unique_ptr<Engine> engine_;
  CallContext alice_, operator_;
};

TEST_F(SoftLimitsTest, TheHostIsChargedForItsOwnMappingsAndNobodyElse) {
  OwnerLimits limits;
  limits.max_mappings = 2;
  limits.max_mapped_bytes = 4 * kPage;
  Start(limits);
  const auto first = HostMap(3);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(InUse(kHost, "max_mapped_bytes"), 3 * kPage);
  EXPECT_EQ(InUse("alice", "max_mappings"), 0u);
  EXPECT_EQ(InUse("root", "max_mappings"), 0u);
  const absl::Status refused = HostMap(2).status();
  EXPECT_EQ(Described(refused), "RESOURCE_EXHAUSTED MAPPED_BYTES_LIMIT");
  const std::map<std::string, std::string> want = {{"limit", "max_mapped_bytes"},
                                                   {"limit_value", "16384"},
                                                   {"in_use", "12288"},
                                                   {"requested", "8192"},
                                                   {"owner", kHost}};
  EXPECT_EQ(DetailOf(refused)->metadata, want);
  ASSERT_TRUE(HostMap(1).ok());
  EXPECT_EQ(Described(HostMap(1).status()), "RESOURCE_EXHAUSTED MAPPING_LIMIT");
  ASSERT_TRUE(engine_->HostUnmap(operator_, "dev1", *first, 3 * kPage).ok());
  ASSERT_TRUE(HostMap(3).ok());
  EXPECT_EQ(InUse(kHost, "max_mappings"), 2u);
}

TEST_F(SoftLimitsTest, AHostMapThatFailsOrIsADryRunLeavesNothing) {
  OwnerLimits limits;
  limits.max_mappings = 1;
  limits.max_mapped_bytes = 4 * kPage;
  Start(limits);
  CallContext dry = operator_;
  dry.validate_only = true;
  const auto tried = HostMap(dry, 4);
  ASSERT_TRUE(tried.ok()) << tried.status();
  EXPECT_EQ(UsageText(engine_->ListUsage(operator_)), ShownUsage(*engine_, alice_));
  journal_.SetAnswer(absl::DataLossError("disk gone"));
  EXPECT_EQ(Described(HostMap(4).status()), "UNAVAILABLE JOURNAL_FAILED");
  journal_.SetAnswer(absl::OkStatus());
  EXPECT_EQ(UsageText(engine_->ListUsage(operator_)), ShownUsage(*engine_, alice_));

  const auto mapped = HostMap(4);
  ASSERT_TRUE(mapped.ok()) << "up to both limits: " << mapped.status();
  EXPECT_EQ(*mapped, *tried) << "the place of what failed is free again";
  EXPECT_EQ(InUse(kHost, "max_mapped_bytes"), 4 * kPage);
  ASSERT_TRUE(engine_->HostUnmap(operator_, "dev1", *mapped, 4 * kPage).ok());
  EXPECT_TRUE(engine_->DeleteMemoryRegion(alice_, Ref("ram"), "").ok()) << "nothing refers to it";
  EXPECT_EQ(UsageText(engine_->ListUsage(operator_)), ShownUsage(*engine_, alice_));
}

TEST_F(SoftLimitsTest, AHostMapWithoutMemoryForItsTablesLeavesNothing) {
  SoftBackendOptions options;
  options.table_arena_bytes = 64 * kPage;
  Start({}, options);
  MapBatch far;  // Each takes tables of its own, until there are none.
  far.regions = {Ref("ram")};
  far.entries = {{0, 0, kPage, 0, Permission::kReadWrite}};
  absl::Status status;
  for (uint64_t i = 0; status.ok() && i < 64; ++i) {
    far.entries[0].iova = i << 30;
    status = engine_->Map(alice_, Ref("as"), far).status();
  }
  const std::string reason = Described(status);
  ASSERT_EQ(reason.find("RESOURCE_EXHAUSTED"), 0u) << status;
  EXPECT_EQ(UsageText(engine_->ListUsage(operator_)), ShownUsage(*engine_, alice_));
  EXPECT_EQ(Described(HostMap(4).status()), reason);
  EXPECT_EQ(UsageText(engine_->ListUsage(operator_)), ShownUsage(*engine_, alice_));

  UnmapBatch all;
  all.all = true;
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), all).ok());
  const auto mapped = HostMap(4);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  EXPECT_EQ(InUse(kHost, "max_mappings"), 1u);
  ASSERT_TRUE(engine_->HostUnmap(operator_, "dev1", *mapped, 4 * kPage).ok());
  EXPECT_TRUE(engine_->DeleteMemoryRegion(alice_, Ref("ram"), "").ok());
}

// A principal may be called whatever an authentication calls it.
TEST_F(SoftLimitsTest, NoPrincipalSharesTheAccountOfTheHost) {
  Start({});
  ASSERT_TRUE(HostMap(3).ok());
  CallContext tenant;
  tenant.principal = "the host";
  ASSERT_TRUE(engine_->CreateIoas(tenant, "as").ok());
  const std::string own = "the host max_ioas 1\n";
  EXPECT_EQ(UsageText(engine_->ListUsage(tenant)), own);
  const std::string of_host = " max_mappings 1\n max_mapped_bytes 12288\n";
  EXPECT_EQ(UsageText(engine_->ListUsage(operator_)), of_host + ShownUsage(*engine_, alice_) + own);
  tenant.principal = kHost;
  EXPECT_EQ(UsageText(engine_->ListUsage(tenant)), "") << "only an operator sees the host's";
}

// Random verbs, each of which may fail for many reasons; the account is compared with the listings
// after every one.
TEST_F(SoftLimitsTest, AnAccountIsTheSumOfWhatItsOwnerShows) {
  OwnerLimits limits;
  limits.max_mappings = 12;
  limits.max_mapped_bytes = 30 * kPage;
  limits.max_ioas = 3;
  limits.max_memory_regions = 4;
  limits.max_region_bytes_total = 110 * kPage;
  limits.max_domains = 2;
  Start(limits);
  ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "rom", 8 * kPage, std::nullopt).ok());
  const uint64_t seed = 20261125;
  SCOPED_TRACE(absl::StrCat("seed ", seed));
  std::mt19937_64 random(seed);
  const std::string names[] = {"as", "b", "c", "d"};
  std::map<std::string, int> seen;
  for (int step = 0; step < 4000; ++step) {
    SCOPED_TRACE(absl::StrCat("step ", step));
    CallContext caller = alice_;
    caller.validate_only = random() % 8 == 0;
    const std::string name = names[random() % 4];
    absl::Status status;
    switch (random() % 9) {
      case 0:
        status = engine_->CreateIoas(caller, name).status();
        break;
      case 1:
        status = engine_->DeleteIoas(caller, Ref(name), "");
        break;
      case 2:
        status =
            engine_->CreateMemoryRegion(caller, name, (1 + random() % 40) * kPage, std::nullopt)
                .status();
        break;
      case 3:
        status = engine_->DeleteMemoryRegion(caller, Ref(name), "");
        break;
      case 4:
        status =
            engine_->CreateDomain(caller, name, PagingDomainRequest{Ref("as"), "dev0"}).status();
        break;
      case 5:
        status = engine_->DeleteDomain(caller, Ref(name), "");
        break;
      case 6: {
        UnmapBatch batch;
        batch.all = random() % 4 == 0;
        if (!batch.all) batch.entries = {{random() % 64 * kPage, (1 + random() % 16) * kPage}};
        status = engine_->Unmap(caller, Ref(name), batch).status();
        break;
      }
      default: {
        MapBatch batch;
        batch.regions = {Ref("ram"), Ref("rom")};
        for (uint64_t i = 0; i <= random() % 4; ++i) {
          batch.entries.push_back({random() % 64 * kPage, 0,
                                   (random() % 2 == 0 ? 1 : 1 + random() % 6) * kPage,
                                   static_cast<uint32_t>(random() % 2), Permission::kReadWrite});
        }
        status = engine_->Map(caller, Ref(name), batch).status();
      }
    }
    ++seen[Described(status)];
    ASSERT_EQ(UsageText(engine_->ListUsage(alice_)), ShownUsage(*engine_, alice_));
    ASSERT_EQ(ReferencesHeld(), AreasShown());
    ASSERT_LE(InUse("alice", "max_mappings"), limits.max_mappings);
    ASSERT_LE(InUse("alice", "max_mapped_bytes"), limits.max_mapped_bytes);
    ASSERT_LE(InUse("alice", "max_region_bytes_total"), limits.max_region_bytes_total);
  }
  for (const char* outcome :
       {"OK", "RESOURCE_EXHAUSTED OBJECT_LIMIT", "RESOURCE_EXHAUSTED MAPPING_LIMIT",
        "RESOURCE_EXHAUSTED MAPPED_BYTES_LIMIT", "RESOURCE_EXHAUSTED REGION_BYTES_LIMIT",
        "ALREADY_EXISTS IOVA_OCCUPIED"}) {
    EXPECT_GT(seen[outcome], 0) << outcome;
  }
}

}  // namespace
}  // namespace viommu
