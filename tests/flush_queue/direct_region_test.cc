// A DIRECT region through every change of the default domain, looked at after every single store.
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/soft_backend.h"
#include "engine/backend/soft/soft_backend_inl.h"
#include "engine/backend/soft/test_topology.h"
#include "engine/engine.h"
#include "engine/engine_fixture.h"
#include "engine/journal/fake_journal.h"
#include "engine/pagetable/store.h"
#include "engine/types.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

Topology UsbMayPassThrough() {
  Topology topology = TestTopology();
  topology.devices[kUsb].allow_identity = true;
  return topology;
}

class DirectRegionTest : public ::testing::Test {
 protected:
  DirectRegionTest() {
    SoftBackendOptions options;
    options.table_arena_bytes = uint64_t{64} << 20;
    backend_ = *SoftBackendT<ObservedStore>::Create(UsbMayPassThrough(), options,
                                                    ObservedStore(&observer_));
    engine_ = *Engine::Create({"test"}, backend_.get(), &journal_, &env_);
    operator_.is_operator = true;
  }

  // A request of the device to the region is led, now, to where it asks for.
  bool IsReached() const {
    for (const Iova iova : {kUsbRegion.first, kUsbRegion.last}) {
      hardware::Request request;
      request.source_id = backend_->machine().source_id_of(kUsb);
      request.address = iova;
      const auto seen = backend_->machine().unit_of(kUsb).hardware().Probe(request);
      if (!seen.ok() || seen.physical.value != iova) return false;
    }
    return true;
  }
  uint64_t Count(bool hitless) {
    uint64_t count = 0;
    for (const auto& t : engine_->Stats().transitions) count += hitless ? t.hitless : t.not_hitless;
    return count;
  }

  uint64_t stores_ = 0;
  uint64_t missed_ = 0;
  bool looking_ = false;
  StoreObserver observer_ = [this](const uint64_t*, size_t) {
    if (!looking_) return;
    ++stores_;
    if (!IsReached()) ++missed_;
  };
  std::unique_ptr<SoftBackendT<ObservedStore>> backend_;
  FakeEnv env_;
  FakeJournal journal_;
  std::unique_ptr<Engine> engine_;
  CallContext operator_;
};

TEST_F(DirectRegionTest, IsReachedAtEveryStoreOfAHitlessChange) {
  constexpr DefaultDomainType kWay[] = {DefaultDomainType::kIdentity, DefaultDomainType::kDma,
                                        DefaultDomainType::kIdentity, DefaultDomainType::kDmaFq,
                                        DefaultDomainType::kIdentity, DefaultDomainType::kDma,
                                        DefaultDomainType::kDmaFq,    DefaultDomainType::kDma};
  ASSERT_TRUE(IsReached());
  int switches = 0;
  for (const DefaultDomainType type : kWay) {
    SCOPED_TRACE(static_cast<int>(type));
    const uint64_t hitless = Count(true);
    missed_ = 0;
    looking_ = true;
    const auto device = engine_->SetDefaultDomain(operator_, "usb", type);
    looking_ = false;
    ASSERT_TRUE(device.ok()) << device.status();
    EXPECT_EQ(device->default_domain, type);
    EXPECT_TRUE(IsReached());
    if (Count(true) == hitless) continue;  // No other domain, or DMA saw a gap and was told so.
    ++switches;
    EXPECT_EQ(missed_, 0u);
  }
  EXPECT_EQ(switches, 6) << "all but those between DMA and DMA_FQ";
  EXPECT_EQ(Count(false), 0u);
  EXPECT_GT(stores_, 6u);
}

TEST_F(DirectRegionTest, BetweenDmaAndDmaFqNothingIsStored) {
  looking_ = true;
  ASSERT_TRUE(engine_->SetDefaultDomain(operator_, "usb", DefaultDomainType::kDmaFq).ok());
  ASSERT_TRUE(engine_->SetDefaultDomain(operator_, "usb", DefaultDomainType::kDma).ok());
  EXPECT_EQ(stores_, 0u);
}

}  // namespace
}  // namespace viommu
