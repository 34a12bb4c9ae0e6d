// clients/device_plugin/registrar.h -- Keeps every resource known to the kubelet.
//
// It looks at what is there, and mends what is not as it should be; changes of the kubelet's
// directory only make it look at once:
//   our socket is gone              serve on a new one, register
//   kubelet.sock is another one     register: the kubelet was started anew
//   a registration failed           register again, a little later
//   nobody follows our list, and    register: another plugin, that followed us, is gone. While it
//   is no other plugin is there        there it is its turn, and nobody takes it from it.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_REGISTRAR_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_REGISTRAR_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "clients/device_plugin/directory_watch.h"
#include "clients/device_plugin/plugin_endpoint.h"
#include "clients/device_plugin/plugin_service.h"
#include "server/rpc_metrics.h"

namespace viommu {

// Thread-safe.
class Registrar {
 public:
  struct Options {
    absl::Duration look = absl::Seconds(5);       // At the longest, between two looks.
    absl::Duration retry = absl::Seconds(1);      // After a failure.
    absl::Duration takeover = absl::Seconds(10);  // That nobody must have followed our list.
  };

  // Serves and registers as soon as viommud has been heard of: before, there is nothing to say. All
  // outlive this.
  Registrar(const PluginParts& parts, const RpcMetrics* rpc_metrics, const Options& options);
  // Ends the endpoints, too.
  ~Registrar();
  Registrar(const Registrar&) = delete;
  Registrar& operator=(const Registrar&) = delete;

  // Whether the kubelet follows the lists of all resources.
  bool IsFollowed() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Seat {
    const OfferedResource* resource = nullptr;
    std::unique_ptr<PluginEndpoint> endpoint;
    std::string registered_with;  // Which kubelet.sock; empty: none.
    absl::Time followed;          // Last, or since it was registered.
    absl::Time retry;             // Not before.
    std::string failure;          // Why the last attempt failed, as logged; empty: it did not.
  };

  void Run();
  // Answers when to look again, at the latest.
  absl::Duration Look() ABSL_LOCKS_EXCLUDED(mutex_);
  void LookAt(Seat* seat, const std::string& kubelet) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status ServeAndRegister(Seat* seat) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Tell(Seat* seat, const char* reason, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether it has to be registered, and why; null: it has not.
  const char* Reason(Seat* seat, const std::string& kubelet) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Paths of the sockets of other plugins for the resource.
  std::vector<std::string> OtherSockets(const Seat& seat) const;
  bool OthersServe(const Seat& seat) const;
  // Removes sockets of plugins that were killed; only a kubelet that is started anew would.
  void Sweep(const Seat& seat) const;
  absl::Status Register(const Seat& seat) const;

  const PluginParts parts_;
  const RpcMetrics* const rpc_metrics_;
  const Options options_;
  DirectoryWatch directory_;

  mutable absl::Mutex mutex_;
  std::vector<Seat> seats_ ABSL_GUARDED_BY(mutex_);
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // Last: it uses all of the above.
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_REGISTRAR_H_
