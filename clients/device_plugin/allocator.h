// clients/device_plugin/allocator.h -- Gives devices to containers, and takes them back.
//
// A container's allocation is a principal of its own, with its own listener of viommud: the devices
// are claimed for it, and attached to a domain that it owns. The kubelet never says that an
// allocation has ended, so each new one first destroys what an earlier one left on its devices.
// Whatever fails, and whatever happens in between, a device that is not attached by a living
// allocation is claimed and blocked.
//
// Two plugins may work beside each other while one is replaced. Nothing here needs to know: every
// allocation has a name that is used once, what is destroyed is named, and a claim is moved from
// the one who is thought to hold it, or not at all.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_ALLOCATOR_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_ALLOCATOR_H_

#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "clients/device_plugin/allocation_book.h"
#include "clients/device_plugin/inventory.h"
#include "clients/device_plugin/plugin_config.h"
#include "clients/device_plugin/viommud.h"
#include "server/log.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/listener.pb.h"

namespace viommu {

// What a container was given.
struct Allocation {
  std::string name;  // Its principal.
  std::set<std::string> devices;
  std::string listener_dir;  // Directory of its socket, as viommud sees it.
  std::string ioas;
  std::vector<std::string> domains;
};

// Thread-safe; one thing is done at a time.
class Allocator {
 public:
  // All outlive this.
  Allocator(const PluginConfig* config, Viommud* viommud, Inventory* inventory, Log* log)
      : config_(*config), viommud_(*viommud), inventory_(*inventory), log_(*log) {}
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // Whether whoever asked waits no more. Calls wait here for their turn: one that was given up
  // meanwhile may have been made again since, and a container run on what that made.
  using GivenUp = absl::FunctionRef<bool()>;

  // Gives the devices to a new allocation. When that fails they are claimed and blocked.
  // kCancelled GIVEN_UP: before anything was done
  // kInvalidArgument NO_DEVICES
  // kNotFound UNKNOWN_DEVICE: not one of the resource
  // kFailedPrecondition SIBLING_ALLOCATED: another allocation has a device of the same group;
  //   DEVICE_UNHEALTHY; OTHER_RESOURCE: a pod has it by another name; CLAIMED_ELSEWHERE: by
  //   somebody else than the plugin; LEFTOVERS: of an earlier allocation something could not be
  //   destroyed; STATE_LOST: viommud was started anew meanwhile
  // viommud's, and kUnavailable: it does not answer
  absl::StatusOr<Allocation> Allocate(const OfferedResource& resource,
                                      const std::vector<std::string>& devices, GivenUp given_up)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Before a container starts, again or for the first time: cuts whatever still uses its
  // allocation, destroys all that it made there, and makes it as new. kFailedPrecondition
  // NOT_ALLOCATED: these are not the devices of one allocation; STATE_LOST:
  //   viommud was started anew since, and only a new pod gets a new allocation
  // as Allocate
  absl::Status Renew(const OfferedResource& resource, const std::vector<std::string>& devices,
                     GivenUp given_up) ABSL_LOCKS_EXCLUDED(mutex_);

  // Destroys all that is left of an allocation. Its devices are idle, claimed and blocked.
  // kFailedPrecondition LEFTOVERS: something could not be destroyed
  absl::Status Free(const std::string& allocation) ABSL_LOCKS_EXCLUDED(mutex_);

  // Of devices that pods have, those that no allocation has are lost (Inventory::Lose). Answers
  // which. Nothing is given or taken meanwhile: what a pod had when it was asked for may have been
  // given to the next since.
  absl::StatusOr<std::set<std::string>> LoseUnallocated(const std::set<std::string>& held)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // Claims a device that the host has for the plugin.
  absl::Status Adopt(const std::string& device) ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // The devices, which all belong to the resource.
  absl::StatusOr<std::set<std::string>> Check(const OfferedResource& resource,
                                              const std::vector<std::string>& devices);
  // What earlier allocations of the devices there are.
  absl::StatusOr<std::set<std::string>> Earlier(const std::set<std::string>& devices)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckSiblings(const v1::Device& device, const std::set<std::string>& wanted,
                             const AllocationBook& book);
  absl::Status FreeLocked(const std::string& allocation) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Frees of an earlier allocation what these devices need.
  absl::Status MakeIdle(const std::string& allocation, const std::set<std::string>& devices)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes the way in, and destroys everything that was made there; claims stay.
  absl::Status Clear(const std::string& allocation);
  // Moves all of its claims that can be moved to the plugin. The first that could not.
  absl::Status Withdraw(const std::string& allocation);
  // Whether it still claims one of the devices.
  absl::StatusOr<bool> HasAny(const std::string& allocation, const std::set<std::string>& devices);
  absl::Status Give(const std::string& device, const std::string& allocation);
  absl::Status GiveAll(Allocation* allocation);
  // Makes the listener, and what is found behind it.
  absl::Status Open(const config::v1::AllocationDomain& domain, Allocation* allocation);
  // That all of it was made in one life of viommud.
  absl::Status CheckPage(const std::string& allocation);
  std::string SocketSeenHere(const v1::Listener& listener) const;
  ListenerAccess Access() const {
    return {config_.listener_mode, config_.listener_uid, config_.listener_gid};
  }

  const PluginConfig& config_;
  Viommud& viommud_;
  Inventory& inventory_;
  Log& log_;
  absl::Mutex mutex_;  // Held while anything is changed.
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_ALLOCATOR_H_
