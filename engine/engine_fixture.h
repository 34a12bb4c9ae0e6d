// engine/engine_fixture.h -- An Engine over fakes, for tests.
#ifndef VIOMMU_ENGINE_ENGINE_FIXTURE_H_
#define VIOMMU_ENGINE_ENGINE_FIXTURE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/backend/fake/fake_backend.h"
#include "engine/base/env.h"
#include "engine/base/errors.h"
#include "engine/engine.h"
#include "engine/journal/fake_journal.h"
#include "engine/types.h"
#include "gtest/gtest.h"

namespace viommu {

// Time stands still until it is moved; randomness counts up.
class FakeEnv : public Env {
 public:
  absl::Time Now() override {
    absl::MutexLock lock(&mutex_);
    return now_;
  }
  uint64_t Random() override { return ++random_; }
  void Wait(absl::CondVar* wake, absl::Mutex* mutex, absl::Time deadline) override {
    const Sleeper sleeper{wake, mutex};
    {
      absl::MutexLock lock(&mutex_);
      if (now_ >= deadline) return;
      sleepers_.insert(sleeper);
    }
    wake->Wait(mutex);
    absl::MutexLock lock(&mutex_);
    sleepers_.erase(sleeper);
  }

  // Moves the time, backwards too, and wakes whoever waits for a deadline.
  void Advance(absl::Duration by) {
    std::set<Sleeper> sleepers;
    {
      absl::MutexLock lock(&mutex_);
      now_ += by;
      sleepers = sleepers_;
    }
    for (const auto& [wake, mutex] : sleepers) {
      absl::MutexLock lock(mutex);
      wake->SignalAll();
    }
  }

 private:
  using Sleeper = std::pair<absl::CondVar*, absl::Mutex*>;

  std::atomic<uint64_t> random_{0};
  absl::Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_) = absl::UnixEpoch() + absl::Hours(1);
  std::set<Sleeper> sleepers_ ABSL_GUARDED_BY(mutex_);
};

class EngineTest : public ::testing::Test {
 protected:
  explicit EngineTest(const OwnerLimits& limits = OwnerLimits(),
                      Topology topology = SmallTopology())
      : backend_(std::move(topology)) {
    auto engine = Engine::Create({"test", limits}, &backend_, &journal_, &env_);
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
    ASSERT_TRUE(engine_->CreateDomain(alice_, "d", PagingDomainRequest{Ref("as"), "dev0"}).ok());
  }

  // All that a client can see, all that the backend holds, and what owners are charged for.
  std::string Everything() {
    std::string all = backend_.State();
    const PageRequest page{kMaxPageSize, ""};
    const auto regions = engine_->ListMemoryRegions(operator_, page);
    for (const auto& r : regions->items) {
      all += r.object.id + r.object.etag + std::to_string(r.mapping_count) + "\n";
    }
    const auto spaces = engine_->ListIoas(operator_, page);
    for (const auto& i : spaces->items) {
      all += i.object.id + i.object.etag + std::to_string(i.mapping_count) + "," +
             std::to_string(i.mapped_bytes) + "," + std::to_string(i.alignment_bytes) + "," +
             std::to_string(i.mapping_revision) + "\n";
      for (const IovaRange& r : i.allowed_ranges) all += "allowed" + ToString(r);
      const ObjectRef ref{i.object.id, i.object.owner};
      const auto usable = engine_->ListIovaRanges(operator_, ref);
      for (const IovaRange& r : *usable) all += ToString(r);
      const auto mappings = engine_->ListMappings(operator_, ref, {0, kMaxAddress}, page);
      for (const auto& m : mappings->items) all += ToString(m.range) + m.memory_region + "\n";
    }
    const auto domains = engine_->ListDomains(operator_, page);
    for (const auto& d : domains->items) {
      all += d.object.id + d.object.etag;
      for (const auto& a : d.attached_devices) all += a;
      all += "\n";
    }
    const auto devices = engine_->ListDevices(operator_, page);
    for (const auto& d : devices->items) {
      all += d.spec.id + d.etag + d.claimed_by + d.domain + (d.attached ? "!" : "") + "\n";
      const auto pasids = engine_->ListPasids(operator_, d.spec.id, page);
      for (const PasidView& p : pasids->items) {
        all += "pasid " + std::to_string(p.pasid) + p.owner + p.label + p.domain + "\n";
      }
    }
    const auto attachments = engine_->ListAttachments(operator_, "", page);
    for (const AttachmentView& a : attachments->items) {
      all += a.device + std::to_string(a.pasid.value_or(0)) + a.domain +
             Hex(a.msi_iova.value_or(0)) + "\n";
    }
    return all + UsageOf(operator_);
  }

  // One line for each limit that is used: "alice max_ioas 1".
  std::string UsageOf(const CallContext& caller) {
    std::string all;
    for (const UsageView& view : engine_->ListUsage(caller)) {
      all += view.owner + " " + view.limit + " " + std::to_string(view.in_use) + "\n";
    }
    return all;
  }

  FakeBackend backend_;
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

// The same with the field at fault and the index of the failing entry, where the error has them:
// "CODE REASON field #index".
inline std::string DescribedInFull(const absl::Status& status) {
  std::string described = Described(status);
  const auto detail = DetailOf(status);
  if (detail && !detail->field.empty()) described += " " + detail->field;
  if (detail && detail->index) described += " #" + std::to_string(*detail->index);
  return described;
}

// A hook for the backend: it refuses `verb` the `nth` time from now on, and nothing else.
inline std::function<absl::Status(const std::string&)> RefuseNth(const std::string& verb, int nth) {
  auto left = std::make_shared<std::atomic<int>>(nth);
  return [=](const std::string& asked) {
    if (asked != verb || --*left != 0) return absl::OkStatus();
    return absl::Status(Error(absl::StatusCode::kResourceExhausted, "TEST", "refused"));
  };
}

}  // namespace viommu

#endif  // VIOMMU_ENGINE_ENGINE_FIXTURE_H_
