// Watching: from a snapshot through every change, in order, once, for whoever may see it.
#include "engine/watch.h"

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/engine_fixture.h"
#include "engine/watch_mirror.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

using Type = WatchEvent::Type;

OwnerLimits FewStreams() {
  OwnerLimits limits;
  limits.max_streams = 3;
  return limits;
}

class WatchTest : public EngineTest {
 protected:
  WatchTest() : EngineTest(FewStreams()) {}

  std::unique_ptr<Watch> Open(const CallContext& caller, const WatchOptions& options = {}) {
    auto watch = engine_->OpenWatch(caller, options);
    EXPECT_TRUE(watch.ok()) << watch.status();
    return *std::move(watch);
  }
  std::unique_ptr<Watch> Resume(const CallContext& caller, const WatchMirror& mirror) {
    return Open(caller, {{}, mirror.Position()});
  }

  static std::vector<WatchEvent> Read(Watch& watch) {
    std::vector<WatchEvent> events;
    WatchEvent event;
    while (true) {
      const auto got = watch.Next(absl::Milliseconds(4), &event);
      EXPECT_TRUE(got.ok()) << got.status();
      if (!got.ok() || !*got) return events;
      events.push_back(std::move(event));
    }
  }

  // So many changes: of bob's Ioas, made before.
  void Change(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      ASSERT_TRUE(engine_->SetAllowedIovaRanges(bob_, Ref("b"), {{0, 0xfff}}, "").ok());
    }
  }
};

TEST_F(WatchTest, ShowsWhatThereIsThenTheMarkThenWhatChanges) {
  SetUpAlice();
  const auto watch = Open(alice_);
  WatchMirror mirror;
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  EXPECT_TRUE(mirror.synced);
  EXPECT_EQ(mirror.events, 3 + 6 + 1);  // Region, Ioas, domain; devices; the mark.
  EXPECT_EQ(mirror.revision, engine_->GetHost().revision);
  EXPECT_EQ(mirror.boot_id, engine_->GetHost().boot_id);
  EXPECT_EQ(mirror.Text(), Listed(*engine_, alice_));

  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  const std::vector<WatchEvent> attached = Read(*watch);
  ASSERT_EQ(attached.size(), 2u);
  EXPECT_EQ(attached[0].type, Type::kModified);
  EXPECT_TRUE(std::get<DeviceView>(attached[0].body).attached);
  EXPECT_EQ(std::get<DomainView>(attached[1].body).attached_devices,
            std::vector<std::string>{"devices/dev0"});
  for (const WatchEvent& event : attached) mirror.Take(event);

  ASSERT_TRUE(engine_->DetachDevice(alice_, "dev0").ok());
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("d"), "").ok());
  ASSERT_TRUE(engine_->CreateIoas(alice_, "second").ok());
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  EXPECT_EQ(mirror.Text(), Listed(*engine_, alice_));
  EXPECT_EQ(mirror.added.size(), 1u);
  EXPECT_EQ(mirror.deleted.size(), 1u);
}

TEST_F(WatchTest, NamesWhatIsGone) {
  ASSERT_TRUE(engine_->CreateIoas(alice_, "as").ok());
  const Uid uid = engine_->GetIoas(alice_, Ref("as"))->object.uid;
  const auto watch = Open(operator_);
  Read(*watch);
  ASSERT_TRUE(engine_->DeleteIoas(alice_, Ref("as"), "").ok());
  const std::vector<WatchEvent> events = Read(*watch);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].type, Type::kDeleted);
  EXPECT_EQ(events[0].revision, engine_->GetHost().revision);
  const auto& gone = std::get<DeletedObject>(events[0].body);
  EXPECT_EQ(gone.kind, WatchKind::kIoas);
  EXPECT_EQ(gone.id + " " + gone.owner, "as alice");
  EXPECT_EQ(gone.uid, uid);
}

TEST_F(WatchTest, ShowsOwnersTheirOwnAndOperatorsAll) {
  const auto alice = Open(alice_), bob = Open(bob_), root = Open(operator_);
  for (const auto& watch : {alice.get(), bob.get(), root.get()}) Read(*watch);
  ASSERT_TRUE(engine_->CreateIoas(alice_, "as").ok());
  ASSERT_TRUE(engine_->ClaimDevice(alice_, "dev0", "").ok());
  ASSERT_TRUE(engine_->DeleteIoas(alice_, Ref("as"), "").ok());
  EXPECT_EQ(Read(*alice).size(), 2u);  // It came and went unseen: only that it is gone.
  const std::vector<WatchEvent> seen_by_bob = Read(*bob);
  ASSERT_EQ(seen_by_bob.size(), 1u);
  EXPECT_EQ(std::get<DeviceView>(seen_by_bob[0].body).ownership, DeviceOwnership::kClaimed);
  EXPECT_EQ(std::get<DeviceView>(seen_by_bob[0].body).claimed_by, "");
  const std::vector<WatchEvent> seen_by_root = Read(*root);
  ASSERT_EQ(seen_by_root.size(), 2u);
  EXPECT_EQ(std::get<DeviceView>(seen_by_root[0].body).claimed_by, "alice");
}

TEST_F(WatchTest, ShowsChosenKindsOnly) {
  SetUpAlice();
  const auto watch = Open(alice_, {{WatchKind::kDomain}, std::nullopt});
  ASSERT_EQ(Read(*watch).size(), 2u);
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
  ASSERT_TRUE(engine_->CreateIoas(alice_, "other").ok());
  EXPECT_TRUE(Read(*watch).empty());
  ASSERT_TRUE(engine_->DeleteDomain(alice_, Ref("d"), "").ok());
  EXPECT_EQ(Read(*watch).size(), 1u);
}

TEST_F(WatchTest, TellsOfMappingsOnceForManyBatches) {
  SetUpAlice();
  ASSERT_TRUE(engine_->CreateIoas(alice_, "second").ok());
  const auto watch = Open(alice_);
  WatchMirror mirror;
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  const uint64_t before = mirror.events;
  for (Iova page = 1; page <= 100; ++page) {
    ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(page << 12, 0x1000)).ok());
    ASSERT_TRUE(engine_->Map(alice_, Ref("second"), OneMap(page << 12, 0x1000)).ok());
  }
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0x1000, 0x1000)).ok());
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  EXPECT_EQ(mirror.events, before + 2);
  EXPECT_EQ(mirror.Text(), Listed(*engine_, alice_));
  // Whoever resumes gets the same.
  ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0x2000, 0x1000)).ok());
  ASSERT_TRUE(mirror.Drain(*Resume(alice_, mirror)).ok());
  EXPECT_EQ(mirror.events, before + 4);  // The mark and the summary.
  EXPECT_EQ(mirror.Text(), Listed(*engine_, alice_));
}

TEST_F(WatchTest, ResumesBehindAnyEventWithoutGapOrRepetition) {
  const auto whole = Open(alice_);
  ASSERT_EQ(Read(*whole).size(), 7u);
  const WatchOptions::Resume start{engine_->GetHost().boot_id, engine_->GetHost().revision};
  SetUpAlice();
  ASSERT_TRUE(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok());
  ASSERT_TRUE(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok());
  const std::vector<WatchEvent> all = Read(*whole);
  ASSERT_GE(all.size(), 6u);
  for (size_t seen = 0; seen < all.size(); ++seen) {
    SCOPED_TRACE(seen);
    const uint64_t at = seen == 0 ? start.revision : all[seen - 1].revision;
    const std::vector<WatchEvent> rest = Read(*Open(alice_, {{}, {{start.boot_id, at}}}));
    ASSERT_EQ(rest.size(), 1 + all.size() - seen);
    EXPECT_EQ(rest[0].type, Type::kSync);
    EXPECT_EQ(rest[0].revision, at);
    for (size_t i = seen; i < all.size(); ++i) {
      EXPECT_EQ(rest[1 + i - seen].revision, all[i].revision);
      EXPECT_EQ(rest[1 + i - seen].type, all[i].type);
    }
  }
}

TEST_F(WatchTest, RefusesToResumeWhereItWouldHaveToGuess) {
  const HostView host = engine_->GetHost();
  ASSERT_TRUE(engine_->CreateIoas(bob_, "b").ok());
  const auto open = [&](const std::string& boot_id, uint64_t revision) {
    const auto watch = engine_->OpenWatch(alice_, {{}, {{boot_id, revision}}});
    return Described(watch.status());
  };
  EXPECT_EQ(open(host.boot_id, host.revision), "OK");
  EXPECT_EQ(open("other", host.revision), "OUT_OF_RANGE REVISION_COMPACTED");
  EXPECT_EQ(open(host.boot_id, host.revision + 2), "OUT_OF_RANGE REVISION_IN_FUTURE");
  Change(kKeptChanges - 1);
  EXPECT_EQ(open(host.boot_id, host.revision), "OK") << "all that is kept";
  Change(1);
  EXPECT_EQ(open(host.boot_id, host.revision), "OUT_OF_RANGE REVISION_COMPACTED");
  EXPECT_EQ(open(host.boot_id, host.revision + 1), "OK");
}

TEST_F(WatchTest, CutsOffWhoeverDoesNotReadAndLetsItResume) {
  ASSERT_TRUE(engine_->CreateIoas(bob_, "b").ok());
  const auto slow = Open(bob_), quick = Open(bob_);
  WatchMirror mirror, other;
  ASSERT_TRUE(mirror.Drain(*slow).ok());
  ASSERT_TRUE(other.Drain(*quick).ok());
  Change(kMaxWatchBacklog);
  ASSERT_TRUE(mirror.Drain(*slow).ok()) << "as far behind as it may be";
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(other.Drain(*quick).ok());
    Change(kMaxWatchBacklog / 2 + 1);
  }
  EXPECT_EQ(Described(mirror.Drain(*slow)), "RESOURCE_EXHAUSTED SLOW_WATCHER");
  ASSERT_TRUE(other.Drain(*quick).ok()) << "another one is not concerned";
  ASSERT_TRUE(mirror.Drain(*Resume(bob_, mirror)).ok());
  EXPECT_EQ(mirror.Text(), Listed(*engine_, bob_));
}

TEST_F(WatchTest, CutsOffWhoeverIsOvertakenInItsSnapshot) {
  for (int i = 0; i < 600; ++i) {
    ASSERT_TRUE(engine_->CreateIoas(bob_, i == 0 ? "b" : "").ok());
  }
  const auto watch = Open(bob_);
  WatchEvent event;
  ASSERT_TRUE(*watch->Next(absl::ZeroDuration(), &event));
  Change(kKeptChanges + 1);
  WatchMirror mirror;
  EXPECT_EQ(Described(mirror.Drain(*watch)), "RESOURCE_EXHAUSTED SLOW_WATCHER");
}

TEST_F(WatchTest, TakesALongSnapshotInPiecesThatFitTogether) {
  for (int i = 0; i < 700; ++i) {
    ASSERT_TRUE(engine_->CreateIoas(bob_, absl::StrCat("b", i)).ok());
  }
  const auto watch = Open(bob_);
  WatchMirror mirror;
  WatchEvent event;
  ASSERT_TRUE(*watch->Next(absl::ZeroDuration(), &event));
  mirror.Take(event);
  // Of what is shown already, of what is not yet, and a new one on either side.
  for (const std::string id : {"b0", "b99"}) {
    ASSERT_TRUE(engine_->SetAllowedIovaRanges(bob_, Ref(id), {{0, 0xfff}}, "").ok());
  }
  for (const std::string id : {"b1", "b98"}) {
    ASSERT_TRUE(engine_->DeleteIoas(bob_, Ref(id), "").ok());
  }
  ASSERT_TRUE(engine_->CreateIoas(bob_, "a").ok());
  ASSERT_TRUE(engine_->CreateIoas(bob_, "c").ok());
  while (!mirror.synced) {
    ASSERT_TRUE(*watch->Next(absl::Seconds(10), &event));
    mirror.Take(event);
  }
  EXPECT_EQ(mirror.Text(), Listed(*engine_, bob_));
  EXPECT_EQ(mirror.added.size(), 2u);
}

TEST_F(WatchTest, SaysWhereToResumeWhenLongNothingWasToBeSeen) {
  ASSERT_TRUE(engine_->CreateIoas(bob_, "b").ok());
  const auto watch = Open(alice_);
  WatchMirror mirror;
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  Change(1000);
  const uint64_t events = mirror.events;
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  EXPECT_EQ(mirror.events, events);
  Change(1000);
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  EXPECT_EQ(mirror.events, events + 1);
  EXPECT_EQ(mirror.revision, engine_->GetHost().revision);
}

TEST_F(WatchTest, KeepsInViewWhatCouldNotBeDeleted) {
  SetUpAlice();
  std::unique_ptr<Watch> watch;
  backend_.SetHook([&](const std::string& verb) {
    if (verb != "DestroyDomain") return absl::OkStatus();
    watch = Open(alice_);  // While its destruction is under way.
    return absl::Status(Error(absl::StatusCode::kInternal, "TEST", "refused"));
  });
  EXPECT_FALSE(engine_->DeleteDomain(alice_, Ref("d"), "").ok());
  WatchMirror mirror;
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  EXPECT_EQ(mirror.Text(), Listed(*engine_, alice_));
}

TEST_F(WatchTest, TellsNothingOfWhatFailed) {
  SetUpAlice();
  const auto watch = Open(operator_);
  WatchMirror mirror;
  ASSERT_TRUE(mirror.Drain(*watch).ok());
  const uint64_t events = mirror.events;
  for (const std::string verb : {"CreateIoas", "Map", "Switch", "DestroyDomain"}) {
    backend_.SetHook(RefuseNth(verb, 1));
    EXPECT_EQ(engine_->CreateIoas(alice_, "x").ok(), verb != "CreateIoas");
    if (verb != "CreateIoas") {
      ASSERT_TRUE(engine_->DeleteIoas(alice_, Ref("x"), "").ok());
    }
    EXPECT_EQ(engine_->Map(alice_, Ref("as"), OneMap(0x1000, 0x1000)).ok(), verb != "Map");
    if (verb != "Map") {
      ASSERT_TRUE(engine_->Unmap(alice_, Ref("as"), OneUnmap(0x1000, 0x1000)).ok());
    }
    EXPECT_EQ(engine_->AttachDevice(alice_, "dev0", Ref("d")).ok(), verb != "Switch");
    if (verb != "Switch") {
      ASSERT_TRUE(engine_->DetachDevice(alice_, "dev0").ok());
    }
    if (verb == "DestroyDomain") {
      EXPECT_FALSE(engine_->DeleteDomain(alice_, Ref("d"), "").ok());
    }
    ASSERT_TRUE(mirror.Drain(*watch).ok());
    EXPECT_EQ(mirror.Text(), Listed(*engine_, operator_)) << verb;
  }
  EXPECT_GT(mirror.events, events);
}

TEST_F(WatchTest, WakesWhoeverWaits) {
  const auto watch = Open(alice_);
  Read(*watch);
  absl::Duration took;
  std::thread reader([&] {
    WatchEvent event;
    const absl::Time start = absl::Now();
    const auto got = watch->Next(absl::Minutes(1), &event);
    took = absl::Now() - start;
    EXPECT_TRUE(got.ok() && *got);
  });
  absl::SleepFor(absl::Milliseconds(20));
  ASSERT_TRUE(engine_->CreateIoas(alice_, "as").ok());
  reader.join();
  EXPECT_LT(took, absl::Seconds(30));
}

TEST_F(WatchTest, EndsWhenItIsCancelled) {
  const auto watch = Open(alice_);
  Read(*watch);
  std::thread reader([&] {
    WatchEvent event;
    EXPECT_EQ(Described(watch->Next(absl::Minutes(1), &event).status()),
              "CANCELLED WATCH_CANCELLED");
  });
  absl::SleepFor(absl::Milliseconds(20));
  watch->Cancel();
  reader.join();
  WatchEvent event;
  EXPECT_FALSE(watch->Next(absl::ZeroDuration(), &event).ok());
}

TEST_F(WatchTest, CountsAsAStreamOfItsCaller) {
  auto first = Open(alice_), second = Open(alice_), third = Open(alice_);
  EXPECT_EQ(Described(engine_->OpenWatch(alice_, {}).status()), "RESOURCE_EXHAUSTED STREAM_LIMIT");
  Open(bob_);
  EXPECT_FALSE(engine_->OpenWatch(bob_, {{}, {{"other", 0}}}).ok());
  third.reset();
  Open(alice_);
  first.reset();
  second.reset();
  EXPECT_EQ(UsageOf(operator_), "") << "what was refused is not counted either";
}

}  // namespace
}  // namespace viommu
