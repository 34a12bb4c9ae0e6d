// top: what the daemon is doing, interval by interval, until it is interrupted.
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "clients/client/client.h"
#include "clients/demo/http_get.h"
#include "clients/viommuctl/commands.h"
#include "clients/viommuctl/endpoints.h"
#include "clients/viommuctl/rates.h"
#include "clients/viommuctl/values.h"

namespace viommu {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(2);
// To the upper left corner, and everything below it away.
constexpr char kClearScreen[] = "\x1b[H\x1b[J";

absl::StatusOr<std::string> MetricsAddress(Invocation& call) {
  if (call.Has("metrics")) return call.Text("metrics");
  absl::StatusOr<std::string> address = MetricsAddressAt(call.target());
  if (absl::IsInvalidArgument(address.status())) return address;
  // Otherwise another daemon may be found where a dead one served.
  const absl::StatusOr<Client*> client = call.Connected();
  return client.ok() ? address : client.status();
}

// `samples` stays as it was when the daemon does not answer.
absl::Status Scrape(const std::string& address, absl::Duration timeout, Samples* samples) {
  const absl::StatusOr<std::string> page = HttpGet(address, "/metrics", timeout);
  if (!page.ok()) return page.status();
  *samples = ParseSamples(*page);
  return absl::OkStatus();
}

}  // namespace

absl::Status Top(Invocation& call) {
  const absl::StatusOr<std::string> address = MetricsAddress(call);
  if (!address.ok()) return address.status();
  const absl::Duration timeout =
      call.Has("timeout") ? *ParseDuration(call.Text("timeout")) : ClientOptions().call_timeout;
  const absl::Duration interval =
      call.Has("interval") ? *ParseDuration(call.Text("interval")) : kInterval;
  TwoScrapes scrapes;
  absl::Status scraped = Scrape(*address, timeout, &scrapes.after);
  for (bool first = true; scraped.ok(); first = false) {
    const absl::Time start = absl::Now();
    scrapes.before = scrapes.after;
    absl::SleepFor(interval);
    scraped = Scrape(*address, timeout, &scrapes.after);
    if (!scraped.ok()) break;
    scrapes.between = absl::Now() - start;
    // What is not looked at by a person is one page behind the other.
    const bool terminal = !call.Has("once") && isatty(STDOUT_FILENO) == 1;
    call.Print(absl::StrCat(terminal ? kClearScreen
                            : first  ? ""
                                     : "\n",
                            TopPage(scrapes, *address)));
    call.out().flush();
    if (call.Has("once") || !call.out()) break;
  }
  return scraped;
}

}  // namespace viommu
