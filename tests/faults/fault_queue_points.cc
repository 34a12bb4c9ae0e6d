// Verbs beneath which the command queues of SMMUv3s go wrong.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "tests/faults/command_queue_faults.h"
#include "tests/faults/fault_world.h"

namespace viommu::faults {
namespace {

constexpr uint64_t kMostCommands = 200;  // More than any verb gives.
constexpr int kMostTries = 3;            // Until what was in the ring is done with.

bool FailedInQueue(const absl::Status& status) {
  const auto detail = DetailOf(status);
  return detail.has_value() &&
         (detail->reason == "QUEUE_TIMEOUT" || detail->reason == "QUEUE_ERROR");
}

// Somebody is attached, and still finds what is not in the tables any more.
std::string FirstStale(const Sight& sight) {
  for (size_t device = 0; device < sight.devices.size(); ++device) {
    const DeviceSight& seen = sight.devices[device];
    const bool claimed = absl::StrContains(seen.shown, " of local ");
    const bool stale = std::any_of(seen.hardware.begin(), seen.hardware.end(), [](const Ways& w) {
      return w.cold_fault != w.warm_fault || w.cold_address != w.warm_address;
    });
    if (claimed && stale) return absl::StrCat("device ", device, " meets what only caches hold");
  }
  return "";
}

}  // namespace

// What flushes, and whose failure leaves nothing that an operator has to see to.
bool FaultWorld::NeedsCommandQueue(const Verb& verb) const {
  if (!IsArm()) return false;
  for (const char* const flushing :
       {"attach", "replace", "detach", "unmap", "invalidate", "delete", "create"}) {
    if (absl::StartsWith(verb.kind, flushing)) return true;
  }
  return false;
}

Allowance FaultWorld::AllowanceOfQueue(const Verb& verb, const Sight& before,
                                       const Sight& after) const {
  Allowance allowance;
  allowance.flush_owed = true;
  // What is unmapped is out of the tables before it is flushed, and goes on to be unmapped.
  allowance.areas_unmapped = verb.kind == "unmap";
  // What was made for the attachment has no attachment, and could not be destroyed.
  allowance.auto_domain_left =
      std::any_of(after.idle_auto_domains.begin(), after.idle_auto_domains.end(),
                  [&](const std::string& id) { return before.idle_auto_domains.count(id) == 0; });
  return allowance;
}

bool FaultWorld::FailsInQueue(const Verb& verb, const std::string& failing) {
  doing_ = absl::StrCat(verb.text, ", ", failing);
  const absl::Status status = verb.call();
  queue_faults_->Mend();
  const Sight before = std::exchange(seen_, Look());
  if (status.ok()) {
    ++tally_.done;
    ++tally_.done_by_kind[verb.kind];
    return false;
  }
  const bool failed = FailedInQueue(status);
  Allowance allowance;
  if (failed) allowance = AllowanceOfQueue(verb, before, seen_);
  const std::string difference = Difference(before, seen_, allowance);
  if (!difference.empty()) {
    Trouble(absl::StrCat(status.ToString(), ", and yet something changed: ", difference));
  }
  ++(failed ? tally_.queue_points : tally_.refused);
  return failed;
}

void FaultWorld::FailQueue(const Verb& verb) {
  const auto fault = static_cast<QueueFault>(Random(kQueueFaults));
  const bool hangs = fault == QueueFault::kHangs || fault == QueueFault::kIllegal;
  const uint64_t done = tally_.done;
  bool failed = true;
  for (uint64_t commands = 0; failed && trouble_.empty(); ++commands) {
    queue_faults_->Break(fault, commands);
    failed = FailsInQueue(verb, absl::StrCat("queue fault ", static_cast<int>(fault), " after ",
                                             commands, " commands"));
    if (!hangs || Random(3) == 0) break;  // Mended before it comes about.
    if (commands == kMostCommands) Trouble("it never succeeds");
  }
  // What is owed is flushed first of all, and then the verb comes about, or is refused.
  for (int tries = 0; failed && trouble_.empty(); ++tries) {
    failed = FailsInQueue(verb, "the queues answer again");
    if (tries == kMostTries) Trouble("it does not recover");
  }
  const std::string stale = tally_.done > done ? FirstStale(seen_) : "";
  if (!stale.empty()) Trouble(stale);
  if (!queue_faults_->Settle()) Trouble("the queues do not recover");
  seen_ = Look();
}

}  // namespace viommu::faults
