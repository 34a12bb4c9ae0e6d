// The client's watch against the real engine: what it tells adds up to what the listings say,
// whatever breaks in between.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "clients/client/call_error.h"
#include "clients/client/client.h"
#include "clients/client/object_watch.h"
#include "engine/types.h"
#include "gtest/gtest.h"
#include "tests/frontends/shared_engine.h"
#include "viommu/v1/ioas.grpc.pb.h"
#include "viommu/v1/watch.pb.h"

namespace viommu {
namespace {

using IoasStub = v1::IoasService::Stub;

class WatchEngineTest : public ::testing::Test {
 protected:
  WatchEngineTest() {
    ClientOptions options;
    options.first_backoff = absl::Milliseconds(10);
    options.max_backoff = absl::Milliseconds(50);
    auto client = Client::Connect(shared_.Target(Side::kLeft), options);
    EXPECT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
    changing_ = *Client::Connect(shared_.Target(Side::kRight), options);
  }

  void Make(const std::string& id) {
    ASSERT_TRUE(changing_->Call(&IoasStub::CreateIoas, NewIoas(id)).ok());
  }
  void Delete(const std::string& id) {
    ASSERT_TRUE(
        changing_->Call(&IoasStub::DeleteIoas, Named<v1::DeleteIoasRequest>("ioas/" + id)).ok());
  }
  // So many changes that the engine forgets those before.
  void Flood() {
    CallContext caller;
    caller.is_operator = true;
    for (size_t i = 0; i < kKeptChanges / 2 + 1; ++i) {
      ASSERT_TRUE(shared_.engine().CreateIoas(caller, "flood").ok());
      ASSERT_TRUE(shared_.engine().DeleteIoas(caller, {"flood", std::nullopt}, "").ok());
    }
  }
  void RestartLeft(absl::Duration pause = absl::ZeroDuration()) {
    shared_.Destroy(Side::kLeft);
    absl::SleepFor(pause);
    shared_.Start(Side::kLeft);
  }

  // Reads until `name` was told of, and keeps all in told_; checks that nothing is told twice.
  void ReadUntil(ObjectWatch& watch, const std::string& name, v1::WatchChangeType type) {
    for (int i = 0; i < 1000; ++i) {
      const auto message = watch.Next();
      ASSERT_TRUE(message.ok()) << message.status();
      if (!message->has_change()) continue;
      const v1::WatchChange& change = message->change();
      const std::string& told =
          change.has_deleted() ? change.deleted().name() : IdentityOf(change.object()).name;
      told_.push_back(absl::StrCat(v1::WatchChangeType_Name(change.type()).substr(18), " ", told));
      if (told == name && change.type() == type) return;
    }
    FAIL() << name << " is never told of";
  }
  void ReadSync(ObjectWatch& watch) {
    while (true) {
      const auto message = watch.Next();
      ASSERT_TRUE(message.ok()) << message.status();
      if (message->has_sync()) return;
      ASSERT_TRUE(message->has_snapshot());
      there_.push_back(IdentityOf(message->snapshot()).name);
    }
  }

  SharedEngine shared_;
  std::unique_ptr<Client> client_;
  std::unique_ptr<Client> changing_;  // Over the frontend that is not broken.
  std::vector<std::string> there_;
  std::vector<std::string> told_;
};

TEST_F(WatchEngineTest, TellsWhatThereIsAndWhatChanges) {
  Make("old");
  ObjectWatch watch(client_.get(), {{v1::WATCH_KIND_IOAS, v1::WATCH_KIND_DEVICE}});
  ReadSync(watch);
  ASSERT_EQ(there_.size(), 1u + kDevices);
  EXPECT_EQ(there_[0], "ioas/old");
  Make("new");
  ReadUntil(watch, "ioas/new", v1::WATCH_CHANGE_TYPE_ADDED);
  Delete("old");
  ReadUntil(watch, "ioas/old", v1::WATCH_CHANGE_TYPE_DELETED);
  EXPECT_EQ(told_, (std::vector<std::string>{"ADDED ioas/new", "DELETED ioas/old"}));
  EXPECT_EQ(watch.resumed() + watch.restarted(), 0u);
}

TEST_F(WatchEngineTest, ResumesWhereItsFrontendBroke) {
  Make("a");
  ObjectWatch watch(client_.get(), {{v1::WATCH_KIND_IOAS}});
  ReadSync(watch);
  std::thread frontend([this] { RestartLeft(absl::Milliseconds(100)); });
  Make("b");
  Delete("a");
  frontend.join();
  Make("c");
  ReadUntil(watch, "ioas/c", v1::WATCH_CHANGE_TYPE_ADDED);
  EXPECT_EQ(told_, (std::vector<std::string>{"ADDED ioas/b", "DELETED ioas/a", "ADDED ioas/c"}));
  EXPECT_GE(watch.resumed(), 1u);
  EXPECT_EQ(watch.restarted(), 0u);
}

TEST_F(WatchEngineTest, ComparesAFreshSnapshotWhenChangesAreForgotten) {
  Make("stays");
  Make("goes");
  Make("changes");
  ObjectWatch watch(client_.get(), {{v1::WATCH_KIND_IOAS}});
  ReadSync(watch);
  ASSERT_EQ(there_.size(), 3u);
  shared_.Destroy(Side::kLeft);
  Delete("goes");
  v1::SetAllowedIovaRangesRequest request;
  request.set_name("ioas/changes");
  request.add_ranges()->set_last(0xfff);
  ASSERT_TRUE(changing_->Call(&IoasStub::SetAllowedIovaRanges, request).ok());
  Make("comes");
  Flood();
  shared_.Start(Side::kLeft);
  ReadUntil(watch, "ioas/changes", v1::WATCH_CHANGE_TYPE_MODIFIED);
  Make("last");
  ReadUntil(watch, "ioas/last", v1::WATCH_CHANGE_TYPE_ADDED);
  EXPECT_GE(watch.restarted(), 1u);
  std::sort(told_.begin(), told_.end());
  EXPECT_EQ(told_, (std::vector<std::string>{"ADDED ioas/comes", "ADDED ioas/last",
                                             "DELETED ioas/goes", "MODIFIED ioas/changes"}));
}

TEST_F(WatchEngineTest, GivesUpWhenItsPatienceEnds) {
  ObjectWatch watch(client_.get(), {{v1::WATCH_KIND_IOAS}, absl::Milliseconds(200)});
  ReadSync(watch);
  shared_.Destroy(Side::kLeft);
  const auto message = watch.Next();
  EXPECT_EQ(message.status().code(), absl::StatusCode::kUnavailable) << message.status();
  shared_.Start(Side::kLeft);
}

TEST_F(WatchEngineTest, EndsAtOnceWhereTryingAgainWouldNotHelp) {
  ObjectWatch watch(client_.get(), {{static_cast<v1::WatchKind>(77)}});
  const auto message = watch.Next();
  EXPECT_EQ(message.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(message.status()), "UNKNOWN_ENUM_VALUE");
}

TEST_F(WatchEngineTest, EndsWhenItIsCancelled) {
  ObjectWatch watch(client_.get(), {});
  ReadSync(watch);
  std::thread other([&] {
    absl::SleepFor(absl::Milliseconds(50));
    watch.Cancel();
  });
  EXPECT_EQ(watch.Next().status().code(), absl::StatusCode::kCancelled);
  other.join();
  EXPECT_EQ(watch.Next().status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace viommu
