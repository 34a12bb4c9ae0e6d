#include "clients/client/retry.h"

#include <deque>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "clients/client/call_error.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/domain.pb.h"
#include "viommu/v1/host.pb.h"
#include "viommu/v1/ioas.pb.h"
#include "viommu/v1/memory.pb.h"
#include "viommu/v1/simulation.pb.h"

namespace viommu {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kMs = absl::Milliseconds(1);

absl::Status WithDelay(absl::StatusCode code, absl::Duration delay) {
  google::rpc::Status rpc;
  rpc.set_code(static_cast<int>(code));
  rpc.set_message("later");
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(delay)));
  rpc.add_details()->PackFrom(info);
  return ToStatus(rpc);
}

// Runs attempts that answer what they are told, on a clock that only sleeping moves.
class RetryTest : public ::testing::Test {
 protected:
  // The attempts' answers in turn; behind them OK.
  absl::Status Run(std::deque<absl::Status> answers, Repeatable repeatable = Repeatable::kRead) {
    attempts_ = 0;
    sleeps_.clear();
    return RunAttempts(options_, repeatable, deadline_, clock_, [&]() -> Attempt {
      ++attempts_;
      now_ += attempt_takes_;
      if (answers.empty()) return {};
      const absl::Status answer = answers.front();
      answers.pop_front();
      return {answer, attempts_ == not_sent_};
    });
  }

  RetryOptions options_ = {/*max_attempts=*/4, 100 * kMs, 1000 * kMs};
  double random_ = 0;
  absl::Duration attempt_takes_;
  int not_sent_ = 0;  // The attempt that is not sent, from 1; 0: all are.
  absl::Time now_ = absl::UnixEpoch();
  absl::Time deadline_ = absl::UnixEpoch() + absl::Hours(1);
  int attempts_ = 0;
  std::vector<absl::Duration> sleeps_;
  const RetryClock clock_ = {[this] { return now_; },
                             [this](absl::Duration time) {
                               sleeps_.push_back(time);
                               now_ += time;
                             },
                             [this] { return random_; }};
};

const absl::Status kLost = absl::UnavailableError("lost");

TEST_F(RetryTest, RepeatsUntilItSucceeds) {
  EXPECT_TRUE(Run({kLost, kLost, absl::CancelledError("ends")}).ok());
  EXPECT_EQ(attempts_, 4);
}

TEST_F(RetryTest, DoesNotRepeatWhatSucceeded) {
  EXPECT_TRUE(Run({}).ok());
  EXPECT_EQ(attempts_, 1);
  EXPECT_THAT(sleeps_, IsEmpty());
}

TEST_F(RetryTest, EndsWithTheLastErrorWhenTheAttemptsAreUsedUp) {
  const absl::Status status = Run({kLost, kLost, kLost, absl::UnavailableError("still"), kLost});
  EXPECT_EQ(status, absl::UnavailableError("still (after 4 attempts)"));
  EXPECT_EQ(attempts_, 4);
}

TEST_F(RetryTest, RepeatsOnNoOtherCode) {
  for (int code = 1; code <= 16; ++code) {
    const auto name = static_cast<absl::StatusCode>(code);
    SCOPED_TRACE(absl::StatusCodeToString(name));
    const bool repeats =
        name == absl::StatusCode::kUnavailable || name == absl::StatusCode::kCancelled;
    EXPECT_EQ(Run({absl::Status(name, "m")}).ok(), repeats);
    EXPECT_EQ(attempts_, repeats ? 2 : 1);
  }
}

TEST_F(RetryTest, RepeatsOnAnyErrorWithADelayAndWaitsThatMuchLonger) {
  EXPECT_TRUE(Run({WithDelay(absl::StatusCode::kAborted, 30 * kMs)}).ok());
  EXPECT_THAT(sleeps_, ElementsAre(80 * kMs));
}

TEST_F(RetryTest, NeverRepeatsWhatIsNotSafe) {
  EXPECT_EQ(Run({kLost}, Repeatable::kNever), kLost);
  EXPECT_EQ(Run({WithDelay(absl::StatusCode::kAborted, kMs)}, Repeatable::kNever).code(),
            absl::StatusCode::kAborted);
  EXPECT_EQ(attempts_, 1);
  EXPECT_TRUE(Run({kLost}, Repeatable::kWithRequestId).ok());
}

TEST_F(RetryTest, DoublesTheWaitUpToItsMaximum) {
  options_.max_attempts = 8;
  const std::deque<absl::Status> lost(7, kLost);
  EXPECT_TRUE(Run(lost).ok());
  EXPECT_THAT(sleeps_, ElementsAre(50 * kMs, 100 * kMs, 200 * kMs, 400 * kMs, 500 * kMs, 500 * kMs,
                                   500 * kMs));
  random_ = 0.5;
  EXPECT_TRUE(Run(lost).ok());
  EXPECT_THAT(sleeps_, ElementsAre(75 * kMs, 150 * kMs, 300 * kMs, 600 * kMs, 750 * kMs, 750 * kMs,
                                   750 * kMs));
}

TEST_F(RetryTest, BeginsNoAttemptAtOrBehindTheDeadline) {
  deadline_ = now_ + 150 * kMs;  // The second wait would end then.
  EXPECT_EQ(Run({kLost, kLost, kLost}), absl::UnavailableError("lost (after 2 attempts)"));
  EXPECT_THAT(sleeps_, ElementsAre(50 * kMs));

  deadline_ = now_ + 151 * kMs;
  EXPECT_TRUE(Run({kLost, kLost}).ok());

  // The time that attempts take counts as well.
  attempt_takes_ = 101 * kMs;
  deadline_ = now_ + 151 * kMs;
  EXPECT_EQ(Run({kLost}), kLost);
}

TEST_F(RetryTest, EndsWhereAnotherAttemptWouldNotHelp) {
  not_sent_ = 1;
  EXPECT_EQ(Run({kLost}), kLost);
  EXPECT_EQ(attempts_, 1);
}

TEST_F(RetryTest, TellsOfAnAttemptThatWasSentBeforeOneThatWasNot) {
  not_sent_ = 3;
  EXPECT_EQ(
      Run({kLost, absl::CancelledError("ends"), absl::UnavailableError("nobody"), kLost}),
      absl::UnavailableError("nobody (after 3 attempts); an earlier attempt was sent and ended "
                             "with: ends"));
  EXPECT_EQ(attempts_, 3);
}

TEST_F(RetryTest, KeepsTheDetailsOfTheLastError) {
  const absl::Status status = Run(std::deque<absl::Status>(4, WithDelay(kLost.code(), kMs)));
  EXPECT_EQ(status.message(), "later (after 4 attempts)");
  EXPECT_EQ(ErrorOf(status).retry_delay, kMs);
}

// ---- Which requests ----

TEST(RepeatableTest, KnowsEveryMethod) {
  // What is no read and has no request_id. A method that belongs here shows up as a surprise.
  const std::set<std::string> kNever = {"Dma", "WriteMemory", "ReadDirtyBitmap", "RaiseEvent",
                                        "RaisePageFault"};
  const std::set<std::string> kReads = {"GetHost",
                                        "GetIommu",
                                        "ListIommus",
                                        "GetInvalidationQueue",
                                        "ListInvalidationQueues",
                                        "GetDevice",
                                        "ListDevices",
                                        "ListAttachments",
                                        "ListReservedRegions",
                                        "GetHardwareInfo",
                                        "GetMemoryRegion",
                                        "ListMemoryRegions",
                                        "GetIoas",
                                        "ListIoas",
                                        "ListMappings",
                                        "Translate",
                                        "ListIovaRanges",
                                        "GetDomain",
                                        "ListDomains",
                                        "ListPasids",
                                        "ReadMemory",
                                        "DumpTables",
                                        "ListPageResponses",
                                        "ExplainTranslation"};
  int with_request_id = 0;
  for (const auto* file :
       {v1::Host::descriptor()->file(), v1::Device::descriptor()->file(),
        v1::MemoryRegion::descriptor()->file(), v1::Ioas::descriptor()->file(),
        v1::Domain::descriptor()->file(), v1::DmaRequest::descriptor()->file()}) {
    ASSERT_EQ(file->service_count(), 1);
    for (int i = 0; i < file->service(0)->method_count(); ++i) {
      const auto* method = file->service(0)->method(i);
      if (method->server_streaming()) continue;  // Streams are never repeated.
      SCOPED_TRACE(method->full_name());
      const Repeatable found =
          RepeatableOf(*google::protobuf::MessageFactory::generated_factory()->GetPrototype(
              method->input_type()));
      if (kNever.count(method->name()) == 1) {
        EXPECT_EQ(found, Repeatable::kNever);
      } else if (kReads.count(method->name()) == 1) {
        EXPECT_EQ(found, Repeatable::kRead);
      } else {
        EXPECT_EQ(found, Repeatable::kWithRequestId);
        ++with_request_id;
      }
    }
  }
  EXPECT_GE(with_request_id, 17);
}

TEST(RepeatableTest, ReadsWhatIsClearedByItOnlyOnce) {
  v1::ReadDirtyBitmapRequest request;
  EXPECT_EQ(RepeatableOf(request), Repeatable::kNever);
  request.set_no_clear(true);
  EXPECT_EQ(RepeatableOf(request), Repeatable::kRead);
}

TEST(RequestIdTest, IsGivenWhereThereIsNone) {
  v1::UnmapRequest request;
  GiveRequestId(&request);
  EXPECT_TRUE(std::regex_match(
      request.request_id(),
      std::regex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")))
      << request.request_id();
}

TEST(RequestIdTest, StaysTheCallers) {
  v1::UnmapRequest request;
  request.set_request_id("mine");
  GiveRequestId(&request);
  EXPECT_EQ(request.request_id(), "mine");
}

TEST(RequestIdTest, IsNotGivenToReads) {
  v1::GetIoasRequest request;
  GiveRequestId(&request);
  EXPECT_EQ(request.ByteSizeLong(), 0u);
}

TEST(RequestIdTest, IsNeverTheSame) {
  std::set<std::string> ids;
  for (int i = 0; i < 10'000; ++i) ids.insert(NewRequestId());
  EXPECT_EQ(ids.size(), 10'000u);
}

TEST(RetryClockTest, ChanceIsBetweenZeroAndOne) {
  const RetryClock clock = RealRetryClock();
  std::set<double> seen;
  for (int i = 0; i < 1000; ++i) {
    const double value = clock.random();
    ASSERT_GE(value, 0);
    ASSERT_LT(value, 1);
    seen.insert(value);
  }
  EXPECT_GT(seen.size(), 900u);
}

}  // namespace
}  // namespace viommu
