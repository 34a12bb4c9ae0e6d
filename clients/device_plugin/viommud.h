// clients/device_plugin/viommud.h -- What the plugin asks of viommud, over the operator's socket.
#ifndef VIOMMU_CLIENTS_DEVICE_PLUGIN_VIOMMUD_H_
#define VIOMMU_CLIENTS_DEVICE_PLUGIN_VIOMMUD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "clients/client/client.h"
#include "viommu/v1/device.pb.h"
#include "viommu/v1/ioas.pb.h"
#include "viommu/v1/listener.pb.h"

namespace viommu {

// Who may connect to a listener.
struct ListenerAccess {
  uint32_t mode = 0;
  std::optional<uint32_t> uid;  // None: viommud's.
  std::optional<uint32_t> gid;
};

// Connects when it is first asked for something, and again whenever that was lost. Every call may
// answer what Client::Connect and Client::Call do. Thread-safe.
class Viommud {
 public:
  static constexpr absl::Duration kCallTimeout = absl::Seconds(10);

  // Nothing that is asked for takes longer than `call_timeout`; who waits holds up the kubelet.
  explicit Viommud(std::string socket, absl::Duration call_timeout = kCallTimeout)
      : socket_(std::move(socket)), call_timeout_(call_timeout) {}

  // For what is not below. Lives as long as this.
  absl::StatusOr<Client*> client() ABSL_LOCKS_EXCLUDED(mutex_);

  // Whether it answers.
  absl::Status Ping();

  absl::StatusOr<v1::Device> GetDevice(absl::string_view id);
  absl::StatusOr<std::vector<v1::Device>> ListDevices();
  absl::StatusOr<v1::HardwareInfo> GetHardwareInfo(absl::string_view id);
  // Claims the device's group for `owner`; from the host, if `from_owner` is empty.
  absl::Status Claim(absl::string_view id, const std::string& owner, const std::string& from_owner);

  // All that an operator sees, of all owners.
  absl::StatusOr<std::vector<v1::Ioas>> ListIoas();
  absl::StatusOr<v1::Ioas> GetIoas(const std::string& id);
  absl::Status CreateIoas(const std::string& id);
  absl::Status LoadReservedRegions(const std::string& ioas_id, absl::string_view device_id);
  // None there is fine.
  absl::Status DeleteIoas(const std::string& id);

  absl::StatusOr<std::vector<v1::Listener>> ListListeners();
  absl::StatusOr<v1::Listener> CreateListener(const std::string& owner,
                                              const ListenerAccess& access);
  // None there is fine. Answers when nothing that came through it runs any more.
  absl::Status DeleteListener(const std::string& owner);

 private:
  const std::string socket_;
  const absl::Duration call_timeout_;
  absl::Mutex mutex_;
  std::unique_ptr<Client> client_ ABSL_GUARDED_BY(mutex_);  // Set once.
};

}  // namespace viommu

#endif  // VIOMMU_CLIENTS_DEVICE_PLUGIN_VIOMMUD_H_
