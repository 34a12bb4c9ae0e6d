// Streams of page faults: what is shown, what again, and to whom.
#include "engine/fault_stream.h"

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "engine/engine_faults_fixture.h"
#include "gtest/gtest.h"

namespace viommu {
namespace {

class FaultStreamTest : public FaultsTest {
 protected:
  void SetUp() override {
    FaultsTest::SetUp();
    ASSERT_EQ(Attach("dev0", "f"), "OK");
  }
  std::unique_ptr<FaultStream> Open() {
    auto stream = engine_->OpenFaultStream(alice_, Ref("q"));
    EXPECT_TRUE(stream.ok()) << stream.status();
    return *std::move(stream);
  }
  // The next event: "1/1 devices/...", "lost 2\n", "nothing", or an error.
  static std::string Next(FaultStream& stream, absl::Duration patience = absl::ZeroDuration()) {
    FaultStreamEvent event;
    const auto is_event = stream.Next(patience, &event);
    if (!is_event.ok()) return Described(is_event.status());
    if (!*is_event) return "nothing";
    if (const auto* lost = std::get_if<FaultsLost>(&event)) {
      return "lost " + std::to_string(lost->total) + "\n";
    }
    return Text(std::get<FaultView>(event));
  }
};

constexpr char kFirst[] = "1/1 devices/dev0 domains/f group 1: 0x1000\n";
constexpr char kSecond[] = "2/2 devices/dev0 domains/f group 2: 0x2000\n";

TEST_F(FaultStreamTest, ShowsEachGroupOnce) {
  ASSERT_EQ(Raise("dev0", 1, 0x1000), "OK");
  const auto stream = Open();
  EXPECT_EQ(Next(*stream), kFirst);
  EXPECT_EQ(Next(*stream), "nothing");
  ASSERT_EQ(Raise("dev0", 2, 0x2000), "OK");
  EXPECT_EQ(Next(*stream), kSecond);
  EXPECT_EQ(Next(*stream), "nothing");
  EXPECT_EQ(Waiting(), std::string(kFirst) + kSecond) << "showing takes nothing out";
}

TEST_F(FaultStreamTest, ShowsWhatIsUnansweredAgainAfterItBroke) {
  ASSERT_EQ(Raise("dev0", 1, 0x1000), "OK");
  ASSERT_EQ(Raise("dev0", 2, 0x2000), "OK");
  auto stream = Open();
  EXPECT_EQ(Next(*stream), kFirst);
  EXPECT_EQ(Next(*stream), kSecond);
  stream.reset();
  ASSERT_EQ(Respond({{1, PageResponse::kSuccess}}), "OK");
  stream = Open();
  EXPECT_EQ(Next(*stream), kSecond) << "with the same cookie and number";
  EXPECT_EQ(Next(*stream), "nothing");
}

TEST_F(FaultStreamTest, TellsWhatIsLost) {
  for (uint32_t group = 1; group <= 5; ++group) ASSERT_EQ(Raise("dev0", group, 0x1000), "OK");
  auto stream = Open();
  EXPECT_EQ(Next(*stream), "lost 1\n");
  EXPECT_EQ(Next(*stream), kFirst);
  ASSERT_EQ(Raise("dev0", 6, 0x1000), "OK");
  EXPECT_EQ(Next(*stream), "lost 2\n");
  stream.reset();
  EXPECT_EQ(Next(*Open()), "lost 2\n");
}

TEST_F(FaultStreamTest, GivesWayToALaterOne) {
  ASSERT_EQ(Raise("dev0", 1, 0x1000), "OK");
  auto first = Open();
  EXPECT_EQ(Next(*first), kFirst);
  const auto second = Open();
  EXPECT_EQ(Next(*first), "ABORTED STREAM_TAKEN_OVER");
  EXPECT_EQ(Next(*second), kFirst);
  first.reset();
  ASSERT_EQ(Raise("dev0", 2, 0x2000), "OK");
  EXPECT_EQ(Next(*second), kSecond) << "the end of the first is nothing to the second";
}

TEST_F(FaultStreamTest, WaitsForWhatComes) {
  const auto stream = Open();
  std::thread raising([&] { ASSERT_EQ(Raise("dev0", 1, 0x1000), "OK"); });
  EXPECT_EQ(Next(*stream, absl::Seconds(60)), kFirst);
  raising.join();
  std::thread cancelling([&] { stream->Cancel(); });
  EXPECT_EQ(Next(*stream, absl::Seconds(60)), "CANCELLED STREAM_CANCELLED");
  cancelling.join();
}

TEST_F(FaultStreamTest, IsWokenByALaterOne) {
  const auto first = Open();
  std::unique_ptr<FaultStream> second;
  std::thread opening([&] { second = Open(); });
  EXPECT_EQ(Next(*first, absl::Seconds(60)), "ABORTED STREAM_TAKEN_OVER");
  opening.join();
}

TEST_F(FaultStreamTest, ShowsAGroupInItsTurnWhoseAnswerFailed) {
  ASSERT_EQ(Raise("dev0", 1, 0x1000), "OK");
  const auto stream = Open();
  absl::Notification answering, go_on;
  bool first = true;
  faulting_.SetHook([&](const std::string& verb) {
    if (verb != "RespondPageGroup" || !std::exchange(first, false)) return absl::OkStatus();
    answering.Notify();
    go_on.WaitForNotification();
    return absl::InternalError("broken");
  });
  std::thread responding([&] { Respond({{1, PageResponse::kSuccess}}); });
  answering.WaitForNotification();
  ASSERT_EQ(Raise("dev0", 2, 0x2000), "OK");
  EXPECT_EQ(Next(*stream), "nothing") << "the first may come back";
  go_on.Notify();
  EXPECT_EQ(Next(*stream, absl::Seconds(20)), kFirst);
  responding.join();
  faulting_.SetHook(nullptr);
  EXPECT_EQ(Next(*stream), kSecond);
}

TEST_F(FaultStreamTest, DoesNotShowWhatWasWithdrawn) {
  ASSERT_EQ(Raise("dev0", 1, 0x1000), "OK");
  const auto stream = Open();
  ASSERT_EQ(Detach("dev0"), "OK");
  EXPECT_EQ(Next(*stream), "nothing");
}

TEST_F(FaultStreamTest, TakesWhatDevicesReportedByThemselves) {
  const auto stream = Open();
  ASSERT_TRUE(faulting_.ReportPageFault(Fault(1, 0x1000)).ok());
  EXPECT_EQ(Next(*stream), kFirst);
}

TEST_F(FaultStreamTest, IsCountedAsAStream) {
  EXPECT_EQ(Described(engine_->OpenFaultStream(alice_, Ref("none")).status()),
            "NOT_FOUND FAULT_QUEUE_NOT_FOUND");
  EXPECT_EQ(Described(engine_->OpenFaultStream(bob_, Ref("q")).status()),
            "NOT_FOUND FAULT_QUEUE_NOT_FOUND");
  {
    const auto stream = Open();
    EXPECT_NE(UsageOf(alice_).find("max_streams 1"), std::string::npos);
    EXPECT_EQ(stream->queue(), engine_->GetFaultQueue(alice_, Ref("q"))->object.uid);
  }
  EXPECT_EQ(UsageOf(alice_).find("max_streams"), std::string::npos);
}

}  // namespace
}  // namespace viommu
