// engine/engine_fixture.h -- An Engine over fakes, for tests.
#ifndef VIOMMU_ENGINE_ENGINE_FIXTURE_H_
#define VIOMMU_ENGINE_ENGINE_FIXTURE_H_

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/backend/fake/fake_backend.h"
#include "engine/base/env.h"
#include "engine/base/errors.h"
#include "engine/engine.h"
#include "engine/journal/fake_journal.h"
#include "gtest/gtest.h"

namespace viommu {

// Time stands still; randomness counts up.
class FakeEnv : public Env {
 public:
  absl::Time Now() override { return absl::UnixEpoch() + absl::Hours(1); }
  uint64_t Random() override { return ++random_; }

 private:
  std::atomic<uint64_t> random_{0};
};

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    auto engine = Engine::Create({"test"}, &backend_, &journal_, &env_);
    EXPECT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    alice_.principal = "alice";
    bob_.principal = "bob";
    operator_.principal = "root";
    operator_.is_operator = true;
  }
  ~EngineTest() override { EXPECT_TRUE(backend_.breaches().empty()) << backend_.breaches()[0]; }

  static ObjectRef Ref(const std::string& id) { return {id, std::nullopt}; }

  static MapBatch OneMap(std::optional<Iova> iova, uint64_t length, uint64_t offset = 0,
                         const std::string& region = "ram") {
    MapBatch batch;
    batch.regions = {Ref(region)};
    batch.entries = {{iova, offset, length, 0, Permission::kReadWrite}};
    return batch;
  }
  static UnmapBatch OneUnmap(Iova iova, uint64_t length) {
    UnmapBatch batch;
    batch.entries = {{iova, length}};
    return batch;
  }

  // alice's memoryRegions/ram (1 GiB), ioas/as, dev0 claimed and domains/d for it.
  void SetUpAlice() {
    ASSERT_TRUE(engine_->CreateMemoryRegion(alice_, "ram", 1 << 30, std::nullopt).ok());
    ASSERT_TRUE(engine_->CreateIoas(alice_, "as").ok());
    ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev0", "").ok());
    ASSERT_TRUE(engine_->CreateDomain(alice_, "d", Ref("as"), "dev0").ok());
  }

  FakeBackend backend_{SmallTopology()};
  FakeJournal journal_;
  FakeEnv env_;
  std::unique_ptr<Engine> engine_;
  CallContext alice_, bob_, operator_;
};

// "CODE REASON" of an error, for comparing in tables.
inline std::string Described(const absl::Status& status) {
  const auto detail = DetailOf(status);
  return absl::StatusCodeToString(status.code()) + (detail ? " " + detail->reason : "");
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_ENGINE_FIXTURE_H_
