// How long a call counts, and which streams may be open.
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "grpcpp/server_context.h"
#include "gtest/gtest.h"
#include "server/admission.h"
#include "server/transport.h"

namespace viommu {
namespace {

AdmissionLimits OneOfEach() {
  AdmissionLimits limits;
  limits.max_calls = limits.max_revokes = limits.max_streams = 1;
  return limits;
}

TEST(OpenCallTest, KeepsTheTicketUntilGrpcHasDoneWithTheCall) {
  Admission admission(OneOfEach(), nullptr);
  const grpc::ServerContext context;
  {
    const Admission::OpenCall call(&admission, &context);
    admission.Keep(context, *admission.Admit(CallKind::kCall));
    EXPECT_FALSE(admission.Admit(CallKind::kCall).ok());
    EXPECT_TRUE(admission.Admit(CallKind::kRevoke).ok());
  }
  EXPECT_TRUE(admission.Admit(CallKind::kCall).ok());
}

TEST(OpenCallTest, EndsTheTicketOfAContextWithoutServer) {
  Admission admission(OneOfEach(), nullptr);
  const grpc::ServerContext of_a_server;
  const grpc::ServerContext bare;
  const Admission::OpenCall call(&admission, &of_a_server);
  admission.Keep(bare, *admission.Admit(CallKind::kCall));
  EXPECT_TRUE(admission.Admit(CallKind::kCall).ok());
}

TEST(OpenCallTest, KeepsADrainWaitingUntilItsAnswerIsTaken) {
  Admission admission(OneOfEach(), nullptr);
  const grpc::ServerContext context;
  std::optional<Admission::OpenCall> call(std::in_place, &admission, &context);
  admission.Keep(context, *admission.Admit(CallKind::kCall));
  admission.Drain();
  const absl::Time deadline = absl::Now() + absl::Milliseconds(300);
  admission.AwaitQuiet(deadline);
  EXPECT_GE(absl::Now(), deadline);
  call.reset();
  const absl::Time start = absl::Now();
  admission.AwaitQuiet(start + absl::Seconds(60));
  EXPECT_LT(absl::Now() - start, absl::Seconds(30));
}

// How many more streams are let in; all are kept.
int OpenAll(Transport transport, Admission* admission, std::vector<Admission::Ticket>* kept) {
  int opened = 0;
  while (true) {
    absl::StatusOr<Admission::Ticket> ticket = admission->Admit(CallKind::kStream, transport);
    if (!ticket.ok()) return opened;
    kept->push_back(*std::move(ticket));
    ++opened;
  }
}

TEST(StreamLimitTest, KeepsPartOfItForTheUnixSocket) {
  const struct {
    uint32_t most;
    int over_tcp;
  } kCases[] = {{1, 1}, {2, 1}, {8, 7}, {15, 14}, {64, 56}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.most);
    AdmissionLimits limits;
    limits.max_streams = c.most;
    Admission admission(limits, nullptr);
    std::vector<Admission::Ticket> kept;
    EXPECT_EQ(OpenAll(Transport::kTcp, &admission, &kept), c.over_tcp);
    EXPECT_EQ(OpenAll(Transport::kUnix, &admission, &kept), static_cast<int>(c.most) - c.over_tcp);
    kept.clear();
    EXPECT_EQ(OpenAll(Transport::kUnix, &admission, &kept), static_cast<int>(c.most));
    EXPECT_EQ(OpenAll(Transport::kTcp, &admission, &kept), 0);
  }
}

TEST(StreamLimitTest, SaysHowManyTcpMayHave) {
  AdmissionLimits limits;
  limits.max_streams = 16;
  Admission admission(limits, nullptr);
  std::vector<Admission::Ticket> kept;
  OpenAll(Transport::kTcp, &admission, &kept);
  const absl::Status refused = admission.Admit(CallKind::kStream, Transport::kTcp).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DetailOf(refused)->reason, "TOO_MANY_STREAMS");
  EXPECT_EQ(DetailOf(refused)->metadata.at("limit"), "max_streams");
  EXPECT_EQ(DetailOf(refused)->metadata.at("value"), "14");
}

}  // namespace
}  // namespace viommu
