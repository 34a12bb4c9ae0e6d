#include "clients/device_plugin/keeper.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "clients/device_plugin/plugin_error.h"
#include "clients/device_plugin/pod_devices.h"
#include "clients/device_plugin/roster.h"
#include "clients/device_plugin/selector.h"
#include "viommu/v1/device.pb.h"

namespace viommu {
namespace {

// How long an end may have to wait for the thread to see it.
constexpr absl::Duration kLook = absl::Milliseconds(100);

// Siblings count: of an allocation that has lost its page they are all that is known.
bool HoldsAny(const AllocationRecord& record, const PodDevices& held) {
  const auto is_held = [&held](const std::string& id) { return held.count(id) != 0; };
  return std::any_of(record.devices.begin(), record.devices.end(), is_held) ||
         std::any_of(record.claimed.begin(), record.claimed.end(), is_held);
}

// Those that are known to be its.
const std::set<std::string>& DevicesOf(const AllocationRecord& record) {
  return record.devices.empty() ? record.claimed : record.devices;
}

// Whether one of the names is that of a resource. Another plugin's devices may be called as ours.
bool IsOffered(const std::vector<OfferedResource>& resources, const std::set<std::string>& names) {
  return std::any_of(resources.begin(), resources.end(), [&names](const OfferedResource& resource) {
    return names.count(resource.name) != 0;
  });
}

}  // namespace

Keeper::Keeper(const PluginParts& parts, Viommud* viommud, const Options& options)
    : parts_(parts), viommud_(*viommud), options_(options), thread_([this] { Run(); }) {}

Keeper::~Keeper() {
  {
    const absl::MutexLock lock(&mutex_);
    ending_ = true;
  }
  thread_.join();
}

bool Keeper::IsEnding() const {
  const absl::MutexLock lock(&mutex_);
  return ending_;
}

void Keeper::Run() {
  absl::Time next = absl::InfinitePast();
  uint64_t version = 0;
  while (!IsEnding()) {
    const uint64_t latest = parts_.inventory->AwaitChange(version, absl::Now() + kLook);
    const bool due = absl::Now() >= next;
    if (latest == version && !due) continue;
    const InventoryState state = parts_.inventory->Get();
    version = state.version;
    ShowAll(state);
    if (!state.present) continue;
    AdoptAll(state);
    if (!due) continue;
    const absl::Status status = Reconcile();
    // viommud may hang, while the watch only hears nothing.
    if (!status.ok()) parts_.inventory->Doubt();
    next = absl::Now() + options_.period;
  }
}

void Keeper::ShowAll(const InventoryState& state) const {
  parts_.metrics->viommud_up->Set(state.present ? 1 : 0);
  for (const OfferedResource& resource : parts_.config->resources) {
    parts_.metrics->Of(resource).Show(RosterOf(parts_.config->resources, resource, state));
  }
}

void Keeper::AdoptAll(const InventoryState& state) {
  for (const auto& [id, known] : state.devices) {
    if (known.device.ownership() != v1::DEVICE_OWNERSHIP_HOST) continue;
    if (ResourceOf(parts_.config->resources, known.device, known.hardware) == nullptr) continue;
    const absl::Status adopted = parts_.allocator->Adopt(id);
    if (adopted.ok()) {
      refused_.erase(id);
    } else if (std::exchange(refused_[id], Line(adopted)) != Line(adopted)) {
      parts_.log->Write(LogLevel::kWarning, "claim_refused",
                        {{"device", id}, {"why", Line(adopted)}});
    }
  }
}

absl::Status Keeper::Reconcile() {
  const std::map<std::string, std::string> lost = parts_.inventory->Get().lost;
  // In this order: what a pod has was allocated before.
  absl::StatusOr<PodDevices> held = PodDevices();
  const bool asked = !parts_.config->pod_resources_socket.empty();
  if (asked) held = DevicesOfPods(parts_.config->pod_resources_socket, parts_.config->own_pod);
  const auto book = ReadBook(viommud_);
  if (!book.ok()) return book.status();
  if (!asked) return absl::OkStatus();
  parts_.metrics->pod_resources_up->Set(held.ok() ? 1 : 0);
  if (!held.ok()) {
    const std::string why = Line(held.status());
    if (std::exchange(pods_unknown_, why) != why) {
      parts_.log->Write(LogLevel::kWarning, "pod_resources_unavailable", {{"why", why}});
    }
    // A kubelet that has just been started may not know its pods yet.
    unheld_ = {};
    unused_ = {};
    lost_ = {};
    return absl::OkStatus();
  }
  pods_unknown_.clear();
  ForgiveLost(lost, *held, *book);
  FreeUnheld(*held, *book);
  FindRenamed(*held, *book);
  return FindLost(*held, *book);
}

absl::Status Keeper::FindLost(const PodDevices& held, const AllocationBook& book) {
  const InventoryState state = parts_.inventory->Get();
  std::set<std::string> suspects;
  for (const auto& [id, names] : held) {
    if (AllocationOf(book, id) != nullptr || state.lost.count(id) != 0) continue;
    if (state.devices.count(id) != 0 && IsOffered(parts_.config->resources, names)) {
      suspects.insert(id);
    }
  }
  if (suspects.empty()) return absl::OkStatus();
  const auto lost = parts_.allocator->LoseUnallocated(suspects);
  if (!lost.ok()) return lost.status();
  for (const std::string& id : *lost) {
    parts_.log->Write(LogLevel::kWarning, "state_lost",
                      {{"device", id}, {"why", "a pod has it, and viommud knows no allocation"}});
  }
  return absl::OkStatus();
}

void Keeper::ForgiveLost(const std::map<std::string, std::string>& lost, const PodDevices& held,
                         const AllocationBook& book) {
  lost_.Forget(lost);
  for (const auto& [id, allocation] : lost) {
    const bool over = lost_.IsOver(id, held.count(id) != 0, options_.grace);
    // One that has a page again was given away since, by this plugin or by another.
    if (!over && AllocationOf(book, id) == nullptr) continue;
    parts_.log->Write(LogLevel::kInfo, "state_lost_is_over",
                      {{"device", id}, {"allocation", allocation}});
    parts_.inventory->Forgive(id);
  }
}

void Keeper::FreeUnheld(const PodDevices& held, const AllocationBook& book) {
  unheld_.Forget(book);
  unused_.Forget(book);
  std::set<std::string> told;
  told.swap(told_);
  int leaked = 0;
  for (const auto& [name, record] : book) {
    const bool has_pod = HoldsAny(record, held);
    const bool without_pod = unheld_.IsOver(name, has_pod, options_.grace);
    if (without_pod && record.connections != 0) TellOfUse(name, record, told.count(name) != 0);
    if (!unused_.IsOver(name, has_pod || record.connections != 0, options_.grace)) continue;
    const absl::Status freed = parts_.allocator->Free(name);
    parts_.metrics->freed.Count(freed.ok());
    if (!freed.ok()) ++leaked;
    parts_.log->Write(freed.ok() ? LogLevel::kInfo : LogLevel::kError,
                      freed.ok() ? "allocation_freed" : "allocation_leaked",
                      {{"allocation", name},
                       {"devices", absl::StrJoin(DevicesOf(record), ",")},
                       {"why", Line(freed)}});
  }
  parts_.metrics->leaked->Set(leaked);
}

void Keeper::TellOfUse(const std::string& name, const AllocationRecord& record, bool told) {
  told_.insert(name);
  if (told) return;
  parts_.log->Write(LogLevel::kWarning, "allocation_in_use",
                    {{"allocation", name},
                     {"devices", absl::StrJoin(record.devices, ",")},
                     {"connections", record.connections},
                     {"why", "no pod has it, and somebody is connected to it"}});
}

void Keeper::FindRenamed(const PodDevices& held, const AllocationBook& book) {
  const InventoryState state = parts_.inventory->Get();
  std::set<std::string> renamed;
  for (const auto& [id, names] : held) {
    const auto known = state.devices.find(id);
    if (known == state.devices.end() || AllocationOf(book, id) == nullptr) continue;
    const OfferedResource* const resource =
        ResourceOf(parts_.config->resources, known->second.device, known->second.hardware);
    if (resource != nullptr && names.count(resource->name) == 0) renamed.insert(id);
  }
  parts_.inventory->SetRenamed(std::move(renamed));
}

template <typename Things>
void Keeper::Absences::Forget(const Things& things) {
  for (auto it = since_.begin(); it != since_.end();) {
    it = things.count(it->first) == 0 ? since_.erase(it) : std::next(it);
  }
}

bool Keeper::Absences::IsOver(const std::string& thing, bool held, absl::Duration grace) {
  if (held) {
    since_.erase(thing);
    return false;
  }
  const auto now = std::chrono::steady_clock::now();
  const auto [since, added] = since_.emplace(thing, now);
  return !added && absl::FromChrono(now - since->second) >= grace;
}

}  // namespace viommu
