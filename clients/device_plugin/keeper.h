// clients/device_plugin/keeper.h -- Keeps idle devices from the host, and frees what no pod has.
//
// The kubelet tells nobody that a pod is gone. So the pods that there are are asked for now and
// then: an allocation that none of them has is freed once it has been seen without one for the
// grace period, so that a container which is being made has the time to appear. A device that a pod
// has, but of which viommud knows no allocation, has lost its state. While the kubelet does not
// answer, or tells of no pods yet, nothing is freed.
//
// The kubelet's answer does not tell of all that runs: of containers that initialize a pod it never
// tells. So whoever is connected to an allocation keeps it.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_KEEPER_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_KEEPER_H_

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "clients/device_plugin/allocation_book.h"
#include "clients/device_plugin/plugin_service.h"
#include "clients/device_plugin/pod_devices.h"
#include "clients/device_plugin/viommud.h"

namespace viommu {

// Thread-safe.
class Keeper {
 public:
  // All outlive this. `grace` and `period` are those of the config, but tests are in a hurry.
  struct Options {
    absl::Duration period;
    absl::Duration grace;
  };
  Keeper(const PluginParts& parts, Viommud* viommud, const Options& options);
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

 private:
  // Since when things are without a pod, by a clock that nobody sets.
  class Absences {
   public:
    // Whether that has been so for long enough, given what holds now.
    bool IsOver(const std::string& thing, bool held, absl::Duration grace);
    // Things that are not there are not remembered.
    template <typename Things>
    void Forget(const Things& things);

   private:
    std::map<std::string, std::chrono::steady_clock::time_point> since_;
  };

  void Run();
  bool IsEnding() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Claims what the host has.
  void AdoptAll(const InventoryState& state);
  void ShowAll(const InventoryState& state) const;
  // One comparison with the pods.
  absl::Status Reconcile();
  absl::Status FindLost(const PodDevices& held, const AllocationBook& book);
  // Of those that were lost before `book` was read.
  void ForgiveLost(const std::map<std::string, std::string>& lost, const PodDevices& held,
                   const AllocationBook& book);
  void FreeUnheld(const PodDevices& held, const AllocationBook& book);
  // Says once of each allocation that somebody is connected to it while no pod has it.
  void TellOfUse(const std::string& name, const AllocationRecord& record, bool told);
  void FindRenamed(const PodDevices& held, const AllocationBook& book);

  const PluginParts parts_;
  Viommud& viommud_;
  const Options options_;

  // Of the thread.
  std::string pods_unknown_;                    // Why, when they were asked for last, as logged.
  Absences unheld_;                             // Allocations that no pod has.
  Absences unused_;                             // Of these, those that nobody is connected to.
  std::set<std::string> told_;                  // Of these, the others, as logged.
  Absences lost_;                               // Lost devices that no pod has.
  std::map<std::string, std::string> refused_;  // Why a device could not be claimed, as logged.

  mutable absl::Mutex mutex_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_KEEPER_H_
