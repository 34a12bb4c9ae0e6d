#include "engine/backend/soft/invalidation_queue.h"

#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/hardware/vtd_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/backend/soft/vtd_capability.h"
#include "engine/backend/soft/vtd_registers.h"
#include "engine/backend/topology.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/entries/vtd_descriptors.h"
#include "engine/pagetable/table_arena.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
constexpr vtd::Descriptor kUnknown = {0xf};  // No such type.

class InvalidationQueueTest : public testing::Test {
 protected:
  InvalidationQueueTest() {
    const auto window = *memory_.AddWindow(64 * kPage, kPage);
    arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
    hardware_ = std::make_unique<hardware::VtdModel>(
        hardware::VtdModel::Config{vtd::CapabilityOf({}), vtd::ExtendedCapabilityOf({}), 46},
        &memory_);
    queue_ = *InvalidationQueue::Create(hardware_.get(), arena_.get());
  }

  void SetEnabled(bool enabled) {
    hardware_->Write32(vtd::kGlobalCommandRegister, enabled ? vtd::kQueueEnable : 0);
  }

  PhysicalMemory memory_{PhysAddr{kPage}, 40};
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<hardware::VtdModel> hardware_;
  std::unique_ptr<InvalidationQueue> queue_;
};

TEST_F(InvalidationQueueTest, TheHardwareHasConsumedABatchWhenSubmitAnswers) {
  ASSERT_TRUE(queue_->Submit({vtd::InvalidateIotlb(), vtd::InvalidatePasid(2, 0)}).ok());
  const auto consumed = hardware_->counters().descriptors;
  EXPECT_EQ(consumed[2], 1u);
  EXPECT_EQ(consumed[7], 1u);
  EXPECT_EQ(consumed[5], 1u);
  EXPECT_EQ(queue_->head(), 3u);
  EXPECT_EQ(queue_->tail(), 3u);
  const auto counters = queue_->counters();
  EXPECT_EQ(counters.submitted, 3u);
  EXPECT_EQ(counters.errors, 0u);
  EXPECT_EQ(counters.by_kind[static_cast<size_t>(vtd::DescriptorKind::kIotlbGlobal)], 1u);
  EXPECT_EQ(counters.by_kind[static_cast<size_t>(vtd::DescriptorKind::kPasidCache)], 1u);
  EXPECT_EQ(counters.by_kind[static_cast<size_t>(vtd::DescriptorKind::kWait)], 1u);
}

TEST_F(InvalidationQueueTest, AnEmptyBatchAsksNothing) {
  ASSERT_TRUE(queue_->Submit({}).ok());
  EXPECT_EQ(queue_->counters().submitted, 0u);
}

TEST_F(InvalidationQueueTest, WrapsAroundTheRing) {
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(queue_->Submit({vtd::InvalidateIotlbDomain(2), vtd::InvalidateIotlb()}).ok());
  }
  EXPECT_EQ(hardware_->counters().descriptors[2], 2000u);
  EXPECT_EQ(queue_->tail(), 3000u % 256);
  EXPECT_EQ(queue_->head(), queue_->tail());
}

TEST_F(InvalidationQueueTest, SplitsWhatIsLargerThanTheRing) {
  const std::vector<vtd::Descriptor> batch(1000, vtd::InvalidateIotlb());
  ASSERT_TRUE(queue_->Submit(batch).ok());
  EXPECT_EQ(hardware_->counters().descriptors[2], 1000u);
  EXPECT_EQ(hardware_->counters().descriptors[5], 4u);
}

TEST_F(InvalidationQueueTest, ARefusedDescriptorIsAnErrorAndTheQueueGoesOn) {
  const absl::Status status =
      queue_->Submit({vtd::InvalidateIotlb(), kUnknown, vtd::InvalidateIotlb(), kUnknown});
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(DetailOf(status)->reason, "QUEUE_ERROR");
  EXPECT_EQ(queue_->counters().errors, 2u);
  EXPECT_EQ(hardware_->counters().descriptors[2], 2u);
  EXPECT_TRUE(queue_->Submit({vtd::InvalidateIotlb()}).ok());
  EXPECT_EQ(queue_->head(), queue_->tail());
}

TEST_F(InvalidationQueueTest, ATimeOutIsNeverSuccess) {
  SetEnabled(false);
  const absl::Status status = queue_->Submit({vtd::InvalidateIotlb()});
  EXPECT_EQ(queue_->counters().timeouts, 1u);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(DetailOf(status)->reason, "QUEUE_TIMEOUT");
  // The ring fills up behind a silent hardware, but is never overrun.
  const std::vector<vtd::Descriptor> batch(100, vtd::InvalidateIotlb());
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(queue_->Submit(batch).ok());
  EXPECT_LT(queue_->tail(), InvalidationQueue::kEntries);
  EXPECT_EQ(queue_->counters().submitted, 2u + 2 * 101u);
  SetEnabled(true);  // Consumes all that waits.
  EXPECT_TRUE(queue_->Submit({vtd::InvalidateIotlb()}).ok());
  EXPECT_EQ(hardware_->counters().descriptors[2], 202u);
}

TEST_F(InvalidationQueueTest, NamesTheDeviceThatDoesNotAnswer) {
  hardware_->SetDeviceTlb(0x08, true);
  hardware_->SetDeviceTlb(0x10, true);
  hardware_->SetDeviceTlbAnswers(0x10, false);
  const auto of = [](uint16_t source_id) {
    vtd::DeviceTlbTarget target;
    target.source_id = target.physical_function = source_id;
    return vtd::InvalidateDeviceTlb(target, {0, 52});
  };
  std::optional<uint16_t> silent;
  const absl::Status status = queue_->Submit({vtd::InvalidateIotlb(), of(0x10), of(0x08)}, &silent);
  EXPECT_EQ(silent, 0x10);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(DetailOf(status)->reason, "QUEUE_TIMEOUT");
  EXPECT_EQ(DetailOf(status)->metadata.at("source_id"), "0x10");
  EXPECT_EQ(queue_->counters().timeouts, 1u);
  EXPECT_TRUE(queue_->Submit({of(0x08)}).ok()) << "the queue goes on for the others";
  hardware_->SetDeviceTlbAnswers(0x10, true);
  EXPECT_TRUE(queue_->Submit({of(0x10)}).ok());
  EXPECT_EQ(queue_->head(), queue_->tail());
}

TEST_F(InvalidationQueueTest, RunsOutOfTableMemoryWithoutALeak) {
  queue_.reset();
  EXPECT_EQ(arena_->pages_in_use(), 0u);
  const auto window = *memory_.AddWindow(2 * kPage, 2 * kPage);
  TableArena small(window.data, window.base, window.size_bytes);
  EXPECT_EQ(InvalidationQueue::Create(hardware_.get(), &small).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(small.pages_in_use(), 0u);
}

TEST_F(InvalidationQueueTest, ConcurrentSubmittersAllGetTheirAnswer) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        const uint64_t before = hardware_->counters().descriptors[5];
        ASSERT_TRUE(queue_->Submit({vtd::InvalidateIotlbDomain(2)}).ok());
        ASSERT_GT(hardware_->counters().descriptors[5], before);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(queue_->counters().submitted, 4000u);
  EXPECT_EQ(hardware_->counters().descriptors[2], 2000u);
}

}  // namespace
}  // namespace viommu
