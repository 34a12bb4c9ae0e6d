// clients/demo/main.cc -- The main job of viommu against a real daemon, in a few seconds.
//
//   demo --viommud=PATH
//
// Starts the daemon, drives it as a client would, prints each step, and then the metrics that
// moved. Exit code 0: every step was right; 1: one was not, it is named; 2: wrong arguments.

#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "clients/client/client.h"
#include "clients/demo/daemon_process.h"
#include "clients/demo/http_get.h"
#include "clients/demo/metrics_diff.h"
#include "clients/demo/session.h"
#include "clients/demo/transcript.h"
#include "grpc/grpc.h"

namespace viommu {
namespace {

constexpr char kUsage[] = "usage: demo --viommud=PATH\n";
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

// What the demo works with, while it runs.
struct Stage {
  std::unique_ptr<DaemonProcess> daemon;
  std::unique_ptr<Client> client;
  std::unique_ptr<Session> session;
  std::vector<Samples> scrapes;
};

Session::Told StartDaemon(const std::string& program, Stage* stage) {
  absl::StatusOr<std::unique_ptr<DaemonProcess>> daemon = DaemonProcess::Start(program);
  if (!daemon.ok()) return daemon.status();
  stage->daemon = *std::move(daemon);
  absl::StatusOr<std::unique_ptr<Client>> client =
      Client::Connect("unix:" + stage->daemon->endpoints().unix_socket);
  if (!client.ok()) return client.status();
  stage->client = *std::move(client);
  stage->session = std::make_unique<Session>(stage->client.get());
  return absl::StrCat("process ", stage->daemon->pid(), ", a fresh state folder");
}

Session::Told Scrape(Stage* stage) {
  const absl::StatusOr<std::string> page =
      HttpGet(stage->daemon->endpoints().metrics_address, "/metrics");
  if (!page.ok()) return page.status();
  stage->scrapes.push_back(ParseSamples(*page));
  return absl::StrCat(stage->scrapes.back().size(), " series");
}

// The daemon counts what we saw, no more and no less.
Session::Told ScrapeAndCompare(Stage* stage) {
  Session::Told told = Scrape(stage);
  if (!told.ok()) return told;
  const struct {
    const char* metric;
    uint64_t want;
  } kCounts[] = {{"viommu_dma_faults_total", stage->session->blocked_dma()},
                 {"viommu_attach_transitions_total", stage->session->transitions()}};
  for (const auto& [metric, want] : kCounts) {
    const double moved =
        SumOf(stage->scrapes.back(), metric) - SumOf(stage->scrapes.front(), metric);
    if (moved != static_cast<double>(want)) {
      return absl::InternalError(absl::StrCat(metric, " moved by ", moved, " instead of ", want));
    }
  }
  return absl::StrCat(*told, "; ", stage->session->blocked_dma(), " blocked DMAs and ",
                      stage->session->transitions(), " changes of domain are counted right");
}

bool RunSteps(Transcript* transcript, const SessionStep* begin, const SessionStep* end,
              Session* session) {
  for (const SessionStep* step = begin; step != end; ++step) {
    if (!transcript->Step(step->name, [&] { return (session->*step->run)(); })) return false;
  }
  return true;
}

// False at the first step that goes wrong.
bool Play(const std::string& program, Transcript* transcript, Stage* stage) {
  return transcript->Step("start the daemon", [&] { return StartDaemon(program, stage); }) &&
         transcript->Step("read its metrics", [&] { return Scrape(stage); }) &&
         RunSteps(transcript, std::begin(kStepsUntilMapped), std::end(kStepsUntilMapped),
                  stage->session.get()) &&
         transcript->Step("read its metrics", [&] { return Scrape(stage); }) &&
         RunSteps(transcript, std::begin(kStepsUntilReleased), std::end(kStepsUntilReleased),
                  stage->session.get()) &&
         transcript->Step("read its metrics", [&] { return ScrapeAndCompare(stage); }) &&
         transcript->Step("stop the daemon", [&]() -> Session::Told {
           // gRPC looks only every few seconds whether the other end of an idle connection has
           // gone; the daemon would wait for that.
           stage->session.reset();
           stage->client.reset();
           const absl::Status stopped = stage->daemon->Stop();
           if (!stopped.ok()) return stopped;
           return "exit code 0";
         });
}

void PrintMetrics(const std::vector<Samples>& scrapes) {
  std::vector<MetricRow> rows = MovedSeries(scrapes, "viommu_");
  // By method they would fill the screen.
  rows.push_back(SumRow(scrapes, "grpc_server_handled_total"));
  std::cout << "\nThe metrics that moved:\n"
            << FormatTable(rows, {"at first", "mapped", "at last"});
}

int Run(const std::string& program) {
  // Never given back. gRPC would otherwise be taken down with the last channel, and wait up to 10 s
  // for a thread that waits for sockets which were full once.
  grpc_init();
  const bool colours = isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  Transcript transcript(&std::cout, colours);
  Stage stage;
  const absl::Time start = absl::Now();
  const bool right = Play(program, &transcript, &stage);
  if (!right) {
    std::cout << std::endl;
    std::cerr << "demo: failed at step " << transcript.steps() << ": " << transcript.failed_step()
              << std::endl;
    return kExitFailure;
  }
  PrintMetrics(stage.scrapes);
  std::cout << absl::StreamFormat("\nAll %d steps were right, in %.1f s.\n", transcript.steps(),
                                  absl::ToDoubleSeconds(absl::Now() - start))
            << std::flush;
  return 0;
}

int Main(const std::vector<absl::string_view>& arguments) {
  absl::string_view program;
  for (absl::string_view argument : arguments) {
    if (argument == "--help") {
      std::cout << kUsage;
      return 0;
    }
    if (!absl::ConsumePrefix(&argument, "--viommud=")) {
      std::cerr << "demo: unknown argument " << argument << "\n" << kUsage;
      return kExitUsage;
    }
    program = argument;
  }
  if (program.empty()) {
    std::cerr << kUsage;
    return kExitUsage;
  }
  return Run(std::string(program));
}

}  // namespace
}  // namespace viommu

int main(int argc, char** argv) { return viommu::Main({argv + 1, argv + argc}); }
