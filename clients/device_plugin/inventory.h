// clients/device_plugin/inventory.h -- The devices as viommud tells of them, and which have lost
// what their containers had.
//
// A thread follows viommud's Watch. What a short break of it hides nobody sees; after a longer one
// viommud counts as away, until the first complete word of it. A viommud that was started anew
// remembers nothing: devices that were allocated then are lost, and stay so until Forgive.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_INVENTORY_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_INVENTORY_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "clients/client/object_watch.h"
#include "clients/device_plugin/viommud.h"
#include "server/log.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/watch.pb.h"

namespace viommu {

// The principal that holds devices which no container has.
inline constexpr absl::string_view kIdleOwner = "device-plugin";
// What the principals of allocations begin with.
inline constexpr absl::string_view kAllocationPrefix = "alloc-";
bool IsAllocation(absl::string_view owner);

struct KnownDevice {
  v1::Device device;
  v1::HardwareInfo hardware;
};

// What is known at one time.
struct InventoryState {
  uint64_t version = 0;  // Higher with every change.
  bool seen = false;     // viommud has been heard of, ever.
  bool present = false;  // It is there, or has not been away for long.
  std::string absence;   // Why it is not.
  std::string boot_id;
  std::map<std::string, KnownDevice> devices;  // By id; as last heard of.
  std::map<std::string, std::string> lost;     // Id -> the allocation that it was of; may be empty.
  std::set<std::string> renamed;  // Ids of those that pods have by the name of another resource.
};

// Thread-safe.
class Inventory {
 public:
  struct Options {
    absl::Duration patience;                         // Longest break that nobody sees.
    absl::Duration retry = absl::Milliseconds(200);  // Between attempts.
  };

  // Both outlive this. Begins at once.
  Inventory(Viommud* viommud, const Options& options, Log* log);
  ~Inventory();
  Inventory(const Inventory&) = delete;
  Inventory& operator=(const Inventory&) = delete;

  InventoryState Get() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits until the version is another than `version`, or until `deadline`. Answers what it is.
  uint64_t AwaitChange(uint64_t version, absl::Time deadline) const ABSL_LOCKS_EXCLUDED(mutex_);

  // A device's container has lost what it had; `allocation` may be empty.
  void Lose(const std::string& id, const std::string& allocation) ABSL_LOCKS_EXCLUDED(mutex_);
  // No container has the device any more.
  void Forgive(const std::string& id) ABSL_LOCKS_EXCLUDED(mutex_);

  // These devices, and no others, do pods have by the name of another resource than the
  // one that offers them.
  void SetRenamed(std::set<std::string> ids) ABSL_LOCKS_EXCLUDED(mutex_);

  // viommud did not answer a call: the watch may only seem to be alive, and is begun anew.
  void Doubt() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  void Run();
  // Follows one watch to its end; `followed`: it had a complete picture.
  absl::Status Follow(bool* followed) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<KnownDevice> Learn(const v1::Device& device);
  void Replace(std::map<std::string, KnownDevice> devices, const std::string& boot_id)
      ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Change(const v1::WatchChange& change) ABSL_LOCKS_EXCLUDED(mutex_);
  // The watch broke at `since`. False: the end has come.
  bool Rest(const absl::Status& why, absl::Time since) ABSL_LOCKS_EXCLUDED(mutex_);
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Viommud& viommud_;
  const Options options_;
  Log& log_;

  // Of the thread: what the hardware of a device can do does not change; by uid.
  std::map<std::string, v1::HardwareInfo> hardware_;

  mutable absl::Mutex mutex_;
  mutable absl::CondVar changed_;
  InventoryState state_ ABSL_GUARDED_BY(mutex_);
  ObjectWatch* watch_ ABSL_GUARDED_BY(mutex_) = nullptr;  // While one is followed.
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_INVENTORY_H_
