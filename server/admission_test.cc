#include "server/admission.h"

#include <atomic>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "engine/base/errors.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "prometheus/registry.h"
#include "prometheus/text_serializer.h"
#include "server/server.h"

namespace viommu {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// What the server waits for without a call before it stops.
constexpr absl::Duration kMoment = absl::Milliseconds(100);

std::string ReasonOf(const absl::Status& status) {
  const std::optional<ErrorDetail> detail = DetailOf(status);
  return detail.has_value() ? detail->reason : "";
}

// Every series of calls and refusals, "value of its label value"; those at 0 left out.
std::set<std::string> Series(prometheus::Registry& registry) {
  std::set<std::string> out;
  for (const auto& family : registry.Collect()) {
    if (family.name == "viommu_calls_limit" || family.name == "viommu_serving") continue;
    for (const auto& metric : family.metric) {
      const double value = metric.gauge.value + metric.counter.value;
      if (value != 0) out.insert(metric.label[0].value + " " + std::to_string(int(value)));
    }
  }
  return out;
}

TEST(KindOfTest, KnowsEveryMethodOfTheApi) {
  const std::set<std::string> revokes = {
      "DeleteDomain",        "DeleteIoas",         "DeleteMemoryRegion",
      "DetachDevice",        "HostUnmap",          "Unmap",
      "ReleaseDevice",       "RevokeMemoryRegion", "UnloadReservedRegions",
      "UnplugDevice",        "FreePasid",          "Invalidate",
      "DeleteViommu",        "DeleteVdevice",      "DeleteEventQueue",
      "DeleteHardwareQueue", "DeleteFaultQueue",   "RespondFault",
      "DeleteListener",
  };
  const std::set<std::string> others = {
      "AllocatePasid",
      "AttachDevice",
      "ClaimDevice",
      "CopyMappings",
      "CreateDomain",
      "CreateEventQueue",
      "CreateFaultQueue",
      "CreateHardwareQueue",
      "CreateIoas",
      "CreateListener",
      "CreateMemoryRegion",
      "CreateVdevice",
      "CreateViommu",
      "Dma",
      "DumpTables",
      "ExplainTranslation",
      "GetDevice",
      "GetDomain",
      "GetEventQueue",
      "GetFaultQueue",
      "GetHardwareInfo",
      "GetHardwareQueue",
      "GetHost",
      "GetInvalidationQueue",
      "GetIoas",
      "GetIommu",
      "GetListener",
      "GetMemoryRegion",
      "GetVdevice",
      "GetViommu",
      "HostMap",
      "ListAttachments",
      "ListDevices",
      "ListDomains",
      "ListEventQueues",
      "ListEvents",
      "ListFaultQueues",
      "ListFaults",
      "ListHardwareQueues",
      "ListInvalidationQueues",
      "ListIoas",
      "ListIommus",
      "ListIovaRanges",
      "ListListeners",
      "ListMappings",
      "ListMemoryRegions",
      "ListPageResponses",
      "ListPasids",
      "ListReservedRegions",
      "ListVdevices",
      "ListViommus",
      "LoadReservedRegions",
      "Map",
      "PlugDevice",
      "RaiseEvent",
      "RaisePageFault",
      "ReadDirtyBitmap",
      "ReadMemory",
      "ReplaceAttachment",
      "ResizeMemoryRegion",
      "ReservePasid",
      "ResetDevice",
      "SetAllowedIovaRanges",
      "SetDefaultDomain",
      "SetDeviceHealth",
      "SetDirtyTracking",
      "SetLargePages",
      "Translate",
      "WriteMemory",
  };
  size_t seen = 0;
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const std::string& name : Server::ServiceNames()) {
    const auto* service = pool->FindServiceByName(name);
    ASSERT_NE(service, nullptr) << name;
    for (int i = 0; i < service->method_count(); ++i) {
      const auto& method = *service->method(i);
      if (method.client_streaming() || method.server_streaming()) continue;
      ++seen;
      EXPECT_NE(revokes.count(method.name()), others.count(method.name()))
          << method.full_name() << ": decide what it is";
      EXPECT_EQ(KindOf(method.name()) == CallKind::kRevoke, revokes.count(method.name()) == 1)
          << method.full_name();
      EXPECT_EQ(method.input_type()->name(), method.name() + "Request")
          << "handler.h finds the kind by the type of the request";
    }
  }
  EXPECT_EQ(seen, revokes.size() + others.size());
}

TEST(AdmissionTest, LimitsEachKindByItself) {
  const struct {
    CallKind kind;
    const char* reason;
    const char* limit;
    const char* value;
  } kCases[] = {
      {CallKind::kCall, "TOO_MANY_CALLS", "max_calls", "2"},
      {CallKind::kRevoke, "TOO_MANY_CALLS", "max_revokes", "1"},
      {CallKind::kStream, "TOO_MANY_STREAMS", "max_streams", "3"},
  };
  Admission admission({2, 1, 3}, nullptr);
  std::vector<Admission::Ticket> held;  // Nobody makes room for another kind.
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.limit);
    std::vector<Admission::Ticket> tickets;
    for (int i = 0; i < std::stoi(c.value); ++i) {
      auto ticket = admission.Admit(c.kind);
      ASSERT_TRUE(ticket.ok()) << ticket.status();
      tickets.push_back(*std::move(ticket));
    }
    const absl::Status refused = admission.Admit(c.kind).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(ReasonOf(refused), c.reason);
    EXPECT_EQ(DetailOf(refused)->metadata.at("limit"), c.limit);
    EXPECT_EQ(DetailOf(refused)->metadata.at("value"), c.value);
    tickets.pop_back();
    auto again = admission.Admit(c.kind);
    EXPECT_TRUE(again.ok()) << "one has ended";
    held.push_back(*std::move(again));
    for (auto& ticket : tickets) held.push_back(std::move(ticket));
  }
}

TEST(AdmissionTest, CountsWhatRunsAndWhatWasRefused) {
  prometheus::Registry registry;
  AdmissionMetrics metrics(&registry);
  Admission admission({1, 1, 1}, &metrics);
  {
    const auto call = admission.Admit(CallKind::kCall);
    const auto revoke = admission.Admit(CallKind::kRevoke);
    const auto stream = admission.Admit(CallKind::kStream);
    EXPECT_FALSE(admission.Admit(CallKind::kCall).ok());
    EXPECT_FALSE(admission.Admit(CallKind::kRevoke).ok());
    EXPECT_FALSE(admission.Admit(CallKind::kStream).ok());
    admission.Drain();
    EXPECT_FALSE(admission.Admit(CallKind::kStream).ok());
    EXPECT_EQ(Series(registry),
              (std::set<std::string>{"call 1", "revoke 1", "stream 1", "TOO_MANY_CALLS 2",
                                     "TOO_MANY_STREAMS 1", "DRAINING 1"}));
  }
  EXPECT_EQ(Series(registry),
            (std::set<std::string>{"TOO_MANY_CALLS 2", "TOO_MANY_STREAMS 1", "DRAINING 1"}));
}

TEST(AdmissionTest, ShowsItsLimitsAndWhetherItLetsCallsIn) {
  prometheus::Registry registry;
  AdmissionMetrics metrics(&registry);
  const auto scrape = [&] { return prometheus::TextSerializer().Serialize(registry.Collect()); };
  EXPECT_THAT(scrape(), HasSubstr("\nviommu_serving 0\n")) << "before there is an Admission";
  Admission admission({5, 6, 7}, &metrics);
  for (const char* line :
       {"\nviommu_serving 1\n", "viommu_calls_limit{kind=\"call\"} 5\n",
        "viommu_calls_limit{kind=\"revoke\"} 6\n", "viommu_calls_limit{kind=\"stream\"} 7\n"}) {
    EXPECT_THAT(scrape(), HasSubstr(line));
  }
  admission.Drain();
  EXPECT_THAT(scrape(), HasSubstr("\nviommu_serving 0\n"));
}

// As many more of the kind as may run; all run on. How many that are.
size_t AdmitAll(CallKind kind, Admission* admission, std::vector<Admission::Ticket>* running) {
  for (size_t count = 0;; ++count) {
    auto ticket = admission->Admit(kind);
    if (!ticket.ok()) return count;
    running->push_back(*std::move(ticket));
  }
}

TEST(AdmissionTest, ATenantHasNoMoreThanItsShare) {
  prometheus::Registry registry;
  AdmissionMetrics metrics(&registry);
  Admission whole({8, 8, 8}, &metrics);
  Admission tenant({2, 1, 3}, &metrics, Caller::Tenant("vm0"), &whole);
  EXPECT_EQ(tenant.caller().principal, "vm0");
  const struct {
    CallKind kind;
    size_t share;
  } kCases[] = {{CallKind::kCall, 2}, {CallKind::kRevoke, 1}, {CallKind::kStream, 3}};
  for (const auto& c : kCases) {
    std::vector<Admission::Ticket> tickets;
    EXPECT_EQ(AdmitAll(c.kind, &tenant, &tickets), c.share);
    const absl::Status refused = tenant.Admit(c.kind).status();
    EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(DetailOf(refused)->metadata.at("value"), std::to_string(c.share));
    EXPECT_TRUE(whole.Admit(c.kind).ok()) << "others are not refused";
    tickets.clear();
    EXPECT_TRUE(tenant.Admit(c.kind).ok());
  }
  EXPECT_EQ(Series(registry), (std::set<std::string>{"TOO_MANY_CALLS 4", "TOO_MANY_STREAMS 2"}))
      << "what runs is counted once, and has ended";
}

TEST(AdmissionTest, AllTenantsTogetherLeaveARestToOperators) {
  Admission whole({16, 8, 8}, nullptr);
  for (const CallKind kind : {CallKind::kCall, CallKind::kRevoke, CallKind::kStream}) {
    Admission one({16, 8, 8}, nullptr, Caller::Tenant("one"), &whole);
    Admission two({16, 8, 8}, nullptr, Caller::Tenant("two"), &whole);
    std::vector<Admission::Ticket> tickets;
    const size_t most = kind == CallKind::kCall ? 14 : 7;
    EXPECT_EQ(AdmitAll(kind, &one, &tickets) + AdmitAll(kind, &two, &tickets), most);
    EXPECT_EQ(AdmitAll(kind, &whole, &tickets), kind == CallKind::kCall ? 2u : 1u);
    // A place that a tenant could not have, because all are taken, is no longer its own either.
    EXPECT_FALSE(two.Admit(kind).ok());
    tickets.clear();
    EXPECT_TRUE(two.Admit(kind).ok());
  }
}

TEST(AdmissionTest, ATenantDrainsAlone) {
  prometheus::Registry registry;
  AdmissionMetrics metrics(&registry);
  Admission whole({}, &metrics);
  Admission tenant({1, 1, 1}, &metrics, Caller::Tenant("vm0"), &whole);
  tenant.Drain();
  const std::string scrape = prometheus::TextSerializer().Serialize(registry.Collect());
  EXPECT_THAT(scrape, HasSubstr("\nviommu_serving 1\n")) << "the daemon serves";
  EXPECT_THAT(scrape, Not(HasSubstr("viommu_calls_limit{kind=\"call\"} 1\n")));
  EXPECT_EQ(ReasonOf(tenant.Admit(CallKind::kCall).status()), "DRAINING");
  EXPECT_EQ(ReasonOf(tenant.CheckServing()), "DRAINING");
  EXPECT_TRUE(whole.Admit(CallKind::kCall).ok());
  EXPECT_TRUE(whole.CheckServing().ok());
}

TEST(AdmissionTest, ATenantDrainsWithTheWhole) {
  Admission whole({}, nullptr);
  Admission tenant({}, nullptr, Caller::Tenant("vm0"), &whole);
  std::optional<Admission::Ticket> running(*tenant.Admit(CallKind::kCall));
  whole.Drain();
  EXPECT_EQ(ReasonOf(tenant.Admit(CallKind::kCall).status()), "DRAINING");
  EXPECT_EQ(ReasonOf(tenant.CheckServing()), "DRAINING");
  const absl::Time start = absl::Now();
  whole.AwaitQuiet(start + absl::Milliseconds(50));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(50)) << "its calls are waited for";
}

TEST(AdmissionTest, RefusesEverythingWhileItDrains) {
  Admission admission({}, nullptr);
  admission.Drain();
  for (const CallKind kind : {CallKind::kCall, CallKind::kRevoke, CallKind::kStream}) {
    const absl::Status status = admission.Admit(kind).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    EXPECT_EQ(ReasonOf(status), "DRAINING");
  }
}

TEST(AdmissionTest, WaitsForWhatRunsAndForAMomentWithoutCalls) {
  Admission admission({}, nullptr);
  std::optional<Admission::Ticket> ticket(*admission.Admit(CallKind::kStream));
  admission.Drain();
  const absl::Time start = absl::Now();
  admission.AwaitQuiet(start + absl::Milliseconds(50));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(50)) << "it runs, but the deadline counts";
  absl::Time ended;
  std::thread running([&] {
    absl::SleepFor(absl::Milliseconds(30));
    ended = absl::Now();
    ticket.reset();
  });
  admission.AwaitQuiet(absl::InfiniteFuture());
  const absl::Time quiet = absl::Now();
  running.join();
  EXPECT_GE(quiet - ended, kMoment);
}

// Whether a call that came within the moment was waited for; nothing, if the thread that makes it
// was not scheduled in time.
std::optional<bool> WaitsForALateCall() {
  Admission admission({}, nullptr);
  admission.Drain();
  const absl::Time start = absl::Now();
  absl::Time before;
  absl::Time after;
  std::thread late([&] {
    absl::SleepFor(kMoment / 2);
    before = absl::Now();
    EXPECT_FALSE(admission.Admit(CallKind::kCall).ok());
    after = absl::Now();
  });
  admission.AwaitQuiet(absl::InfiniteFuture());
  const absl::Time quiet = absl::Now();
  late.join();
  if (after - start >= kMoment) return std::nullopt;
  return quiet - before >= kMoment;
}

TEST(AdmissionTest, WaitsAMomentMoreForEveryCallThatComes) {
  std::optional<bool> waits;
  for (int i = 0; i < 50 && !waits.has_value(); ++i) waits = WaitsForALateCall();
  EXPECT_EQ(waits, true);
}

TEST(AdmissionTest, IsNotKeptByCallersWhoIgnoreRefusals) {
  Admission admission({}, nullptr);
  admission.Drain();
  std::atomic<bool> over{false};
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] {
      while (!over) {
        EXPECT_FALSE(admission.Admit(CallKind::kCall).ok());
        absl::SleepFor(absl::Milliseconds(1));
      }
    });
  }
  const absl::Time start = absl::Now();
  admission.AwaitQuiet(start + absl::Seconds(60));  // The longest linger is one.
  EXPECT_LT(absl::Now() - start, absl::Seconds(30));
  over = true;
  for (std::thread& caller : callers) caller.join();
}

}  // namespace
}  // namespace viommu
