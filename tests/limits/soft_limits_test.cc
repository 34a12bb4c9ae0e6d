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
#include "engine/journal/memory_journal.h"
#include "engine/types.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;

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
  void Start(const OwnerLimits& limits) {
    backend_ = *SoftBackend::Create(TwoDevices(), {}, {});
    engine_ = *Engine::Create({"test", limits}, backend_.get(), &journal_, RealEnv());
    alice_.principal = "alice";
    operator_.principal = "root";
    operator_.is_operator = true;
    ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "ram", 64 * kPage, std::nullopt).ok());
    ASSERT_TRUE(engine_->CreateIoas(alice_, "as").ok());
    ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev0", "").ok());
    ASSERT_TRUE(engine_->CreateDomain(alice_, "d", Ref("as"), "dev0").ok());
  }

  uint64_t InUse(const std::string& owner, const std::string& limit) {
    for (const UsageView& view : engine_->ListUsage(operator_)) {
      if (view.owner == owner && view.limit == limit) return view.in_use;
    }
    return 0;
  }

  absl::StatusOr<Iova> HostMap(uint64_t pages) {
    return engine_->HostMap(operator_, "dev1", {"ram", "alice"}, 0, pages * kPage,
                            Permission::kReadWrite);
  }

  MemoryJournal journal_;
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
  EXPECT_EQ(InUse("the host", "max_mapped_bytes"), 3 * kPage);
  EXPECT_EQ(InUse("alice", "max_mappings"), 0u);
  EXPECT_EQ(InUse("root", "max_mappings"), 0u);
  const absl::Status refused = HostMap(2).status();
  EXPECT_EQ(Described(refused), "RESOURCE_EXHAUSTED MAPPED_BYTES_LIMIT");
  const std::map<std::string, std::string> want = {{"limit", "max_mapped_bytes"},
                                                   {"limit_value", "16384"},
                                                   {"in_use", "12288"},
                                                   {"requested", "8192"},
                                                   {"owner", "the host"}};
  EXPECT_EQ(DetailOf(refused)->metadata, want);
  ASSERT_TRUE(HostMap(1).ok());
  EXPECT_EQ(Described(HostMap(1).status()), "RESOURCE_EXHAUSTED MAPPING_LIMIT");
  ASSERT_TRUE(engine_->HostUnmap(operator_, "dev1", *first, 3 * kPage).ok());
  ASSERT_TRUE(HostMap(3).ok());
  EXPECT_EQ(InUse("the host", "max_mappings"), 2u);
}

// Random verbs, each of which may fail for many reasons; the account is compared with the listings
// after every one.
TEST_F(SoftLimitsTest, AnAccountIsTheSumOfWhatItsOwnerShows) {
  OwnerLimits limits;
  limits.max_mappings = 12;
  limits.max_mapped_bytes = 30 * kPage;
  limits.max_ioas = 3;
  limits.max_memory_regions = 3;
  limits.max_region_bytes_total = 100 * kPage;
  limits.max_domains = 2;
  Start(limits);
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
        status = engine_->CreateDomain(caller, name, Ref("as"), "dev0").status();
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
        batch.regions = {Ref("ram")};
        for (uint64_t i = 0; i <= random() % 4; ++i) {
          batch.entries.push_back({random() % 64 * kPage, 0,
                                   (random() % 2 == 0 ? 1 : 1 + random() % 6) * kPage, 0,
                                   Permission::kReadWrite});
        }
        status = engine_->Map(caller, Ref(name), batch).status();
      }
    }
    ++seen[Described(status)];
    uint64_t mappings = 0, bytes = 0, region_bytes = 0;
    const auto spaces = engine_->ListIoas(alice_, PageRequest());
    for (const IoasView& ioas : spaces->items) {
      mappings += ioas.mapping_count;
      bytes += ioas.mapped_bytes;
    }
    const auto regions = engine_->ListMemoryRegions(alice_, PageRequest());
    for (const MemoryRegionView& region : regions->items) region_bytes += region.size_bytes;
    ASSERT_EQ(InUse("alice", "max_mappings"), mappings);
    ASSERT_EQ(InUse("alice", "max_mapped_bytes"), bytes);
    ASSERT_EQ(InUse("alice", "max_ioas"), spaces->items.size());
    ASSERT_EQ(InUse("alice", "max_memory_regions"), regions->items.size());
    ASSERT_EQ(InUse("alice", "max_region_bytes_total"), region_bytes);
    // The two static ones are nobody's.
    ASSERT_EQ(InUse("alice", "max_domains"),
              engine_->ListDomains(alice_, PageRequest())->items.size() - 2);
    ASSERT_EQ(InUse("alice", "max_operations_in_flight"), 0u);
    ASSERT_LE(mappings, limits.max_mappings);
    ASSERT_LE(bytes, limits.max_mapped_bytes);
    ASSERT_LE(region_bytes, limits.max_region_bytes_total);
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
