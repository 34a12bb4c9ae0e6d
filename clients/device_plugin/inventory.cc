#include "clients/device_plugin/inventory.h"

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "clients/device_plugin/plugin_error.h"
#include "clients/device_plugin/selector.h"

namespace viommu {
namespace {

ObjectWatchOptions DevicesAlone() {
  ObjectWatchOptions options;
  options.kinds = {v1::WATCH_KIND_DEVICE};
  // Whoever follows decides how long a break may be.
  options.patience = absl::ZeroDuration();
  return options;
}

}  // namespace

bool IsAllocation(absl::string_view owner) { return absl::StartsWith(owner, kAllocationPrefix); }

Inventory::Inventory(Viommud* viommud, const Options& options, Log* log)
    : viommud_(*viommud), options_(options), log_(*log), thread_([this] { Run(); }) {}

Inventory::~Inventory() {
  {
    const absl::MutexLock lock(&mutex_);
    ending_ = true;
    if (watch_ != nullptr) watch_->Cancel();
    Changed();
  }
  thread_.join();
}

InventoryState Inventory::Get() const {
  const absl::MutexLock lock(&mutex_);
  return state_;
}

uint64_t Inventory::AwaitChange(uint64_t version, absl::Time deadline) const {
  const absl::MutexLock lock(&mutex_);
  while (state_.version == version && !ending_) {
    if (changed_.WaitWithDeadline(&mutex_, deadline)) break;
  }
  return state_.version;
}

void Inventory::Lose(const std::string& id, const std::string& allocation) {
  const absl::MutexLock lock(&mutex_);
  if (state_.lost.emplace(id, allocation).second) Changed();
}

void Inventory::Forgive(const std::string& id) {
  const absl::MutexLock lock(&mutex_);
  if (state_.lost.erase(id) != 0) Changed();
}

void Inventory::SetRenamed(std::set<std::string> ids) {
  const absl::MutexLock lock(&mutex_);
  if (state_.renamed == ids) return;
  state_.renamed = std::move(ids);
  Changed();
}

void Inventory::Doubt() {
  const absl::MutexLock lock(&mutex_);
  if (watch_ != nullptr) watch_->Cancel();
}

void Inventory::Changed() {
  ++state_.version;
  changed_.SignalAll();
}

void Inventory::Run() {
  absl::Time since = absl::Now();
  while (true) {
    bool followed = false;
    const absl::Status status = Follow(&followed);
    if (followed) since = absl::Now();
    if (!Rest(status, since)) return;
  }
}

bool Inventory::Rest(const absl::Status& why, absl::Time since) {
  const absl::MutexLock lock(&mutex_);
  if (ending_) return false;
  if (absl::Now() - since >= options_.patience && (state_.present || state_.absence.empty())) {
    state_.present = false;
    state_.absence = Line(why);
    log_.Write(LogLevel::kWarning, "viommud_away", {{"why", state_.absence}});
    Changed();
  }
  // Doubts and changes of others wake it as well; that does no harm.
  changed_.WaitWithTimeout(&mutex_, options_.retry);
  return !ending_;
}

absl::Status Inventory::Follow(bool* followed) {
  const auto client = viommud_.client();
  if (!client.ok()) return client.status();
  // A stream would wait for ever for a server that hangs.
  absl::Status answers = viommud_.Ping();
  if (!answers.ok()) return answers;
  ObjectWatch watch(*client, DevicesAlone());
  {
    const absl::MutexLock lock(&mutex_);
    if (ending_) return absl::CancelledError("the end has come");
    watch_ = &watch;
  }
  const auto unset = absl::MakeCleanup([this] {
    const absl::MutexLock lock(&mutex_);
    watch_ = nullptr;
  });
  std::map<std::string, KnownDevice> snapshot;
  while (true) {
    const auto message = watch.Next();
    if (!message.ok()) return message.status();
    if (message->has_snapshot()) {
      auto known = Learn(message->snapshot().device());
      if (!known.ok()) return known.status();
      const std::string id = IdOfDevice(known->device.name());
      snapshot[id] = *std::move(known);
    } else if (message->has_change()) {
      absl::Status changed = Change(message->change());
      if (!changed.ok()) return changed;
    } else if (message->has_sync() && !*followed) {
      // Later ones tell nothing new.
      Replace(std::exchange(snapshot, {}), message->sync().boot_id());
      *followed = true;
    }
  }
}

absl::StatusOr<KnownDevice> Inventory::Learn(const v1::Device& device) {
  const auto found = hardware_.find(device.uid());
  if (found != hardware_.end()) return KnownDevice{device, found->second};
  auto hardware = viommud_.GetHardwareInfo(IdOfDevice(device.name()));
  if (hardware.status().code() == absl::StatusCode::kNotFound) {
    // It is gone already; that will be told next.
    return KnownDevice{device, {}};
  }
  if (!hardware.ok()) return hardware.status();
  hardware_[device.uid()] = *hardware;
  return KnownDevice{device, *std::move(hardware)};
}

void Inventory::Replace(std::map<std::string, KnownDevice> devices, const std::string& boot_id) {
  const absl::MutexLock lock(&mutex_);
  const bool restarted = state_.seen && state_.boot_id != boot_id;
  if (restarted) {
    for (const auto& [id, known] : state_.devices) {
      if (!IsAllocation(known.device.claimed_by())) continue;
      // It was given away already in this life of viommud.
      const auto now = devices.find(id);
      if (now != devices.end() && IsAllocation(now->second.device.claimed_by())) continue;
      state_.lost.emplace(id, known.device.claimed_by());
    }
  }
  log_.Write(restarted ? LogLevel::kWarning : LogLevel::kInfo, "viommud_there",
             {{"boot_id", boot_id},
              {"devices", devices.size()},
              {"restarted", restarted},
              {"state_lost", state_.lost.size()}});
  state_.seen = true;
  state_.present = true;
  state_.absence.clear();
  state_.boot_id = boot_id;
  state_.devices = std::move(devices);
  Changed();
}

absl::Status Inventory::Change(const v1::WatchChange& change) {
  if (change.type() == v1::WATCH_CHANGE_TYPE_DELETED) {
    const absl::MutexLock lock(&mutex_);
    hardware_.erase(change.deleted().uid());
    const auto found = state_.devices.find(IdOfDevice(change.deleted().name()));
    if (found == state_.devices.end() || found->second.device.uid() != change.deleted().uid()) {
      return absl::OkStatus();
    }
    state_.devices.erase(found);
    Changed();
    return absl::OkStatus();
  }
  auto known = Learn(change.object().device());
  if (!known.ok()) return known.status();
  const std::string id = IdOfDevice(known->device.name());
  const absl::MutexLock lock(&mutex_);
  state_.devices[id] = *std::move(known);
  Changed();
  return absl::OkStatus();
}

}  // namespace viommu
