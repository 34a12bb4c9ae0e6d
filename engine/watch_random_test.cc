// Random changes: whoever watches, and breaks off and resumes at random, believes in the end what
// the listings say, was told of every creation and deletion once, and of nothing out of order.
#include <atomic>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/plug_fixture.h"
#include "engine/watch_mirror.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

constexpr int kRounds = 40;
constexpr int kOperationsOfRound = 60;

// One who watches, for as long as it likes.
struct Watcher {
  CallContext caller;
  std::unique_ptr<Watch> watch;
  WatchMirror mirror;
};

class WatchRandomTest : public PlugTest {
 protected:
  WatchRandomTest() {
    const char* const given = std::getenv("WATCH_TEST_SEED");
    seed_ = given != nullptr ? std::strtoul(given, nullptr, 10) : std::random_device()();
    random_.seed(seed_);
  }

  size_t Pick(size_t below) { return random_() % below; }

  void Begin(Watcher& watcher) {
    WatchOptions options;
    if (watcher.mirror.synced) options.resume = watcher.mirror.Position();
    auto watch = engine_->OpenWatch(watcher.caller, options);
    ASSERT_TRUE(watch.ok()) << watch.status();
    watcher.watch = *std::move(watch);
  }

  // Reads a few events, or all; breaks off and resumes now and then.
  void Read(Watcher& watcher) {
    if (watcher.watch == nullptr) Begin(watcher);
    if (Pick(3) == 0) {
      ASSERT_TRUE(watcher.mirror.Drain(*watcher.watch).ok());
      return;
    }
    WatchEvent event;
    for (size_t left = Pick(12); left > 0; --left) {
      const auto got = watcher.watch->Next(absl::ZeroDuration(), &event);
      ASSERT_TRUE(got.ok()) << got.status();
      if (!*got) break;
      watcher.mirror.Take(event);
    }
    if (watcher.mirror.synced && Pick(3) == 0) watcher.watch = nullptr;
  }

  // Whatever it answers: only what is true afterwards counts.
  void Operate() {
    const CallContext& who = Pick(2) == 0 ? alice_ : bob_;
    const ObjectRef id = Ref(absl::StrCat("n", Pick(4)));
    const ObjectRef other = Ref(absl::StrCat("n", Pick(4)));
    const std::string device = absl::StrCat("dev", Pick(6));
    const Iova iova = (1 + Pick(16)) << 12;
    if (Pick(10) == 0) {
      static constexpr const char* kVerbs[] = {
          "Switch", "Map",     "DestroyIoas", "Block",         "CreateIoas",
          "Claim",  "Unblock", "Unmap",       "AssignDefault", "DestroyDomain"};
      simulated_.SetHook(RefuseNth(kVerbs[Pick(std::size(kVerbs))], 1));
    }
    switch (Pick(18)) {
      case 0:
        return (void)engine_->CreateMemoryRegion(who, id.id, 1 << 20, std::nullopt);
      case 1:
        return (void)engine_->DeleteMemoryRegion(who, id, "");
      case 2:
        return (void)engine_->CreateIoas(who, id.id);
      case 3:
        return (void)engine_->DeleteIoas(who, id, "");
      case 4:
        return (void)engine_->CreateDomain(who, id.id, PagingDomainRequest{other, device});
      case 5:
        return (void)engine_->DeleteDomain(who, id, "");
      case 6:
      case 7:
        return (void)engine_->ClaimDevice(who, device, "");
      case 8:
        return (void)engine_->ReleaseDevice(who, device, "");
      case 9:
      case 10:
        return (void)engine_->AttachDevice(who, device, id);
      case 11:
        return (void)engine_->ReplaceAttachment(who, device, id);
      case 12:
        return (void)engine_->DetachDevice(who, device);
      case 13:
        return (void)engine_->Map(who, id, OneMap(iova, 0x1000, 0, other.id));
      case 14:
        return (void)engine_->Unmap(who, id, OneUnmap(iova, 0x1000));
      case 15:
        return (void)engine_->SetDeviceHealth(
            operator_, device, Pick(2) == 0 ? DeviceHealth::kHealthy : DeviceHealth::kUnhealthy,
            "random");
      case 16:
        return (void)engine_->UnplugDevice(operator_, device);
      default:
        return (void)engine_->PlugDevice(operator_, device);
    }
  }

  void Check(Watcher& watcher) {
    if (watcher.watch == nullptr) Begin(watcher);
    ASSERT_TRUE(watcher.mirror.Drain(*watcher.watch).ok());
    ASSERT_EQ(watcher.mirror.Text(), Listed(*engine_, watcher.caller));
  }

  unsigned long seed_ = 0;
  std::mt19937_64 random_;
};

TEST_F(WatchRandomTest, BelievesWhatTheListingsSay) {
  SCOPED_TRACE(absl::StrCat("WATCH_TEST_SEED=", seed_));
  Watcher watchers[] = {{alice_, nullptr, {}}, {bob_, nullptr, {}}, {operator_, nullptr, {}}};
  for (int round = 0; round < kRounds && !HasFailure(); ++round) {
    for (int i = 0; i < kOperationsOfRound; ++i) {
      Operate();
      for (Watcher& watcher : watchers) {
        if (Pick(8) == 0) Read(watcher);
      }
    }
    for (Watcher& watcher : watchers) Check(watcher);
  }
  EXPECT_GT(watchers[2].mirror.deleted.size(), 50u);
}

TEST_F(WatchRandomTest, BelievesItAlsoWhenAllHappensAtOnce) {
  SCOPED_TRACE(absl::StrCat("WATCH_TEST_SEED=", seed_));
  constexpr int kWriters = 3;
  constexpr int kChanges = 300;
  Watcher watchers[] = {{alice_, nullptr, {}}, {operator_, nullptr, {}}, {operator_, nullptr, {}}};
  for (Watcher& watcher : watchers) Begin(watcher);
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (Watcher& watcher : watchers) {
    readers.emplace_back([&] {
      while (!done) {
        if (!watcher.mirror.Drain(*watcher.watch).ok()) return;
      }
    });
  }
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] {
      const ObjectRef id = Ref(absl::StrCat("t", i));
      for (int change = 0; change < kChanges; ++change) {
        EXPECT_TRUE(engine_->CreateIoas(alice_, id.id).ok());
        EXPECT_TRUE(engine_->SetAllowedIovaRanges(alice_, id, {{0, 0xfff}}, "").ok());
        EXPECT_TRUE(engine_->DeleteIoas(alice_, id, "").ok());
      }
      EXPECT_TRUE(engine_->CreateIoas(alice_, id.id).ok());
    });
  }
  for (std::thread& writer : writers) writer.join();
  done = true;
  for (std::thread& reader : readers) reader.join();
  for (Watcher& watcher : watchers) {
    Check(watcher);
    EXPECT_EQ(watcher.mirror.deleted.size(), size_t{kWriters * kChanges}) << "each once";
  }
}

}  // namespace
}  // namespace viommu
