#include "tests/faults/fault_world.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"
#include "tests/faults/small_host.h"

namespace viommu::faults {
namespace {

constexpr uint64_t kPagesLeft = 160;   // For a verb that is not to starve.
constexpr uint64_t kMostPoints = 200;  // More than any verb has.

// Everything that was made to fail is `name`, and something was.
bool OnlyFired(const std::vector<std::string>& fired, const std::string& name) {
  return !fired.empty() && std::all_of(fired.begin(), fired.end(),
                                       [&](const std::string& point) { return point == name; });
}

bool Fired(const std::vector<std::string>& fired, const std::string& name) {
  return std::find(fired.begin(), fired.end(), name) != fired.end();
}

// The call failed beneath the engine, not for a reason of its own.
bool FailedBeneath(const absl::Status& status) {
  const auto detail = DetailOf(status);
  return detail.has_value() &&
         (detail->reason == "INJECTED" || detail->reason == "JOURNAL_FAILED" ||
          detail->reason == "TABLE_MEMORY_EXHAUSTED" || detail->reason == "RESET_FAILED");
}

bool RanOutOfTables(const absl::Status& status) {
  const auto detail = DetailOf(status);
  return detail.has_value() && detail->reason == "TABLE_MEMORY_EXHAUSTED";
}

// Attachments come, move or go with it, and auto domains with them.
bool MovesAttachments(const std::string& kind) {
  return absl::StartsWith(kind, "attach") || absl::StartsWith(kind, "replace") ||
         absl::StartsWith(kind, "detach") || kind == "unplug";
}

// It flushes what the host has unmapped before it does what it is asked for.
bool FlushesForTheHost(const std::string& kind) {
  return absl::StartsWith(kind, "host") || absl::StartsWith(kind, "default") || kind == "claim";
}

// The hardware translates a request with PASID.
bool PasidGetsThrough(const Sight& sight) {
  const auto through = [](const Ways& ways) { return !ways.blocked(); };
  return std::any_of(sight.devices.begin(), sight.devices.end(), [&](const DeviceSight& device) {
    const auto rids_end = device.hardware.begin() + std::size(kPlaces);
    return std::any_of(rids_end, device.hardware.end(), through);
  });
}

Places AllPlaces() {
  Places places;
  places.iovas.assign(std::begin(kPlaces), std::end(kPlaces));
  places.pasids = {std::nullopt};
  for (const uint32_t pasid : kPasids) places.pasids.emplace_back(pasid);
  return places;
}

}  // namespace

FaultWorld::FaultWorld(const Topology& host, uint64_t seed)
    : architecture_(host.iommus[0].architecture), random_(seed) {
  doing_ = "setting up";
  const absl::Status status = SetUp(host);
  if (!status.ok()) Trouble(status.ToString());
}

FaultWorld::~FaultWorld() {
  points_.Disarm();
  if (soft_ != nullptr) soft_->machine().memory().arena().Free(&kept_pages_);
}

absl::Status FaultWorld::SetUp(const Topology& host) {
  SoftBackendOptions options;
  options.table_arena_bytes = uint64_t{4} << 20;
  ASSIGN_OR_RETURN(soft_, SoftBackend::Create(host, options, PlainStore()));
  if (IsArm()) queue_faults_ = std::make_unique<CommandQueueFaults>(soft_.get());
  backend_ = MakeFaulty(soft_.get(), &points_);
  Engine::Options engine_options;
  engine_options.flush_queue.ring_entries = 4;
  ASSIGN_OR_RETURN(engine_, Engine::Create(engine_options, backend_.get(), &journal_, &env_));
  points_.Disarm();
  me_.is_operator = true;
  RETURN_IF_ERROR(engine_->CreateMemoryRegion(me_, kGuestRegion, kPage, std::nullopt).status());
  RETURN_IF_ERROR(
      engine_->WriteMemory(me_, {kGuestRegion, std::nullopt}, 0, GuestTable(architecture_)));
  for (uint64_t i = 0; i < kNames; ++i) {
    RETURN_IF_ERROR(
        engine_->CreateMemoryRegion(me_, absl::StrCat("r", i), kRegionBytes, std::nullopt)
            .status());
    RETURN_IF_ERROR(engine_->CreateIoas(me_, absl::StrCat("as", i)).status());
  }
  LeaveTablePages(kPagesLeft);
  return absl::OkStatus();
}

void FaultWorld::Trouble(const std::string& what) {
  if (trouble_.empty()) trouble_ = absl::StrCat("step ", tally_.steps, ", ", doing_, ": ", what);
}

FaultWorld::Verb FaultWorld::RandomVerb() {
  if (IsArm() && Random(8) == 0) return ViommuVerb();
  switch (Random(20)) {
    case 0:
      return ObjectVerb();
    case 1:
    case 2:
    case 3:
      return DomainVerb();
    case 4:
      return HostVerb();
    case 5:
      return Random(2) == 0 ? StreamVerb() : PasidVerb();
    case 6:
      return Random(2) == 0 ? SpaceVerb() : RegionLossVerb();
    case 7:
      if (Random(2) == 0) return ComingAndGoingVerb();
      return IsArm() ? InvalidateViommuVerb() : InvalidateVerb();
    case 8:
      return Random(2) == 0 ? UnmapVerb() : MapGuestTableVerb();
    case 9:
      return UnmapVerb();
    case 10:
    case 11:
    case 12:
      return MapVerb();
    default:
      return AttachVerb();
  }
}

// ---- Failing ----

Allowance FaultWorld::AllowanceFor(const Verb& verb, const absl::Status& status,
                                   const std::vector<std::string>& fired) {
  Allowance allowance;
  allowance.fewer_table_pages = FlushesForTheHost(verb.kind);
  const auto detail = DetailOf(status);
  if (verb.kind == "reset" && detail.has_value() && detail->reason == "RESET_FAILED") {
    allowance.device = verb.device;
    allowance.cause = HealthReason::kResetFailed;
  }
  // What failed, and then what would have taken it back.
  if (verb.kind == "unplug" && fired.size() > 1) {
    allowance.device = verb.device;
    allowance.cause = HealthReason::kUnplugFailed;
  }
  // The domain was made, the group not put on it, and the domain not destroyed.
  allowance.auto_domain_left = MovesAttachments(verb.kind) && verb.kind != "unplug" &&
                               (Fired(fired, "Switch") || RanOutOfTables(status)) &&
                               Fired(fired, "DestroyDomain");
  const bool region_loss = verb.kind == "resize region" || verb.kind == "revoke region";
  allowance.areas_unmapped = region_loss && OnlyFired(fired, "Unmap");
  return allowance;
}

bool FaultWorld::FailsCleanly(const Verb& verb, const std::string& failing) {
  doing_ = absl::StrCat(verb.text, ", ", failing);
  points_.Forget();
  const absl::Status status = verb.call();
  const std::vector<std::string> fired = points_.fired();
  const Sight before = std::exchange(seen_, Look());
  if (PasidGetsThrough(seen_)) ++tally_.pasids_through;
  if (status.ok()) {
    ++tally_.done;
    ++tally_.done_by_kind[verb.kind];
    if (fired.empty()) return false;
    // One thing may fail and the verb come about: an auto domain goes where it can.
    const bool left =
        std::any_of(seen_.idle_auto_domains.begin(), seen_.idle_auto_domains.end(),
                    [&](const std::string& id) { return before.idle_auto_domains.count(id) == 0; });
    const bool domain_left =
        MovesAttachments(verb.kind) && OnlyFired(fired, "DestroyDomain") && left;
    // So may a guest's name for a device that leaves.
    const bool vdevice_left = (verb.kind == "release" || verb.kind == "unplug") &&
                              OnlyFired(fired, "DestroyVdevice") && !seen_.vdevices.empty();
    if (!domain_left && !vdevice_left) {
      Trouble(absl::StrCat("it succeeded although these failed: ", absl::StrJoin(fired, ", ")));
    }
    ++tally_.left;
    return false;
  }
  const Allowance allowance = AllowanceFor(verb, status, fired);
  const std::string difference = Difference(before, seen_, allowance);
  if (!difference.empty()) {
    Trouble(absl::StrCat(status.ToString(), " (failed: ", absl::StrJoin(fired, ", "),
                         "), and yet something changed: ", difference));
  }
  if (allowance.device.has_value() || allowance.auto_domain_left) ++tally_.left;
  if (FailedBeneath(status)) return true;
  if (!fired.empty()) Trouble(absl::StrCat("a failure was told as ", status.ToString()));
  ++tally_.refused;
  return false;
}

void FaultWorld::FailPoints(const Verb& verb, FaultPoints::Kind kind, uint64_t* tally) {
  for (uint64_t n = 1; trouble_.empty(); ++n) {
    points_.Disarm();
    points_.Arm(kind, n);
    if (!FailsCleanly(verb, absl::StrCat("point ", n, " of kind ", kind, " fails"))) break;
    ++*tally;
    if (n == kMostPoints) Trouble("it never succeeds");
  }
  points_.Disarm();
}

void FaultWorld::FailPairs(const Verb& verb) {
  const FaultPoints::Kind first = Random(2) == 0 ? FaultPoints::kBackend : FaultPoints::kJournal;
  const FaultPoints::Kind second = Random(2) == 0 ? FaultPoints::kBackend : FaultPoints::kJournal;
  points_.Disarm();
  points_.Arm(first, 1);
  points_.Arm(second, 2);
  while (trouble_.empty() && FailsCleanly(verb, "pairs of points fail")) {
    ++tally_.pairs;
    if (Random(2) == 0) {  // The next pair, or what is left of this one.
      points_.Disarm();
      points_.Arm(first, 1 + Random(3));
      points_.Arm(second, 1 + Random(3));
    }
  }
  points_.Disarm();
}

void FaultWorld::StarveTables(const Verb& verb) {
  for (uint64_t left = 0; trouble_.empty(); ++left) {
    LeaveTablePages(left);
    if (!FailsCleanly(verb, absl::StrCat(left, " table pages are left"))) break;
    ++tally_.memory_points;
    if (left == kMostPoints) Trouble("it never has enough");
  }
  LeaveTablePages(kPagesLeft);
}

void FaultWorld::LeaveTablePages(uint64_t count) {
  TableArena& arena = soft_->machine().memory().arena();
  const uint64_t unused = arena.pages_total() - arena.pages_in_use();
  if (unused > count) {
    if (!arena.TakeUninitialized(unused - count, 0, &kept_pages_)) Trouble("pages went astray");
    return;
  }
  for (uint64_t i = unused; i < count && !kept_pages_.empty(); ++i) {
    arena.Free(arena.PopFront(&kept_pages_));
  }
}

bool FaultWorld::Step() {
  if (tally_.steps++ == 0) seen_ = Look();
  const Verb verb = RandomVerb();
  tally_.done_by_kind.try_emplace(verb.kind, 0);
  if (NeedsCommandQueue(verb) && Random(4) == 0) {
    FailQueue(verb);
    return trouble_.empty();
  }
  switch (Random(6)) {
    case 0:
    case 1:
      FailPoints(verb, FaultPoints::kBackend, &tally_.backend_points);
      break;
    case 2:
      FailPoints(verb, FaultPoints::kJournal, &tally_.journal_points);
      break;
    case 3:
      FailPairs(verb);
      break;
    case 4:
      SilenceADevice(verb);
      break;
    default:
      StarveTables(verb);
  }
  return trouble_.empty();
}

Sight FaultWorld::Look() {
  return LookAt(engine_.get(), soft_.get(), me_, AllPlaces(), kept_pages_.size());
}

}  // namespace viommu::faults
