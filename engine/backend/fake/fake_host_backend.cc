#include "engine/backend/fake/fake_host_backend.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/base/errors.h"
#include "engine/base/status_macros.h"

namespace viommu {
namespace {

bool Overlaps(const std::map<Iova, BackendMapping>& mappings, const IovaRange& range) {
  for (const auto& [iova, mapping] : mappings) {
    if (mapping.range().Overlaps(range)) return true;
  }
  return false;
}

bool Refers(const std::map<Iova, BackendMapping>& mappings, Uid region) {
  for (const auto& [iova, mapping] : mappings) {
    if (mapping.region == region) return true;
  }
  return false;
}

}  // namespace

DeviceIndex FakeHostBackend::LeaderOf(DeviceIndex device) const {
  const std::vector<DeviceSpec>& devices = topology().devices;
  for (DeviceIndex i = 0; i < device; ++i) {
    if (devices[i].group == devices[device].group) return i;
  }
  return device;
}

std::vector<IovaRange> FakeHostBackend::Stale(DeviceIndex device) const {
  absl::MutexLock lock(&host_mutex_);
  std::vector<IovaRange> ranges;
  const auto it = hosts_.find(LeaderOf(device));
  if (it == hosts_.end()) return ranges;
  for (const auto& [iova, mapping] : it->second.stale) ranges.push_back(mapping.range());
  return ranges;
}

absl::Status FakeHostBackend::DestroyMemoryRegion(Uid uid) {
  bool reached = false;
  {
    absl::MutexLock lock(&host_mutex_);
    for (const auto& [device, host] : hosts_) {
      reached = reached || Refers(host.live, uid) || Refers(host.stale, uid);
    }
  }
  if (reached) Record(absl::StrCat("the host still reaches region ", uid), false);
  return FakeBackend::DestroyMemoryRegion(uid);
}

absl::Status FakeHostBackend::Claim(absl::Span<const DeviceIndex> group) {
  if (!Stale(group[0]).empty()) Record(absl::StrCat("unflushed at Claim ", group[0]), false);
  return FakeBackend::Claim(group);
}

absl::StatusOr<Transition> FakeHostBackend::AssignDefault(absl::Span<const DeviceIndex> group,
                                                          DefaultDomainType type) {
  if (!Stale(group[0]).empty()) {
    Record(absl::StrCat("unflushed at AssignDefault ", group[0]), false);
  }
  return FakeBackend::AssignDefault(group, type);
}

absl::Status FakeHostBackend::HostMap(DeviceIndex device, const BackendMapping& mapping) {
  RETURN_IF_ERROR(Ask("HostMap"));
  bool is_free = false;
  {
    absl::MutexLock lock(&host_mutex_);
    Host& host = hosts_[LeaderOf(device)];
    is_free = !Overlaps(host.live, mapping.range()) && !Overlaps(host.stale, mapping.range());
    host.live[mapping.iova] = mapping;
  }
  Record(absl::StrCat("HostMap ", device, " ", ToString(mapping.range())),
         is_free && PlaceOf(device) == "host dma");
  return absl::OkStatus();
}

bool FakeHostBackend::Take(DeviceIndex device, const IovaRange& range, BackendMapping* mapping) {
  std::map<Iova, BackendMapping>& live = hosts_[LeaderOf(device)].live;
  const auto it = live.find(range.first);
  if (it == live.end() || it->second.size_bytes != range.size_bytes()) return false;
  *mapping = it->second;
  live.erase(it);
  return true;
}

absl::Status FakeHostBackend::HostUnmap(DeviceIndex device, IovaRange range) {
  RETURN_IF_ERROR(Ask("HostUnmap"));
  bool taken = false;
  {
    absl::MutexLock lock(&host_mutex_);
    BackendMapping mapping;
    taken = Take(device, range, &mapping);
  }
  Record(absl::StrCat("HostUnmap ", device, " ", ToString(range)), taken);
  return absl::OkStatus();
}

absl::Status FakeHostBackend::HostUnmapDeferred(DeviceIndex device, IovaRange range) {
  RETURN_IF_ERROR(Ask("HostUnmapDeferred"));
  bool taken = false;
  {
    absl::MutexLock lock(&host_mutex_);
    BackendMapping mapping;
    taken = Take(device, range, &mapping);
    if (taken) hosts_[LeaderOf(device)].stale[range.first] = mapping;
  }
  Record(absl::StrCat("HostUnmapDeferred ", device, " ", ToString(range)), taken);
  return absl::OkStatus();
}

absl::Status FakeHostBackend::HostFlush(DeviceIndex device) {
  std::map<Iova, BackendMapping> covered;
  {
    absl::MutexLock lock(&host_mutex_);
    covered = hosts_[LeaderOf(device)].stale;  // What comes while it runs, it may miss.
  }
  RETURN_IF_ERROR(Ask("HostFlush"));
  if (PlaceOf(device) != "host dma") {
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_ON_DMA_DOMAIN", "it has left it");
  }
  {
    absl::MutexLock lock(&host_mutex_);
    for (const auto& [iova, mapping] : covered) hosts_[LeaderOf(device)].stale.erase(iova);
  }
  Record(absl::StrCat("HostFlush ", device), true);
  return absl::OkStatus();
}

}  // namespace viommu
