#include "tests/faults/fault_world.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/env.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu::faults {
namespace {

constexpr int kDevices = 5;
constexpr int kNames = 3;  // Of each kind of object.
constexpr uint64_t kPage = 4096;
constexpr uint64_t kRegionBytes = uint64_t{4} << 20;
constexpr uint64_t kPagesLeft = 160;   // For a verb that is not to starve.
constexpr uint64_t kMostPoints = 200;  // More than any verb has.

// Far enough from each other to need tables of their own, at each level.
constexpr Iova kPlaces[] = {0x10000,    0x200000,     0x3fffe000,
                            0x40000000, 0x8000000000, 0x7ffffffff000};

Topology SmallHost() {
  Topology host;
  host.iommus.resize(2);
  host.iommus[0].id = "near";
  host.iommus[1].id = "far";
  host.iommus[1].domain_id_bits = 4;
  const char* const groups[kDevices] = {"a", "pair", "pair", "b", "c"};
  for (int i = 0; i < kDevices; ++i) {
    DeviceSpec device;
    device.pci_address = absl::StrFormat("0000:%02x:00.0", i + 1);
    device.id = absl::StrCat("dev", i);
    device.iommu = i < 3 ? "near" : "far";
    device.group = groups[i];
    device.ats = i % 2 == 0;
    device.allow_identity = i == 4;
    device.reserved_regions = {{IovaRange{0xfee00000, 0xfeefffff}, ReservedRegionType::kMsi}};
    host.devices.push_back(device);
  }
  return host;
}

ObjectRef Named(const char* kind, uint64_t number) {
  return {absl::StrCat(kind, number), std::nullopt};
}

std::string DeviceId(uint64_t device) { return absl::StrCat("dev", device); }

}  // namespace

FaultWorld::FaultWorld(uint64_t seed) : random_(seed) {
  doing_ = "setting up";
  const absl::Status status = SetUp();
  if (!status.ok()) Trouble(status.ToString());
}

FaultWorld::~FaultWorld() {
  if (soft_ != nullptr) soft_->machine().memory().arena().Free(&kept_pages_);
}

absl::Status FaultWorld::SetUp() {
  SoftBackendOptions options;
  options.table_arena_bytes = uint64_t{4} << 20;
  ASSIGN_OR_RETURN(soft_, SoftBackend::Create(SmallHost(), options, PlainStore()));
  backend_ = MakeFaulty(soft_.get(), &points_);
  ASSIGN_OR_RETURN(engine_, Engine::Create({"faults"}, backend_.get(), &journal_, RealEnv()));
  points_.Disarm();
  me_.is_operator = true;
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

// ---- Verbs ----

FaultWorld::Verb FaultWorld::ObjectVerb() {
  const uint64_t n = Random(kNames);
  switch (Random(8)) {
    case 0:
      return {absl::StrCat("create r", n), [=] {
                return engine_
                    ->CreateMemoryRegion(me_, absl::StrCat("r", n), kRegionBytes, std::nullopt)
                    .status();
              }};
    case 1:
      return {absl::StrCat("delete r", n),
              [=] { return engine_->DeleteMemoryRegion(me_, Named("r", n), ""); }};
    case 2:
    case 3:
      return {absl::StrCat("create as", n),
              [=] { return engine_->CreateIoas(me_, absl::StrCat("as", n)).status(); }};
    case 4:
      return {absl::StrCat("delete as", n),
              [=] { return engine_->DeleteIoas(me_, Named("as", n), ""); }};
    case 5:
      return {absl::StrCat("delete d", n),
              [=] { return engine_->DeleteDomain(me_, Named("d", n), ""); }};
    default: {
      const uint64_t ioas = Random(kNames);
      const uint64_t device = Random(kDevices);
      return {absl::StrCat("create d", n, " over as", ioas, " for ", device), [=] {
                return engine_
                    ->CreateDomain(me_, absl::StrCat("d", n),
                                   PagingDomainRequest{Named("as", ioas), DeviceId(device)})
                    .status();
              }};
    }
  }
}

FaultWorld::Verb FaultWorld::MapVerb() {
  MapBatch batch;
  std::string text = "map";
  const uint64_t ioas = Random(kNames);
  batch.regions = {Named("r", Random(kNames))};
  for (uint64_t entry = 0; entry <= Random(3); ++entry) {
    std::optional<Iova> iova;
    if (Random(4) != 0) iova = kPlaces[Random(std::size(kPlaces))] + kPage * Random(4);
    const uint64_t length = kPage * (1 + Random(4));
    absl::StrAppend(&text, " ", iova.has_value() ? Hex(*iova) : "anywhere", "+", Hex(length));
    batch.entries.push_back(
        {iova, kPage * Random(512), length, 0, static_cast<Permission>(1 + Random(3))});
  }
  if (Random(8) != 0) {
    return {absl::StrCat(text, " in as", ioas),
            [=] { return engine_->Map(me_, Named("as", ioas), batch).status(); }};
  }
  CopyRequest copy;
  copy.source = Named("as", Random(kNames));
  copy.source_iova = batch.entries[0].iova.value_or(kPage);
  copy.length_bytes = batch.entries[0].length_bytes;
  return {absl::StrCat("copy ", copy.source.id, " ", Hex(copy.source_iova), " to as", ioas),
          [=] { return engine_->CopyMappings(me_, Named("as", ioas), copy).status(); }};
}

FaultWorld::Verb FaultWorld::UnmapVerb() {
  const uint64_t ioas = Random(kNames);
  UnmapBatch batch;
  std::string text = "unmap";
  batch.all = Random(8) == 0;
  for (uint64_t entry = 0; !batch.all && entry <= Random(2); ++entry) {
    const Iova iova = kPlaces[Random(std::size(kPlaces))];
    batch.entries.push_back({iova, kPage * 8});
    absl::StrAppend(&text, " ", Hex(iova));
  }
  return {absl::StrCat(text, batch.all ? " all of as" : " in as", ioas),
          [=] { return engine_->Unmap(me_, Named("as", ioas), batch).status(); }};
}

FaultWorld::Verb FaultWorld::StreamVerb() {
  const uint64_t ioas = Random(kNames);
  const Iova iova = kPlaces[Random(std::size(kPlaces))] + kPage * Random(8);
  StreamBatch batch;
  batch.sequence = 1;
  if (Random(2) == 0) {
    batch.map.emplace();
    batch.map->regions = {Named("r", Random(kNames))};
    batch.map->entries = {{iova, 0, kPage, 0, Permission::kReadWrite}};
  } else {
    batch.unmap.emplace();
    batch.unmap->entries = {{iova, 4 * kPage}};
  }
  return {absl::StrCat("stream over as", ioas), [=]() -> absl::Status {
            StreamOptions options;
            options.ioas = Named("as", ioas);
            ASSIGN_OR_RETURN(const auto stream, engine_->OpenMappingStream(me_, options));
            stream->Submit(batch);
            stream->CloseSubmissions();
            StreamReply reply;
            if (!stream->NextReply(&reply)) return absl::InternalError("no reply");
            return reply.status;
          }};
}

FaultWorld::Verb FaultWorld::AttachVerb() {
  const uint64_t device = Random(kDevices);
  const std::string id = DeviceId(device);
  const uint64_t to = Random(kNames + 1);
  const ObjectRef target =
      to == kNames ? ObjectRef{Random(2) == 0 ? "blocked" : "identity", {}} : Named("d", to);
  switch (Random(8)) {
    case 0:
      return {"release " + id, [=] { return engine_->ReleaseDevice(me_, id, "").status(); }};
    case 1:
    case 2:
      return {"claim " + id, [=] { return engine_->ClaimDevice(me_, id, "").status(); }};
    case 3:
      return {"detach " + id, [=] { return engine_->DetachDevice(me_, id).status(); }};
    case 4:
    case 5:
      return {absl::StrCat("replace ", id, " to ", target.id),
              [=] { return engine_->ReplaceAttachment(me_, id, target).status(); }};
    default:
      return {absl::StrCat("attach ", id, " to ", target.id),
              [=] { return engine_->AttachDevice(me_, id, target).status(); }};
  }
}

FaultWorld::Verb FaultWorld::HostVerb() {
  const std::string id = DeviceId(Random(kDevices));
  const uint64_t region = Random(kNames);
  switch (Random(6)) {
    case 0: {
      const auto type = Random(2) == 0 ? DefaultDomainType::kIdentity : DefaultDomainType::kDma;
      return {absl::StrCat("default of ", id),
              [=] { return engine_->SetDefaultDomain(me_, id, type).status(); }};
    }
    case 1: {
      const std::vector<IovaRange> allowed(
          Random(2), IovaRange{0, kPlaces[Random(std::size(kPlaces))] + 16 * kPage});
      const uint64_t ioas = Random(kNames);
      return {absl::StrCat("allowed ranges of as", ioas), [=] {
                return engine_->SetAllowedIovaRanges(me_, Named("as", ioas), allowed, "").status();
              }};
    }
    case 2: {
      const bool well = Random(4) != 0;
      return {absl::StrCat("health of ", id), [=] {
                return engine_
                    ->SetDeviceHealth(me_, id,
                                      well ? DeviceHealth::kHealthy : DeviceHealth::kUnhealthy,
                                      well ? "" : "tired")
                    .status();
              }};
    }
    default:
      break;
  }
  if (!host_mappings_.empty() && Random(2) == 0) {
    const HostMapping mapping = host_mappings_[Random(host_mappings_.size())];
    return {
        absl::StrCat("host unmaps ", Hex(mapping.second), " for ", mapping.first), [=] {
          absl::Status status = engine_->HostUnmap(me_, mapping.first, mapping.second, kPage);
          if (status.ok()) {
            host_mappings_.erase(std::find(host_mappings_.begin(), host_mappings_.end(), mapping));
          }
          return status;
        }};
  }
  return {absl::StrCat("host maps r", region, " for ", id), [=] {
            const auto iova =
                engine_->HostMap(me_, id, Named("r", region), 0, kPage, Permission::kReadWrite);
            if (iova.ok()) host_mappings_.emplace_back(id, *iova);
            return iova.status();
          }};
}

FaultWorld::Verb FaultWorld::RandomVerb() {
  switch (Random(12)) {
    case 0:
    case 1:
    case 2:
      return ObjectVerb();
    case 3:
      return HostVerb();
    case 4:
    case 5:
    case 6:
      return AttachVerb();
    case 7:
      return StreamVerb();
    case 8:
    case 9:
      return UnmapVerb();
    default:
      return MapVerb();
  }
}

// ---- Failing ----

bool FaultWorld::Injected(const absl::Status& status) const {
  const auto detail = DetailOf(status);
  return detail.has_value() &&
         (detail->reason == "INJECTED" || detail->reason == "JOURNAL_FAILED" ||
          detail->reason == "TABLE_MEMORY_EXHAUSTED");
}

bool FaultWorld::FailsCleanly(const Verb& verb, const std::string& failing) {
  doing_ = absl::StrCat(verb.text, ", ", failing);
  const std::string before = State();
  const uint64_t fired_before = points_.fired();
  const absl::Status status = verb.call();
  const bool failed = points_.fired() > fired_before;
  if (status.ok()) {
    if (failed) Trouble("it succeeded although something beneath it failed");
    ++tally_.done;
    return false;
  }
  const std::string after = State();
  if (before != after) {
    Trouble(absl::StrCat(status.ToString(), ", and yet something changed.\nBefore:\n", before,
                         "After:\n", after));
  }
  if (Injected(status)) return true;
  if (failed) Trouble(absl::StrCat("a failure was told as ", status.ToString()));
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
    if (!arena.TakeUninitialized(unused - count, &kept_pages_)) Trouble("pages went astray");
    return;
  }
  for (uint64_t i = unused; i < count && !kept_pages_.empty(); ++i) {
    arena.Free(arena.PopFront(&kept_pages_));
  }
}

bool FaultWorld::Step() {
  ++tally_.steps;
  const Verb verb = RandomVerb();
  switch (Random(5)) {
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
    default:
      StarveTables(verb);
  }
  return trouble_.empty();
}

// ---- State ----

std::string FaultWorld::State() {
  std::string all = absl::StrCat("revision ", engine_->GetHost().revision, ", table pages ",
                                 backend_->Stats().table_pages - kept_pages_.size(), "\n");
  AppendObjects(&all);
  AppendHardware(&all);
  return all;
}

void FaultWorld::AppendObjects(std::string* all) {
  const PageRequest page{kMaxPageSize, ""};
  const auto regions = engine_->ListMemoryRegions(me_, page);
  for (const auto& r : regions->items) {
    absl::StrAppend(all, r.object.id, " ", r.object.etag, " ", r.mapping_count, "\n");
  }
  const auto spaces = engine_->ListIoas(me_, page);
  for (const auto& i : spaces->items) {
    absl::StrAppend(all, i.object.id, " ", i.object.etag, " ", i.mapping_count, " ", i.mapped_bytes,
                    " ", i.mapping_revision, " ", i.alignment_bytes);
    const ObjectRef ref{i.object.id, std::nullopt};
    const auto usable = engine_->ListIovaRanges(me_, ref);
    for (const IovaRange& r : *usable) absl::StrAppend(all, " free ", ToString(r));
    const auto mappings = engine_->ListMappings(me_, ref, {0, kMaxAddress}, page);
    for (const auto& m : mappings->items) {
      absl::StrAppend(all, "\n  ", ToString(m.range), " ", m.memory_region, "+", m.offset_bytes,
                      " ", static_cast<int>(m.permission));
    }
    absl::StrAppend(all, "\n");
  }
  const auto domains = engine_->ListDomains(me_, page);
  for (const auto& d : domains->items) {
    absl::StrAppend(all, d.object.id, " ", d.object.etag, " ", d.attached_devices.size(), "\n");
  }
  const auto devices = engine_->ListDevices(me_, page);
  for (const auto& d : devices->items) {
    absl::StrAppend(all, d.spec.id, " ", d.etag, " on ", d.domain, d.attached ? " attached" : "",
                    " health ", d.health_reason, " default ", static_cast<int>(d.default_domain),
                    "\n");
  }
  const std::vector<UsageView> usage = engine_->ListUsage(me_);
  for (const UsageView& use : usage) {
    absl::StrAppend(all, use.owner, " ", use.limit, " ", use.in_use, "\n");
  }
}

void FaultWorld::AppendHardware(std::string* all) {
  for (DeviceIndex device = 0; device < kDevices; ++device) {
    hardware::VtdModel& hardware = soft_->machine().unit_of(device).hardware();
    absl::StrAppend(all, "device ", device, " sees");
    for (const Iova place : kPlaces) {
      hardware::Request request;
      request.source_id = soft_->machine().source_id_of(device);
      request.address = place;
      const hardware::Translation cold = hardware.Probe(request);
      const hardware::Translation warm = hardware.Translate(request);  // Fills the caches, too.
      absl::StrAppend(all, " ", cold.fault_reason, ":", Hex(cold.physical.value), "/",
                      warm.fault_reason, ":", Hex(warm.physical.value));
    }
    absl::StrAppend(all, "\n");
  }
}

}  // namespace viommu::faults
