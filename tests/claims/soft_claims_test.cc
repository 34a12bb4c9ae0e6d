// Devices that go from owner to owner over the soft backend, looked at after every single store.
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/soft/soft_backend_inl.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/base/env.h"
#include "engine/engine.h"
#include "engine/journal/memory_journal.h"
#include "engine/pagetable/store.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint8_t kBlocked = 0x59;  // SPT.2: what a PASID entry that is not present answers.

using Observed = SoftBackendT<ObservedStore>;

class SoftClaimsTest : public testing::Test {
 protected:
  // What a device meets: a fault reason, or 0 and an address.
  using Sight = std::pair<uint8_t, uint64_t>;

  SoftClaimsTest() {
    SoftBackendOptions options;
    options.table_arena_bytes = uint64_t{16} << 20;
    backend_ = *Observed::Create(TestTopology(), options, ObservedStore(&observer_));
    engine_ = *Engine::Create({"claims"}, backend_.get(), &journal_, RealEnv());
    root_.is_operator = true;
    for (CallContext* const tenant : {&one_, &two_}) {
      tenant->principal = tenant == &one_ ? "one" : "two";
      tenant->may_claim = false;
    }
  }

  static ObjectRef Ref(const std::string& id) { return {id, std::nullopt}; }

  void Claim(const std::string& device, const ClaimOptions& options) {
    const auto claimed = engine_->ClaimDevice(root_, device, "", options);
    ASSERT_TRUE(claimed.ok()) << claimed.status();
  }

  // The tenant's own memory shows at 0 of its domain d, for a device that it has.
  void MakeDomain(const CallContext& tenant, const std::string& device) {
    ASSERT_TRUE(engine_->CreateMemoryRegion(tenant, "ram", kPage, std::nullopt).ok());
    ASSERT_TRUE(engine_->CreateIoas(tenant, "as").ok());
    MapBatch batch;
    batch.regions = {Ref("ram")};
    batch.entries = {{Iova{0}, 0, kPage, 0, Permission::kReadWrite}};
    ASSERT_TRUE(engine_->Map(tenant, Ref("as"), batch).ok());
    ASSERT_TRUE(engine_->CreateDomain(tenant, "d", PagingDomainRequest{Ref("as"), device}).ok());
  }

  // So that the next case finds nothing.
  void TakeBack(const std::string& device) {
    ASSERT_TRUE(engine_->DetachDevice(root_, device, std::nullopt, "two").ok());
    for (const CallContext& tenant : {one_, two_}) {
      ASSERT_TRUE(engine_->DeleteDomain(tenant, Ref("d"), "").ok());
      ASSERT_TRUE(engine_->DeleteIoas(tenant, Ref("as"), "").ok());
      ASSERT_TRUE(engine_->DeleteMemoryRegion(tenant, Ref("ram"), "").ok());
    }
    ASSERT_TRUE(engine_->ReleaseDevice(root_, device, "", "two").ok());
  }

  // Without caches, so that what is only cached is not taken for what is there.
  Sight Look(DeviceIndex device) const {
    hardware::Request request;
    request.source_id = backend_->machine().source_id_of(device);
    request.address = 0;
    const auto seen = backend_->machine().unit_of(device).hardware().Probe(request);
    return {seen.fault_reason, seen.ok() ? seen.physical.value : 0};
  }

  // From now on, all that any of the devices meets after any store.
  void Watch(std::vector<DeviceIndex> devices) {
    watched_ = std::move(devices);
    seen_.clear();
    stores_ = 0;
  }

  std::vector<DeviceIndex> watched_;
  std::set<Sight> seen_;
  int stores_ = 0;
  StoreObserver observer_ = [this](const uint64_t*, size_t) {
    ++stores_;
    for (const DeviceIndex device : watched_) seen_.insert(Look(device));
  };
  std::unique_ptr<Observed> backend_;
  MemoryJournal journal_;
  std::unique_ptr<Engine> engine_;
  CallContext root_, one_, two_;
};

TEST_F(SoftClaimsTest, ADeviceOnItsWayIsBlockedOrItsOwners) {
  const struct {
    const char* name;
    const char* device;
    std::vector<DeviceIndex> group;
  } kCases[] = {{"one whose host default is IDENTITY", "nic", {kHostNic}},
                {"two of a group", "fn0", {kFunction0, kFunction1}}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const Sight on_host = Look(c.group.front());
    EXPECT_NE(on_host.first, kBlocked);
    Claim(c.device, {"one"});
    MakeDomain(one_, c.device);
    ASSERT_TRUE(engine_->AttachDevice(one_, c.device, Ref("d")).ok());
    const Sight ones = Look(c.group.front());
    EXPECT_EQ(ones.first, 0);

    Watch(c.group);
    ASSERT_TRUE(engine_->DetachDevice(root_, c.device, std::nullopt, "one").ok());
    for (const Sight& sight : seen_) EXPECT_TRUE(sight == ones || sight.first == kBlocked);
    for (const DeviceIndex device : c.group) EXPECT_EQ(Look(device).first, kBlocked);
    Watch(c.group);
    Claim(c.device, {"two", "one"});
    EXPECT_EQ(stores_, 0) << "nothing is touched";
    MakeDomain(two_, c.device);
    EXPECT_EQ(seen_, (std::set<Sight>{{kBlocked, 0}})) << "while tables are filled";
    ASSERT_TRUE(engine_->AttachDevice(two_, c.device, Ref("d")).ok());
    const Sight twos = Look(c.group.front());
    EXPECT_EQ(twos.first, 0);
    EXPECT_NE(twos, ones);
    EXPECT_EQ(seen_, (std::set<Sight>{{kBlocked, 0}, twos}));
    Watch({});
    TakeBack(c.device);
  }
}

// The observer would see it: through a release there is another way.
TEST_F(SoftClaimsTest, AReleaseInBetweenVisitsTheHost) {
  const Sight on_host = Look(kHostNic);
  Claim("nic", {"one"});
  Watch({kHostNic});
  ASSERT_TRUE(engine_->ReleaseDevice(root_, "nic", "", "one").ok());
  Claim("nic", {"two"});
  EXPECT_EQ(seen_, (std::set<Sight>{{kBlocked, 0}, on_host}));
}

}  // namespace
}  // namespace viommu
