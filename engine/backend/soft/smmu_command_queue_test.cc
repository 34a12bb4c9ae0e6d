#include "engine/backend/soft/smmu_command_queue.h"

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "engine/backend/soft/hardware/smmu_model.h"
#include "engine/backend/soft/physical_memory.h"
#include "engine/base/address.h"
#include "engine/base/errors.h"
#include "engine/entries/smmu_commands.h"
#include "engine/pagetable/table_arena.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr uint64_t kPage = 4096;
const smmu::Command kIllegal = {0xff, 0};

class SmmuCommandQueueTest : public testing::Test {
 protected:
  SmmuCommandQueueTest() {
    const auto window = *memory_.AddWindow(8 * kPage, kPage);
    arena_ = std::make_unique<TableArena>(window.data, window.base, window.size_bytes);
    queue_ = *SmmuCommandQueue::Create(&hardware_, arena_.get());
  }

  uint64_t Consumed(smmu::Opcode opcode) const {
    return hardware_.counters().commands[static_cast<size_t>(opcode)];
  }

  PhysicalMemory memory_{PhysAddr{kPage}, 40};
  hardware::SmmuModel hardware_{{}, &memory_};
  std::unique_ptr<TableArena> arena_;
  std::unique_ptr<SmmuCommandQueue> queue_;
};

TEST_F(SmmuCommandQueueTest, BatchesOfEverySizeAreDoneWhenItReturns) {
  uint64_t want = 0, syncs = 0;
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{254}, size_t{255}, size_t{256}, size_t{511}, size_t{1000}}) {
    SCOPED_TRACE(size);
    ASSERT_TRUE(queue_->Submit(std::vector<smmu::Command>(size, smmu::InvalidateAllTlbs())).ok());
    want += size;
    syncs += (size + 254) / 255;
    EXPECT_EQ(Consumed(smmu::Opcode::kTlbiNsnhAll), want);
    EXPECT_EQ(Consumed(smmu::Opcode::kSync), syncs);
    EXPECT_EQ(queue_->head(), queue_->tail());
  }
  const SmmuCommandQueue::Counters counters = queue_->counters();
  EXPECT_EQ(counters.submitted, want + syncs);
  EXPECT_EQ(counters.errors, 0u);
  EXPECT_EQ(counters.by_opcode[static_cast<size_t>(smmu::Opcode::kTlbiNsnhAll)], want);
}

TEST_F(SmmuCommandQueueTest, GoesOnBehindACommandThatTheHardwareRefuses) {
  const absl::Status status =
      queue_->Submit({smmu::InvalidateAllStes(), kIllegal, smmu::InvalidateAllTlbs()});
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(DetailOf(status)->reason, "QUEUE_ERROR");
  EXPECT_EQ(DetailOf(status)->errno_name, "EINVAL");
  EXPECT_EQ(Consumed(smmu::Opcode::kTlbiNsnhAll), 1u);
  EXPECT_EQ(queue_->counters().errors, 1u);
  EXPECT_TRUE(queue_->Submit({smmu::InvalidateAllTlbs()}).ok());
}

TEST_F(SmmuCommandQueueTest, TriesACommandAgainThatCouldNotBeRead) {
  hardware_.AbortNextCommandFetch();
  EXPECT_EQ(queue_->Submit({smmu::InvalidateAllTlbs()}).code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Consumed(smmu::Opcode::kTlbiNsnhAll), 1u);
  EXPECT_TRUE(queue_->Submit({smmu::InvalidateAllTlbs()}).ok());
}

TEST_F(SmmuCommandQueueTest, AQueueThatHangsFailsUntilItIsFullAndComesBack) {
  hardware_.HangCommandQueueAfter(3);
  const std::vector<smmu::Command> batch(100, smmu::InvalidateAllTlbs());
  for (int i = 0; i < 6; ++i) {
    const absl::Status status = queue_->Submit(batch);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_EQ(DetailOf(status)->reason, "QUEUE_TIMEOUT");
  }
  EXPECT_EQ(queue_->counters().timeouts, 6u);
  EXPECT_EQ(Consumed(smmu::Opcode::kTlbiNsnhAll), 3u);
  hardware_.HangCommandQueueAfter(std::nullopt);
  EXPECT_TRUE(queue_->Submit(batch).ok());
  EXPECT_EQ(queue_->head(), queue_->tail());
}

TEST_F(SmmuCommandQueueTest, GivesItsRingBack) {
  EXPECT_EQ(arena_->pages_in_use(), 1u);
  queue_.reset();
  EXPECT_EQ(arena_->pages_in_use(), 0u);
}

}  // namespace
}  // namespace viommu
