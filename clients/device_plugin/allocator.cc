#include "clients/device_plugin/allocator.h"

#include <cstddef>
#include <map>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "clients/client/destroy_owned.h"
#include "clients/device_plugin/plugin_error.h"
#include "clients/device_plugin/selector.h"
#include "clients/device_plugin/tenant.h"

namespace viommu {
namespace {

constexpr absl::string_view kSocketFile = "/viommu.sock";
// Of what is left, named in an error; a tenant may have made thousands of objects.
constexpr size_t kMostNamed = 8;

absl::Status Refused(absl::string_view reason, absl::string_view message) {
  return PluginError(absl::StatusCode::kFailedPrecondition, reason, message);
}

absl::Status GivenUpMeanwhile() {
  return PluginError(absl::StatusCode::kCancelled, "GIVEN_UP",
                     "whoever asked for it has given up before its turn came");
}

// "a, b and 7 more".
std::string SomeOf(const std::vector<std::string>& names) {
  const auto named = absl::MakeConstSpan(names).subspan(0, kMostNamed);
  std::string text = absl::StrJoin(named, ", ");
  const size_t others = names.size() - named.size();
  if (others != 0) absl::StrAppend(&text, " and ", others, " more");
  return text;
}

}  // namespace

absl::StatusOr<Allocation> Allocator::Allocate(const OfferedResource& resource,
                                               const std::vector<std::string>& devices,
                                               GivenUp given_up) {
  const absl::MutexLock lock(&mutex_);
  if (given_up()) return GivenUpMeanwhile();
  const auto wanted = Check(resource, devices);
  if (!wanted.ok()) return wanted.status();
  const auto earlier = Earlier(*wanted);
  if (!earlier.ok()) return earlier.status();
  for (const std::string& allocation : *earlier) {
    absl::Status made_idle = MakeIdle(allocation, *wanted);
    if (!made_idle.ok()) return made_idle;
  }
  Allocation allocation;
  allocation.name = NewAllocationName();
  allocation.devices = *wanted;
  auto undo = absl::MakeCleanup([this, &allocation]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
    const absl::Status freed = FreeLocked(allocation.name);
    if (freed.ok()) return;
    log_.Write(LogLevel::kError, "undo_failed",
               {{"allocation", allocation.name}, {"why", Line(freed)}});
  });
  absl::Status status = WritePage(viommud_, allocation.name, allocation.devices);
  if (status.ok()) status = GiveAll(&allocation);
  if (status.ok()) status = Open(resource.domain, &allocation);
  if (status.ok()) status = CheckPage(allocation.name);
  if (!status.ok()) return status;
  std::move(undo).Cancel();
  for (const std::string& device : allocation.devices) inventory_.Forgive(device);
  return allocation;
}

absl::Status Allocator::Renew(const OfferedResource& resource,
                              const std::vector<std::string>& devices, GivenUp given_up) {
  const absl::MutexLock lock(&mutex_);
  if (given_up()) return GivenUpMeanwhile();
  const auto wanted = Check(resource, devices);
  if (!wanted.ok()) return wanted.status();
  const InventoryState known = inventory_.Get();
  for (const std::string& device : *wanted) {
    if (known.lost.count(device) == 0) continue;
    return Refused("STATE_LOST", absl::StrCat(device,
                                              ": viommud was started anew; what the "
                                              "container had is gone, delete its pod"));
  }
  const auto book = ReadBook(viommud_);
  if (!book.ok()) return book.status();
  const auto* found = AllocationOf(*book, *wanted->begin());
  if (found == nullptr || found->second.devices != *wanted) {
    return Refused("NOT_ALLOCATED", absl::StrCat(absl::StrJoin(*wanted, ", "),
                                                 ": not the devices of one allocation"));
  }
  Allocation allocation;
  allocation.name = found->first;
  allocation.devices = *wanted;
  absl::Status status = Clear(allocation.name);
  // A claim that got lost would be given by nobody else.
  if (status.ok()) status = GiveAll(&allocation);
  if (status.ok()) status = Open(resource.domain, &allocation);
  return status.ok() ? CheckPage(allocation.name) : status;
}

absl::Status Allocator::Free(const std::string& allocation) {
  const absl::MutexLock lock(&mutex_);
  return FreeLocked(allocation);
}

absl::StatusOr<std::set<std::string>> Allocator::LoseUnallocated(
    const std::set<std::string>& held) {
  const absl::MutexLock lock(&mutex_);
  const auto book = ReadBook(viommud_);
  if (!book.ok()) return book.status();
  std::set<std::string> lost;
  for (const std::string& device : held) {
    if (AllocationOf(*book, device) != nullptr) continue;
    inventory_.Lose(device, "");
    lost.insert(device);
  }
  return lost;
}

absl::Status Allocator::Adopt(const std::string& device) {
  const absl::MutexLock lock(&mutex_);
  const auto now = viommud_.GetDevice(device);
  if (!now.ok()) return now.status();
  if (now->ownership() != v1::DEVICE_OWNERSHIP_HOST) return absl::OkStatus();
  return viommud_.Claim(device, std::string(kIdleOwner), "");
}

absl::StatusOr<std::set<std::string>> Allocator::Check(const OfferedResource& resource,
                                                       const std::vector<std::string>& devices) {
  if (devices.empty()) {
    return PluginError(absl::StatusCode::kInvalidArgument, "NO_DEVICES",
                       "the request names no device");
  }
  const InventoryState known = inventory_.Get();
  std::set<std::string> wanted;
  for (const std::string& id : devices) {
    const auto found = known.devices.find(id);
    if (found == known.devices.end() ||
        ResourceOf(config_.resources, found->second.device, found->second.hardware) != &resource) {
      return PluginError(absl::StatusCode::kNotFound, "UNKNOWN_DEVICE",
                         absl::StrCat("\"", id, "\" is no device of ", resource.name));
    }
    wanted.insert(id);
  }
  return wanted;
}

absl::StatusOr<std::set<std::string>> Allocator::Earlier(const std::set<std::string>& devices) {
  const auto book = ReadBook(viommud_);
  if (!book.ok()) return book.status();
  const InventoryState known = inventory_.Get();
  std::set<std::string> earlier;
  for (const std::string& id : devices) {
    if (known.renamed.count(id) != 0) {
      return Refused("OTHER_RESOURCE", absl::StrCat(id, ": a pod has it by another name"));
    }
    // Of that one viommud may have kept the listener.
    const auto former = known.lost.find(id);
    if (former != known.lost.end() && !former->second.empty()) earlier.insert(former->second);
    // As viommud sees it now, not as the watch has told it.
    const auto device = viommud_.GetDevice(id);
    if (!device.ok()) return device.status();
    if (device->health() != v1::DEVICE_HEALTH_HEALTHY) {
      return Refused("DEVICE_UNHEALTHY", absl::StrCat(id, ": ", device->health_reason()));
    }
    absl::Status siblings = CheckSiblings(*device, devices, *book);
    if (!siblings.ok()) return siblings;
    if (const auto* allocation = AllocationOf(*book, id)) earlier.insert(allocation->first);
    if (IsAllocation(device->claimed_by())) earlier.insert(device->claimed_by());
  }
  return earlier;
}

absl::Status Allocator::CheckSiblings(const v1::Device& device, const std::set<std::string>& wanted,
                                      const AllocationBook& book) {
  for (const std::string& name : device.group_members()) {
    const std::string sibling = IdOfDevice(name);
    if (wanted.count(sibling) != 0) continue;
    const auto* allocation = AllocationOf(book, sibling);
    if (allocation == nullptr) continue;
    // The kubelet gives away what no container has: one that had both is gone.
    if (allocation->second.devices.count(IdOfDevice(device.name())) != 0) continue;
    return Refused("SIBLING_ALLOCATED",
                   absl::StrCat(IdOfDevice(device.name()), " is of one group with ", sibling,
                                ", which ", allocation->first, " has"));
  }
  return absl::OkStatus();
}

absl::Status Allocator::FreeLocked(const std::string& allocation) {
  absl::Status status = Clear(allocation);
  if (status.ok()) status = Withdraw(allocation);
  if (status.ok()) status = TearOutPage(viommud_, allocation);
  return status;
}

absl::Status Allocator::MakeIdle(const std::string& allocation,
                                 const std::set<std::string>& devices) {
  absl::Status cleared = Clear(allocation);
  if (!cleared.ok()) return cleared;
  absl::Status withdrawn = Withdraw(allocation);
  if (!withdrawn.ok()) {
    const auto has_any = HasAny(allocation, devices);
    if (!has_any.ok()) return has_any.status();
    if (*has_any) return withdrawn;
  }
  // A device that nobody asks for, and that can not be moved, is known by its claim.
  return TearOutPage(viommud_, allocation);
}

absl::Status Allocator::Clear(const std::string& allocation) {
  const auto client = viommud_.client();
  if (!client.ok()) return client.status();
  absl::Status closed = viommud_.DeleteListener(allocation);
  if (!closed.ok()) return closed;
  const auto destroyed = DestroyOwned(**client, allocation);
  if (!destroyed.ok()) return destroyed.status();
  if (destroyed->left.empty()) return absl::OkStatus();
  return Refused("LEFTOVERS", absl::StrCat(allocation, " still has ", SomeOf(destroyed->left), ": ",
                                           Line(destroyed->why)));
}

absl::Status Allocator::Withdraw(const std::string& allocation) {
  const auto devices = viommud_.ListDevices();
  if (!devices.ok()) return devices.status();
  std::set<std::string> groups;
  absl::Status first;
  for (const v1::Device& device : *devices) {
    if (device.claimed_by() != allocation || !groups.insert(device.group()).second) continue;
    absl::Status moved =
        viommud_.Claim(IdOfDevice(device.name()), std::string(kIdleOwner), allocation);
    first.Update(moved);
    // Whether viommud answers does not depend on the device.
    if (!moved.ok() && !absl::IsFailedPrecondition(moved)) break;
  }
  return first;
}

absl::StatusOr<bool> Allocator::HasAny(const std::string& allocation,
                                       const std::set<std::string>& devices) {
  for (const std::string& id : devices) {
    const auto device = viommud_.GetDevice(id);
    if (!device.ok()) return device.status();
    if (device->claimed_by() == allocation) return true;
  }
  return false;
}

absl::Status Allocator::GiveAll(Allocation* allocation) {
  for (const std::string& device : allocation->devices) {
    absl::Status given = Give(device, allocation->name);
    if (!given.ok()) return given;
  }
  return absl::OkStatus();
}

absl::Status Allocator::Give(const std::string& id, const std::string& allocation) {
  const auto device = viommud_.GetDevice(id);
  if (!device.ok()) return device.status();
  // Its sibling has brought it along.
  if (device->claimed_by() == allocation) return absl::OkStatus();
  if (device->ownership() == v1::DEVICE_OWNERSHIP_HOST) {
    return viommud_.Claim(id, allocation, "");
  }
  if (device->claimed_by() != kIdleOwner) {
    return Refused("CLAIMED_ELSEWHERE", absl::StrCat(id, ": ", device->claimed_by(), " has it"));
  }
  return viommud_.Claim(id, allocation, std::string(kIdleOwner));
}

absl::Status Allocator::Open(const config::v1::AllocationDomain& domain, Allocation* allocation) {
  const auto listener = viommud_.CreateListener(allocation->name, Access());
  if (!listener.ok()) return listener.status();
  allocation->listener_dir = std::string(absl::StripSuffix(listener->path(), kSocketFile));
  auto furnishing = Furnish(SocketSeenHere(*listener), allocation->devices, domain);
  if (!furnishing.ok()) return furnishing.status();
  allocation->ioas = std::move(furnishing->ioas);
  allocation->domains = std::move(furnishing->domains);
  return absl::OkStatus();
}

absl::Status Allocator::CheckPage(const std::string& allocation) {
  const auto has_page = HasPage(viommud_, allocation);
  if (!has_page.ok()) return has_page.status();
  if (*has_page) return absl::OkStatus();
  return Refused("STATE_LOST", absl::StrCat("viommud was started anew while ", allocation,
                                            " was made; ask again"));
}

std::string Allocator::SocketSeenHere(const v1::Listener& listener) const {
  if (config_.listener_dir.empty()) return listener.path();
  return absl::StrCat(config_.listener_dir, "/", listener.owner(), kSocketFile);
}

}  // namespace viommu
